"""PAWS: TS.Recent of each receiver as an interval, and the test R1 (RFC 7323 4.3 and 5.3).

The upper end, ``ts_recent``, is the newest TSval that the receiver may have stored; the lower end, ``ts_echoed``,
is the newest that it has certainly stored, because it sent it back as TSecr. Only what lies below the lower end
is called stale.
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_gt
from tcptrace_tw.protocol.states import TIME_WAIT
from tcptrace_tw.schema.columns import ACK, HAS_TS, TRUNCATED
from tcptrace_tw.tcp.store.records import (
    ECHO_VALID,
    NOW,
    PAWS_IDLE_S,
    PAWS_TOLERANCE,
    START,
    TS_OK,
    TS_VALID,
)

STEADY_TS = 8
"""Mid-stream: this many segments in a row with timestamps on each side mean that they are in use."""


@kernel
def is_ts_in_use(conn, snd, rcv):  # type: ignore[no-untyped-def]
    """Whether both ends negotiated timestamps, or have used them without a break since a mid-stream start."""
    if np.int64(conn.bits) & TS_OK:
        return True
    return has_steady_ts(snd) and has_steady_ts(rcv)


@kernel
def has_steady_ts(t):  # type: ignore[no-untyped-def]
    """Whether all captured segments of an endpoint have timestamps, or many in a row: without both SYNs' none has."""
    segments = np.int64(t.segments)
    return segments > 0 and np.int64(t.ts_run) >= (segments if segments < STEADY_TS else np.int64(STEADY_TS))


@kernel
def is_stale(st, conn, snd, rcv, seg):  # type: ignore[no-untyped-def]
    """PAWS test R1: TSval below TS.Recent, for certain (RFC 7323 5.3; Linux tcp_paws_check)."""
    options = np.int64(seg.options)
    if options & HAS_TS == 0 or options & TRUNCATED or np.int64(rcv.bits) & ECHO_VALID == 0:
        return False
    behind = seq_diff(np.int64(rcv.ts_echoed), np.int64(seg.tsval))
    tolerance = np.int64(0) if np.int64(rcv.state) == TIME_WAIT else st.params[PAWS_TOLERANCE]
    if behind <= tolerance or not is_ts_in_use(conn, snd, rcv):
        return False
    seconds = (st.counters[NOW] - st.counters[START]) // 1_000_000_000
    return seconds - np.int64(rcv.ts_echoed_s) < st.params[PAWS_IDLE_S] and np.int64(rcv.ts_echoed) != 0


@kernel
def store_ts_recent(st, snd, rcv, seg):  # type: ignore[no-untyped-def]
    """The receiver may store TSval; the sender proves with TSecr what it has stored (RFC 7323 4.3)."""
    tsval = np.int64(seg.tsval)
    snd.last_tsval = tsval
    in_reach = seq_diff(np.int64(seg.seq), np.int64(rcv.rcv_nxt)) <= 0
    if np.int64(rcv.bits) & TS_VALID == 0 or (in_reach and seq_gt(tsval, np.int64(rcv.ts_recent))):
        rcv.ts_recent = tsval
        rcv.ts_recent_frame = seg.frame
        rcv.bits |= TS_VALID
    if np.int64(seg.flags) & ACK:
        tsecr = np.int64(seg.tsecr)
        if np.int64(snd.bits) & TS_VALID and seq_gt(tsecr, np.int64(snd.ts_recent)):
            return  # not what it was sent: broken, or the segment was not captured
        known = np.int64(snd.bits) & ECHO_VALID != 0
        if not known or seq_gt(tsecr, np.int64(snd.ts_echoed)):
            snd.ts_echoed = tsecr
            snd.echo_frame = seg.frame
            snd.bits |= ECHO_VALID
            snd.ts_echoed_s = (st.counters[NOW] - st.counters[START]) // 1_000_000_000


@kernel
def is_keep_alive(rcv, seq, length):  # type: ignore[no-untyped-def]
    """A probe of the byte before RCV.NXT (RFC 9293 3.8.4)."""
    return length <= 1 and seq == (np.int64(rcv.rcv_nxt) - 1) & MASK
