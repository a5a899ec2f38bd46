"""RU: reuse of a 4-tuple inside 2MSL, and the outcome (RFC 9293 3.6.1, RFC 6191).

``rules/syn_answers.py`` has the decision table: what the SYN met, and what answered it. RU001, RU002, RU007 and RU010
say who reused the 4-tuple and how soon, whatever the answer was.
"""

from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always, is_observed
from tcptrace_tw.rules.syn_answers import (
    ACCEPTED_IN_TIME_WAIT,
    ALIVE,
    CHALLENGED_IN_TIME_WAIT,
    DROPPED_IN_TIME_WAIT,
    REFUSED_WHILE_WAITING,
    STALL_NS,
    UNSEEN,
    is_accepted,
    is_challenged,
    is_reset,
    met_time_wait,
    never_worked,
    stalls,
    went_whole_way,
)
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, OPENING, OPTIONS, PAYLOAD
from tcptrace_tw.schema.words import (
    ACCEPT,
    ACCEPT_PAWS_REJECT,
    ANSWER_CHALLENGE,
    ANSWER_SYN_ACK,
    CONFIRMED,
    ERROR,
    INFO,
    LIKELY,
    NONE,
    NOTICE,
    OUTCOME_ACCEPTED,
    PREDICTED,
    WARNING,
)

SURE_GAP_NS = 30_000_000_000
"""Below this gap every common stack is still inside its 2MSL."""


def is_inside(reuses: Rows) -> Mask:
    """Less than 2MSL since TIME-WAIT began or was restarted."""
    return reuses.gap_ns < reuses.two_msl_ns


def tw_reuse_by_holder(reuses: Rows) -> Mask:
    """RU001."""
    return (reuses.is_by_holder != 0) & is_inside(reuses) & (reuses.is_linux_tw_reuse != 0)


def reuse_inside_2msl(reuses: Rows) -> Mask:
    """RU002."""
    return (reuses.is_by_holder != 0) & is_inside(reuses) & (reuses.is_linux_tw_reuse == 0)


def lacks_ts(reuses: Rows) -> Mask:
    """Neither connection uses timestamps; not where the snap length may have cut them off."""
    return (reuses.has_ts == 0) & (reuses.previous_ts_ok == 0) & is_observed(reuses, OPTIONS)


def tw_syn_accepted(reuses: Rows) -> Mask:
    """RU003."""
    return reuses.verdict == ACCEPTED_IN_TIME_WAIT


def tw_syn_challenged(reuses: Rows) -> Mask:
    """RU004."""
    return reuses.verdict == CHALLENGED_IN_TIME_WAIT


def tw_syn_dropped(reuses: Rows) -> Mask:
    """RU005."""
    return reuses.verdict == DROPPED_IN_TIME_WAIT


def tw_syn_refused(reuses: Rows) -> Mask:
    """RU006."""
    return reuses.verdict == REFUSED_WHILE_WAITING


def reuse_after_rst(reuses: Rows) -> Mask:
    """RU010."""
    return (reuses.is_previous_reset != 0) & (reuses.holder == NONE) & is_inside(reuses)


def is_ended(reuses: Rows) -> Mask:
    """The previous connection was over: TIME-WAIT had begun, or a RST had ended it."""
    return (reuses.holder != NONE) | (reuses.is_previous_reset != 0)


def tuple_reused_after_2msl(reuses: Rows) -> Mask:
    """RU007."""
    return is_ended(reuses) & ~is_inside(reuses) & (reuses.gap_ns >= 0) & ~met_time_wait(reuses)


def old_syn_duplicate(connections: Rows) -> Mask:
    """RU008."""
    return connections.old_syn_frame >= 0


def old_duplicate_in_new_incarnation(reuses: Rows) -> Mask:
    """RU009."""
    return reuses.old_duplicate_frame >= 0


def syn_into_established(reuses: Rows) -> Mask:
    """RU011: the answer shows that the receiver still had the old connection."""
    return reuses.verdict == ALIVE


def syn_challenged_unseen(reuses: Rows) -> Mask:
    """RU013: the client's RST, or its SYN again, shows that the answer was of no use to it."""
    return (reuses.verdict == UNSEEN) & ((reuses.reset_frame >= 0) | (reuses.syn_retries > 0))


def isn_not_above_last(reuses: Rows) -> Mask:
    """RU012."""
    saved = (reuses.has_ts != 0) & (reuses.previous_ts_ok != 0) & (reuses.tsval_delta > 0)
    return (
        met_time_wait(reuses) & is_inside(reuses) & (reuses.isn_delta <= 0) & saved & (reuses.answer == ANSWER_SYN_ACK)
    )


def are_options_cut(reuses: Rows) -> Mask:
    """The snap length cut off options: what the timestamps were is not known."""
    return ~is_observed(reuses, OPTIONS)


def has_no_timestamp(reuses: Rows) -> Mask:
    """The SYN carries no timestamp."""
    return (reuses.has_ts == 0) & is_observed(reuses, OPTIONS)


def is_stale(reuses: Rows) -> Mask:
    """Its timestamp is older than the last one of the earlier connection."""
    return (reuses.acceptance == ACCEPT_PAWS_REJECT) & is_observed(reuses, OPTIONS)


def both_have_timestamps(reuses: Rows) -> Mask:
    """The SYN and the earlier connection carry timestamps."""
    return (reuses.has_ts != 0) & (reuses.previous_ts_ok != 0)


def goes_on_meanwhile(reuses: Rows) -> Mask:
    """The earlier connection went on after the SYN: it is not the client's old one that was forgotten."""
    return reuses.is_old_alive != 0


_EVIDENCE = ("fin_frame", "time_wait_frame", "syn_frame", "answer_frame", "reset_frame", "retry_frame", "opened_frame")

TW_REUSE_BY_HOLDER = Rule(
    id="RU001",
    name="tw-reuse-by-holder",
    severity=INFO,
    summary="A Linux client reused a port that was in its own TIME-WAIT (tcp_tw_reuse, or a bound source port).",
    table="reuses",
    predicate=tw_reuse_by_holder,
    grades=(Grade(always, INFO, CONFIRMED, "the ISN or the TSecr proves it"),),
    message="{ip}:{port} tried to reuse its port to {peer_ip}:{peer_port} {gap_ns} into its own TIME-WAIT; the SYN was {outcome}",
    frames=_EVIDENCE,
    values=("gap_ns", "isn_delta", "tsval_delta", "tsecr"),
    set_when=(
        "the side in TIME-WAIT sends the SYN, less than 2MSL after TIME-WAIT began or was restarted",
        "ISN = old SND.NXT + 65537, or TSecr is the last TSval that this side had accepted",
    ),
    not_set_when=("neither proof is present: that is RU002",),
    rfc=("RFC 6191", "RFC 9293 3.6.1"),
    remedy="Nothing to do: timestamps protect the new connection.",
    example="tw-reuse-by-holder",
    counter="TcpExtTWRecycled",
    key="attempt_id",
    is_shown_by_one_side=True,
)

REUSE_INSIDE_2MSL = Rule(
    id="RU002",
    name="reuse-inside-2msl",
    severity=NOTICE,
    summary="A client reused a 4-tuple before 2MSL had passed.",
    table="reuses",
    predicate=reuse_inside_2msl,
    grades=(
        Grade(lambda r: ~is_accepted(r), NOTICE, CONFIRMED, "nothing came of it: old segments have no connection to reach"),
        Grade(lambda r: lacks_ts(r) & (r.gap_ns < SURE_GAP_NS), WARNING, CONFIRMED, "only the ISN separates old segments from new ones"),
        Grade(lacks_ts, WARNING, LIKELY),
        Grade(lambda r: r.gap_ns < SURE_GAP_NS, NOTICE, CONFIRMED, "inside 2MSL for every common stack"),
        Grade(always, NOTICE, LIKELY, "the host's 2MSL may be shorter than the profile's"),
    ),
    message="{ip}:{port} tried to reuse its port to {peer_ip}:{peer_port} {gap_ns} into its own TIME-WAIT, before 2MSL had passed; the SYN was {outcome}",
    wordings=(
        Wording(lambda r: is_accepted(r) & (r.outcome == OUTCOME_ACCEPTED), "the SYN was accepted", "{ip}:{port} reused its port to {peer_ip}:{peer_port} {gap_ns} into its own TIME-WAIT, before 2MSL had passed"),
        Wording(is_accepted, "the SYN was accepted in the end", "{ip}:{port} reused its port to {peer_ip}:{peer_port} {gap_ns} into its own TIME-WAIT, before 2MSL had passed; the SYN was {outcome}"),
    ),
    frames=_EVIDENCE,
    values=("gap_ns", "two_msl_ns", "isn_delta", "tsval_delta"),
    set_when=("the side in TIME-WAIT sends the SYN", "less than 2MSL since TIME-WAIT began or was restarted"),
    not_set_when=("ISN = old SND.NXT + 65537: that is RU001", "the SYN is a retransmission or was captured late"),
    rfc=("RFC 9293 3.6.1", "RFC 6191"),
    remedy="On the client: widen net.ipv4.ip_local_port_range, pool connections, or bind no source port.",
    advice=(
        Advice(lacks_ts, "there are no timestamps", "Switch TCP timestamps on at both ends (sysctl net.ipv4.tcp_timestamps=1): then old segments are dropped. Or reuse ports later: on the client a wider net.ipv4.ip_local_port_range, pooled connections, no bound source port."),
        Advice(lambda r: both_have_timestamps(r) & is_accepted(r), "timestamps protect the new connection", "Nothing is broken: timestamps let the receiver drop old segments (PAWS). If it shall not happen: on the client widen net.ipv4.ip_local_port_range, pool connections, or bind no source port."),
    ),
    example="reuse-inside-2msl",
    key="attempt_id",
)  # fmt: skip

TW_SYN_ACCEPTED = Rule(
    id="RU003",
    name="tw-syn-accepted",
    severity=INFO,
    summary="A SYN arrived in TIME-WAIT and was accepted as a new connection.",
    table="reuses",
    predicate=tw_syn_accepted,
    grades=(
        Grade(lambda r: (r.acceptance != ACCEPT) & (r.is_linux_tw_accept != 0), NOTICE, CONFIRMED),
        Grade(lambda r: r.acceptance != ACCEPT, NOTICE, LIKELY, "the profile's stack would not have accepted it"),
        Grade(always, INFO, CONFIRMED),
    ),
    message="{peer_ip}:{peer_port} accepted a SYN from {ip}:{port} {gap_ns} into TIME-WAIT",
    frames=_EVIDENCE,
    values=("gap_ns", "isn_delta", "tsval_delta", "answer_isn_delta", "acceptance"),
    set_when=("a SYN arrives at the side in TIME-WAIT", "that side answers with SYN+ACK"),
    not_set_when=("the SYN arrives after 2MSL", "the first answer is an ACK or a RST: RU004, RU006"),
    rfc=("RFC 6191", "RFC 9293 3.6.1"),
    remedy="Nothing to do: timestamps and a rising ISN make this safe.",
    example="tw-syn-accepted",
    key="attempt_id",
)

_CHALLENGED = "SYN from {ip}:{port} challenged {gap_ns} into the TIME-WAIT of {peer_ip}:{peer_port}[, which lasts longer than 2MSL of the profile{is_outlived:?}]"
_RETRIED = "[; {reset_frame:?}the client sent RST][; it retransmitted the SYN {syn_retries:time}][; it connected after {cost_ns}]"

TW_SYN_CHALLENGED = Rule(
    id="RU004",
    name="tw-syn-challenged",
    severity=WARNING,
    summary="A SYN arrived in TIME-WAIT and was challenged: the client had to send RST and retransmit the SYN.",
    table="reuses",
    predicate=tw_syn_challenged,
    grades=(
        Grade(lambda r: went_whole_way(r) & stalls(r), ERROR, CONFIRMED, "the delay was 1 s or longer"),
        Grade(went_whole_way, WARNING, CONFIRMED, "every step was captured"),
        Grade(stalls, ERROR, LIKELY, "the delay was 1 s or longer, or it never connected"),
        Grade(always, WARNING, LIKELY, "a step was not captured"),
    ),
    message=f"{_CHALLENGED}[, because its timestamp was older than the last one{{acceptance:=paws-reject}}][, because its ISN was not above the old numbers and its timestamp not newer{{acceptance:=challenge}}]{_RETRIED}",
    wordings=(
        Wording(are_options_cut, "options were cut off", f"{_CHALLENGED} (the reason, its timestamp or its ISN, was cut off by the snap length){_RETRIED}"),
        Wording(has_no_timestamp, "no timestamp", f"{_CHALLENGED}[, because its ISN was not above the old numbers and it carries no timestamp{{acceptance:=challenge}}]{_RETRIED}"),
    ),
    frames=_EVIDENCE,
    values=("gap_ns", "cost_ns", "isn_delta", "tsval_delta", "syn_retries", "acceptance"),
    set_when=(
        "a SYN arrives at the side in TIME-WAIT",
        "the first answer is a challenge ACK: an ACK with the old sequence numbers",
    ),
    not_set_when=("the first answer is SYN+ACK: that is RU003",),
    rfc=("RFC 9293 3.10.7.4", "RFC 5961 4.2"),
    remedy="Let the client reuse its source ports later (a wider net.ipv4.ip_local_port_range, more addresses or ports on a NAT), or let it close first: then the server holds no TIME-WAIT.",
    advice=(
        Advice(
            is_stale,
            "the timestamp of the SYN is older",
            "Several hosts behind one address, or a NAT with few ports: give the NAT more addresses or ports, and switch --random-fully off. One host: sysctl net.ipv4.tcp_timestamps=2 on it, which takes one clock for all connections. Or let the client close first, so that TIME-WAIT is on its side.",
        ),
        Advice(
            has_no_timestamp,
            "the SYN has no timestamp",
            "Switch TCP timestamps on at the client and the server (sysctl net.ipv4.tcp_timestamps=1), reuse source ports later, or let the client close first, so that TIME-WAIT is on its side.",
        ),
    ),
    example="tw-syn-challenged",
    counter="TcpExtPAWSTimewait",
    key="attempt_id",
)  # fmt: skip

TW_SYN_DROPPED = Rule(
    id="RU005",
    name="tw-syn-dropped",
    severity=WARNING,
    summary="A SYN arrived in TIME-WAIT and got no answer.",
    table="reuses",
    predicate=tw_syn_dropped,
    grades=(
        Grade(never_worked, ERROR, LIKELY, "it never connected"),
        Grade(always, WARNING, LIKELY),
    ),
    message="{peer_ip}:{peer_port} in TIME-WAIT did not answer the SYN from {ip}:{port}, which was retransmitted {syn_retries:time} in {waited_ns}[; it connected after {cost_ns}][; its timestamp was older than the last one: a server with tcp_tw_recycle (Linux before 4.12) drops such SYNs in silence{acceptance:=paws-reject}]",
    frames=_EVIDENCE,
    values=("gap_ns", "syn_retries", "waited_ns", "isn_delta", "tsval_delta", "acceptance", "outcome"),
    set_when=("a SYN arrives at the side in TIME-WAIT", "no answer comes before the SYN is retransmitted"),
    not_set_when=("an ACK or a RST answers it: RU004, RU006",),
    rfc=("RFC 6191",),
    remedy="Capture at the server to see if the SYN arrives and what answers it: a TIME-WAIT socket of Linux sends an ACK, so look for a firewall that drops the SYN or that ACK, and for loss.",
    advice=(
        Advice(is_stale, "the timestamp of the SYN is older", "If the server runs Linux before 4.12: sysctl -w net.ipv4.tcp_tw_recycle=0 there (nstat TcpExtPAWSPassive counts what it drops). Otherwise capture at the server: a TIME-WAIT socket of Linux answers such a SYN with an ACK, which a firewall may drop."),
    ),
    example="tw-syn-dropped",
    rival="loss on the way, or a firewall: one 4-tuple alone cannot tell them apart",
    key="attempt_id",
    needs=(BOTH_DIRECTIONS, ACKS),
)  # fmt: skip

TW_SYN_REFUSED = Rule(
    id="RU006",
    name="tw-syn-refused",
    severity=WARNING,
    summary="A SYN arrived in TIME-WAIT or FIN-WAIT-2 and was answered with RST.",
    table="reuses",
    predicate=tw_syn_refused,
    grades=(
        Grade(lambda r: ~is_observed(r, OPENING), NOTICE, LIKELY, "who closed first was not captured"),
        Grade(lambda r: ~is_observed(r, PAYLOAD), WARNING, LIKELY, "only SYN, FIN and RST: the state may be another"),
        Grade(always, WARNING, CONFIRMED),
    ),
    message="SYN from {ip}:{port} arrived in {receiver_state} of {peer_ip}:{peer_port} and was answered with RST",
    frames=_EVIDENCE,
    values=("gap_ns", "receiver_state", "isn_delta"),
    set_when=("the SYN arrives in TIME-WAIT or FIN-WAIT-2", "the answer is a RST"),
    not_set_when=("the previous connection had ended: that is an ordinary refusal",),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Check that the server still listens, and that the application calls close() for both directions.",
    example="tw-syn-refused",
    key="attempt_id",
)

REUSE_AFTER_RST = Rule(
    id="RU010",
    name="reuse-after-rst",
    severity=INFO,
    summary="A client reused a 4-tuple after a RST: no TIME-WAIT protected the new connection.",
    table="reuses",
    predicate=reuse_after_rst,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} tried to reuse its port to {peer_ip}:{peer_port} {gap_ns} after a RST had ended the previous connection; the SYN was {outcome}",
    frames=_EVIDENCE,
    values=("gap_ns", "isn_delta"),
    set_when=("the previous connection ended by RST or was refused", "less than 2MSL ago"),
    not_set_when=("one side had been in TIME-WAIT",),
    rfc=("RFC 1337",),
    remedy="Do not close with SO_LINGER 0.",
    example="reuse-after-rst",
    key="attempt_id",
)

TUPLE_REUSED_AFTER_2MSL = Rule(
    id="RU007",
    name="tuple-reused-after-2msl",
    severity=INFO,
    summary="A client reused a 4-tuple soon after 2MSL had passed.",
    table="reuses",
    predicate=tuple_reused_after_2msl,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} tried to reuse its port to {peer_ip}:{peer_port} {gap_ns} after the previous connection, when 2MSL had passed; the SYN was {outcome}",
    frames=_EVIDENCE,
    values=("gap_ns", "two_msl_ns", "isn_delta"),
    set_when=(
        "at least 2MSL since the previous connection, and less than five minutes, or two in a capture of many connections",
    ),
    not_set_when=(
        "the previous connection had not ended: that is RU011",
        "the answer shows that TIME-WAIT still lasted: RU004",
    ),
    rfc=("RFC 9293 3.6.1",),
    remedy="Nothing to do. Many of them mean that source ports are scarce: see PE003.",
    example="tuple-reused-after-2msl",
    key="attempt_id",
)

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
    remedy="Look for a loop in the network, a late duplicate, or a tap that reorders frames.",
    example="old-syn-duplicate",
    time="first_time",
)

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

SYN_INTO_ESTABLISHED = Rule(
    id="RU011",
    name="syn-into-established",
    severity=WARNING,
    summary="A new SYN arrived while the peer still had the previous connection.",
    table="reuses",
    predicate=syn_into_established,
    grades=(
        Grade(lambda r: (r.answer == ANSWER_CHALLENGE) & ~is_observed(r, OPENING, PAYLOAD), WARNING, LIKELY, "not all of the previous connection was captured: it may have been closing"),
        Grade(lambda r: r.answer == ANSWER_CHALLENGE, WARNING, CONFIRMED, "a challenge ACK with the old sequence numbers"),
        Grade(is_reset, WARNING, LIKELY),
        Grade(always, WARNING, PREDICTED, "no answer"),
    ),
    wordings=(
        Wording(lambda r: is_challenged(r) & ~is_observed(r, OPENING, PAYLOAD, BOTH_DIRECTIONS), "not all of the previous connection was captured", "new SYN from {ip}:{port} was challenged by {peer_ip}:{peer_port}, which still holds the previous connection, in a state that was not captured"),
    ),
    message="new SYN from {ip}:{port} arrived in {receiver_state} of {peer_ip}:{peer_port}, which[ sent a challenge ACK{answer:=challenge-ack}][ sent RST{answer:=rst}][ refused it{answer:=refused}][ did not answer{answer:=none}]",
    frames=_EVIDENCE,
    values=("receiver_state", "gap_ns", "cost_ns", "isn_delta", "answer", "is_old_alive"),
    set_when=(
        "the receiver is in a synchronised state and has not sent its last FIN",
        "it answers with its old sequence numbers, or not at all",
    ),
    not_set_when=(
        "the SYN belongs to the same connection",
        "a SYN+ACK follows at once: the receiver no longer had the previous connection",
    ),
    rfc=("RFC 9293 3.5.1", "RFC 5961 4.2"),
    remedy="Look if the client was started anew, or if a NAT or firewall forgot the connection and gave its port to another client: keep-alives on the server (TCP_KEEPIDLE) end such half-open connections. A load balancer that keeps the client's address and port sends two of its connections to one server: switch that off, or use one address of it.",
    advice=(
        Advice(goes_on_meanwhile, "the earlier connection went on", "Two senders use this address and port at once: look for a NAT with too few ports or two of them with one address, or a load balancer that keeps the client's address and port (AWS NLB: client IP preservation, cross-zone) and leads two of its addresses to one server. Otherwise somebody forges SYNs."),
    ),
    example="syn-into-established",
    counter="TcpExtTCPSYNChallenge",
    rival="a load balancer that keeps the client's address, and leads a new connection to a server that has the old one",
    key="attempt_id",
)  # fmt: skip

SYN_CHALLENGED_UNSEEN = Rule(
    id="RU013",
    name="syn-challenged-unseen",
    severity=WARNING,
    summary="A SYN was answered with other sequence numbers: the peer holds an earlier connection of this 4-tuple that is not in the capture.",
    table="reuses",
    predicate=syn_challenged_unseen,
    grades=(
        Grade(lambda r: went_whole_way(r) & (r.cost_ns >= STALL_NS), ERROR, CONFIRMED, "the delay was 1 s or longer"),
        Grade(lambda r: stalls(r) & (r.reset_frame >= 0), ERROR, CONFIRMED, "it never connected"),
        Grade(stalls, ERROR, LIKELY, "the client sent no RST: it may not have got the answer"),
        Grade(
            lambda r: r.reset_frame >= 0,
            NOTICE,
            CONFIRMED,
            "the delay was shorter than 1 s, or the capture ended before it was known",
        ),
        Grade(always, NOTICE, LIKELY),
    ),
    message="SYN from {ip}:{port} challenged by {peer_ip}:{peer_port}, which holds an earlier connection of this 4-tuple that is not in the capture (or came through a load balancer, under another address)[; {reset_frame:?}the client sent RST][; it retransmitted the SYN {syn_retries:time}][; it connected after {cost_ns}]",
    frames=("syn_frame", "answer_frame", "reset_frame", "retry_frame", "opened_frame"),
    values=("cost_ns", "isn_delta", "tsval_delta", "syn_retries", "outcome"),
    set_when=(
        "an ACK, or a SYN+ACK of another SYN, comes for a SYN, and its ACK field is not ISN + 1",
        "the client answers with RST, or retransmits the SYN",
    ),
    not_set_when=("the capture holds the earlier connection: RU004, RU011, LA001",),
    rfc=("RFC 9293 3.5.1", "RFC 9293 3.10.7.3", "RFC 5961 4.2"),
    remedy="On the server, ss -tano shows in which state it holds the earlier connection of this port. Let whoever chooses source ports reuse them later: a wider net.ipv4.ip_local_port_range on the client, more ports or addresses on a NAT. Behind a load balancer that keeps client addresses (AWS NLB: client IP preservation) two of its addresses lead to one server: use one of them, or switch that off.",
    example="syn-challenged-unseen",
    rival="a device that answers for the host",
    key="attempt_id",
)

ISN_NOT_ABOVE_LAST = Rule(
    id="RU012",
    name="isn-not-above-last",
    severity=NOTICE,
    summary="A SYN in TIME-WAIT had an ISN not above the old sequence numbers: it was accepted only because of its timestamp.",
    table="reuses",
    predicate=isn_not_above_last,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the ISN of {ip}:{port} is {isn_delta:#} below the next sequence number of its previous connection to {peer_ip}:{peer_port}; the SYN was accepted only because of its timestamp",
    frames=_EVIDENCE,
    values=("isn_delta", "tsval_delta", "gap_ns"),
    set_when=("the SYN was accepted in TIME-WAIT", "ISN <= RCV.NXT, TSval newer"),
    not_set_when=("the ISN is above",),
    rfc=("RFC 6528", "RFC 1122 4.2.2.13"),
    remedy="Look for a broken ISN generator, several hosts behind one address, or more than 2 GB sent in the previous connection.",
    example="isn-not-above-last",
    key="attempt_id",
)

RULES = (
    TW_REUSE_BY_HOLDER,
    REUSE_INSIDE_2MSL,
    TW_SYN_ACCEPTED,
    TW_SYN_CHALLENGED,
    TW_SYN_DROPPED,
    TW_SYN_REFUSED,
    TUPLE_REUSED_AFTER_2MSL,
    OLD_SYN_DUPLICATE,
    OLD_DUPLICATE_IN_NEW_INCARNATION,
    REUSE_AFTER_RST,
    SYN_INTO_ESTABLISHED,
    ISN_NOT_ABOVE_LAST,
    SYN_CHALLENGED_UNSEEN,
)
