"""A connection of a socket with itself: one address and port at both ends (RFC 9293 3.5, figure 7, with one host).

Every segment is sent and received by the one socket, so its SYNs cross, and so do its FINs: SYN-SENT, SYN-RECEIVED,
ESTABLISHED, FIN-WAIT-1, CLOSING, TIME-WAIT. The rows are those of orig; resp shows the same states.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_gt
from tcptrace_tw.protocol.states import (
    CLOSED,
    RCV_ACK_OF_FIN,
    RCV_ACK_OF_SYN,
    RCV_FIN,
    RCV_SYN,
    SND_FIN,
    SND_RST,
    SND_SYN,
    SYN_RECEIVED,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import BASIS_CONFIRMED, BASIS_SENT, OPENED_SIMULTANEOUS, START_ACK
from tcptrace_tw.tcp.machine.time_wait import enter_time_wait
from tcptrace_tw.tcp.machine.transitions import move
from tcptrace_tw.tcp.store.access import conn_at, tcb_at, tuple_at
from tcptrace_tw.tcp.store.records import ENTERED_FIN_WAIT_1, FIN_SENT, ISS_KNOWN, NOW, NXT_KNOWN, KernelState


@kernel
def is_self_connected(st: KernelState, slot: int) -> bool:
    """Whether both ends of a tuple are one."""
    key = tuple_at(st, slot)
    same = key.a_hi == key.b_hi and key.a_lo == key.b_lo
    return same and key.a_port == key.b_port


@kernel
def socket_sends_to_itself(st: KernelState, c: int, seg: Seg) -> None:
    """What a segment does to the socket that sends and receives it."""
    flags = seg.flags
    if flags & RST:
        move(st, 2 * c, SND_RST, BASIS_SENT, st.counters[NOW], seg.frame)
    elif flags & SYN:
        syn_to_itself(st, c, seg)
    else:
        text_to_itself(st, c, seg)
    mirror(st, c)


@kernel
def syn_to_itself(st: KernelState, c: int, seg: Seg) -> None:
    """Its SYN comes back to it in SYN-SENT; its SYN+ACK shows that."""
    orig = tcb_at(st, 2 * c)
    conn = conn_at(st, c)
    conn.opened = OPENED_SIMULTANEOUS
    if orig.bits & ISS_KNOWN == 0:
        orig.iss = seg.seq
        orig.snd_nxt = (seg.seq + 1) & MASK
        orig.bits |= ISS_KNOWN | NXT_KNOWN
        orig.syn_frame = seg.frame
    if orig.state == CLOSED:
        move(st, 2 * c, SND_SYN, BASIS_SENT, st.counters[NOW], seg.frame)
    if seg.flags & ACK:
        move(st, 2 * c, RCV_SYN, BASIS_CONFIRMED, st.counters[NOW], seg.frame)


@kernel
def text_to_itself(st: KernelState, c: int, seg: Seg) -> None:
    """What is acknowledged had come back; its FIN comes back to it before the ACK of it."""
    k = 2 * c
    orig = tcb_at(st, k)
    now = st.counters[NOW]
    frame = seg.frame
    flags = seg.flags
    ack = seg.ack
    if orig.state == SYN_RECEIVED and flags & ACK and seq_gt(ack, orig.iss):
        move(st, k, RCV_ACK_OF_SYN, BASIS_CONFIRMED, now, frame)
    end = (seg.seq + seg.payload_len + (1 if flags & FIN else 0)) & MASK
    if orig.bits & NXT_KNOWN == 0 or seq_gt(end, orig.snd_nxt):
        orig.snd_nxt = end
        orig.bits |= NXT_KNOWN
    if flags & FIN and orig.bits & FIN_SENT == 0:
        orig.bits |= FIN_SENT
        orig.fin_seq = (end - 1) & MASK
        orig.fin_frame = frame
        move(st, k, SND_FIN, BASIS_SENT, now, frame)
    if flags & ACK and orig.bits & FIN_SENT and seq_gt(ack, orig.fin_seq):
        fin_came_back(st, k, now, frame)


@kernel
def fin_came_back(st: KernelState, k: int, now: int, frame: int) -> None:
    """The socket acknowledges its own FIN: CLOSING, and TIME-WAIT with its own ACK."""
    orig = tcb_at(st, k)
    move(st, k, RCV_FIN, BASIS_CONFIRMED, now, orig.fin_frame)
    was = orig.state
    move(st, k, RCV_ACK_OF_FIN, BASIS_CONFIRMED, now, frame)
    if orig.state == TIME_WAIT and was != TIME_WAIT:
        enter_time_wait(st, k, now, frame, START_ACK, orig.fin_frame)


@kernel
def mirror(st: KernelState, c: int) -> None:
    """The other end is the same socket."""
    orig, resp = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    resp.state = orig.state
    resp.bits |= orig.bits & (FIN_SENT | ENTERED_FIN_WAIT_1)
    resp.fin_seq = orig.fin_seq
    resp.fin_frame = orig.fin_frame
