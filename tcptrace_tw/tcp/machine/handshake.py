"""SYN and SYN+ACK: how a connection begins (RFC 9293 3.5, 3.10.7.2, 3.10.7.3)."""

from __future__ import annotations

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
from tcptrace_tw.schema.segments import Seg
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
    Conn,
    KernelState,
    Tcb,
)


@kernel
def syn_arrives(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """SYN and SYN+ACK (RFC 9293 3.10.7.2 and 3.10.7.3)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    is_syn_ack = seg.flags & ACK != 0
    if is_syn_ack and rcv.state == TIME_WAIT:
        into_time_wait(st, k ^ 1, seg, RESTART_OTHER_ACK)
    known = snd.bits & ISS_KNOWN != 0
    again = known and seg.seq == snd.iss and snd.syn_frame >= 0
    is_placed = known or (seg.flags & FIN != 0 and snd.bits & NXT_KNOWN != 0)
    if is_placed and seg.seq != snd.iss:
        if is_syn_ack and conn.old_syn_frame < 0 and is_answered_by_another(snd, rcv, seg):
            note_other_synack(st, c, side, seg.frame)
        return  # a SYN+ACK or SYN+FIN of other numbers; RFC 9293 3.10.7.4 answers it with an ACK
    if is_syn_ack and rcv.state == SYN_SENT and is_of_other_numbers(rcv, seg.ack):
        note_unseen_answer(st, c, seg)  # it answers another SYN, which was not captured
        remember_ack(snd, seg.ack)
        return
    if not again:
        note_syn(st, conn, snd, rcv, seg)
    if is_syn_ack:
        syn_ack_arrives(st, c, side, seg, again)
    else:
        bare_syn_arrives(st, c, side, seg, again)


@kernel
def is_answered_by_another(snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """Whether a SYN+ACK with another ISN than the first acknowledges the same SYN.

    Not where a RST of the peer has ended the first: the server has forgotten that SYN, and begins anew.
    """
    has_answer = snd.syn_frame >= 0 and snd.bits & ACKED != 0 and snd.payload_bytes == 0 and snd.state > LISTEN
    is_of_the_syn = seg.ack == (rcv.iss + 1) & MASK and seg.flags & FIN == 0
    return has_answer and is_of_the_syn and rcv.syn_frame >= 0


@kernel
def bare_syn_arrives(st: KernelState, c: int, side: int, seg: Seg, again: int) -> None:
    """An active open (3.10.1), its retry, or the other half of a simultaneous open (figure 7)."""
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    now = st.counters[NOW]
    frame = seg.frame
    if again:
        syn_again(st, c, side, seg)
    if snd.state == CLOSED and rcv.state <= SYN_SENT:
        move(st, k, SND_SYN, BASIS_SENT, now, frame)
    if not again and rcv.state == SYN_SENT and side == RESP:
        conn_at(st, c).opened = OPENED_SIMULTANEOUS
        receive(st, k ^ 1, RCV_SYN, now, frame, -1)
        receive(st, k, RCV_SYN, now, rcv.syn_frame, -1)


@kernel
def syn_ack_arrives(st: KernelState, c: int, side: int, seg: Seg, again: int) -> None:
    """Its sender was in LISTEN or SYN-SENT; its receiver's SYN is acknowledged (3.10.7.3, first and fourth)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    now = st.counters[NOW]
    ack = seg.ack
    if rcv.bits & ISS_KNOWN == 0:
        infer_syn(st, k ^ 1, ack, seg)
    prove(st, k, True, rcv.bits & FIN_SENT != 0 and seq_gt(ack, rcv.fin_seq), -1)
    # The first SYN+ACK of a simultaneous open has the number of the SYN before it.
    is_first = conn.opened == OPENED_SIMULTANEOUS and snd.last_flags & (SYN | ACK) == SYN
    if again and not is_first:
        syn_ack_again(st, c, side, seg)
    if snd.state == CLOSED and not again:
        snd.state = LISTEN
        conn.bits &= ~REFUSED
    if snd.state == SYN_SENT and rcv.state == SYN_SENT:
        # Simultaneous open, and the SYN that this answers was not captured.
        conn.opened = OPENED_SIMULTANEOUS
        receive(st, k ^ 1, RCV_SYN, now, snd.syn_frame, -1)
    if snd.state == LISTEN or snd.state == SYN_SENT:
        move(st, k, SND_SYN_ACK, BASIS_SENT, now, seg.frame)
    if 0 < seq_diff(ack, rcv.iss) <= seq_diff(rcv.snd_nxt, rcv.iss):
        syn_is_acked(st, c, side, seg, again)
    snd.last_ack = ack
    snd.bits |= ACKED


@kernel
def syn_ack_again(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """A retransmitted SYN+ACK: its sender has not got the third ACK; or the network's copy of the first one."""
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    if rcv.bits & ACKED and rcv.state >= ESTABLISHED:
        if seg.options & HAS_TS and seg.tsval == snd.first_tsval:
            expect_challenge(st, c, 1 - side, seg.frame)  # the clock stands still: the network's copy
        elif st.counters[NOW] - acked_since(conn_at(st, c), rcv) > rtt_ns(snd):
            note_synack_repeat(st, c, side, seg)
    if snd.last_flags & (SYN | ACK) == SYN | ACK or snd.state >= ESTABLISHED:
        snd.syn_repeats += 1
    take_back(st, k, RCV_ACK_OF_SYN)


@kernel
def acked_since(conn: Conn, rcv: Tcb) -> int:
    """When the third ACK crossed the tap; the last segment of its sender where that is not known."""
    return conn.established_time if conn.established_time >= 0 else rcv.last_time


@kernel
def syn_is_acked(st: KernelState, c: int, side: int, seg: Seg, again: int) -> None:
    """The receiver of a SYN+ACK that acknowledges its SYN."""
    p = 2 * c + 1 - side
    rcv = tcb_at(st, p)
    now = st.counters[NOW]
    frame = seg.frame
    reuse = conn_at(st, c).reuse
    if rcv.syn_repeats > 0 and (not again or rcv.state == SYN_SENT):
        if reuse < 0 or not is_retry_explained(reuse_at(st, reuse)):
            note_syn_retry(st, c, 1 - side, seg)
    if reuse >= 0 and reuse_at(st, reuse).opened_frame < 0:
        note_opened(st, c, seg, now)
    rcv.snd_una = seg.ack
    tsval = seg.tsval if seg.options & HAS_TS else -1
    if rcv.state == SYN_SENT:
        receive(st, p, RCV_SYN_ACK, now, frame, tsval)
    elif rcv.state == SYN_RECEIVED:
        receive(st, p, RCV_ACK_OF_SYN, now, frame, tsval)
    rcv.rcv_nxt = (seg.seq + 1) & MASK
    rcv.bits |= RCV_KNOWN


@kernel
def note_syn(st: KernelState, conn: Conn, snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """What the first SYN of an endpoint says about it."""
    seq = seg.seq
    flags = seg.flags
    options = seg.options
    late = snd.bits & NXT_KNOWN != 0
    snd.syn_frame = seg.frame
    snd.iss = seq
    end = (seq + 1 + seg.payload_len) & MASK
    if not late:
        snd.snd_nxt = end
        snd.snd_una = seq
    snd.bits |= ISS_KNOWN | NXT_KNOWN
    if seg.payload_len > 0:
        snd.bits |= SYN_PAYLOAD
    if options & HAS_TS and options & TRUNCATED == 0:
        snd.bits |= TS_ON_SYN
    if options & HAS_WSCALE:
        snd.bits |= WSCALE_ON_SYN
        snd.wscale = min(seg.wscale, 14)
    if rcv.bits & RCV_KNOWN == 0:
        rcv.rcv_nxt = (seq + 1) & MASK
        rcv.bits |= RCV_KNOWN
    if rcv.bits & TS_ON_SYN and snd.bits & TS_ON_SYN:
        conn.bits |= TS_OK
    if options & HAS_MSS:
        rcv.mss_256 = min((seg.mss + 255) >> 8, 255)
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
def syn_again(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """The SYN once more: its sender has not got the answer, or an old duplicate comes by (RFC 9293 3.5)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    snd = tcb_at(st, k)
    snd.syn_repeats += 1
    if snd.bits & ACKED == 0 and tcb_at(st, k ^ 1).syn_frame >= 0:
        note_unheard(st, c, side, seg.frame)
    retry_meets_earlier(st, c, seg)
    take_back(st, k, RCV_SYN_ACK)
    if snd.state >= ESTABLISHED or conn.established_time >= 0:
        if tcb_at(st, k ^ 1).state == TIME_WAIT:
            old_syn_in_time_wait(st, k ^ 1, seg)
        else:
            expect_challenge(st, c, 1 - side, seg.frame)
        if conn.old_syn_frame < 0:
            conn.old_syn_frame = seg.frame


@kernel
def infer_syn(st: KernelState, p: int, ack: int, seg: Seg) -> None:
    """A SYN+ACK tells the ISN of a SYN that was not captured."""
    tcb = tcb_at(st, p)
    tcb.iss = (ack - 1) & MASK
    tcb.snd_nxt = ack
    tcb.snd_una = ack
    tcb.bits |= ISS_KNOWN | NXT_KNOWN
    if seg.options & HAS_TS:
        tcb.bits |= TS_ON_SYN
        conn_at(st, p >> 1).bits |= TS_OK
    if seg.options & HAS_WSCALE:
        tcb.bits |= WSCALE_ON_SYN
        tcb.wscale = 14  # not known: the widest
    if tcb.state == CLOSED:
        move(st, p, SND_SYN, BASIS_INFERRED, st.counters[NOW], seg.frame)
