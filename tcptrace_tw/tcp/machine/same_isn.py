"""A SYN with the ISN of the last connection: a new connection, or the old SYN once more?

RFC 9293 3.4.1 lets the ISN repeat after 4.55 hours, and stacks with a constant ISN exist; old SYNs wander about (3.5,
figure 9). What tells them apart is, in this order: a TSval above all that its sender has sent (RFC 7323 4.1), the time
(an old segment is no older than MSL), and a SYN+ACK of a new ISN that the sender of the SYN acknowledges. That ACK
comes last; until then the SYN counts as an old one, and ``open_again`` begins the new connection after the fact.
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_gt
from tcptrace_tw.protocol.states import CLOSED, LISTEN, RCV_SYN_ACK, SND_SYN, SND_SYN_ACK
from tcptrace_tw.schema.columns import ACK, HAS_TS, RST, SYN
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
)


@kernel
def begins_anew(st, c, t, seg):  # type: ignore[no-untyped-def]
    """Whether a SYN with the ISN of incarnation ``c`` cannot be the SYN of ``c``, whose sender is ``t``."""
    if np.int64(t.bits) & ACKED == 0:
        return False  # it is still opening, and sends its SYN again
    if np.int64(conn_at(st, c).bits) & TS_OK and np.int64(seg.options) & HAS_TS:
        if seq_gt(np.int64(seg.tsval), np.int64(t.last_tsval)):
            return True
    o, r = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    if np.int64(o.state) != CLOSED or np.int64(r.state) != CLOSED:
        return False
    return st.counters[NOW] - max(np.int64(o.last_time), np.int64(r.last_time)) >= st.params[TWO_MSL]


@kernel
def is_third_ack_of_same_isn(st, c, seg):  # type: ignore[no-untyped-def]
    """Whether orig acknowledges a SYN+ACK of a new ISN, which answered a SYN with the ISN of incarnation ``c``."""
    r = tcb_at(st, 2 * c + 1)
    if np.int64(r.last_flags) & (SYN | ACK) != SYN | ACK or np.int64(r.last_seq) == np.int64(r.iss):
        return False
    o = tcb_at(st, 2 * c)
    if np.int64(o.last_flags) & (SYN | ACK) != SYN or np.int64(o.bits) & np.int64(r.bits) & ISS_KNOWN == 0:
        return False
    return (
        np.int64(seg.flags) & (ACK | SYN | RST) == ACK
        and np.int64(o.last_seq) == np.int64(o.iss)
        and np.int64(seg.seq) == (np.int64(o.iss) + 1) & MASK
        and np.int64(seg.ack) == (np.int64(r.last_seq) + np.int64(r.last_len) + 1) & MASK
    )


@kernel
def replay_handshake(st, c, new, seg):  # type: ignore[no-untyped-def]
    """The SYN and the SYN+ACK that ``c`` has taken for old ones are those of ``new``; ``seg`` is the third ACK."""
    o, r = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    conn = conn_at(st, new)
    for side in range(2):
        replay_syn(tcb_at(st, 2 * new + side), tcb_at(st, 2 * c + side))
    append_letter(conn, ORIG, HISTORY_SYN)
    append_letter(conn, RESP, HISTORY_SYN_ACK)
    conn.completeness |= DONE_SYN | DONE_SYN_ACK
    new_o, new_r = tcb_at(st, 2 * new), tcb_at(st, 2 * new + 1)
    if np.int64(seg.options) & HAS_TS and np.int64(conn_at(st, c).bits) & TS_OK:
        conn.bits |= TS_OK
        new_o.bits |= TS_ON_SYN
        new_r.bits |= TS_ON_SYN
    new_r.last_ack = (np.int64(o.iss) + 1) & MASK
    new_r.bits |= ACKED | RCV_KNOWN
    new_r.rcv_nxt = new_r.last_ack
    new_r.state = LISTEN
    move(st, 2 * new, SND_SYN, BASIS_SENT, np.int64(o.last_time), np.int64(o.last_frame))
    move(st, 2 * new + 1, SND_SYN_ACK, BASIS_SENT, np.int64(r.last_time), np.int64(r.last_frame))
    new_o.snd_una = new_o.snd_nxt
    new_o.rcv_nxt = np.int64(seg.ack)
    new_o.bits |= RCV_KNOWN
    receive(st, 2 * new, RCV_SYN_ACK, np.int64(r.last_time), np.int64(r.last_frame), -1)


@kernel
def replay_syn(t, old):  # type: ignore[no-untyped-def]
    """What the last segment of ``old``, a SYN or SYN+ACK, says about its sender in the new connection."""
    t.iss = old.last_seq
    t.snd_una = old.last_seq
    t.snd_nxt = (np.int64(old.last_seq) + np.int64(old.last_len) + 1) & MASK
    t.bits |= ISS_KNOWN | NXT_KNOWN | (np.int64(old.bits) & WSCALE_ON_SYN)
    t.wscale = old.wscale
    t.mss_256 = old.mss_256
    t.ttl = old.ttl
    t.syn_frame = old.last_frame
    t.last_frame = old.last_frame
    t.last_time = old.last_time
    t.last_seq = old.last_seq
    t.last_len = old.last_len
    t.last_flags = old.last_flags
    t.last_ip_id = old.last_ip_id
    t.segments = 1


@kernel
def forget_old_syn(st, c):  # type: ignore[no-untyped-def]
    """Incarnation ``c`` never saw its SYN again: what that had seemed to do is undone."""
    conn = conn_at(st, c)
    o = tcb_at(st, 2 * c)
    if np.int64(conn.old_syn_frame) == np.int64(o.last_frame):
        conn.old_syn_frame = -1
    if np.int64(o.syn_repeats) > 0:
        o.syn_repeats -= 1
    for k in range(2 * c, 2 * c + 2):
        s = np.int64(tcb_at(st, k).span)
        if s >= 0 and np.int64(span_at(st, s).restart_frame) == np.int64(tcb_at(st, k ^ 1).last_frame):
            span_at(st, s).restarts -= 1
            if np.int64(span_at(st, s).restarts) == 0:
                span_at(st, s).restart = -1
                span_at(st, s).restart_frame = -1
