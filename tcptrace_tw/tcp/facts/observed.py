"""What of a connection could be seen at the capture point (``schema.observed``)."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN, TRUNCATED
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, OPENING, OPTIONS, PAYLOAD
from tcptrace_tw.schema.segments import Seg
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
    Conn,
    KernelState,
    Tcb,
)


@kernel
def note_observed(st: KernelState, conn: Conn, seg: Seg) -> None:
    """Remember what a segment shows of the capture: ACKs that carry nothing else, and options that were cut off."""
    flags = seg.flags
    if flags & (SYN | FIN | RST) == 0:
        conn.bits |= SAW_PLAIN
        if flags & ACK and seg.payload_len == 0 and conn.bits & SAW_ACK == 0:
            conn.bits |= SAW_ACK
            if st.counters[FIRST_ACK] < 0:
                st.counters[FIRST_ACK] = st.counters[NOW]
    if seg.options & TRUNCATED:
        conn.bits |= CUT_OPTIONS


@kernel
def observed(st: KernelState, c: int) -> int:
    """What can be seen of incarnation ``c``, as bits."""
    conn = conn_at(st, c)
    orig, resp = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    bits = conn.bits
    seen = OPTIONS if bits & CUT_OPTIONS == 0 else 0
    if orig.syn_frame >= 0 or resp.syn_frame >= 0:
        seen |= OPENING
    if bits & ONE_SOCKET or (orig.segments > 0 and resp.segments > 0):
        seen |= BOTH_DIRECTIONS
    if bits & HIDDEN_TEXT == 0 and not lacks_text(orig) and not lacks_text(resp):
        seen |= PAYLOAD
    if are_acks_seen(st, conn, orig, resp):
        seen |= ACKS
    return seen


@kernel
def are_acks_seen(st: KernelState, conn: Conn, orig: Tcb, resp: Tcb) -> bool:
    """Whether ACKs are captured: the connection shows one; where none was due yet, the capture has shown one so far.

    What comes when the connection may have been forgotten does not count, however long it was remembered.
    """
    if conn.bits & SAW_ACK:
        return True
    is_due = conn.bits & SAW_PLAIN or (orig.bits | resp.bits) & FIN_SENT
    if is_due or st.counters[FIRST_ACK] < 0:
        return False
    last = max(orig.last_time, resp.last_time)
    return st.counters[FIRST_ACK] < min(st.counters[NOW], last + st.params[REMEMBER_AT_LEAST])


@kernel
def lacks_text(tcb: Tcb) -> bool:
    """Whether an endpoint has sent more than was captured of it; a byte may be a FIN that was not captured."""
    if tcb.bits & (ISS_KNOWN | NXT_KNOWN) != ISS_KNOWN | NXT_KNOWN:
        return False
    if tcb.bits & NXT_ACKED:
        return True
    sent = (tcb.snd_nxt - tcb.iss - (2 if tcb.bits & FIN_SENT else 1)) & MASK
    return sent < (1 << 31) and sent > tcb.payload_bytes + 1
