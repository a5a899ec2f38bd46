"""What is rare about an endpoint: a record is only made where there is something to say (rules HS, PA006-011, CP).

A connection without anomalies pays for two comparisons a segment. The record waits in a pool until the incarnation
is let go, as those of stale segments and resets do.
"""

from __future__ import annotations

from typing import Any

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_ge
from tcptrace_tw.protocol.states import ESTABLISHED
from tcptrace_tw.schema.columns import ACK, FIN, HAS_TS, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import DATA_TAKEN_LATE
from tcptrace_tw.tcp.facts.silence import is_data_waiting, make_blank_silence
from tcptrace_tw.tcp.store.access import anomaly_at, conn_at, reuse_at, tcb_at
from tcptrace_tw.tcp.store.freelists import new_anomaly
from tcptrace_tw.tcp.store.records import (
    ACKED,
    FIN_SENT,
    HAS_RST,
    MERGED,
    MERGED_FRAME,
    NOW,
    START,
    SWAP_FRAME,
    SWAP_LAG,
    SWAPS,
    UNSEEN_BYTES,
    UNSEEN_FRAME,
    Conn,
    KernelState,
    Row,
    Tcb,
)

NS = 1_000_000_000

CALM_TICKS = 60_000
"""A TSval may rise so much from segment to segment before anybody looks closer."""

CALM_NS = 60 * NS
"""An endpoint may be silent so long before anybody looks closer."""

STEP_MS = 60_000
"""A clock that leaps by less than this is not reported."""

BACK_MS = 1000
"""A clock that goes back by less than this may be a segment that was overtaken."""

HOUR_MS = 3_600_000

LONGEST_MS = (1 << 31) - 1
"""A clock of 1 kHz goes round in twice that time: over a longer one its ticks tell nothing, and products overflow."""

LONG_HALF_CLOSED_NS = 60 * NS
"""How long one end may keep its side open (docs/semantics.md: TIME-WAIT)."""

SWAP_NS = NS
"""Data that comes so soon after its ACK was swapped by the tap; later it is a copy of what the capture lost."""


@kernel
def anomaly_of(st: KernelState, c: int, side: int) -> int:
    """The record of an endpoint; a new one where there is none."""
    conn = conn_at(st, c)
    at = conn.anomaly
    while at >= 0:
        row = anomaly_at(st, at)
        if row.endpoint == side:
            return at
        at = row.next
    at = new_anomaly(st)
    row = anomaly_at(st, at)
    row.next = conn.anomaly
    conn.anomaly = at
    make_blank(row)
    row.endpoint = side
    row.challenge_time = -1
    row.unseen_time = -1
    row.unseen_start = 0
    row.unseen_end = 0
    row.ts_top = 0
    row.ts_back_time = -1
    row.is_unseen_open = 0
    row.is_ts_back = 0
    return at


@kernel
def make_blank(row: Row) -> None:
    """Nothing is odd yet."""
    row.syn_frame = -1
    row.syn_retry_frame = -1
    row.synack_frame = -1
    row.syn_retries = 0
    row.handshake_ns = -1
    row.synack_repeat_frame = -1
    row.synack_repeats = 0
    row.synack_repeat_ns = -1
    row.reuse_gap_ns = -1
    row.other_synack_frame = -1
    row.other_synacks = 0
    row.challenge_trigger_frame = -1
    row.challenge_frame = -1
    row.challenges = 0
    row.ts_missing_frame = -1
    row.ts_missing = 0
    row.probes_without_ts = 0
    row.ts_back_frame = -1
    row.ts_back_ticks = 0
    row.ts_back_segments = 0
    row.ts_step_frame = -1
    row.ts_step_ms = 0
    row.idle_frame = -1
    row.idle_ns = -1
    row.half_closed_ns = -1
    row.fin_frame = -1
    row.peer_fin_frame = -1
    row.last_frame = -1
    row.is_left_open = 0
    row.is_stuck = 0
    row.fin_repeats = 0
    row.rst_frame = -1
    row.unseen_bytes = 0
    row.unseen_frame = -1
    row.swaps = 0
    row.observed = 0
    make_blank_silence(row)


@kernel
def note_unheard(st: KernelState, c: int, side: int, frame: int) -> None:
    """The SYN again, although its answer has crossed the tap."""
    row = anomaly_at(st, anomaly_of(st, c, side))
    if row.unheard_frame < 0:
        row.unheard_frame = frame
    row.unheard_syns += 1


@kernel
def note_syn_retry(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """A SYN+ACK came, but not for the first SYN of endpoint ``side``."""
    row = anomaly_at(st, anomaly_of(st, c, side))
    tcb = tcb_at(st, 2 * c + side)
    if row.syn_retry_frame < 0:
        row.syn_retry_frame = tcb.last_frame
        row.synack_frame = seg.frame
        # Where the ACK of it is not captured, this is the end of the handshake.
        row.handshake_ns = st.counters[NOW] - conn_at(st, c).first_time
        reuse = conn_at(st, c).reuse
        row.reuse_gap_ns = reuse_at(st, reuse).gap_ns if reuse >= 0 else -1


@kernel
def note_synack_repeat(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """The SYN+ACK again, although the peer's ACK has crossed the tap long enough ago."""
    row = anomaly_at(st, anomaly_of(st, c, side))
    if row.synack_repeat_frame < 0:
        row.synack_repeat_frame = seg.frame
        established = conn_at(st, c).established_time
        row.synack_repeat_ns = st.counters[NOW] - established if established >= 0 else -1
    row.synack_repeats += 1
    if is_data_waiting(tcb_at(st, 2 * c + 1 - side)):
        row.first_data = DATA_TAKEN_LATE


@kernel
def note_other_synack(st: KernelState, c: int, side: int, frame: int) -> None:
    """Another SYN+ACK for the peer's SYN, with another ISN: somebody else answers, too."""
    row = anomaly_at(st, anomaly_of(st, c, side))
    if row.other_synack_frame < 0:
        row.other_synack_frame = frame
    row.other_synacks += 1


@kernel
def expect_challenge(st: KernelState, c: int, side: int, frame: int) -> None:
    """Endpoint ``side`` is synchronised and got a SYN or a RST that it must not take: it owes a challenge ACK."""
    if tcb_at(st, 2 * c + side).state < ESTABLISHED:
        return
    row = anomaly_at(st, anomaly_of(st, c, side))
    row.challenge_time = st.counters[NOW]
    if row.challenges == 0:
        row.challenge_trigger_frame = frame


@kernel
def note_challenge(row: Row, tcb: Tcb, now: int, seg: Seg) -> None:
    """A bare ACK of the endpoint that owes a challenge ACK, soon enough to be it; not one that acknowledges more."""
    since = row.challenge_time
    row.challenge_time = -1
    if now - since > 4000 * tcb.rtt_us + 50_000_000:
        return
    if tcb.bits & ACKED and seq_diff(seg.ack, tcb.last_ack) > 0:
        return
    row.challenges += 1
    if row.challenge_frame < 0:
        row.challenge_frame = seg.frame


@kernel
def note_challenged_syn(st: KernelState, c: int, side: int, trigger: int, frame: int) -> None:
    """Endpoint ``side`` of the earlier incarnation answers a new SYN with an ACK of its own numbers."""
    row = anomaly_at(st, anomaly_of(st, c, side))
    row.challenge_time = -1
    row.challenges += 1
    if row.challenge_frame < 0:
        row.challenge_trigger_frame = trigger
        row.challenge_frame = frame


@kernel
def follow_anomaly(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """A later segment of an incarnation with anomalies, before it moves anybody."""
    at = conn_at(st, c).anomaly
    now = st.counters[NOW]
    while at >= 0:
        row = anomaly_at(st, at)
        at = row.next
        if row.endpoint != side:
            continue
        flags = seg.flags
        length = seg.payload_len
        if row.challenge_time >= 0 and length == 0 and flags & (SYN | FIN | RST | ACK) == ACK:
            note_challenge(row, tcb_at(st, 2 * c + side), now, seg)
        if row.is_unseen_open and (length > 0 or flags & FIN):
            end = (seg.seq + length + (1 if flags & FIN else 0)) & MASK
            fill_unseen(st, row, seg.seq, end, seg.frame)
        if row.is_ts_back and seg.options & HAS_TS:
            if seq_ge(seg.tsval, row.ts_top):
                clock_is_above(st, c, side, row)
            else:
                row.ts_back_segments += 1


@kernel
def note_unseen(st: KernelState, c: int, side: int, start: int, end: int, frame: int) -> None:
    """The peer acknowledges bytes of endpoint ``side`` that have not been captured, or not yet."""
    row = anomaly_at(st, anomaly_of(st, c, side))
    if row.is_unseen_open:
        lose_unseen(st, row)
    if row.unseen_frame < 0:
        row.unseen_frame = frame
    row.is_unseen_open = 1
    row.unseen_start = start
    row.unseen_end = end
    row.unseen_time = st.counters[NOW]


@kernel
def fill_unseen(st: KernelState, row: Row, start: int, end: int, frame: int) -> None:
    """Data at last that had been acknowledged before: the tap has swapped the two, or it was lost and comes again."""
    if seq_diff(start, row.unseen_start) > 0 or seq_diff(end, row.unseen_start) <= 0:
        return
    counters = st.counters
    lag = counters[NOW] - row.unseen_time
    if lag > SWAP_NS:
        return
    if seq_ge(end, row.unseen_end):
        row.is_unseen_open = 0
    else:
        row.unseen_start = end
    row.swaps += 1
    note_first(counters, SWAP_FRAME, frame)
    counters[SWAPS] += 1
    counters[SWAP_LAG] = max(counters[SWAP_LAG], lag)


@kernel
def lose_unseen(st: KernelState, row: Row) -> None:
    """The bytes never came: the capture lost them."""
    row.is_unseen_open = 0
    lost = seq_diff(row.unseen_end, row.unseen_start)
    row.unseen_bytes += lost
    note_first(st.counters, UNSEEN_FRAME, row.unseen_frame)
    st.counters[UNSEEN_BYTES] += lost


@kernel
def note_merged(counters: Any, frame: int) -> None:
    """A segment larger than the peer's MSS: the capturing host had merged it, or had not cut it yet."""
    note_first(counters, MERGED_FRAME, frame)
    counters[MERGED] += 1


@kernel
def note_first(counters: Any, register: int, frame: int) -> None:
    """Keep the first frame of a kind, in whatever order the connections that have them are looked at."""
    if counters[register] < 0 or frame < counters[register]:
        counters[register] = frame


@kernel
def clock_is_above(st: KernelState, c: int, side: int, row: Row) -> None:
    """The TSval is above the old ones again: in its own time, or because the others were strays."""
    conn = conn_at(st, c)
    tcb = tcb_at(st, 2 * c + side)
    base_ms = (row.ts_back_time - conn.first_time) // 1_000_000
    base_ticks = seq_diff(row.ts_top, tcb.first_tsval)
    since_ms = min((st.counters[NOW] - row.ts_back_time) // 1_000_000, LONGEST_MS)
    is_rate_known = base_ticks > 0 and base_ms <= LONGEST_MS
    if not is_rate_known or since_ms * base_ticks < row.ts_back_ticks * base_ms // 10 * 9:
        row.ts_back_frame = -1
        row.ts_back_ticks = 0
        row.ts_back_segments = 0
    row.is_ts_back = 0


@kernel
def is_answer_to_fin(conn: Conn, peer: Tcb, seg: Seg) -> bool:
    """Whether a FIN shows that its sender was in CLOSE-WAIT: it acknowledges the peer's, and nobody had reset."""
    if seg.flags & ACK == 0 or conn.bits & HAS_RST:
        return False
    return peer.bits & FIN_SENT != 0 and seq_diff(seg.ack, peer.fin_seq) > 0


@kernel
def note_half_close(st: KernelState, c: int, k: int, seg: Seg) -> None:
    """Endpoint ``k`` sends its FIN: the first of the two, or the one that ends a half-close."""
    conn = conn_at(st, c)
    now_ms = (st.counters[NOW] - st.counters[START]) // 1_000_000 + 1
    first = conn.fin_ms
    if first == 0:
        conn.fin_ms = min(now_ms, MASK)
    elif first < MASK and (now_ms - first) * 1_000_000 >= LONG_HALF_CLOSED_NS:
        if not is_answer_to_fin(conn, tcb_at(st, k ^ 1), seg):
            return
        anomaly_at(st, anomaly_of(st, c, 1 - (k & 1))).half_closed_ns = (now_ms - first) * 1_000_000
