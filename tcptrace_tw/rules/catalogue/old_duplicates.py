"""RU: segments of an earlier connection that arrive in a new one (RFC 9293 3.4.3)."""

from tcptrace_tw.rules.predicates import both_have_timestamps
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.observed import BOTH_DIRECTIONS, OPTIONS
from tcptrace_tw.schema.words import CONFIRMED, ERROR, INFO, LIKELY, NOTICE


def old_syn_duplicate(connections: Rows) -> Mask:
    """RU008."""
    return connections.old_syn_frame >= 0


OLD_SYN_DUPLICATE = Rule(
    id="RU008",
    name="old-syn-duplicate",
    severity=NOTICE,
    summary="A SYN was captured again after its handshake had completed.",
    table="connections",
    predicate=old_syn_duplicate,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the SYN from {orig_ip}:{orig_port} to {resp_ip}:{resp_port} was captured again after the handshake",
    frames=("orig_syn_frame", "old_syn_frame"),
    values=("syn_retries",),
    set_when=("a SYN with the ISN of the connection arrives after its sender was ESTABLISHED",),
    not_set_when=("the handshake had not completed: that is a retransmission", "the capture recorded one frame twice"),
    rfc=("RFC 9293 3.5",),
    remedy="Look for a loop in the network, a late duplicate, or a tap that reorders frames. A small device may use the same port and ISN again after a restart: let it choose its ISNs at random (RFC 6528), and let the server send keep-alives, which end the connection that the device has forgotten.",
    example="old-syn-duplicate",
    rival="a device that has restarted, and uses the same port and ISN again",
    time="first_time",
)


def old_duplicate_in_new_incarnation(reuses: Rows) -> Mask:
    """RU009."""
    return reuses.old_duplicate_frame >= 0


OLD_DUPLICATE_IN_NEW_INCARNATION = Rule(
    id="RU009",
    name="old-duplicate-in-new-incarnation",
    severity=ERROR,
    summary="A segment of the previous connection arrived in the new one on the same 4-tuple.",
    table="reuses",
    predicate=old_duplicate_in_new_incarnation,
    grades=(
        Grade(lambda r: r.is_old_duplicate_disowned != 0, ERROR, LIKELY, "the receiver acknowledged its bytes, but its sender continues from before them"),
        Grade(lambda r: r.old_duplicate_taken_frame >= 0, ERROR, CONFIRMED, "an ACK or a SACK covers its bytes"),
        Grade(lambda r: r.is_old_duplicate_rejected != 0, INFO, CONFIRMED, "PAWS rejects its timestamp"),
        Grade(lambda r: r.old_duplicate_refused_frame >= 0, INFO, CONFIRMED, "a later ACK does not cover it, or a D-SACK reports it"),
        Grade(lambda r: r.is_old_duplicate_in_window != 0, ERROR, LIKELY, "nothing keeps the receiver from accepting its bytes"),
        Grade(always, INFO, CONFIRMED, "it is outside the window"),
    ),
    message="{old_duplicates:segment} of the previous connection between {ip}:{port} and {peer_ip}:{peer_port} arrived in the new one[; {old_duplicate_taken_frame:?}the receiver accepted {old_duplicate_bytes:old byte} {old_duplicate_offset:byte} into the new stream: the stream is corrupt][; the receiver dropped the bytes{old_duplicate_refused_frame:?}]",
    frames=(
        "fin_frame", "syn_frame", "opened_frame", "old_duplicate_frame", "old_duplicate_taken_frame",
        "old_duplicate_refused_frame",
    ),
    values=("gap_ns", "old_duplicates", "is_old_duplicate_in_window", "is_old_duplicate_rejected"),
    set_when=(
        "data whose sequence number or ACK field fits the previous connection and not this one",
        "or fits both: the receiver acknowledges it, but its sender does not count it as sent",
    ),
    not_set_when=("the bytes are a retransmission of this connection",),
    rfc=("RFC 7323 B", "RFC 1337", "RFC 2883"),
    remedy="Turn TCP timestamps on at both ends (sysctl net.ipv4.tcp_timestamps=1), and do not shorten or skip TIME-WAIT.",
    advice=(
        Advice(both_have_timestamps, "both connections carry timestamps", "Do not shorten or skip TIME-WAIT (SO_LINGER 0, a short tcp_tw_reuse_delay, a bound source port that is reused at once), and look if the receiver, or a proxy before it, applies PAWS at all."),
    ),
    example="old-duplicate-in-new-incarnation",
    key="attempt_id",
    needs=(BOTH_DIRECTIONS, OPTIONS),
)  # fmt: skip

RULES = (
    OLD_SYN_DUPLICATE,
    OLD_DUPLICATE_IN_NEW_INCARNATION,
)
