"""SYN and SYN+ACK: how a connection begins (RFC 9293 3.5, 3.10.7.2, 3.10.7.3)."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_gt
from tcptrace_tw.protocol.states import (
    CLOSED,
    ESTABLISHED,
    LISTEN,
    RCV_ACK_OF_SYN,
    RCV_SYN,
    RCV_SYN_ACK,
    SND_SYN,
    SND_SYN_ACK,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import ACK, FIN, HAS_MSS, HAS_TS, HAS_WSCALE, SYN, TRUNCATED
from tcptrace_tw.schema.words import BASIS_INFERRED, BASIS_SENT, OPENED_SIMULTANEOUS, RESP
from tcptrace_tw.tcp.facts.anomalies import (
    expect_challenge,
    note_other_synack,
    note_syn_retry,
    note_synack_repeat,
    note_unheard,
)
from tcptrace_tw.tcp.facts.history import rtt_ns
from tcptrace_tw.tcp.facts.reuse import is_retry_explained, note_opened
from tcptrace_tw.tcp.facts.unseen_reuse import note_unseen_answer
from tcptrace_tw.tcp.machine.ack_evidence import remember_ack
from tcptrace_tw.tcp.machine.closing import into_time_wait
from tcptrace_tw.tcp.machine.syn_in_time_wait import old_syn_in_time_wait, retry_meets_earlier
from tcptrace_tw.tcp.machine.syn_sent import is_of_other_numbers
from tcptrace_tw.tcp.machine.transitions import move, prove, receive, take_back
from tcptrace_tw.tcp.store.access import conn_at, reuse_at, tcb_at
from tcptrace_tw.tcp.store.records import (
    ACKED,
    ECHO_VALID,
    FIN_SENT,
    ISS_KNOWN,
    NOW,
    NXT_KNOWN,
    RCV_KNOWN,
    REFUSED,
    RESTART_OTHER_ACK,
    START,
    SYN_PAYLOAD,
    TS_OK,
    TS_ON_SYN,
    TS_VALID,
    WSCALE_ON_SYN,
)


@kernel
def syn_arrives(st, c, side, seg):  # type: ignore[no-untyped-def]
    """SYN and SYN+ACK (RFC 9293 3.10.7.2 and 3.10.7.3)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    is_syn_ack = np.int64(seg.flags) & ACK != 0
    if is_syn_ack and np.int64(rcv.state) == TIME_WAIT:
        into_time_wait(st, k ^ 1, seg, RESTART_OTHER_ACK)
    known = np.int64(snd.bits) & ISS_KNOWN != 0
    again = known and np.int64(seg.seq) == np.int64(snd.iss) and np.int64(snd.syn_frame) >= 0
    is_placed = known or (np.int64(seg.flags) & FIN != 0 and np.int64(snd.bits) & NXT_KNOWN != 0)
    if is_placed and np.int64(seg.seq) != np.int64(snd.iss):
        if is_syn_ack and np.int64(conn.old_syn_frame) < 0 and is_answered_by_another(snd, rcv, seg):
            note_other_synack(st, c, side, seg.frame)
        return  # a SYN+ACK or SYN+FIN of other numbers; RFC 9293 3.10.7.4 answers it with an ACK
    if is_syn_ack and np.int64(rcv.state) == SYN_SENT and is_of_other_numbers(rcv, np.int64(seg.ack)):
        note_unseen_answer(st, c, seg)  # it answers another SYN, which was not captured
        remember_ack(snd, np.int64(seg.ack))
        return
    if not again:
        note_syn(st, conn, snd, rcv, seg)
    if is_syn_ack:
        syn_ack_arrives(st, c, side, seg, again)
    else:
        bare_syn_arrives(st, c, side, seg, again)


@kernel
def is_answered_by_another(snd, rcv, seg):  # type: ignore[no-untyped-def]
    """Whether a SYN+ACK with another ISN than the first acknowledges the same SYN."""
    has_answer = np.int64(snd.syn_frame) >= 0 and np.int64(snd.bits) & ACKED != 0 and np.int64(snd.payload_bytes) == 0
    is_of_the_syn = np.int64(seg.ack) == (np.int64(rcv.iss) + 1) & MASK and np.int64(seg.flags) & FIN == 0
    return has_answer and is_of_the_syn and np.int64(rcv.syn_frame) >= 0


@kernel
def bare_syn_arrives(st, c, side, seg, again):  # type: ignore[no-untyped-def]
    """An active open (3.10.1), its retry, or the other half of a simultaneous open (figure 7)."""
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    now = st.counters[NOW]
    frame = np.int64(seg.frame)
    if again:
        syn_again(st, c, side, seg)
    if np.int64(snd.state) == CLOSED and np.int64(rcv.state) <= SYN_SENT:
        move(st, k, SND_SYN, BASIS_SENT, now, frame)
    if not again and np.int64(rcv.state) == SYN_SENT and side == RESP:
        conn_at(st, c).opened = OPENED_SIMULTANEOUS
        receive(st, k ^ 1, RCV_SYN, now, frame, -1)
        receive(st, k, RCV_SYN, now, np.int64(rcv.syn_frame), -1)


@kernel
def syn_ack_arrives(st, c, side, seg, again):  # type: ignore[no-untyped-def]
    """Its sender was in LISTEN or SYN-SENT; its receiver's SYN is acknowledged (3.10.7.3, first and fourth)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    now = st.counters[NOW]
    ack = np.int64(seg.ack)
    if np.int64(rcv.bits) & ISS_KNOWN == 0:
        infer_syn(st, k ^ 1, ack, seg)
    prove(st, k, True, np.int64(rcv.bits) & FIN_SENT != 0 and seq_gt(ack, np.int64(rcv.fin_seq)), -1)
    # The first SYN+ACK of a simultaneous open has the number of the SYN before it.
    is_first = np.int64(conn.opened) == OPENED_SIMULTANEOUS and np.int64(snd.last_flags) & (SYN | ACK) == SYN
    if again and not is_first:
        syn_ack_again(st, c, side, seg)
    if np.int64(snd.state) == CLOSED and not again:
        snd.state = LISTEN
        conn.bits &= ~REFUSED & 0xFFFF
    if np.int64(snd.state) == SYN_SENT and np.int64(rcv.state) == SYN_SENT:
        # Simultaneous open, and the SYN that this answers was not captured.
        conn.opened = OPENED_SIMULTANEOUS
        receive(st, k ^ 1, RCV_SYN, now, np.int64(snd.syn_frame), -1)
    if np.int64(snd.state) == LISTEN or np.int64(snd.state) == SYN_SENT:
        move(st, k, SND_SYN_ACK, BASIS_SENT, now, np.int64(seg.frame))
    if 0 < seq_diff(ack, np.int64(rcv.iss)) <= seq_diff(np.int64(rcv.snd_nxt), np.int64(rcv.iss)):
        syn_is_acked(st, c, side, seg, again)
    snd.last_ack = ack
    snd.bits |= ACKED


@kernel
def syn_ack_again(st, c, side, seg):  # type: ignore[no-untyped-def]
    """A retransmitted SYN+ACK: its sender has not got the third ACK; or the network's copy of the first one."""
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    if np.int64(rcv.bits) & ACKED and np.int64(rcv.state) >= ESTABLISHED:
        if np.int64(seg.options) & HAS_TS and np.int64(seg.tsval) == np.int64(snd.first_tsval):
            expect_challenge(st, c, 1 - side, np.int64(seg.frame))  # the clock stands still: the network's copy
        elif st.counters[NOW] - np.int64(rcv.last_time) > rtt_ns(snd):
            note_synack_repeat(st, c, side, seg)
    if np.int64(snd.last_flags) & (SYN | ACK) == SYN | ACK or np.int64(snd.state) >= ESTABLISHED:
        snd.syn_repeats += 1
    take_back(st, k, RCV_ACK_OF_SYN)


@kernel
def syn_is_acked(st, c, side, seg, again):  # type: ignore[no-untyped-def]
    """The receiver of a SYN+ACK that acknowledges its SYN."""
    p = 2 * c + 1 - side
    rcv = tcb_at(st, p)
    now = st.counters[NOW]
    frame = np.int64(seg.frame)
    r = np.int64(conn_at(st, c).reuse)
    if np.int64(rcv.syn_repeats) > 0 and (not again or np.int64(rcv.state) == SYN_SENT):
        if r < 0 or not is_retry_explained(reuse_at(st, r)):
            note_syn_retry(st, c, 1 - side, seg)
    if r >= 0 and np.int64(reuse_at(st, r).opened_frame) < 0:
        note_opened(st, c, seg, now)
    rcv.snd_una = np.int64(seg.ack)
    tsval = np.int64(seg.tsval) if np.int64(seg.options) & HAS_TS else -1
    if np.int64(rcv.state) == SYN_SENT:
        receive(st, p, RCV_SYN_ACK, now, frame, tsval)
    elif np.int64(rcv.state) == SYN_RECEIVED:
        receive(st, p, RCV_ACK_OF_SYN, now, frame, tsval)
    rcv.rcv_nxt = (np.int64(seg.seq) + 1) & MASK
    rcv.bits |= RCV_KNOWN


@kernel
def note_syn(st, conn, snd, rcv, seg):  # type: ignore[no-untyped-def]
    """What the first SYN of an endpoint says about it."""
    seq = np.int64(seg.seq)
    flags = np.int64(seg.flags)
    options = np.int64(seg.options)
    late = np.int64(snd.bits) & NXT_KNOWN != 0
    snd.syn_frame = seg.frame
    snd.iss = seq
    end = (seq + 1 + np.int64(seg.payload_len)) & MASK
    if not late:
        snd.snd_nxt = end
        snd.snd_una = seq
    snd.bits |= ISS_KNOWN | NXT_KNOWN
    if np.int64(seg.payload_len) > 0:
        snd.bits |= SYN_PAYLOAD
    if options & HAS_TS and options & TRUNCATED == 0:
        snd.bits |= TS_ON_SYN
    if options & HAS_WSCALE:
        snd.bits |= WSCALE_ON_SYN
        snd.wscale = min(np.int64(seg.wscale), 14)
    if np.int64(rcv.bits) & RCV_KNOWN == 0:
        rcv.rcv_nxt = (seq + 1) & MASK
        rcv.bits |= RCV_KNOWN
    if np.int64(rcv.bits) & TS_ON_SYN and np.int64(snd.bits) & TS_ON_SYN:
        conn.bits |= TS_OK
    if options & HAS_MSS:
        rcv.mss_256 = min((np.int64(seg.mss) + 255) >> 8, 255)
    if options & HAS_TS:
        snd.first_tsval = seg.tsval
        snd.last_tsval = seg.tsval
        rcv.ts_recent = seg.tsval
        rcv.ts_recent_frame = seg.frame
        rcv.bits |= TS_VALID
        if flags & ACK:
            snd.ts_echoed = seg.tsecr
            snd.echo_frame = seg.frame
            snd.bits |= ECHO_VALID
            snd.ts_echoed_s = (st.counters[NOW] - st.counters[START]) // 1_000_000_000


@kernel
def syn_again(st, c, side, seg):  # type: ignore[no-untyped-def]
    """The SYN once more: its sender has not got the answer, or an old duplicate comes by (RFC 9293 3.5)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    snd = tcb_at(st, k)
    snd.syn_repeats += 1
    if np.int64(snd.bits) & ACKED == 0 and np.int64(tcb_at(st, k ^ 1).syn_frame) >= 0:
        note_unheard(st, c, side, seg.frame)
    retry_meets_earlier(st, c, seg)
    take_back(st, k, RCV_SYN_ACK)
    if np.int64(snd.state) >= ESTABLISHED or np.int64(conn.established_time) >= 0:
        if np.int64(tcb_at(st, k ^ 1).state) == TIME_WAIT:
            old_syn_in_time_wait(st, k ^ 1, seg)
        else:
            expect_challenge(st, c, 1 - side, seg.frame)
        if np.int64(conn.old_syn_frame) < 0:
            conn.old_syn_frame = seg.frame


@kernel
def infer_syn(st, p, ack, seg):  # type: ignore[no-untyped-def]
    """A SYN+ACK tells the ISN of a SYN that was not captured."""
    t = tcb_at(st, p)
    t.iss = (ack - 1) & MASK
    t.snd_nxt = ack
    t.snd_una = ack
    t.bits |= ISS_KNOWN | NXT_KNOWN
    if np.int64(seg.options) & HAS_TS:
        t.bits |= TS_ON_SYN
        conn_at(st, p >> 1).bits |= TS_OK
    if np.int64(seg.options) & HAS_WSCALE:
        t.bits |= WSCALE_ON_SYN
        t.wscale = 14  # not known: the widest
    if np.int64(t.state) == CLOSED:
        move(st, p, SND_SYN, BASIS_INFERRED, st.counters[NOW], seg.frame)
