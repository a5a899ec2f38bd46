"""RST: does it end the receiver's connection, and the facts that tell who made it (RFC 9293 3.5.2, 3.5.3, 3.10.7)."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_gt, seq_le
from tcptrace_tw.protocol.states import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    RCV_ACK_OF_FIN,
    RCV_ACK_OF_SYN,
    RCV_RST,
    RCV_RST_PASSIVE,
    RCV_SYN_ACK,
    SND_RST,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import ACK, FIN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import (
    BASIS_ASSUMED,
    BASIS_SENT,
    END_ASSASSINATED,
    END_UNKNOWN,
    OPENED_HANDSHAKE,
    ORIG,
)
from tcptrace_tw.tcp.facts.anomalies import expect_challenge
from tcptrace_tw.tcp.facts.echo import ECHO_LAST, ECHO_NONE, echo_of
from tcptrace_tw.tcp.facts.resets import is_syn_pending, open_reset
from tcptrace_tw.tcp.facts.reuse import note_refused, note_reset_of_syn
from tcptrace_tw.tcp.machine.fin import UNANSWERED_FINS, fin_not_received
from tcptrace_tw.tcp.machine.paws import is_stale
from tcptrace_tw.tcp.machine.syn_sent import answers_unfit, refuses_echo
from tcptrace_tw.tcp.machine.time_wait import drop_span, end_span, restart_not
from tcptrace_tw.tcp.machine.transitions import RETRACT_TIME_WAIT, move, receive, retract, take_back
from tcptrace_tw.tcp.store.access import (
    conn_at,
    span_at,
    tcb_at,
)
from tcptrace_tw.tcp.store.records import (
    ABORTED,
    ACKED,
    ANSWERED_FIN,
    ECHO_VALID,
    FIN_SENT,
    HAS_RST,
    HIDDEN_TEXT,
    IGNORES_RST,
    ISS_KNOWN,
    NOW,
    PAWS_IN_TIME_WAIT,
    RCV_KNOWN,
    REFUSED,
    RST_FATAL,
    RST_SENT,
    RST_TAKEN,
    SAW_PLAIN,
    Conn,
    KernelState,
    Tcb,
)


@kernel
def is_rst_acceptable(st: KernelState, conn: Conn, snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """Whether the receiver lets the connection go (RFC 9293 3.5.3; RFC 5961 3.2; Linux tcp_reset_check)."""
    state = rcv.state
    seq = seg.seq
    flags = seg.flags
    if state == CLOSED or state == LISTEN:
        return False
    if state == SYN_SENT:
        ahead = seq_diff(seg.ack, rcv.iss)
        return flags & ACK != 0 and 0 < ahead <= seq_diff(rcv.snd_nxt, rcv.iss)
    if rcv.bits & RCV_KNOWN == 0:
        return True
    exact = seq == rcv.rcv_nxt
    if state == TIME_WAIT:
        if not st.params[RST_FATAL] or not exact or rcv.bits & IGNORES_RST:
            return False
        return not (st.params[PAWS_IN_TIME_WAIT] and is_stale(st, conn, snd, rcv, seg))
    if exact or seq == snd.snd_nxt:
        return True
    if snd.unanswered > 0 and rcv.bits & ACKED and seq == rcv.last_ack:
        return True  # what was repeated in vain never arrived: RCV.NXT is what the receiver says
    if seq == (rcv.rcv_nxt - 1) & MASK:
        return state in (CLOSE_WAIT, LAST_ACK, CLOSING)
    # A capture without data shows the RST ahead of what it has seen.
    return conn.bits & SAW_PLAIN == 0 and seq_gt(seq, rcv.rcv_nxt)


@kernel
def rst_arrives(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """First its sender, then its receiver (3.10.7.3 and 3.10.7.4, second); the facts before either of them moves."""
    conn = conn_at(st, c)
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    now = st.counters[NOW]
    frame = seg.frame
    is_bare = seg.flags & ACK == 0
    acceptable = is_rst_acceptable(st, conn, snd, rcv, seg)
    if conn.rst_frame < 0:
        conn.rst_frame = frame
    conn.bits |= HAS_RST
    if lies_beyond_text(snd, rcv, seg):
        conn.bits |= HIDDEN_TEXT
    answers_syn = rcv.state == SYN_SENT and acceptable and snd.segments == 0
    refuses = is_bare and refuses_echo(snd, rcv, seg) and take_back(st, k, RCV_SYN_ACK)
    stays_in_syn_sent = snd.state == SYN_SENT and is_bare and answers_unfit(snd, rcv, seg)
    stays_in_syn_sent = stays_in_syn_sent or refuses
    echo = echo_of(st, snd, rcv, seg)
    if not stays_in_syn_sent:
        rst_denies_fin(st, k, rcv, seg, echo)
        if snd.fin_repeats >= UNANSWERED_FINS:
            fin_not_received(st, k ^ 1)
    if stays_in_syn_sent:
        note_reset_of_syn(st, c, seg)
    open_reset(st, c, side, seg, echo, acceptable, answers_syn, stays_in_syn_sent)
    if not acceptable and rcv.state >= ESTABLISHED:
        expect_challenge(st, c, 1 - side, frame)
    if answers_syn:
        syn_refused(st, c, side, seg)
    if refuses:
        rcv.bits &= ~ECHO_VALID  # what nobody sent was not stored
        receive(st, k ^ 1, RCV_RST_PASSIVE, now, frame, -1)
    if not stays_in_syn_sent:
        rst_proves(st, c, side, seg, acceptable)
        sender_resets(st, c, side, seg, echo)
        if acceptable:
            receiver_resets(st, c, side, frame, answers_syn)


@kernel
def syn_refused(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """The RST answers a SYN: the port is closed."""
    conn_at(st, c).bits |= REFUSED
    note_refused(st, c, seg)
    refuse_earlier(st, c, side, st.counters[NOW], seg.frame)


@kernel
def rst_denies_fin(st: KernelState, k: int, rcv: Tcb, seg: Seg, echo: int) -> None:
    """The RST of a host without a socket, or one that does not acknowledge the FIN: it was never taken in."""
    denies = seg.flags & ACK != 0 and rcv.bits & FIN_SENT != 0
    denies = denies and seq_le(seg.ack, rcv.fin_seq)
    is_answer = echo != ECHO_NONE or is_reset_echo(rcv, seg)
    if denies or is_answer:
        fin_not_received(st, k)
    snd = tcb_at(st, k)
    if is_answer and snd.bits & FIN_SENT and seq_le(seg.seq, snd.fin_seq):
        take_back(st, k, RCV_ACK_OF_FIN)  # its socket was gone before the ACK of its FIN came


@kernel
def lies_beyond_text(snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """Whether a RST follows, or acknowledges, text that was not captured."""
    is_ahead = snd.bits & ISS_KNOWN != 0 and seq_gt(seg.seq, snd.snd_nxt)
    acks = seg.flags & ACK != 0 and rcv.bits & ISS_KNOWN != 0
    return is_ahead or (acks and seq_gt(seg.ack, rcv.snd_nxt))


@kernel
def rst_proves(st: KernelState, c: int, side: int, seg: Seg, acceptable: bool) -> None:
    """What the numbers of a RST say about what its sender had received."""
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    if rcv.state == SYN_RECEIVED and acceptable and seq_gt(seg.seq, (snd.iss + 1) & MASK):
        # The sender had sent data: its third ACK was not captured.
        receive(st, k ^ 1, RCV_ACK_OF_SYN, st.counters[NOW], seg.frame, -1)


@kernel
def is_reset_echo(rcv: Tcb, seg: Seg) -> bool:
    """A RST without ACK whose number is the peer's last ACK, however late: no socket is left (3.5.2, group 1)."""
    return seg.flags & ACK == 0 and seg.seq == rcv.last_ack


@kernel
def sender_resets(st: KernelState, c: int, side: int, seg: Seg, echo: int) -> None:
    """Who sends a RST has no connection any more."""
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    now = st.counters[NOW]
    frame = seg.frame
    if snd.state == TIME_WAIT and echo == ECHO_LAST and rcv.last_flags & FIN:
        fin_finds_nothing(st, k, now, frame)
    if snd.state == TIME_WAIT:
        end_span(st, k, now, frame, END_UNKNOWN)
    elif snd.state == CLOSED and snd.span >= 0 and is_reset_echo(rcv, seg):
        note_answered(st, k, frame)
    if snd.state not in (CLOSED, LISTEN):
        snd.reset_state = snd.state
        if (snd.state >= ESTABLISHED or snd.state == SYN_RECEIVED) and not is_syn_pending(st, c):
            conn_at(st, c).bits |= ABORTED
        move(st, k, SND_RST, BASIS_SENT, now, frame)
    snd.bits |= RST_SENT


@kernel
def receiver_resets(st: KernelState, c: int, side: int, frame: int, answers_syn: bool) -> None:
    """An acceptable RST ends the connection of its receiver."""
    conn = conn_at(st, c)
    p = 2 * c + 1 - side
    rcv = tcb_at(st, p)
    now = st.counters[NOW]
    rcv.reset_state = rcv.state
    rcv.bits |= RST_TAKEN
    if rcv.state == TIME_WAIT:
        end_span(st, p, now, frame, END_ASSASSINATED)
        span_at(st, rcv.span).is_syn_pending = 1 if is_syn_pending(st, c) else 0
    elif not answers_syn and not is_syn_pending(st, c):
        conn.bits |= ABORTED
    passive = side == ORIG and rcv.state == SYN_RECEIVED and conn.opened == OPENED_HANDSHAKE
    move(st, p, RCV_RST_PASSIVE if passive else RCV_RST, BASIS_ASSUMED, now, frame)


@kernel
def refuse_earlier(st: KernelState, c: int, side: int, time: int, frame: int) -> None:
    """Who refuses a SYN with RST has let the earlier incarnation go too."""
    previous = conn_at(st, c).previous
    if previous < 0:
        return
    swapped = conn_at(st, c).orig_is_b ^ conn_at(st, previous).orig_is_b
    k = 2 * previous + (side ^ swapped)
    end_span(st, k, time, frame, END_UNKNOWN)
    move(st, k, SND_RST, BASIS_SENT, time, frame)


@kernel
def fin_finds_nothing(st: KernelState, k: int, time: int, frame: int) -> None:
    """A repeated FIN inside 2MSL meets a host without a socket: it had lost TIME-WAIT, or never entered it."""
    if tcb_at(st, k).bits & ANSWERED_FIN:
        restart_not(st, k)
    else:
        never_waited(st, k, time, frame)


@kernel
def never_waited(st: KernelState, k: int, time: int, frame: int) -> None:
    """A repeated FIN met a host without a socket inside 2MSL: it had never entered TIME-WAIT, or lost it.

    The usual cause is tcp_max_tw_buckets, where the entry is dropped at once; that is what the rows then say.
    """
    drop_span(st, k)
    tcb_at(st, k).reset_state = FIN_WAIT_2
    retract(st, k, TIME_WAIT, FIN_WAIT_2, time, frame, RETRACT_TIME_WAIT)


@kernel
def note_answered(st: KernelState, k: int, frame: int) -> None:
    """After an assassination the old holder answers like a host without a socket."""
    span = span_at(st, tcb_at(st, k).span)
    if span.end_reason == END_ASSASSINATED and span.answered_frame < 0:
        span.answered_frame = frame
