"""A segment as evidence of what its sender had received when it sent it."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_gt
from tcptrace_tw.protocol.states import (
    CLOSED,
    LISTEN,
    RCV_ACK_OF_SYN,
    RCV_SYN,
    RCV_SYN_ACK,
    SND_SYN_ACK,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import HAS_SACK, HAS_TS, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import BASIS_INFERRED, START_ACK
from tcptrace_tw.tcp.machine.closing import fin_received
from tcptrace_tw.tcp.machine.time_wait import holder_acks
from tcptrace_tw.tcp.machine.transitions import is_pending, move, prove, take_back
from tcptrace_tw.tcp.store.access import span_at, tcb_at
from tcptrace_tw.tcp.store.records import (
    ACKED,
    ANSWERED_FIN,
    FARTHEST_JUMP,
    FIN_RECEIVED,
    FIN_SENT,
    ISS_KNOWN,
    KEEPS_TS_RECENT,
    NOW,
    NXT_KNOWN,
    RCV_KNOWN,
    RST_SENT,
    RST_TAKEN,
    SACKED_BEYOND,
    SYN_PAYLOAD,
    KernelState,
    Tcb,
)

LARGE = 1000
"""So much payload no path refuses but one with an MTU that somebody made small (a tunnel, PPPoE)."""


@kernel
def ack_proves(st: KernelState, c: int, side: int, seg: Seg, ack: int) -> None:
    """The ACK field as evidence: what its sender had received when it sent this."""
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    ack_proves_handshake(st, k, seg, ack)
    acks_fin = rcv.bits & FIN_SENT != 0 and seq_gt(ack, rcv.fin_seq)
    if acks_fin:
        ack_proves_fin(st, k, seg)
    if snd.pending > 0:
        echo = seg.tsecr if seg.options & HAS_TS else -1
        prove(st, k, seq_gt(ack, rcv.iss), acks_fin, echo)
    if acks_fin and snd.state == TIME_WAIT and snd.span >= 0:
        # Where TS.Recent stays, the TSecr is that of the FIN's last copy: the earlier copies were lost.
        has_echo = st.params[KEEPS_TS_RECENT] and seg.options & HAS_TS
        late = has_echo and seg.tsecr == rcv.last_tsval
        span = span_at(st, snd.span)
        if span.start_basis == START_ACK and span.fin_repeats > 0:
            snd.bits |= ANSWERED_FIN
        holder_acks(st, k, st.counters[NOW], seg.frame, START_ACK, late)
    if snd.bits & RCV_KNOWN == 0 or seq_gt(ack, snd.rcv_nxt):
        if seq_diff(ack, rcv.snd_nxt) <= FARTHEST_JUMP:
            snd.rcv_nxt = ack
            snd.bits |= RCV_KNOWN
    remember_ack(snd, ack)


@kernel
def ack_proves_handshake(st: KernelState, k: int, seg: Seg, ack: int) -> None:
    """Whoever acknowledges more than a state allows has left it: the segment between was not captured."""
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    now = st.counters[NOW]
    frame = seg.frame
    if snd.state != SYN_SENT and is_pending(st, k, RCV_SYN):
        take_back(st, k, RCV_SYN)  # no SYN+ACK of its own: the SYNs did not cross after all
    if snd.state == SYN_RECEIVED and rcv.bits & SYN_PAYLOAD == 0:
        beyond = seq_gt(ack, (rcv.iss + 1) & MASK) or seg.seq != (snd.iss + 1) & MASK
        if beyond and seg.flags & SYN == 0:
            # It has got or sent more than the handshake: the third ACK was not captured.
            move(st, k, RCV_ACK_OF_SYN, BASIS_INFERRED, now, frame)
    if snd.state == SYN_SENT and seq_gt(ack, rcv.iss) and rcv.bits & NXT_KNOWN:
        infer_syn_ack(st, k ^ 1, now, frame)
        move(st, k, RCV_SYN_ACK, BASIS_INFERRED, now, frame)
    if rcv.state == SYN_SENT and seg.payload_len > 0:
        if 0 < seq_diff(ack, rcv.iss) <= seq_diff(rcv.snd_nxt, rcv.iss):
            infer_syn_ack(st, k, now, frame)  # whether the receiver got it, its own next segment tells


@kernel
def ack_proves_fin(st: KernelState, k: int, seg: Seg) -> None:
    """Endpoint ``k`` acknowledges its peer's FIN."""
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    if snd.state == SYN_RECEIVED:
        move(st, k, RCV_ACK_OF_SYN, BASIS_INFERRED, st.counters[NOW], seg.frame)
    if snd.bits & FIN_RECEIVED == 0:
        # It was queued behind a hole until the sender's last segment filled that.
        fin_received(st, k, k ^ 1, rcv.last_frame, rcv.last_time, False, seg)


@kernel
def infer_syn_ack(st: KernelState, k: int, time: int, frame: int) -> None:
    """Endpoint ``k`` has answered a SYN, and its SYN+ACK was not captured."""
    tcb = tcb_at(st, k)
    if tcb.state == CLOSED and tcb.bits & (ISS_KNOWN | RST_SENT | RST_TAKEN) == 0:
        tcb.state = LISTEN
        move(st, k, SND_SYN_ACK, BASIS_INFERRED, time, frame)


@kernel
def remember_ack(snd: Tcb, ack: int) -> None:
    """LAST.ACK of the sender."""
    snd.last_ack = ack
    snd.bits |= ACKED


@kernel
def acknowledge(rcv: Tcb, seg: Seg, ack: int) -> None:
    """What an ACK field and a SACK block say about the text of ``rcv``."""
    if seq_gt(ack, rcv.snd_una):
        rcv.snd_una = ack
        rcv.unanswered = 0
        rcv.bits &= ~SACKED_BEYOND
        rcv.sacked_len = 0
    if seg.options & HAS_SACK and seq_gt(seg.sack_start, rcv.snd_una):
        length = seq_diff(seg.sack_end, seg.sack_start)
        rcv.sacked_len = max(rcv.sacked_len, length)
        if length < LARGE:
            rcv.bits |= SACKED_BEYOND
        else:
            rcv.bits &= ~SACKED_BEYOND
