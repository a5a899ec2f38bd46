"""FINs that the tap shows in another order than they were sent.

A segment may overtake another behind the sender, or between the two directions of a tap: then the tap shows the ACK
before the FIN that it was sent after. But a FIN carries RCV.NXT of its sender (RFC 9293 3.10.4, 3.10.7.4), so each FIN
says itself whether the peer's FIN had come when it was sent: it had, and this is the passive closer, or it had not, and
the FINs cross (RFC 9293 3.6, case 3). What had been concluded from the order of the tap is taken back by rows.
"""

from __future__ import annotations

import numpy as np

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
)


@kernel
def note_ack_from_beyond(snd, rcv, seg, ahead):  # type: ignore[no-untyped-def]
    """Remember that the sender acknowledges the peer's FIN from one number behind what it has shown.

    If that number was its own FIN, lost before the tap, then it had sent it before the peer's FIN came: who closes
    after that acknowledges first from before the FIN, or not before the peer has repeated its own.
    """
    if (
        ahead != 1
        or np.int64(seg.flags) & (ACK | FIN) != ACK
        or np.int64(rcv.bits) & (FIN_SENT | FIN_ACKED) != FIN_SENT
    ):
        return
    if seq_gt(np.int64(seg.ack), np.int64(rcv.fin_seq)) and np.int64(rcv.fin_repeats) == 0:
        snd.bits |= ACKED_FROM_BEYOND


@kernel
def is_before_peers_fin(st, k, p, seg, ahead):  # type: ignore[no-untyped-def]
    """Whether the FIN of ``k`` was sent before the peer's FIN came, although the tap had shown that one."""
    if np.int64(tcb_at(st, k).bits) & ACKED_FROM_BEYOND and ahead == 0 and is_later(tcb_at(st, k), seg):
        return True  # it is sent again; its ACK field is not the one of the first time
    if np.int64(tcb_at(st, p).bits) & FIN_SENT == 0 or np.int64(tcb_at(st, k).bits) & FIN_RECEIVED == 0:
        return False
    return np.int64(seg.flags) & ACK == 0 or not seq_gt(np.int64(seg.ack), np.int64(tcb_at(st, p).fin_seq))


@kernel
def is_later(snd, seg):  # type: ignore[no-untyped-def]
    """Whether a segment may have been sent after its sender's last one: not where its timestamp is no later.

    A retransmission waits for its timer. What has the TSval of the segment before, or an older one, was sent with it or
    before it, and only passed the tap behind it.
    """
    return np.int64(seg.options) & HAS_TS == 0 or seq_gt(np.int64(seg.tsval), np.int64(snd.last_tsval))


@kernel
def is_before_own_answer(st, p, ahead):  # type: ignore[no-untyped-def]
    """Whether the peer's FIN, which had passed the tap, acknowledges this FIN; it ends ``ahead`` of SND.NXT."""
    peer = tcb_at(st, p)
    # The peer acknowledged something unseen, and all that it acknowledged ends with this FIN.
    is_acked = np.int64(peer.bits) & FIN_ACKS_UNSEEN != 0 and ahead == 0
    return is_acked and np.int64(peer.state) == FIN_WAIT_1 and np.int64(peer.pending) == 0


@kernel
def note_unseen_ack(snd, rcv, seg):  # type: ignore[no-untyped-def]
    """Remember of the sender's FIN that it acknowledges what the tap has not seen: perhaps a FIN that comes late."""
    if np.int64(seg.flags) & ACK == 0:
        return
    unseen = seq_diff(np.int64(seg.ack), np.int64(rcv.snd_nxt))
    if unseen > 0 or (unseen == 0 and np.int64(rcv.bits) & NXT_ACKED):
        snd.bits |= FIN_ACKS_UNSEEN


@kernel
def without_peers_fin(st, k, time, frame):  # type: ignore[no-untyped-def]
    """Endpoint ``k`` had not received the peer's FIN when it sent its own; returns whether its receipt was proved."""
    tcb_at(st, k).bits &= ~FIN_RECEIVED & 0xFFFFFFFF
    if is_pending(st, k, RCV_FIN):
        take_back(st, k, RCV_FIN)
        return False
    return retract(st, k, CLOSE_WAIT, ESTABLISHED, time, frame, RETRACT_CLOSE)


@kernel
def receive_crossed_fin(st, k, p, is_proved):  # type: ignore[no-untyped-def]
    """The peer's FIN comes to ``k`` behind its own FIN."""
    tcb_at(st, k).bits |= FIN_RECEIVED
    receive(st, k, RCV_FIN, st.counters[NOW], np.int64(tcb_at(st, p).fin_frame), -1)
    if is_proved:
        commit(st, k, PENDING, BASIS_CONFIRMED)


@kernel
def receive_answering_fin(st, k, p):  # type: ignore[no-untyped-def]
    """The peer's FIN, which acknowledges that of ``k``, had passed the tap before it."""
    t = tcb_at(st, k)
    peer = tcb_at(st, p)
    t.bits |= FIN_RECEIVED
    frame = np.int64(peer.fin_frame)
    if receive(st, k, RCV_FIN, st.counters[NOW], frame, -1) and np.int64(t.state) == TIME_WAIT:
        enter_time_wait(st, k, st.counters[NOW], frame, START_FIN, frame)


@kernel
def close_after_all(st, p, frame):  # type: ignore[no-untyped-def]
    """Endpoint ``p`` had received the FIN of ``frame`` before its own: CLOSE-WAIT, LAST-ACK."""
    t = tcb_at(st, p)
    now = st.counters[NOW]
    retract(st, p, FIN_WAIT_1, ESTABLISHED, now, frame, RETRACT_CLOSE)
    t.bits &= ~ENTERED_FIN_WAIT_1 & 0xFFFFFFFF
    t.bits |= FIN_RECEIVED
    receive(st, p, RCV_FIN, now, frame, -1)
    commit(st, p, PENDING, BASIS_CONFIRMED)
    move(st, p, SND_FIN, BASIS_SENT, now, np.int64(t.fin_frame))


@kernel
def without_reset(st, k, time, frame):  # type: ignore[no-untyped-def]
    """The FIN of ``k`` was on its way when the RST came that had passed the tap before: back to what it was then."""
    t = tcb_at(st, k)
    if np.int64(t.state) != CLOSED or np.int64(t.bits) & RST_TAKEN == 0:
        return False
    return retract(st, k, CLOSED, np.int64(t.reset_state), time, frame, RETRACT_RESET)


@kernel
def receive_reset_again(st, k, p):  # type: ignore[no-untyped-def]
    """The RST comes to ``k`` behind its FIN."""
    t = tcb_at(st, k)
    t.reset_state = t.state
    row = last_reset(st, p >> 1, p & 1)
    if row >= 0:
        move(st, k, RCV_RST, BASIS_ASSUMED, np.int64(reset_at(st, row).time), np.int64(reset_at(st, row).frame))
