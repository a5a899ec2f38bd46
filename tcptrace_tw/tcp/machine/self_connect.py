"""A connection of a socket with itself: one address and port at both ends (RFC 9293 3.5, figure 7, with one host).

Every segment is sent and received by the one socket, so its SYNs cross, and so do its FINs: SYN-SENT, SYN-RECEIVED,
ESTABLISHED, FIN-WAIT-1, CLOSING, TIME-WAIT. The rows are those of orig; resp shows the same states.
"""

from __future__ import annotations

import numpy as np

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
from tcptrace_tw.schema.words import BASIS_CONFIRMED, BASIS_SENT, OPENED_SIMULTANEOUS, START_ACK
from tcptrace_tw.tcp.machine.time_wait import enter_time_wait
from tcptrace_tw.tcp.machine.transitions import move
from tcptrace_tw.tcp.store.access import conn_at, tcb_at, tuple_at
from tcptrace_tw.tcp.store.records import ENTERED_FIN_WAIT_1, FIN_SENT, ISS_KNOWN, NOW, NXT_KNOWN


@kernel
def is_self_connected(st, slot):  # type: ignore[no-untyped-def]
    """Whether both ends of a tuple are one."""
    key = tuple_at(st, slot)
    same = key.a_hi == key.b_hi and key.a_lo == key.b_lo
    return same and np.int64(key.a_port) == np.int64(key.b_port)


@kernel
def socket_sends_to_itself(st, c, seg):  # type: ignore[no-untyped-def]
    """What a segment does to the socket that sends and receives it."""
    flags = np.int64(seg.flags)
    if flags & RST:
        move(st, 2 * c, SND_RST, BASIS_SENT, st.counters[NOW], np.int64(seg.frame))
    elif flags & SYN:
        syn_to_itself(st, c, seg)
    else:
        text_to_itself(st, c, seg)
    mirror(st, c)


@kernel
def syn_to_itself(st, c, seg):  # type: ignore[no-untyped-def]
    """Its SYN comes back to it in SYN-SENT; its SYN+ACK shows that."""
    o = tcb_at(st, 2 * c)
    conn = conn_at(st, c)
    conn.opened = OPENED_SIMULTANEOUS
    if np.int64(o.bits) & ISS_KNOWN == 0:
        o.iss = seg.seq
        o.snd_nxt = (np.int64(seg.seq) + 1) & MASK
        o.bits |= ISS_KNOWN | NXT_KNOWN
        o.syn_frame = seg.frame
    if np.int64(o.state) == CLOSED:
        move(st, 2 * c, SND_SYN, BASIS_SENT, st.counters[NOW], np.int64(seg.frame))
    if np.int64(seg.flags) & ACK:
        move(st, 2 * c, RCV_SYN, BASIS_CONFIRMED, st.counters[NOW], np.int64(seg.frame))


@kernel
def text_to_itself(st, c, seg):  # type: ignore[no-untyped-def]
    """What is acknowledged had come back; its FIN comes back to it before the ACK of it."""
    k = 2 * c
    o = tcb_at(st, k)
    now = st.counters[NOW]
    frame = np.int64(seg.frame)
    flags = np.int64(seg.flags)
    ack = np.int64(seg.ack)
    if np.int64(o.state) == SYN_RECEIVED and flags & ACK and seq_gt(ack, np.int64(o.iss)):
        move(st, k, RCV_ACK_OF_SYN, BASIS_CONFIRMED, now, frame)
    end = (np.int64(seg.seq) + np.int64(seg.payload_len) + (1 if flags & FIN else 0)) & MASK
    if np.int64(o.bits) & NXT_KNOWN == 0 or seq_gt(end, np.int64(o.snd_nxt)):
        o.snd_nxt = end
        o.bits |= NXT_KNOWN
    if flags & FIN and np.int64(o.bits) & FIN_SENT == 0:
        o.bits |= FIN_SENT
        o.fin_seq = (end - 1) & MASK
        o.fin_frame = frame
        move(st, k, SND_FIN, BASIS_SENT, now, frame)
    if flags & ACK and np.int64(o.bits) & FIN_SENT and seq_gt(ack, np.int64(o.fin_seq)):
        fin_came_back(st, k, now, frame)


@kernel
def fin_came_back(st, k, now, frame):  # type: ignore[no-untyped-def]
    """The socket acknowledges its own FIN: CLOSING, and TIME-WAIT with its own ACK."""
    o = tcb_at(st, k)
    move(st, k, RCV_FIN, BASIS_CONFIRMED, now, np.int64(o.fin_frame))
    was = np.int64(o.state)
    move(st, k, RCV_ACK_OF_FIN, BASIS_CONFIRMED, now, frame)
    if np.int64(o.state) == TIME_WAIT and was != TIME_WAIT:
        enter_time_wait(st, k, now, frame, START_ACK, np.int64(o.fin_frame))


@kernel
def mirror(st, c):  # type: ignore[no-untyped-def]
    """The other end is the same socket."""
    o, r = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    r.state = o.state
    r.bits |= np.int64(o.bits) & (FIN_SENT | ENTERED_FIN_WAIT_1)
    r.fin_seq = o.fin_seq
    r.fin_frame = o.fin_frame
