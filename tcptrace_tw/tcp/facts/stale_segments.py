"""Segments below TS.Recent as rows, and what followed each of them (RFC 7323 5.3)."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_ge, seq_gt
from tcptrace_tw.protocol.states import CLOSED
from tcptrace_tw.schema.columns import ACK, FIN, HAS_SACK, HAS_TS
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import END_ASSASSINATED
from tcptrace_tw.tcp.facts.rows import set_peers
from tcptrace_tw.tcp.store.access import conn_at, span_at, stale_at, tcb_at
from tcptrace_tw.tcp.store.freelists import new_stale
from tcptrace_tw.tcp.store.records import (
    NOW,
    RST_TAKEN,
    TS_ON_SYN,
    Conn,
    KernelState,
    Row,
    Tcb,
)
from tcptrace_tw.tcp.store.reservations import MOST_STALE_ROWS


@kernel
def open_stale(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """Write down a stale segment; what follows is filled in while its row waits."""
    conn = conn_at(st, c)
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, 2 * c + 1 - side)
    is_doubtful = is_perhaps_in_time_wait(st, rcv)
    if rcv.state == CLOSED and not is_doubtful:
        return  # a host without a socket tests nothing: it answers with RST
    snd.stale_segments += 0 if is_doubtful else 1
    if conn.stale_rows >= MOST_STALE_ROWS:
        return
    conn.stale_rows += 1
    at = new_stale(st)
    row = stale_at(st, at)
    row.next = -1
    row.is_doubtful = 1 if is_doubtful else 0
    append_stale(st, conn, at)
    row.connection_id = conn.id
    row.endpoint = side
    set_peers(st, row, 2 * c + side)
    note_stale_segment(st, conn, row, snd, rcv, seg)
    nothing_answered(row)


@kernel
def is_perhaps_in_time_wait(st: KernelState, tcb: Tcb) -> bool:
    """A RST should have ended its TIME-WAIT; the next answer tells whether it did."""
    if tcb.state != CLOSED or tcb.bits & RST_TAKEN == 0 or tcb.span < 0:
        return False
    return span_at(st, tcb.span).end_reason == END_ASSASSINATED


@kernel
def believe_stale(st: KernelState, c: int) -> None:
    """It did not: what it dropped since then counts."""
    at = conn_at(st, c).stale
    while at >= 0:
        row = stale_at(st, at)
        if row.is_doubtful:
            row.is_doubtful = 0
            tcb_at(st, 2 * c + row.endpoint).stale_segments += 1
        at = row.next


@kernel
def note_stale_segment(st: KernelState, conn: Conn, row: Row, snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """The segment itself, and what its receiver had stored."""
    flags = seg.flags
    seq = seg.seq
    length = seg.payload_len
    row.time = st.counters[NOW]
    row.frame = seg.frame
    row.seq = seq
    row.end = (seq + length + (1 if flags & FIN else 0)) & MASK
    row.payload_len = length
    row.tcp_flags = flags
    row.tsval = seg.tsval
    row.ts_recent = rcv.ts_echoed
    row.ts_recent_frame = rcv.ts_recent_frame
    row.echo_frame = rcv.echo_frame
    row.seq_delta = seq_diff(seq, rcv.rcv_nxt)
    row.is_copy = 1 if seq_ge(snd.snd_nxt, row.end) and row.end != seq else 0
    row.is_before_syn = 1 if is_before_syn(conn, snd, rcv, seg) else 0
    row.is_in_order = 1 if row.seq_delta == 0 and row.end != seq else 0


@kernel
def is_before_syn(conn: Conn, snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """Whether a segment is of the 4-tuple's connection before this one.

    Its timestamp is older than the SYN, or, captured or not, its ACK field is too old (RFC 5961 5.2).
    """
    oldest = -65535 - snd.window_max
    if seg.flags & ACK and seq_diff(seg.ack, rcv.snd_una) < oldest:
        return True
    before = conn.reuse >= 0 and snd.bits & TS_ON_SYN != 0
    return before and seq_diff(seg.tsval, snd.first_tsval) < 0


@kernel
def nothing_answered(row: Row) -> None:
    """What follows the stale segment is not known yet."""
    row.answer_frame = -1
    row.answer_time = -1
    row.answer_ack_delta = 0
    row.is_answer_newer = 0
    row.dsack_frame = -1
    row.sack_frame = -1
    row.retransmit_frame = -1
    row.acked_frame = -1
    row.acked_time = -1
    row.is_clock_broken = 0
    row.verdict = 255


@kernel
def append_stale(st: KernelState, conn: Conn, found: int) -> None:
    """Chain a record to its incarnation, in the order of the frames."""
    at = conn.stale
    if at < 0:
        conn.stale = found
        return
    while stale_at(st, at).next >= 0:
        at = stale_at(st, at).next
    stale_at(st, at).next = found


@kernel
def follow_stale(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """A later segment of an incarnation with stale segments: is it their answer, their repeat, their ACK?"""
    at = conn_at(st, c).stale
    while at >= 0:
        row = stale_at(st, at)
        at = row.next
        if row.acked_frame >= 0 or row.end == row.seq:
            continue
        if side == row.endpoint:
            note_repeat(row, seg)
        else:
            note_answer(row, seg, st.counters[NOW])


@kernel
def note_repeat(row: Row, seg: Seg) -> None:
    """The same bytes again, with a TSval that is not stale."""
    seq = seg.seq
    flags = seg.flags
    end = (seq + seg.payload_len + (1 if flags & FIN else 0)) & MASK
    if row.retransmit_frame >= 0 or end == seq:
        return
    covers = seq_diff(seq, row.seq) <= 0 and seq_diff(end, row.seq) > 0
    fresh = seg.options & HAS_TS == 0 or seq_ge(seg.tsval, row.ts_recent)
    if covers and fresh:
        row.retransmit_frame = seg.frame


@kernel
def note_answer(row: Row, seg: Seg, now: int) -> None:
    """What the receiver sent after the stale segment."""
    if seg.flags & ACK == 0:
        return
    ack = seg.ack
    options = seg.options
    if row.answer_frame < 0:
        row.answer_frame = seg.frame
        row.answer_time = now
        row.answer_ack_delta = seq_diff(ack, row.seq)
        newer = options & HAS_TS != 0 and seq_gt(seg.tsecr, row.tsval)
        row.is_answer_newer = 1 if newer else 0
    if options & HAS_SACK:
        start = seg.sack_start
        end = seg.sack_end
        holds = seq_diff(start, row.seq) <= 0 and seq_diff(end, row.seq) > 0
        if holds and seq_diff(end, ack) <= 0:
            if row.dsack_frame < 0:
                row.dsack_frame = seg.frame
        elif holds and row.sack_frame < 0:
            row.sack_frame = seg.frame
    if seq_ge(ack, row.end) and row.acked_frame < 0:
        row.acked_frame = seg.frame
        row.acked_time = now
