"""PA: segments that a receiver drops for their timestamp (RFC 7323 5.3, RFC 6191)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.rules.reuse import stalls
from tcptrace_tw.rules.rule import Derived, Grade, Mask, Rows, Rule, always
from tcptrace_tw.spec.columns import FIN
from tcptrace_tw.spec.states import LAST_ACK, TIME_WAIT
from tcptrace_tw.spec.words import CONFIRMED, ERROR, INFO, LIKELY, PREDICTED, WARNING

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


class Case(NamedTuple):
    """One row of the decision table for a stale segment: where ``when`` holds, this is the verdict."""

    when: Callable[[Rows], Mask]
    verdict: int
    why: str


def has_text(r: Rows) -> Mask:
    """The segment has length."""
    return (r.payload_len > 0) | ((r.tcp_flags & FIN) != 0)


def repeats_question(r: Rows) -> Mask:
    """The receiver's next ACK asks for the segment's first byte and echoes a newer TSval."""
    return (r.answer_frame >= 0) & (r.answer_ack_delta == 0) & (r.is_answer_newer != 0)


def was_repeated(r: Rows) -> Mask:
    """The bytes came again with a good timestamp, and only then they were acknowledged."""
    return (r.retransmit_frame >= 0) & (r.acked_frame >= 0) & (r.acked_frame > r.retransmit_frame)


STALE_SEGMENT: tuple[Case, ...] = (
    Case(lambda r: ~has_text(r), STALE_ACK, "no text: what becomes of it is not visible"),
    Case(lambda r: (r.is_copy != 0) & (r.seq_delta < 0), OLD_DUPLICATE, "bytes that the receiver had: PAWS did its work"),
    Case(lambda r: (r.is_copy != 0) & (r.is_in_order == 0), UNSURE, "a copy of bytes on their way: it is not missed"),
    Case(lambda r: (r.sack_frame >= 0), ACCEPTED, "the receiver reports it above a hole"),
    Case(
        lambda r: (r.is_in_order != 0) & (r.acked_frame >= 0) & ((r.retransmit_frame < 0) | (r.acked_frame < r.retransmit_frame)),
        ACCEPTED, "acknowledged although no other copy came",
    ),
    Case(lambda r: (r.is_in_order != 0) & repeats_question(r) & was_repeated(r), DROPPED, "asked for again, repeated, acknowledged"),
    Case(lambda r: (r.is_in_order != 0) & repeats_question(r), LIKELY_DROPPED, "asked for again; no repeat was captured"),
    Case(lambda r: (r.is_in_order != 0) & was_repeated(r), LIKELY_DROPPED, "repeated; loss behind the tap could do the same"),
    Case(lambda r: r.is_in_order != 0, PREDICTED_DROPPED, "nothing follows that would tell"),
    Case(lambda r: (r.seq_delta > 0) & was_repeated(r), LIKELY_DROPPED, "above a hole, not reported by SACK, repeated"),
    Case(lambda r: r.seq_delta < 0, OLD_DUPLICATE, "bytes that the receiver had"),
    Case(always, UNSURE, "nothing follows that would tell"),
)  # fmt: skip


def verdict(rows: Rows) -> NDArray[np.uint8]:
    """``STALE_SEGMENT`` applied: first match wins."""
    codes = np.full(rows.size, UNSURE, np.uint8)
    for case in reversed(STALE_SEGMENT):
        codes[case.when(rows)] = case.verdict
    return codes


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
    return both & (reuses.tsval_delta < 0) & was_alive & (reuses.is_by_holder == 0)


STALL_NS = 1_000_000_000
MANY_DROPS = 3


def hurts(r: Rows) -> Mask:
    """The data waited a second or more, or three and more segments of the connection were dropped."""
    long = (r.acked_time >= 0) & (r.acked_time - r.time >= STALL_NS)
    _, inverse, counts = np.unique(r.connection_id, return_inverse=True, return_counts=True)
    many: Mask = counts[inverse] >= MANY_DROPS
    return long | many


_EVIDENCE = ("ts_recent_frame", "echo_frame", "frame", "answer_frame", "retransmit_frame", "acked_frame")

PAWS_DROP = Rule(
    id="PA001",
    name="paws-drop",
    severity=WARNING,
    summary="New data or a FIN was dropped because its timestamp was stale.",
    table="stale_segments",
    predicate=paws_drop,
    grades=(
        Grade(lambda r: (r.verdict == DROPPED) & hurts(r), ERROR, CONFIRMED),
        Grade(lambda r: r.verdict == DROPPED, WARNING, CONFIRMED),
        Grade(lambda r: (r.verdict == LIKELY_DROPPED) & hurts(r), ERROR, LIKELY),
        Grade(lambda r: r.verdict == LIKELY_DROPPED, WARNING, LIKELY),
        Grade(always, WARNING, PREDICTED),
    ),
    message="{peer_ip}:{peer_port} dropped a segment of {ip}:{port}: TSval {tsval} is below TS.Recent {ts_recent}",
    frames=_EVIDENCE,
    values=("tsval", "ts_recent", "payload_len", "seq_delta", "verdict"),
    set_when=(
        "TSval is below a value that the receiver has echoed, by more than one tick",
        "the segment is the next that the receiver expects",
    ),
    not_set_when=(
        "the segment is a pure ACK, a keep-alive probe, a RST, or bytes that had been received",
        "it is acknowledged without a repeat: that is PA002",
    ),
    rfc=("RFC 7323 5.3",),
    remedy="Find what delays segments or joins two hosts on one tuple (reordering, NAT, a merged capture).",
    example="paws-drop",
    counter="TcpExtPAWSEstab",
    rival="loss between the tap and the receiver, where no answer was captured",
)

PAWS_NOT_ENFORCED = Rule(
    id="PA002",
    name="paws-not-enforced",
    severity=INFO,
    summary="A segment with a stale timestamp was accepted.",
    table="stale_segments",
    predicate=paws_not_enforced,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{peer_ip}:{peer_port} accepted a segment of {ip}:{port} with TSval {tsval}, below TS.Recent {ts_recent}",
    frames=_EVIDENCE,
    values=("tsval", "ts_recent", "payload_len"),
    set_when=("a stale segment is acknowledged although no other copy of its bytes passed",),
    not_set_when=("the bytes were sent again before they were acknowledged",),
    rfc=("RFC 7323 5.3",),
    remedy="Nothing on this host; its stack, or a proxy in front of it, does not apply PAWS.",
    example="paws-not-enforced",
)

SYN_TS_REGRESSED = Rule(
    id="PA004",
    name="syn-ts-regressed-on-reuse",
    severity=WARNING,
    summary="A SYN came with a TSval below the last one of the earlier incarnation of its tuple.",
    table="reuses",
    predicate=syn_ts_regressed,
    grades=(
        Grade(lambda r: stalls(r) & (r.answer_frame >= 0), ERROR, CONFIRMED, "a second or more was lost, or all"),
        Grade(stalls, ERROR, LIKELY),
        Grade(lambda r: r.answer_frame >= 0, WARNING, CONFIRMED),
        Grade(always, WARNING, PREDICTED),
    ),
    message="the SYN of {ip}:{port} carries a TSval {tsval_delta} ticks from the earlier incarnation's: other host, or other clock",
    frames=("time_wait_frame", "syn_frame", "answer_frame", "reset_frame", "opened_frame"),
    values=("tsval_delta", "isn_delta", "gap_ns", "cost_ns", "answer"),
    set_when=("the receiver is in TIME-WAIT or LAST-ACK", "both incarnations use timestamps, and the new TSval is lower"),
    not_set_when=("the holder of TIME-WAIT sends the SYN itself",),
    rfc=("RFC 6191", "RFC 7323 5.3"),
    remedy=(
        "Several hosts behind one address, random-fully NAT ports with per-connection timestamp offsets, or a NAT that "
        "frees a tuple too early: drop --random-fully, set tcp_timestamps=2 on the clients, let the client close first, "
        "keep connections alive longer."
    ),
    example="syn-ts-regressed-on-reuse",
    counter="TcpExtPAWSTimewait",
    key="attempt_id",
)

RULES = (PAWS_DROP, PAWS_NOT_ENFORCED, SYN_TS_REGRESSED)

DERIVED = (Derived("stale_segments", "verdict", verdict),)
