"""FINs that the tap shows in another order than they were sent.

A segment may overtake another behind the sender, or between the two directions of a tap: then the tap shows the ACK
before the FIN that it was sent after. But a FIN carries RCV.NXT of its sender (RFC 9293 3.10.4, 3.10.7.4), so each FIN
says itself whether the peer's FIN had come when it was sent: it had, and this is the passive closer, or it had not, and
the FINs cross (RFC 9293 3.6, case 3). What had been concluded from the order of the tap is taken back by rows.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import seq_diff, seq_gt
from tcptrace_tw.protocol.states import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_1,
    RCV_FIN,
    RCV_RST,
    SND_FIN,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import ACK, FIN, HAS_TS
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import BASIS_ASSUMED, BASIS_CONFIRMED, BASIS_SENT, START_FIN
from tcptrace_tw.tcp.facts.after_resets import last_reset
from tcptrace_tw.tcp.machine.time_wait import enter_time_wait
from tcptrace_tw.tcp.machine.transitions import (
    RETRACT_CLOSE,
    RETRACT_RESET,
    commit,
    is_pending,
    move,
    receive,
    retract,
    take_back,
)
from tcptrace_tw.tcp.store.access import reset_at, tcb_at
from tcptrace_tw.tcp.store.records import (
    ACKED_FROM_BEYOND,
    ENTERED_FIN_WAIT_1,
    FIN_ACKED,
    FIN_ACKS_UNSEEN,
    FIN_RECEIVED,
    FIN_SENT,
    NOW,
    NXT_ACKED,
    PENDING,
    RST_TAKEN,
    KernelState,
    Tcb,
)


@kernel
def note_ack_from_beyond(snd: Tcb, rcv: Tcb, seg: Seg, ahead: int) -> None:
    """Remember that the sender acknowledges the peer's FIN from one number behind what it has shown.

    If that number was its own FIN, lost before the tap, then it had sent it before the peer's FIN came: who closes
    after that acknowledges first from before the FIN, or not before the peer has repeated its own.
    """
    if ahead != 1 or seg.flags & (ACK | FIN) != ACK or rcv.bits & (FIN_SENT | FIN_ACKED) != FIN_SENT:
        return
    if seq_gt(seg.ack, rcv.fin_seq) and rcv.fin_repeats == 0:
        snd.bits |= ACKED_FROM_BEYOND


@kernel
def is_before_peers_fin(st: KernelState, k: int, p: int, seg: Seg, ahead: int) -> bool:
    """Whether the FIN of ``k`` was sent before the peer's FIN came, although the tap had shown that one."""
    if tcb_at(st, k).bits & ACKED_FROM_BEYOND and ahead == 0 and is_later(tcb_at(st, k), seg):
        return True  # it is sent again; its ACK field is not the one of the first time
    if tcb_at(st, p).bits & FIN_SENT == 0 or tcb_at(st, k).bits & FIN_RECEIVED == 0:
        return False
    return seg.flags & ACK == 0 or not seq_gt(seg.ack, tcb_at(st, p).fin_seq)


@kernel
def is_later(snd: Tcb, seg: Seg) -> bool:
    """Whether a segment may have been sent after its sender's last one: not where its timestamp is no later.

    A retransmission waits for its timer. What has the TSval of the segment before, or an older one, was sent with it or
    before it, and only passed the tap behind it.
    """
    return seg.options & HAS_TS == 0 or seq_gt(seg.tsval, snd.last_tsval)


@kernel
def is_before_own_answer(st: KernelState, p: int, ahead: int) -> bool:
    """Whether the peer's FIN, which had passed the tap, acknowledges this FIN; it ends ``ahead`` of SND.NXT."""
    peer = tcb_at(st, p)
    # The peer acknowledged something unseen, and all that it acknowledged ends with this FIN.
    is_acked = peer.bits & FIN_ACKS_UNSEEN != 0 and ahead == 0
    return is_acked and peer.state == FIN_WAIT_1 and peer.pending == 0


@kernel
def note_unseen_ack(snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """Remember of the sender's FIN that it acknowledges what the tap has not seen: perhaps a FIN that comes late."""
    if seg.flags & ACK == 0:
        return
    unseen = seq_diff(seg.ack, rcv.snd_nxt)
    if unseen > 0 or (unseen == 0 and rcv.bits & NXT_ACKED):
        snd.bits |= FIN_ACKS_UNSEEN


@kernel
def without_peers_fin(st: KernelState, k: int, time: int, frame: int) -> bool:
    """Endpoint ``k`` had not received the peer's FIN when it sent its own; returns whether its receipt was proved."""
    tcb_at(st, k).bits &= ~FIN_RECEIVED
    if is_pending(st, k, RCV_FIN):
        take_back(st, k, RCV_FIN)
        return False
    return retract(st, k, CLOSE_WAIT, ESTABLISHED, time, frame, RETRACT_CLOSE)


@kernel
def receive_crossed_fin(st: KernelState, k: int, p: int, is_proved: bool) -> None:
    """The peer's FIN comes to ``k`` behind its own FIN."""
    tcb_at(st, k).bits |= FIN_RECEIVED
    receive(st, k, RCV_FIN, st.counters[NOW], tcb_at(st, p).fin_frame, -1)
    if is_proved:
        commit(st, k, PENDING, BASIS_CONFIRMED)


@kernel
def receive_answering_fin(st: KernelState, k: int, p: int) -> None:
    """The peer's FIN, which acknowledges that of ``k``, had passed the tap before it."""
    tcb = tcb_at(st, k)
    peer = tcb_at(st, p)
    tcb.bits |= FIN_RECEIVED
    frame = peer.fin_frame
    if receive(st, k, RCV_FIN, st.counters[NOW], frame, -1) and tcb.state == TIME_WAIT:
        enter_time_wait(st, k, st.counters[NOW], frame, START_FIN, frame)


@kernel
def close_after_all(st: KernelState, p: int, frame: int) -> None:
    """Endpoint ``p`` had received the FIN of ``frame`` before its own: CLOSE-WAIT, LAST-ACK."""
    tcb = tcb_at(st, p)
    now = st.counters[NOW]
    retract(st, p, FIN_WAIT_1, ESTABLISHED, now, frame, RETRACT_CLOSE)
    tcb.bits &= ~ENTERED_FIN_WAIT_1
    tcb.bits |= FIN_RECEIVED
    receive(st, p, RCV_FIN, now, frame, -1)
    commit(st, p, PENDING, BASIS_CONFIRMED)
    move(st, p, SND_FIN, BASIS_SENT, now, tcb.fin_frame)


@kernel
def without_reset(st: KernelState, k: int, time: int, frame: int) -> bool:
    """The FIN of ``k`` was on its way when the RST came that had passed the tap before: back to what it was then."""
    tcb = tcb_at(st, k)
    if tcb.state != CLOSED or tcb.bits & RST_TAKEN == 0:
        return False
    return retract(st, k, CLOSED, tcb.reset_state, time, frame, RETRACT_RESET)


@kernel
def receive_reset_again(st: KernelState, k: int, p: int) -> None:
    """The RST comes to ``k`` behind its FIN."""
    tcb = tcb_at(st, k)
    tcb.reset_state = tcb.state
    row = last_reset(st, p >> 1, p & 1)
    if row >= 0:
        move(st, k, RCV_RST, BASIS_ASSUMED, reset_at(st, row).time, reset_at(st, row).frame)
