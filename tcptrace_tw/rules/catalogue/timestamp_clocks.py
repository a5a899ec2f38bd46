"""PA: the timestamps of SYNs of one address: one clock or several (RFC 6191, RFC 7323 7)."""

from tcptrace_tw.protocol.states import LAST_ACK, TIME_WAIT
from tcptrace_tw.rules.decisions.syn_answers import is_never_answered, is_new_syn, is_nobody_answered, stalls
from tcptrace_tw.rules.predicates import ENOUGH, SURE
from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import CONFIRMED, ERROR, INFO, LIKELY, NOTICE, PREDICTED, WARNING


def syn_ts_regressed(reuses: Rows) -> Mask:
    """PA004."""
    was_alive = (reuses.receiver_state == TIME_WAIT) | (reuses.receiver_state == LAST_ACK)
    both = (reuses.has_ts != 0) & (reuses.previous_ts_ok != 0)
    to_blame = ~(is_nobody_answered(reuses) & is_never_answered(reuses))
    return both & (reuses.tsval_delta < 0) & was_alive & (reuses.is_by_holder == 0) & is_new_syn(reuses) & to_blame


SYN_TS_REGRESSED = Rule(
    id="PA004",
    name="syn-ts-regressed-on-reuse",
    severity=WARNING,
    summary="A SYN reused a 4-tuple with a TSval lower than the previous connection's last one.",
    table="reuses",
    predicate=syn_ts_regressed,
    grades=(
        Grade(
            lambda r: stalls(r) & (r.answer_frame >= 0),
            ERROR,
            CONFIRMED,
            "the delay was 1 s or longer, or it never connected",
        ),
        Grade(stalls, WARNING, LIKELY, "nothing answered: RU005 says what came of it"),
        Grade(lambda r: r.answer_frame >= 0, WARNING, CONFIRMED),
        Grade(always, WARNING, PREDICTED),
    ),
    message="SYN from {ip}:{port} to {peer_ip}:{peer_port}: its TSval is lower than the previous connection's last one, by {tsval_delta:#}; it {?}comes from another host or another clock",
    frames=("time_wait_frame", "syn_frame", "answer_frame", "reset_frame", "opened_frame"),
    values=("tsval_delta", "isn_delta", "gap_ns", "cost_ns", "answer"),
    set_when=(
        "the receiver is in TIME-WAIT or LAST-ACK",
        "both connections use timestamps, and the new TSval is lower",
    ),
    not_set_when=(
        "the side in TIME-WAIT sends the SYN itself",
        "nothing answers, and the service answers nobody then: SI001",
    ),
    rfc=("RFC 6191", "RFC 7323 5.3"),
    remedy=(
        "Look for several hosts behind one address, a NAT that picks random ports (--random-fully) while clients use a "
        "timestamp offset per connection, or a NAT that reuses a port too early. Remove --random-fully on the NAT gateway, "
        "set net.ipv4.tcp_timestamps=2 on the clients, let the clients close first, or keep connections open longer."
    ),
    example="syn-ts-regressed-on-reuse",
    counter="TcpExtPAWSTimewait",
    key="attempt_id",
)

MANY_ANSWERED = 50
"""One in this many answered SYNs may be lower than another: the network reorders segments before the capture point."""


def tw_recycle_drop(clocks: Rows) -> Mask:
    """PA008: every ignored SYN is stale, and no answered one is, except for a few reordered ones of many."""
    answered_fresh = clocks.answered_stale * MANY_ANSWERED <= clocks.answered
    separated = (clocks.ignored_stale == clocks.ignored) & answered_fresh & (clocks.ignored > 0)
    # A single SYN proves something only where the clocks are known: randomised offsets are low or high by chance.
    once = (clocks.clocks >= 2) | (clocks.ignored >= ENOUGH)
    remembered = (clocks.has_shared_clock != 0) & (clocks.has_server_time_wait != 0)
    return separated & once & remembered & (clocks.answered >= ENOUGH)


TW_RECYCLE_DROP = Rule(
    id="PA008",
    name="tw-recycle-drop",
    severity=ERROR,
    summary="A server ignores SYNs from one address because of their timestamps: tcp_tw_recycle with clients behind NAT.",
    table="clocks",
    predicate=tw_recycle_drop,
    grades=(
        Grade(lambda r: (r.ignored >= SURE) & (r.answered >= SURE) & (r.clocks >= 2), ERROR, CONFIRMED, "at least three of each kind, clearly separated"),
        Grade(lambda r: r.ignored >= ENOUGH, ERROR, LIKELY),
        Grade(always, NOTICE, PREDICTED, "a single SYN from an address with several clocks: loss would look the same"),
    ),
    message="{peer_ip} ignored {ignored:SYN} from {ip}, each with a timestamp lower than one answered in the 60 s before, and ignored no other SYN",
    frames=("first_ignored_frame", "last_ignored_frame"),
    values=("ignored", "answered", "clocks", "offset_ms"),
    set_when=(
        "SYNs with timestamps are never answered, and each is lower than one answered in the 60 s before",
        "at least two of them, or one if several clocks are known behind the address",
        "no answered SYN is lower, or fewer than one in fifty",
        "two of the SYNs share a clock, and the server had entered TIME-WAIT towards that address in the minute before",
    ),
    not_set_when=("each SYN has a timestamp offset of its own: which of them are lower is chance",
        "the server has closed no connection of that address first: it remembers no timestamp",
        "SYNs with newer timestamps are ignored too: a full queue, a firewall, loss", "the 4-tuple is in TIME-WAIT: that is PA004"),
    rfc=("RFC 6191", "RFC 7323 7"),
    remedy="Turn tcp_tw_recycle off on the server, or upgrade to Linux 4.12 or later.",
    example="tw-recycle-drop",
    counter="TcpExtPAWSPassive",
    rival="a full accept queue, or a firewall that happens to drop just these SYNs",
    end_time="end_time",
)  # fmt: skip


def nat_many_clocks(clocks: Rows) -> Mask:
    """PA009."""
    return clocks.clocks >= 2


NAT_MANY_CLOCKS = Rule(
    id="PA009",
    name="nat-many-clocks",
    severity=INFO,
    summary="SYNs from one address use several timestamp clocks: several hosts behind NAT.",
    table="clocks",
    predicate=nat_many_clocks,
    grades=(Grade(always, INFO, LIKELY),),
    message="{clocks:timestamp clock} behind {ip} send SYNs to {peer_ip}, up to {offset_ms:ms} apart",
    frames=("syn_frame",),
    values=("clocks", "syns", "rate_hz", "offset_ms"),
    set_when=("the SYNs come from two or more clocks, each seen on three or more ports",),
    not_set_when=("each connection has its own timestamp offset: Linux randomises it per 4-tuple",),
    rfc=("RFC 7323 7", "RFC 6191"),
    remedy="Nothing to do for this alone; it explains PA004 and PA008.",
    example="nat-many-clocks",
    end_time="end_time",
)

RULES = (
    SYN_TS_REGRESSED,
    TW_RECYCLE_DROP,
    NAT_MANY_CLOCKS,
)
