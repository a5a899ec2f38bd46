"""FIN and its ACK: how a connection ends (RFC 9293 3.6, 3.10.7.4)."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_gt, seq_le
from tcptrace_tw.protocol.states import (
    CLOSED,
    CLOSING,
    FIN_WAIT_1,
    LAST_ACK,
    LISTEN,
    RCV_ACK_OF_FIN,
    RCV_FIN,
    RCV_FIN_AND_ACK,
    SND_FIN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import ACK, FIN, HAS_TS
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import (
    BASIS_ASSUMED,
    BASIS_MIDSTREAM,
    BASIS_SENT,
    OPENED_MIDSTREAM,
    START_ACK,
    START_FIN,
)
from tcptrace_tw.tcp.facts.history import forget_earlier, rtt_ns
from tcptrace_tw.tcp.facts.rows import is_closer_known
from tcptrace_tw.tcp.machine.crossing_fins import (
    close_after_all,
    is_before_own_answer,
    is_before_peers_fin,
    note_unseen_ack,
    receive_answering_fin,
    receive_crossed_fin,
    receive_reset_again,
    without_peers_fin,
    without_reset,
)
from tcptrace_tw.tcp.machine.fin import fin_not_received
from tcptrace_tw.tcp.machine.time_wait import enter_time_wait, restart
from tcptrace_tw.tcp.machine.transitions import is_pending, move, receive, take_back
from tcptrace_tw.tcp.store.access import conn_at, span_at, tcb_at
from tcptrace_tw.tcp.store.records import (
    ACKED,
    ENTERED_FIN_WAIT_1,
    FIN_ACKED,
    FIN_DENIED,
    FIN_RECEIVED,
    LAST_ACK_LOST,
    NOW,
    PASSES_FIN_WAIT_2,
    RESTART_EXACT_ACK,
    RESTART_FIN,
    RESTART_OTHER_ACK,
    SAW_PLAIN,
    KernelState,
    Tcb,
)


@kernel
def close_sent(st: KernelState, c: int, side: int, seg: Seg, ahead: int) -> None:
    """The sender's first FIN. Its ACK field says what the sender knew; the order of the tap does not (see crossing)."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    now = st.counters[NOW]
    frame = seg.frame
    note_unseen_ack(tcb_at(st, k), tcb_at(st, p), seg)
    was_reset = without_reset(st, k, now, frame)
    is_answered = is_before_own_answer(st, p, ahead)
    crosses = is_before_peers_fin(st, k, p, seg, ahead)
    is_proved = crosses and without_peers_fin(st, k, now, frame) and not was_reset
    move(st, k, SND_FIN, basis_of_close(st, c, p), now, frame)
    if is_answered:
        close_after_all(st, p, frame)
    elif crosses:
        receive_crossed_fin(st, k, p, is_proved)
    acked_before(st, k, p, seg)
    if is_answered:
        receive_answering_fin(st, k, p)
    if was_reset:
        receive_reset_again(st, k, p)


@kernel
def basis_of_close(st: KernelState, c: int, p: int) -> int:
    """How sure it is that a FIN is the first or the second one: what its peer had sent may not have been captured."""
    if is_closer_known(conn_at(st, c), tcb_at(st, p)):
        return BASIS_SENT
    return BASIS_MIDSTREAM if conn_at(st, c).opened == OPENED_MIDSTREAM else BASIS_ASSUMED


@kernel
def acked_before(st: KernelState, k: int, p: int, seg: Seg) -> None:
    """The tap shows the ACK of a FIN before the FIN."""
    snd = tcb_at(st, k)
    peer = tcb_at(st, p)
    now = st.counters[NOW]
    if peer.bits & ACKED == 0 or not seq_gt(peer.rcv_nxt, snd.fin_seq):
        return
    snd.bits |= FIN_ACKED
    snd.fin_acked_frame = peer.last_frame
    snd.fin_acked_time = now
    if receive(st, k, RCV_ACK_OF_FIN, now, seg.frame, -1) and snd.state == TIME_WAIT:
        enter_time_wait(st, k, now, seg.frame, START_ACK, peer.fin_frame)


@kernel
def fin_again(st: KernelState, k: int, seg: Seg) -> None:
    """The sender repeats its FIN: it has not got an ACK of it that had time to arrive."""
    tcb = tcb_at(st, k)
    tcb.fin_repeats = min(tcb.fin_repeats + 1, 65535)
    if tcb_at(st, k ^ 1).bits & ENTERED_FIN_WAIT_1 and tcb.bits & ENTERED_FIN_WAIT_1:
        # Simultaneous close: the peer would have acknowledged the FIN by now.
        fin_not_received(st, k ^ 1)
    acked = tcb.fin_acked_time
    if acked < 0:
        return
    if st.counters[NOW] - acked <= rtt_ns(tcb):
        return  # they crossed
    if seg.options & HAS_TS and seg.tsval == tcb.last_tsval:
        return  # a clock that stands still for so long: the network's copy of the FIN, no repetition
    if tcb.fin_repeat_frame < 0:
        tcb.fin_repeat_frame = seg.frame
    was_last = tcb.state == CLOSED
    if take_back(st, k, RCV_ACK_OF_FIN) and was_last:
        tcb.bits |= LAST_ACK_LOST
    tcb.fin_acked_time = -1


@kernel
def time_wait_receives(st: KernelState, c: int, side: int, seg: Seg, end: int) -> None:
    """A segment that is no RST and no SYN arrives in TIME-WAIT."""
    rcv = tcb_at(st, 2 * c + 1 - side)
    seq = seg.seq
    rcv_nxt = rcv.rcv_nxt
    p = 2 * c + 1 - side
    if seg.flags & FIN and end == rcv_nxt:
        if into_time_wait(st, p, seg, RESTART_FIN):
            span_at(st, rcv.span).fin_repeats += 1
    elif end == seq and seq == rcv_nxt:
        into_time_wait(st, p, seg, RESTART_EXACT_ACK)
    else:
        into_time_wait(st, p, seg, RESTART_OTHER_ACK)


@kernel
def into_time_wait(st: KernelState, p: int, seg: Seg, kind: int) -> bool:
    """2MSL begins anew, where the profile's stack does so for this kind of segment."""
    if st.params[kind] and tcb_at(st, p).span >= 0:
        restart(st, p, st.counters[NOW], seg.frame)
        return True
    return False


@kernel
def fin_acked(st: KernelState, c: int, side: int, seg: Seg, tsval: int) -> None:
    """Our FIN is acknowledged: FIN-WAIT-1 to FIN-WAIT-2, CLOSING to TIME-WAIT, LAST-ACK to CLOSED."""
    p = 2 * c + 1 - side
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, p)
    now = st.counters[NOW]
    frame = seg.frame
    rcv.bits |= FIN_ACKED
    if rcv.fin_acked_frame < 0:
        rcv.fin_acked_frame = frame
    if rcv.fin_acked_time < 0:
        rcv.fin_acked_time = now
    if snd.bits & FIN_ACKED:
        forget_earlier(snd)
        forget_earlier(rcv)
    state = rcv.state
    if state == FIN_WAIT_1:
        if not st.params[PASSES_FIN_WAIT_2] and is_fin_in_order(rcv, seg):
            return  # both at once, in eighth_check_the_fin
        receive(st, p, RCV_ACK_OF_FIN, now, frame, tsval)
    elif state == CLOSING:
        receive(st, p, RCV_ACK_OF_FIN, now, frame, tsval)
        enter_time_wait(st, p, now, frame, START_ACK, snd.fin_frame)
    elif state == LAST_ACK:
        receive(st, p, RCV_ACK_OF_FIN, now, frame, tsval)


@kernel
def is_fin_in_order(rcv: Tcb, seg: Seg) -> bool:
    """Whether the segment's FIN is the next thing that the receiver expects."""
    return seg.flags & FIN != 0 and seq_le(seg.seq, rcv.rcv_nxt)


@kernel
def eighth_check_the_fin(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """The FIN is taken in when everything before it has been received."""
    conn = conn_at(st, c)
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    if rcv.bits & FIN_DENIED:
        if seg.flags & FIN == 0:
            return
        rcv.bits &= ~FIN_DENIED
    missing = seq_diff(snd.fin_seq, rcv.rcv_nxt)
    # A capture without data never shows what is before the FIN.
    unseen = conn.bits & SAW_PLAIN == 0
    if missing > 0 and not unseen:
        return
    fin_received(st, p, k, seg.frame, st.counters[NOW], True, seg)


LATE_NS = 50_000_000
"""Queues hold segments back for so long, and for some round trips."""


@kernel
def ack_denies_fin(st: KernelState, k: int, seg: Seg) -> None:
    """Endpoint ``k`` acknowledges less than the peer's FIN, which had to be repeated: it has not received it yet.

    What it may have sent before the last copy came does not count, nor what it sends again; its own FIN says itself
    whether the two cross (``crossing_fins``).
    """
    snd = tcb_at(st, k)
    peer = tcb_at(st, k ^ 1)
    ack = seg.ack
    if not is_pending(st, k, RCV_FIN) or seq_gt(ack, peer.fin_seq) or seg.flags & FIN:
        return
    since = st.counters[NOW] - peer.last_time
    if since <= 4 * rtt_ns(snd) + LATE_NS or seg.seq != snd.snd_nxt:
        return
    fin_not_received(st, k)
    snd.rcv_nxt = ack
    snd.bits |= FIN_DENIED


@kernel
def fin_received(st: KernelState, p: int, k: int, frame: int, time: int, is_now: bool, seg: Seg) -> None:
    """Endpoint ``p`` takes in the FIN of ``k``: with this very segment, or earlier, as its own ACK shows."""
    rcv = tcb_at(st, p)
    snd = tcb_at(st, k)
    state = rcv.state
    if state in (CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED):
        return
    rcv.bits |= FIN_RECEIVED
    fin_end = (snd.fin_seq + 1) & MASK
    if seq_gt(fin_end, rcv.rcv_nxt):
        rcv.rcv_nxt = fin_end
    event = RCV_FIN
    if is_now and state == FIN_WAIT_1 and not st.params[PASSES_FIN_WAIT_2]:
        if seg.flags & ACK and seq_gt(seg.ack, rcv.fin_seq):
            event = RCV_FIN_AND_ACK
    tsval = seg.tsval if is_now and seg.options & HAS_TS else -1
    if receive(st, p, event, time, frame, tsval) and rcv.state == TIME_WAIT:
        if is_now:
            enter_time_wait(st, p, time, frame, START_FIN, snd.fin_frame)
        else:
            enter_time_wait(st, p, time, seg.frame, START_ACK, snd.fin_frame)
