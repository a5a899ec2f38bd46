"""A segment as evidence of what its sender had received when it sent it."""

from __future__ import annotations

import numpy as np

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
from tcptrace_tw.schema.columns import HAS_TS, SYN
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
    SYN_PAYLOAD,
)


@kernel
def ack_proves(st, c, side, seg, ack):  # type: ignore[no-untyped-def]
    """The ACK field as evidence: what its sender had received when it sent this."""
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    ack_proves_handshake(st, k, seg, ack)
    acks_fin = np.int64(rcv.bits) & FIN_SENT != 0 and seq_gt(ack, np.int64(rcv.fin_seq))
    if acks_fin:
        ack_proves_fin(st, k, seg)
    if np.int64(snd.pending) > 0:
        echo = np.int64(seg.tsecr) if np.int64(seg.options) & HAS_TS else -1
        prove(st, k, seq_gt(ack, np.int64(rcv.iss)), acks_fin, echo)
    if acks_fin and np.int64(snd.state) == TIME_WAIT and np.int64(snd.span) >= 0:
        # Where TS.Recent stays, the TSecr is that of the FIN's last copy: the earlier copies were lost.
        has_echo = st.params[KEEPS_TS_RECENT] and np.int64(seg.options) & HAS_TS
        late = has_echo and np.int64(seg.tsecr) == np.int64(rcv.last_tsval)
        span = span_at(st, np.int64(snd.span))
        if np.int64(span.start_basis) == START_ACK and np.int64(span.fin_repeats) > 0:
            snd.bits |= ANSWERED_FIN
        holder_acks(st, k, st.counters[NOW], np.int64(seg.frame), START_ACK, late)
    if np.int64(snd.bits) & RCV_KNOWN == 0 or seq_gt(ack, np.int64(snd.rcv_nxt)):
        if seq_diff(ack, np.int64(rcv.snd_nxt)) <= FARTHEST_JUMP:
            snd.rcv_nxt = ack
            snd.bits |= RCV_KNOWN
    remember_ack(snd, ack)


@kernel
def ack_proves_handshake(st, k, seg, ack):  # type: ignore[no-untyped-def]
    """Whoever acknowledges more than a state allows has left it: the segment between was not captured."""
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    now = st.counters[NOW]
    frame = np.int64(seg.frame)
    if np.int64(snd.state) != SYN_SENT and is_pending(st, k, RCV_SYN):
        take_back(st, k, RCV_SYN)  # no SYN+ACK of its own: the SYNs did not cross after all
    if np.int64(snd.state) == SYN_RECEIVED and np.int64(rcv.bits) & SYN_PAYLOAD == 0:
        beyond = seq_gt(ack, (np.int64(rcv.iss) + 1) & MASK) or np.int64(seg.seq) != (np.int64(snd.iss) + 1) & MASK
        if beyond and np.int64(seg.flags) & SYN == 0:
            # It has got or sent more than the handshake: the third ACK was not captured.
            move(st, k, RCV_ACK_OF_SYN, BASIS_INFERRED, now, frame)
    if np.int64(snd.state) == SYN_SENT and seq_gt(ack, np.int64(rcv.iss)) and np.int64(rcv.bits) & NXT_KNOWN:
        infer_syn_ack(st, k ^ 1, now, frame)
        move(st, k, RCV_SYN_ACK, BASIS_INFERRED, now, frame)
    if np.int64(rcv.state) == SYN_SENT and np.int64(seg.payload_len) > 0:
        if 0 < seq_diff(ack, np.int64(rcv.iss)) <= seq_diff(np.int64(rcv.snd_nxt), np.int64(rcv.iss)):
            infer_syn_ack(st, k, now, frame)  # whether the receiver got it, its own next segment tells


@kernel
def ack_proves_fin(st, k, seg):  # type: ignore[no-untyped-def]
    """Endpoint ``k`` acknowledges its peer's FIN."""
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    if np.int64(snd.state) == SYN_RECEIVED:
        move(st, k, RCV_ACK_OF_SYN, BASIS_INFERRED, st.counters[NOW], np.int64(seg.frame))
    if np.int64(snd.bits) & FIN_RECEIVED == 0:
        # It was queued behind a hole until the sender's last segment filled that.
        fin_received(st, k, k ^ 1, np.int64(rcv.last_frame), np.int64(rcv.last_time), False, seg)


@kernel
def infer_syn_ack(st, k, time, frame):  # type: ignore[no-untyped-def]
    """Endpoint ``k`` has answered a SYN, and its SYN+ACK was not captured."""
    t = tcb_at(st, k)
    if np.int64(t.state) == CLOSED and np.int64(t.bits) & (ISS_KNOWN | RST_SENT | RST_TAKEN) == 0:
        t.state = LISTEN
        move(st, k, SND_SYN_ACK, BASIS_INFERRED, time, frame)


@kernel
def remember_ack(snd, ack):  # type: ignore[no-untyped-def]
    """LAST.ACK of the sender."""
    snd.last_ack = ack
    snd.bits |= ACKED
