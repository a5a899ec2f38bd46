"""PA: segments that a receiver drops because of their timestamp (RFC 7323 5.3, RFC 6191)."""

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.protocol.states import LAST_ACK, TIME_WAIT
from tcptrace_tw.rules.rule import Case, Derived, Grade, Mask, Rows, Rule, always, decided
from tcptrace_tw.rules.syn_answers import is_never_answered, is_new_syn, is_nobody_answered, stalls
from tcptrace_tw.schema.columns import FIN
from tcptrace_tw.schema.words import CONFIRMED, ERROR, INFO, LIKELY, NOTICE, PREDICTED, WARNING

(
    DROPPED,
    LIKELY_DROPPED,
    PREDICTED_DROPPED,
    ACCEPTED,
    OLD_DUPLICATE,
    STALE_ACK,
    TOLERATED,
    UNSURE,
) = range(8)


def has_text(r: Rows) -> Mask:
    """The segment carries payload or a FIN."""
    return (r.payload_len > 0) | ((r.tcp_flags & FIN) != 0)


def repeats_question(r: Rows) -> Mask:
    """The receiver's next ACK requests the segment's first byte and echoes a newer TSval."""
    return (r.answer_frame >= 0) & (r.answer_ack_delta == 0) & (r.is_answer_newer != 0)


def was_repeated(r: Rows) -> Mask:
    """The bytes were retransmitted with a valid timestamp, and acknowledged only after that."""
    return (r.retransmit_frame >= 0) & (r.acked_frame >= 0) & (r.acked_frame > r.retransmit_frame)


STALE_SEGMENT: tuple[Case, ...] = (
    Case(lambda r: has_text(r) & (r.is_before_syn != 0), OLD_DUPLICATE, "sent before the SYN of this connection", "old-duplicate-in-new-incarnation-nearly", "old-duplicate-rejected"),
    Case(lambda r: ~has_text(r), STALE_ACK, "no payload and no FIN: its effect is not visible", "stale-ack", "paws-drop"),
    Case(lambda r: (r.is_copy != 0) & (r.seq_delta < 0), OLD_DUPLICATE, "bytes that the receiver already had: PAWS works as intended", "old-duplicate-rejected", "stale-copy-above-a-hole"),
    Case(lambda r: (r.is_copy != 0) & (r.is_in_order == 0), UNSURE, "a copy of bytes that are still in flight: dropping it has no effect", "stale-copy-above-a-hole", "old-duplicate-rejected"),
    Case(lambda r: (r.sack_frame >= 0), ACCEPTED, "the receiver reports it by SACK, above a gap", "stale-segment-reported-by-sack", "paws-drop-above-a-hole"),
    Case(
        lambda r: (r.is_in_order != 0) & (r.acked_frame >= 0) & ((r.retransmit_frame < 0) | (r.acked_frame < r.retransmit_frame)),
        ACCEPTED, "acknowledged although no other copy was captured", "paws-not-enforced", "paws-not-enforced-nearly",
    ),
    Case(lambda r: (r.is_in_order != 0) & repeats_question(r) & was_repeated(r), DROPPED, "requested again, retransmitted, acknowledged", "paws-drop", "paws-drop-unanswered"),
    Case(lambda r: (r.is_in_order != 0) & repeats_question(r), LIKELY_DROPPED, "requested again; no retransmission was captured", "paws-drop-no-retransmission", "paws-drop"),
    Case(lambda r: (r.is_in_order != 0) & was_repeated(r), LIKELY_DROPPED, "retransmitted; loss after the capture point would look the same", "paws-drop-unanswered", "paws-drop-predicted"),
    Case(lambda r: r.is_in_order != 0, PREDICTED_DROPPED, "no later segment decides it", "paws-drop-predicted", "paws-drop-unanswered"),
    Case(lambda r: (r.seq_delta > 0) & was_repeated(r), LIKELY_DROPPED, "above a gap, not reported by SACK, retransmitted", "paws-drop-above-a-hole", "stale-segment-above-a-hole-nearly"),
    Case(lambda r: r.seq_delta < 0, OLD_DUPLICATE, "bytes that the receiver already had", "stale-segment-overlaps", "paws-drop-predicted"),
    Case(always, UNSURE, "no later segment decides it", "stale-segment-above-a-hole-nearly", "paws-drop-above-a-hole"),
)  # fmt: skip


def verdict(rows: Rows) -> NDArray[np.uint8]:
    """``STALE_SEGMENT`` applied: first match wins."""
    return decided(STALE_SEGMENT, rows)


def paws_drop(r: Rows) -> Mask:
    """PA001."""
    return (r.verdict == DROPPED) | (r.verdict == LIKELY_DROPPED) | (r.verdict == PREDICTED_DROPPED)


def paws_not_enforced(r: Rows) -> Mask:
    """PA002."""
    return r.verdict == ACCEPTED


def syn_ts_regressed(reuses: Rows) -> Mask:
    """PA004."""
    was_alive = (reuses.receiver_state == TIME_WAIT) | (reuses.receiver_state == LAST_ACK)
    both = (reuses.has_ts != 0) & (reuses.previous_ts_ok != 0)
    to_blame = ~(is_nobody_answered(reuses) & is_never_answered(reuses))
    return both & (reuses.tsval_delta < 0) & was_alive & (reuses.is_by_holder == 0) & is_new_syn(reuses) & to_blame


def old_duplicate_rejected(r: Rows) -> Mask:
    """PA003."""
    return r.verdict == OLD_DUPLICATE


def stale_ack(r: Rows) -> Mask:
    """PA005."""
    return r.verdict == STALE_ACK


def ts_missing(anomalies: Rows) -> Mask:
    """PA006."""
    return anomalies.ts_missing_frame >= 0


def sender_ts_broken(anomalies: Rows) -> Mask:
    """PA007: the clock went backwards and stayed there."""
    return anomalies.ts_back_segments >= STAYS


def ts_clock_step(anomalies: Rows) -> Mask:
    """PA010."""
    return anomalies.ts_step_frame >= 0


def ts_wrap_near(anomalies: Rows) -> Mask:
    """PA011."""
    return anomalies.idle_frame >= 0


STAYS = 3
"""With this many lower segments in a row it is the clock, not a reordered segment."""

STALL_NS = 1_000_000_000
MANY_DROPS = 3


def hurts(r: Rows) -> Mask:
    """The data was delayed by 1 s or longer, or at least three segments of the connection were dropped."""
    long = (r.acked_time >= 0) & (r.acked_time - r.time >= STALL_NS)
    _, inverse, counts = np.unique(r.connection_id, return_inverse=True, return_counts=True)
    many: Mask = counts[inverse] >= MANY_DROPS
    return long | many


_EVIDENCE = ("ts_recent_frame", "echo_frame", "frame", "answer_frame", "retransmit_frame", "acked_frame")

PAWS_DROP = Rule(
    id="PA001",
    name="paws-drop",
    severity=WARNING,
    summary="The receiver dropped new data or a FIN because of its stale timestamp (PAWS).",
    table="stale_segments",
    predicate=paws_drop,
    grades=(
        Grade(lambda r: (r.is_clock_broken != 0) & (r.verdict == DROPPED), WARNING, LIKELY, "the sender's own clock goes backwards: PA007 is the cause"),
        Grade(lambda r: r.is_clock_broken != 0, WARNING, PREDICTED, "the sender's own clock goes backwards: PA007"),
        Grade(lambda r: (r.verdict == DROPPED) & hurts(r), ERROR, CONFIRMED),
        Grade(lambda r: r.verdict == DROPPED, WARNING, CONFIRMED),
        Grade(lambda r: (r.verdict == LIKELY_DROPPED) & hurts(r), ERROR, LIKELY),
        Grade(lambda r: r.verdict == LIKELY_DROPPED, WARNING, LIKELY),
        Grade(always, WARNING, PREDICTED),
    ),
    message="{peer_ip}:{peer_port} dropped a segment from {ip}:{port}: TSval {tsval} is below TS.Recent {ts_recent}",
    frames=_EVIDENCE,
    values=("tsval", "ts_recent", "payload_len", "seq_delta", "verdict"),
    set_when=(
        "TSval is below a value that the receiver has echoed, by more than one tick",
        "the segment is the next one that the receiver expects",
    ),
    not_set_when=(
        "the segment is a pure ACK, a keep-alive probe, a RST, or bytes that the receiver already had",
        "it is acknowledged without a retransmission: that is PA002",
    ),
    rfc=("RFC 7323 5.3",),
    remedy="Find out why segments arrive late, or why two hosts share one 4-tuple (reordering, NAT, a merged capture).",
    example="paws-drop",
    counter="TcpExtPAWSEstab",
    rival="loss between the capture point and the receiver, if no answer was captured",
)  # fmt: skip

PAWS_NOT_ENFORCED = Rule(
    id="PA002",
    name="paws-not-enforced",
    severity=INFO,
    summary="The receiver accepted a segment with a stale timestamp.",
    table="stale_segments",
    predicate=paws_not_enforced,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{peer_ip}:{peer_port} accepted a segment from {ip}:{port} with TSval {tsval}, below TS.Recent {ts_recent}",
    frames=_EVIDENCE,
    values=("tsval", "ts_recent", "payload_len"),
    set_when=("a stale segment is acknowledged although no other copy of its bytes was captured",),
    not_set_when=("the bytes were retransmitted before they were acknowledged",),
    rfc=("RFC 7323 5.3",),
    remedy="Nothing to do: the receiver's stack, or a proxy in front of it, does not apply PAWS.",
    example="paws-not-enforced",
)

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
    message="SYN from {ip}:{port} to {peer_ip}:{peer_port}: its TSval is lower than the previous connection's last one, by {tsval_delta:#}; it comes from another host or another clock",
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

OLD_DUPLICATE_REJECTED = Rule(
    id="PA003",
    name="old-duplicate-rejected",
    severity=INFO,
    summary="The receiver rejected a late duplicate of received bytes, by PAWS or by the sequence number check.",
    table="stale_segments",
    predicate=old_duplicate_rejected,
    grades=(
        Grade(lambda r: (r.dsack_frame >= 0) | (r.answer_frame >= 0), INFO, CONFIRMED),
        Grade(always, INFO, PREDICTED),
    ),
    message="{peer_ip}:{peer_port} rejected a late duplicate[ of {payload_len:byte}] from {ip}:{port}[; it is an old segment of the previous connection{is_before_syn:?}]",
    frames=("frame", "answer_frame", "dsack_frame"),
    values=("tsval", "ts_recent", "seq_delta", "payload_len"),
    set_when=("TSval is below TS.Recent, and the bytes are below RCV.NXT",),
    not_set_when=("the bytes are new: that is PA001",),
    rfc=("RFC 7323 5.3",),
    remedy="Nothing to do.",
    example="old-duplicate-rejected",
)

STALE_ACK_RULE = Rule(
    id="PA005",
    name="stale-ack",
    severity=INFO,
    summary="A pure ACK has an old timestamp: later segments overtook it.",
    table="stale_segments",
    predicate=stale_ack,
    grades=(Grade(always, INFO, PREDICTED, "its effect is not visible"),),
    message="a pure ACK from {ip}:{port} to {peer_ip}:{peer_port} has TSval {tsval}, below TS.Recent {ts_recent}",
    frames=("ts_recent_frame", "echo_frame", "frame"),
    values=("tsval", "ts_recent", "seq_delta", "count"),
    set_when=("a segment without payload and FIN has a TSval below TS.Recent, by more than one tick",),
    not_set_when=("it carries payload or a FIN",),
    rfc=("RFC 7323 5.3",),
    remedy="Nothing to do. Many of them mean reordering.",
    example="stale-ack",
    counter="TcpExtPAWSOldAck",
)

TS_MISSING = Rule(
    id="PA006",
    name="ts-missing-after-negotiation",
    severity=NOTICE,
    summary="A segment has no timestamp although both SYNs negotiated timestamps.",
    table="anomalies",
    predicate=ts_missing,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{ip}:{port} sent {ts_missing:segment} without timestamps to {peer_ip}:{peer_port}, although both SYNs carried them",
    frames=("syn_frame", "ts_missing_frame"),
    values=("ts_missing",),
    set_when=("both SYNs carried timestamps", "a segment other than a RST carries none"),
    not_set_when=("the snap length cut off the options",),
    rfc=("RFC 7323 3.2",),
    remedy="Find the device that strips options or answers for the host: compare TTLs, and capture on both sides of it. Where the server answers with SYN cookies (nstat TcpExtSyncookiesSent rises), raise its backlog: a cookie may not keep the options of the SYN.",
    example="ts-missing-after-negotiation",
    rival="a server that answered with a SYN cookie and forgot that timestamps had been offered",
)

SENDER_TS_BROKEN = Rule(
    id="PA007",
    name="sender-ts-broken",
    severity=WARNING,
    summary="The timestamp clock of a sender went backwards and stayed there.",
    table="anomalies",
    predicate=sender_ts_broken,
    grades=(Grade(always, WARNING, LIKELY),),
    message="the timestamps of {ip}:{port} towards {peer_ip}:{peer_port} went backwards by {ts_back_ticks:tick} and stayed there",
    frames=("ts_back_frame",),
    values=("ts_back_ticks", "ts_back_segments"),
    set_when=(
        "new data has a TSval lower than the previous one, by 1 s or more",
        "at least two segments after it are lower too",
    ),
    not_set_when=("only retransmissions carry old timestamps", "the next segment is higher again"),
    rfc=("RFC 7323 5.4",),
    remedy="Look for a clock that was set back, or a virtual machine that moved to another host.",
    example="sender-ts-broken",
    rival="two hosts on one 4-tuple (NAT)",
)

TS_CLOCK_STEP = Rule(
    id="PA010",
    name="ts-clock-step",
    severity=NOTICE,
    summary="A timestamp clock jumped ahead within a connection.",
    table="anomalies",
    predicate=ts_clock_step,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="the timestamps of {ip}:{port} towards {peer_ip}:{peer_port} jumped ahead by {ts_step_ms:ms}",
    frames=("ts_step_frame",),
    values=("ts_step_ms",),
    set_when=("TSval rises by 60 s more than the sender's own rate so far explains",),
    not_set_when=("the sender was silent for that long",),
    rfc=("RFC 7323 5.4",),
    remedy="Look for a live migration, or a clock that was set; the receiver cannot notice it.",
    example="ts-clock-step",
    rival="two hosts on one 4-tuple (NAT)",
)

TS_WRAP_NEAR = Rule(
    id="PA011",
    name="ts-wrap-near",
    severity=INFO,
    summary="A connection was idle for so long that TS.Recent was no longer valid.",
    table="anomalies",
    predicate=ts_wrap_near,
    grades=(Grade(always, INFO, PREDICTED),),
    message="{ip}:{port} was silent towards {peer_ip}:{peer_port} for {idle_ns}: TS.Recent is no longer valid",
    frames=("idle_frame",),
    values=("idle_ns",),
    set_when=("silent for longer than the profile's stack trusts TS.Recent (Linux 2147 s, others 24 days)",),
    not_set_when=("keep-alives with timestamps arrived in between",),
    rfc=("RFC 7323 5.5",),
    remedy="Enable keep-alives.",
    example="ts-wrap-near",
)

SURE, ENOUGH = 3, 2
"""The number of SYNs of each kind that are needed (docs/semantics.md: clocks)."""

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


def nat_many_clocks(clocks: Rows) -> Mask:
    """PA009."""
    return clocks.clocks >= 2


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
    PAWS_DROP,
    PAWS_NOT_ENFORCED,
    OLD_DUPLICATE_REJECTED,
    SYN_TS_REGRESSED,
    STALE_ACK_RULE,
    TS_MISSING,
    SENDER_TS_BROKEN,
    TW_RECYCLE_DROP,
    NAT_MANY_CLOCKS,
    TS_CLOCK_STEP,
    TS_WRAP_NEAR,
)

DERIVED = (Derived("stale_segments", "verdict", verdict),)
