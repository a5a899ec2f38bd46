"""Segments below TS.Recent as rows, and what followed each of them (RFC 7323 5.3)."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_ge, seq_gt
from tcptrace_tw.protocol.states import CLOSED
from tcptrace_tw.schema.columns import ACK, FIN, HAS_SACK, HAS_TS
from tcptrace_tw.schema.words import END_ASSASSINATED
from tcptrace_tw.tcp.facts.rows import set_peers
from tcptrace_tw.tcp.store.access import conn_at, span_at, stale_at, tcb_at
from tcptrace_tw.tcp.store.freelists import new_stale
from tcptrace_tw.tcp.store.records import (
    NOW,
    RST_TAKEN,
    TS_ON_SYN,
)
from tcptrace_tw.tcp.store.reservations import MOST_STALE_ROWS


@kernel
def open_stale(st, c, side, seg):  # type: ignore[no-untyped-def]
    """Write down a stale segment; what follows is filled in while its row waits."""
    conn = conn_at(st, c)
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, 2 * c + 1 - side)
    is_doubtful = is_perhaps_in_time_wait(st, rcv)
    if np.int64(rcv.state) == CLOSED and not is_doubtful:
        return  # a host without a socket tests nothing: it answers with RST
    snd.stale_segments += 0 if is_doubtful else 1
    if np.int64(conn.stale_rows) >= MOST_STALE_ROWS:
        return
    conn.stale_rows += 1
    s = new_stale(st)
    row = stale_at(st, s)
    row.next = -1
    row.is_doubtful = 1 if is_doubtful else 0
    append_stale(st, conn, s)
    row.connection_id = conn.id
    row.endpoint = side
    set_peers(st, row, 2 * c + side)
    note_stale_segment(st, conn, row, snd, rcv, seg)
    nothing_answered(row)


@kernel
def is_perhaps_in_time_wait(st, t):  # type: ignore[no-untyped-def]
    """A RST should have ended its TIME-WAIT; the next answer tells whether it did."""
    if np.int64(t.state) != CLOSED or np.int64(t.bits) & RST_TAKEN == 0 or np.int64(t.span) < 0:
        return False
    return np.int64(span_at(st, np.int64(t.span)).end_reason) == END_ASSASSINATED


@kernel
def believe_stale(st, c):  # type: ignore[no-untyped-def]
    """It did not: what it dropped since then counts."""
    s = np.int64(conn_at(st, c).stale)
    while s >= 0:
        row = stale_at(st, s)
        if np.int64(row.is_doubtful):
            row.is_doubtful = 0
            tcb_at(st, 2 * c + np.int64(row.endpoint)).stale_segments += 1
        s = np.int64(row.next)


@kernel
def note_stale_segment(st, conn, row, snd, rcv, seg):  # type: ignore[no-untyped-def]
    """The segment itself, and what its receiver had stored."""
    flags = np.int64(seg.flags)
    seq = np.int64(seg.seq)
    length = np.int64(seg.payload_len)
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
    row.seq_delta = seq_diff(seq, np.int64(rcv.rcv_nxt))
    row.is_copy = 1 if seq_ge(np.int64(snd.snd_nxt), np.int64(row.end)) and np.int64(row.end) != seq else 0
    row.is_before_syn = 1 if is_before_syn(conn, snd, rcv, seg) else 0
    row.is_in_order = 1 if np.int64(row.seq_delta) == 0 and np.int64(row.end) != seq else 0


@kernel
def is_before_syn(conn, snd, rcv, seg):  # type: ignore[no-untyped-def]
    """Whether a segment is of the 4-tuple's connection before this one.

    Its timestamp is older than the SYN, or, captured or not, its ACK field is too old (RFC 5961 5.2).
    """
    oldest = -np.int64(65535) - np.int64(snd.window_max)
    if np.int64(seg.flags) & ACK and seq_diff(np.int64(seg.ack), np.int64(rcv.snd_una)) < oldest:
        return True
    before = np.int64(conn.reuse) >= 0 and np.int64(snd.bits) & TS_ON_SYN != 0
    return before and seq_diff(np.int64(seg.tsval), np.int64(snd.first_tsval)) < 0


@kernel
def nothing_answered(row):  # type: ignore[no-untyped-def]
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
def append_stale(st, conn, s):  # type: ignore[no-untyped-def]
    """Chain a record to its incarnation, in the order of the frames."""
    at = np.int64(conn.stale)
    if at < 0:
        conn.stale = s
        return
    while np.int64(stale_at(st, at).next) >= 0:
        at = np.int64(stale_at(st, at).next)
    stale_at(st, at).next = s


@kernel
def follow_stale(st, c, side, seg):  # type: ignore[no-untyped-def]
    """A later segment of an incarnation with stale segments: is it their answer, their repeat, their ACK?"""
    s = np.int64(conn_at(st, c).stale)
    while s >= 0:
        row = stale_at(st, s)
        s = np.int64(row.next)
        if np.int64(row.acked_frame) >= 0 or np.int64(row.end) == np.int64(row.seq):
            continue
        if side == np.int64(row.endpoint):
            note_repeat(row, seg)
        else:
            note_answer(row, seg, st.counters[NOW])


@kernel
def note_repeat(row, seg):  # type: ignore[no-untyped-def]
    """The same bytes again, with a TSval that is not stale."""
    seq = np.int64(seg.seq)
    flags = np.int64(seg.flags)
    end = (seq + np.int64(seg.payload_len) + (1 if flags & FIN else 0)) & MASK
    if np.int64(row.retransmit_frame) >= 0 or end == seq:
        return
    covers = seq_diff(seq, np.int64(row.seq)) <= 0 and seq_diff(end, np.int64(row.seq)) > 0
    fresh = np.int64(seg.options) & HAS_TS == 0 or seq_ge(np.int64(seg.tsval), np.int64(row.ts_recent))
    if covers and fresh:
        row.retransmit_frame = seg.frame


@kernel
def note_answer(row, seg, now):  # type: ignore[no-untyped-def]
    """What the receiver sent after the stale segment."""
    if np.int64(seg.flags) & ACK == 0:
        return
    ack = np.int64(seg.ack)
    options = np.int64(seg.options)
    if np.int64(row.answer_frame) < 0:
        row.answer_frame = seg.frame
        row.answer_time = now
        row.answer_ack_delta = seq_diff(ack, np.int64(row.seq))
        newer = options & HAS_TS != 0 and seq_gt(np.int64(seg.tsecr), np.int64(row.tsval))
        row.is_answer_newer = 1 if newer else 0
    if options & HAS_SACK:
        start = np.int64(seg.sack_start)
        end = np.int64(seg.sack_end)
        holds = seq_diff(start, np.int64(row.seq)) <= 0 and seq_diff(end, np.int64(row.seq)) > 0
        if holds and seq_diff(end, ack) <= 0:
            if np.int64(row.dsack_frame) < 0:
                row.dsack_frame = seg.frame
        elif holds and np.int64(row.sack_frame) < 0:
            row.sack_frame = seg.frame
    if seq_ge(ack, np.int64(row.end)) and np.int64(row.acked_frame) < 0:
        row.acked_frame = seg.frame
        row.acked_time = now
