"""What of a connection could be seen at the capture point (``schema.observed``)."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN, TRUNCATED
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, OPENING, OPTIONS, PAYLOAD
from tcptrace_tw.tcp.store.access import conn_at, tcb_at
from tcptrace_tw.tcp.store.records import (
    CUT_OPTIONS,
    FIN_SENT,
    FIRST_ACK,
    HIDDEN_TEXT,
    ISS_KNOWN,
    NOW,
    NXT_ACKED,
    NXT_KNOWN,
    ONE_SOCKET,
    REMEMBER_AT_LEAST,
    SAW_ACK,
    SAW_PLAIN,
)


@kernel
def note_observed(st, conn, seg):  # type: ignore[no-untyped-def]
    """Remember what a segment shows of the capture: ACKs that carry nothing else, and options that were cut off."""
    flags = np.int64(seg.flags)
    if flags & (SYN | FIN | RST) == 0:
        conn.bits |= SAW_PLAIN
        if flags & ACK and np.int64(seg.payload_len) == 0 and np.int64(conn.bits) & SAW_ACK == 0:
            conn.bits |= SAW_ACK
            if st.counters[FIRST_ACK] < 0:
                st.counters[FIRST_ACK] = st.counters[NOW]
    if np.int64(seg.options) & TRUNCATED:
        conn.bits |= CUT_OPTIONS


@kernel
def observed(st, c):  # type: ignore[no-untyped-def]
    """What can be seen of incarnation ``c``, as bits."""
    conn = conn_at(st, c)
    o, r = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    bits = np.int64(conn.bits)
    seen = OPTIONS if bits & CUT_OPTIONS == 0 else 0
    if np.int64(o.syn_frame) >= 0 or np.int64(r.syn_frame) >= 0:
        seen |= OPENING
    if bits & ONE_SOCKET or (np.int64(o.segments) > 0 and np.int64(r.segments) > 0):
        seen |= BOTH_DIRECTIONS
    if bits & HIDDEN_TEXT == 0 and not lacks_text(o) and not lacks_text(r):
        seen |= PAYLOAD
    if are_acks_seen(st, conn, o, r):
        seen |= ACKS
    return seen


@kernel
def are_acks_seen(st, conn, o, r):  # type: ignore[no-untyped-def]
    """Whether ACKs are captured: the connection shows one; where none was due yet, the capture has shown one so far.

    What comes when the connection may have been forgotten does not count, however long it was remembered.
    """
    if np.int64(conn.bits) & SAW_ACK:
        return True
    is_due = np.int64(conn.bits) & SAW_PLAIN or (np.int64(o.bits) | np.int64(r.bits)) & FIN_SENT
    if is_due or st.counters[FIRST_ACK] < 0:
        return False
    last = max(np.int64(o.last_time), np.int64(r.last_time))
    return st.counters[FIRST_ACK] < min(st.counters[NOW], last + st.params[REMEMBER_AT_LEAST])


@kernel
def lacks_text(t):  # type: ignore[no-untyped-def]
    """Whether an endpoint has sent more than was captured of it; a byte may be a FIN that was not captured."""
    if np.int64(t.bits) & (ISS_KNOWN | NXT_KNOWN) != ISS_KNOWN | NXT_KNOWN:
        return False
    if np.int64(t.bits) & NXT_ACKED:
        return True
    sent = (np.int64(t.snd_nxt) - np.int64(t.iss) - (2 if np.int64(t.bits) & FIN_SENT else 1)) & MASK
    return sent < (1 << 31) and sent > np.int64(t.payload_bytes) + 1
