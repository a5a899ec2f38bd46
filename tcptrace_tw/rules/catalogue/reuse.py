"""RU: who reused a 4-tuple, and how soon, whatever the answer was (RFC 9293 3.6.1, RFC 6191)."""

from tcptrace_tw.rules.decisions.syn_answers import is_accepted, met_time_wait
from tcptrace_tw.rules.predicates import SYN_FRAMES, both_have_timestamps, is_inside
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always, is_observed
from tcptrace_tw.schema.observed import ACKS, OPTIONS
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NONE, NOTICE, OUTCOME_ACCEPTED, WARNING


def tw_reuse_by_holder(reuses: Rows) -> Mask:
    """RU001."""
    return (reuses.is_by_holder != 0) & is_inside(reuses) & (reuses.is_linux_tw_reuse != 0)


TW_REUSE_BY_HOLDER = Rule(
    id="RU001",
    name="tw-reuse-by-holder",
    severity=INFO,
    summary="A Linux client reused a port that was in its own TIME-WAIT (tcp_tw_reuse, or a bound source port).",
    table="reuses",
    predicate=tw_reuse_by_holder,
    grades=(Grade(always, INFO, CONFIRMED, "the ISN or the TSecr proves it"),),
    message="{ip}:{port} tried to reuse its port to {peer_ip}:{peer_port} {gap_ns} into its own TIME-WAIT; the SYN was {outcome}",
    frames=SYN_FRAMES,
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

SURE_GAP_NS = 30_000_000_000
"""Below this gap every common stack is still inside its 2MSL."""


def reuse_inside_2msl(reuses: Rows) -> Mask:
    """RU002."""
    return (reuses.is_by_holder != 0) & is_inside(reuses) & (reuses.is_linux_tw_reuse == 0)


def came_to_nothing(reuses: Rows) -> Mask:
    """No SYN+ACK came, or its sender did not acknowledge it: an old duplicate of a SYN does not."""
    return ~is_accepted(reuses) | ((reuses.completed_frame < 0) & is_observed(reuses, ACKS))


def lacks_ts(reuses: Rows) -> Mask:
    """Neither connection uses timestamps; not where the snap length may have cut them off."""
    return (reuses.has_ts == 0) & (reuses.previous_ts_ok == 0) & is_observed(reuses, OPTIONS)


REUSE_INSIDE_2MSL = Rule(
    id="RU002",
    name="reuse-inside-2msl",
    severity=NOTICE,
    summary="A client reused a 4-tuple before 2MSL had passed.",
    table="reuses",
    predicate=reuse_inside_2msl,
    grades=(
        Grade(came_to_nothing, NOTICE, CONFIRMED, "nothing came of it: old segments have no connection to reach"),
        Grade(lambda r: lacks_ts(r) & (r.gap_ns < SURE_GAP_NS), WARNING, CONFIRMED, "only the ISN separates old segments from new ones"),
        Grade(lacks_ts, WARNING, LIKELY),
        Grade(lambda r: r.gap_ns < SURE_GAP_NS, NOTICE, CONFIRMED, "inside 2MSL for every common stack"),
        Grade(always, NOTICE, LIKELY, "the host's 2MSL may be shorter than the profile's"),
    ),
    message="{ip}:{port} tried to reuse its port to {peer_ip}:{peer_port} {gap_ns} into its own TIME-WAIT, {?}before 2MSL had passed; the SYN was {outcome}",
    wordings=(
        Wording(lambda r: is_accepted(r) & (r.outcome == OUTCOME_ACCEPTED), "the SYN was accepted", "{ip}:{port} reused its port to {peer_ip}:{peer_port} {gap_ns} into its own TIME-WAIT, {?}before 2MSL had passed"),
        Wording(is_accepted, "the SYN was accepted in the end", "{ip}:{port} reused its port to {peer_ip}:{peer_port} {gap_ns} into its own TIME-WAIT, {?}before 2MSL had passed; the SYN was {outcome}"),
    ),
    frames=SYN_FRAMES,
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


def is_ended(reuses: Rows) -> Mask:
    """The previous connection was over: TIME-WAIT had begun, or a RST had ended it."""
    return (reuses.holder != NONE) | (reuses.is_previous_reset != 0)


def tuple_reused_after_2msl(reuses: Rows) -> Mask:
    """RU007."""
    return is_ended(reuses) & ~is_inside(reuses) & (reuses.gap_ns >= 0) & ~met_time_wait(reuses)


TUPLE_REUSED_AFTER_2MSL = Rule(
    id="RU007",
    name="tuple-reused-after-2msl",
    severity=INFO,
    summary="A client reused a 4-tuple soon after 2MSL had passed.",
    table="reuses",
    predicate=tuple_reused_after_2msl,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} tried to reuse its port to {peer_ip}:{peer_port} {gap_ns} after the previous connection, when 2MSL had passed; the SYN was {outcome}",
    frames=SYN_FRAMES,
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


def reuse_after_rst(reuses: Rows) -> Mask:
    """RU010."""
    return (reuses.is_previous_reset != 0) & (reuses.holder == NONE) & is_inside(reuses)


REUSE_AFTER_RST = Rule(
    id="RU010",
    name="reuse-after-rst",
    severity=INFO,
    summary="A client reused a 4-tuple after a RST: no TIME-WAIT protected the new connection.",
    table="reuses",
    predicate=reuse_after_rst,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} tried to reuse its port to {peer_ip}:{peer_port} {gap_ns} after a RST had ended the previous connection; the SYN was {outcome}",
    frames=SYN_FRAMES,
    values=("gap_ns", "isn_delta"),
    set_when=("the previous connection ended by RST or was refused", "less than 2MSL ago"),
    not_set_when=("one side had been in TIME-WAIT",),
    rfc=("RFC 1337",),
    remedy="Do not close with SO_LINGER 0.",
    example="reuse-after-rst",
    key="attempt_id",
)

RULES = (
    TW_REUSE_BY_HOLDER,
    REUSE_INSIDE_2MSL,
    TUPLE_REUSED_AFTER_2MSL,
    REUSE_AFTER_RST,
)
