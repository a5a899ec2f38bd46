"""PAWS: TS.Recent of each receiver as an interval, and the test R1 (RFC 7323 4.3 and 5.3).

The upper end, ``ts_recent``, is the newest TSval that the receiver may have stored; the lower end, ``ts_echoed``,
is the newest that it has certainly stored, because it sent it back as TSecr. Only what lies below the lower end
is called stale.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_gt
from tcptrace_tw.protocol.states import TIME_WAIT
from tcptrace_tw.schema.columns import ACK, HAS_TS, TRUNCATED
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.tcp.store.records import (
    ECHO_VALID,
    NOW,
    PAWS_IDLE_S,
    PAWS_TOLERANCE,
    START,
    TS_OK,
    TS_VALID,
    Conn,
    KernelState,
    Tcb,
)

STEADY_TS = 8
"""Mid-stream: this many segments in a row with timestamps on each side mean that they are in use."""


@kernel
def is_ts_in_use(conn: Conn, snd: Tcb, rcv: Tcb) -> bool:
    """Whether both ends negotiated timestamps, or have used them without a break since a mid-stream start."""
    if conn.bits & TS_OK:
        return True
    return has_steady_ts(snd) and has_steady_ts(rcv)


@kernel
def has_steady_ts(tcb: Tcb) -> bool:
    """Whether all captured segments of an endpoint have timestamps, or many in a row: without both SYNs' none has."""
    segments = tcb.segments
    return segments > 0 and tcb.ts_run >= (segments if segments < STEADY_TS else STEADY_TS)


@kernel
def is_stale(st: KernelState, conn: Conn, snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """PAWS test R1: TSval below TS.Recent, for certain (RFC 7323 5.3; Linux tcp_paws_check)."""
    options = seg.options
    if options & HAS_TS == 0 or options & TRUNCATED or rcv.bits & ECHO_VALID == 0:
        return False
    behind = seq_diff(rcv.ts_echoed, seg.tsval)
    tolerance = 0 if rcv.state == TIME_WAIT else st.params[PAWS_TOLERANCE]
    if behind <= tolerance or not is_ts_in_use(conn, snd, rcv):
        return False
    seconds = (st.counters[NOW] - st.counters[START]) // 1_000_000_000
    return seconds - rcv.ts_echoed_s < st.params[PAWS_IDLE_S] and rcv.ts_echoed != 0


@kernel
def store_ts_recent(st: KernelState, snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """The receiver may store TSval; the sender proves with TSecr what it has stored (RFC 7323 4.3)."""
    tsval = seg.tsval
    snd.last_tsval = tsval
    in_reach = seq_diff(seg.seq, rcv.rcv_nxt) <= 0
    if rcv.bits & TS_VALID == 0 or (in_reach and seq_gt(tsval, rcv.ts_recent)):
        rcv.ts_recent = tsval
        rcv.ts_recent_frame = seg.frame
        rcv.bits |= TS_VALID
    if seg.flags & ACK:
        tsecr = seg.tsecr
        if snd.bits & TS_VALID and seq_gt(tsecr, snd.ts_recent):
            return  # not what it was sent: broken, or the segment was not captured
        known = snd.bits & ECHO_VALID != 0
        if not known or seq_gt(tsecr, snd.ts_echoed):
            snd.ts_echoed = tsecr
            snd.echo_frame = seg.frame
            snd.bits |= ECHO_VALID
            snd.ts_echoed_s = (st.counters[NOW] - st.counters[START]) // 1_000_000_000


@kernel
def is_keep_alive(rcv: Tcb, seq: int, length: int) -> bool:
    """A probe of the byte before RCV.NXT (RFC 9293 3.8.4)."""
    return length <= 1 and seq == (rcv.rcv_nxt - 1) & MASK
