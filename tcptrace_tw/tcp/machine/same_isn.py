"""A SYN with the ISN of the last connection: a new connection, or the old SYN once more?

RFC 9293 3.4.1 lets the ISN repeat after 4.55 hours, and stacks with a constant ISN exist; old SYNs wander about (3.5,
figure 9). What tells them apart is, in this order: a TSval above all that its sender has sent (RFC 7323 4.1), the time
(an old segment is no older than MSL), and a SYN+ACK of a new ISN that the sender of the SYN acknowledges. That ACK
comes last; until then the SYN counts as an old one, and ``open_again`` begins the new connection after the fact.
"""

from __future__ import annotations

from typing import Any

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_gt
from tcptrace_tw.protocol.states import CLOSED, LISTEN, RCV_SYN_ACK, SND_SYN, SND_SYN_ACK
from tcptrace_tw.schema.columns import ACK, HAS_TS, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import BASIS_SENT, ORIG, RESP
from tcptrace_tw.schema.zeek import HISTORY_SYN, HISTORY_SYN_ACK
from tcptrace_tw.tcp.machine.transitions import move, receive
from tcptrace_tw.tcp.store.access import conn_at, span_at, tcb_at
from tcptrace_tw.tcp.store.history_letters import DONE_SYN, DONE_SYN_ACK, append_letter
from tcptrace_tw.tcp.store.records import (
    ACKED,
    ISS_KNOWN,
    NOW,
    NXT_KNOWN,
    RCV_KNOWN,
    TS_OK,
    TS_ON_SYN,
    TWO_MSL,
    WSCALE_ON_SYN,
    KernelState,
    Tcb,
)


@kernel
def begins_anew(st: KernelState, c: int, tcb: Tcb, seg: Seg) -> bool:
    """Whether a SYN with the ISN of incarnation ``c`` cannot be the SYN of ``c``, whose sender is ``tcb``."""
    if tcb.bits & ACKED == 0:
        return False  # it is still opening, and sends its SYN again
    if conn_at(st, c).bits & TS_OK and seg.options & HAS_TS:
        if seq_gt(seg.tsval, tcb.last_tsval):
            return True
    orig, resp = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    if orig.state != CLOSED or resp.state != CLOSED:
        return False
    return st.counters[NOW] - max(orig.last_time, resp.last_time) >= st.params[TWO_MSL]


@kernel
def is_third_ack_of_same_isn(st: KernelState, c: int, seg: Seg) -> bool:
    """Whether orig acknowledges a SYN+ACK of a new ISN, which answered a SYN with the ISN of incarnation ``c``."""
    resp = tcb_at(st, 2 * c + 1)
    if resp.last_flags & (SYN | ACK) != SYN | ACK or resp.last_seq == resp.iss:
        return False
    orig = tcb_at(st, 2 * c)
    if orig.last_flags & (SYN | ACK) != SYN or orig.bits & resp.bits & ISS_KNOWN == 0:
        return False
    if orig.bits & ACKED == 0:
        return False  # the first of several servers that answer one SYN was not heard, or not chosen
    return (
        seg.flags & (ACK | SYN | RST) == ACK
        and orig.last_seq == orig.iss
        and seg.seq == (orig.iss + 1) & MASK
        and seg.ack == (resp.last_seq + resp.last_len + 1) & MASK
    )


@kernel
def replay_handshake(st: KernelState, c: int, new: int, seg: Seg) -> None:
    """The SYN and the SYN+ACK that ``c`` has taken for old ones are those of ``new``; ``seg`` is the third ACK."""
    orig, resp = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    conn = conn_at(st, new)
    for side in range(2):
        replay_syn(tcb_at(st, 2 * new + side), tcb_at(st, 2 * c + side))
    append_letter(conn, ORIG, HISTORY_SYN)
    append_letter(conn, RESP, HISTORY_SYN_ACK)
    conn.completeness |= DONE_SYN | DONE_SYN_ACK
    new_o, new_r = tcb_at(st, 2 * new), tcb_at(st, 2 * new + 1)
    if seg.options & HAS_TS and conn_at(st, c).bits & TS_OK:
        conn.bits |= TS_OK
        new_o.bits |= TS_ON_SYN
        new_r.bits |= TS_ON_SYN
    new_r.last_ack = (orig.iss + 1) & MASK
    new_r.bits |= ACKED | RCV_KNOWN
    new_r.rcv_nxt = new_r.last_ack
    new_r.state = LISTEN
    move(st, 2 * new, SND_SYN, BASIS_SENT, orig.last_time, orig.last_frame)
    move(st, 2 * new + 1, SND_SYN_ACK, BASIS_SENT, resp.last_time, resp.last_frame)
    new_o.snd_una = new_o.snd_nxt
    new_o.rcv_nxt = seg.ack
    new_o.bits |= RCV_KNOWN
    receive(st, 2 * new, RCV_SYN_ACK, resp.last_time, resp.last_frame, -1)


@kernel
def replay_syn(tcb: Tcb, old: Any) -> None:
    """What the last segment of ``old``, a SYN or SYN+ACK, says about its sender in the new connection."""
    tcb.iss = old.last_seq
    tcb.snd_una = old.last_seq
    tcb.snd_nxt = (old.last_seq + old.last_len + 1) & MASK
    tcb.bits |= ISS_KNOWN | NXT_KNOWN | (old.bits & WSCALE_ON_SYN)
    tcb.wscale = old.wscale
    tcb.mss_256 = old.mss_256
    tcb.ttl = old.ttl
    tcb.syn_frame = old.last_frame
    tcb.last_frame = old.last_frame
    tcb.last_time = old.last_time
    tcb.last_seq = old.last_seq
    tcb.last_len = old.last_len
    tcb.last_flags = old.last_flags
    tcb.last_ip_id = old.last_ip_id
    tcb.segments = 1


@kernel
def forget_old_syn(st: KernelState, c: int) -> None:
    """Incarnation ``c`` never saw its SYN again: what that had seemed to do is undone."""
    conn = conn_at(st, c)
    orig = tcb_at(st, 2 * c)
    if conn.old_syn_frame == orig.last_frame:
        conn.old_syn_frame = -1
    if orig.syn_repeats > 0:
        orig.syn_repeats -= 1
    for k in range(2 * c, 2 * c + 2):
        at = tcb_at(st, k).span
        if at >= 0 and span_at(st, at).restart_frame == tcb_at(st, k ^ 1).last_frame:
            span_at(st, at).restarts -= 1
            if span_at(st, at).restarts == 0:
                span_at(st, at).restart = -1
                span_at(st, at).restart_frame = -1
