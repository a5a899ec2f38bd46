"""RST: does it end the receiver's connection, and the facts that tell who made it (RFC 9293 3.5.2, 3.5.3, 3.10.7)."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_ge, seq_gt, seq_le
from tcptrace_tw.protocol.states import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    RCV_ACK_OF_SYN,
    RCV_RST,
    RCV_RST_PASSIVE,
    RCV_SYN_ACK,
    SND_RST,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import ACK, FIN, HAS_TS, RST, SYN
from tcptrace_tw.schema.words import (
    ANSWER_NONE,
    BASIS_ASSUMED,
    BASIS_SENT,
    END_ASSASSINATED,
    END_UNKNOWN,
    OPENED_HANDSHAKE,
    ORIG,
    START_ACK,
)
from tcptrace_tw.tcp.facts.anomalies import expect_challenge
from tcptrace_tw.tcp.facts.reuse import note_refused
from tcptrace_tw.tcp.facts.rows import set_peers
from tcptrace_tw.tcp.facts.stale_segments import is_stale
from tcptrace_tw.tcp.machine.fin import fin_not_received
from tcptrace_tw.tcp.machine.syn_sent import answers_unfit, refuses_echo
from tcptrace_tw.tcp.machine.time_wait import drop_span, end_span, since
from tcptrace_tw.tcp.machine.transitions import RETRACT_TIME_WAIT, move, receive, retract, take_back
from tcptrace_tw.tcp.store.access import conn_at, newest_incarnation, reset_at, reuse_at, span_at, tcb_at
from tcptrace_tw.tcp.store.freelists import new_reset
from tcptrace_tw.tcp.store.records import (
    ABORTED,
    ACKED,
    FIN_SENT,
    HAS_RST,
    IGNORES_RST,
    IP_ID_STEPS,
    ISS_KNOWN,
    NOW,
    NXT_KNOWN,
    PAWS_IN_TIME_WAIT,
    RCV_KNOWN,
    REFUSED,
    RST_FATAL,
    RST_SENT,
    RST_TAKEN,
    SAW_PLAIN,
    TWO_MSL,
    WINDOW_CLOSED,
    WSCALE_ON_SYN,
)
from tcptrace_tw.tcp.store.reservations import MOST_RESET_ROWS


@kernel
def is_rst_acceptable(st, conn, snd, rcv, seg):  # type: ignore[no-untyped-def]
    """Whether the receiver lets the connection go (RFC 9293 3.5.3; RFC 5961 3.2; Linux tcp_reset_check)."""
    state = np.int64(rcv.state)
    seq = np.int64(seg.seq)
    flags = np.int64(seg.flags)
    if state == CLOSED or state == LISTEN:
        return False
    if state == SYN_SENT:
        ahead = seq_diff(np.int64(seg.ack), np.int64(rcv.iss))
        return flags & ACK != 0 and 0 < ahead <= seq_diff(np.int64(rcv.snd_nxt), np.int64(rcv.iss))
    if np.int64(rcv.bits) & RCV_KNOWN == 0:
        return True
    exact = seq == np.int64(rcv.rcv_nxt)
    if state == TIME_WAIT:
        if not st.params[RST_FATAL] or not exact or np.int64(rcv.bits) & IGNORES_RST:
            return False
        return not (st.params[PAWS_IN_TIME_WAIT] and is_stale(st, conn, snd, rcv, seg))
    if exact or seq == np.int64(snd.snd_nxt):
        return True
    if np.int64(snd.unanswered) > 0 and np.int64(rcv.bits) & ACKED and seq == np.int64(rcv.last_ack):
        return True  # what was repeated in vain never arrived: RCV.NXT is what the receiver says
    if seq == (np.int64(rcv.rcv_nxt) - 1) & MASK:
        return state in (CLOSE_WAIT, LAST_ACK, CLOSING)
    # A capture without data shows the RST ahead of what it has seen.
    return np.int64(conn.bits) & SAW_PLAIN == 0 and seq_gt(seq, np.int64(rcv.rcv_nxt))


@kernel
def rst_arrives(st, c, side, seg):  # type: ignore[no-untyped-def]
    """Sender first, then receiver; the row of facts before either of them moves."""
    conn = conn_at(st, c)
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    now = st.counters[NOW]
    frame = np.int64(seg.frame)
    flags = np.int64(seg.flags)
    acceptable = is_rst_acceptable(st, conn, snd, rcv, seg)
    if np.int64(conn.rst_frame) < 0:
        conn.rst_frame = frame
    conn.bits |= HAS_RST
    answers_syn = np.int64(rcv.state) == SYN_SENT and acceptable and np.int64(snd.segments) == 0
    refuses = flags & ACK == 0 and refuses_echo(snd, rcv, seg) and take_back(st, k, RCV_SYN_ACK)
    keeps_syn_sent = np.int64(snd.state) == SYN_SENT and flags & ACK == 0 and answers_unfit(snd, rcv, seg)
    keeps_syn_sent = keeps_syn_sent or refuses
    open_reset(st, c, side, seg, acceptable, answers_syn, keeps_syn_sent)
    if not acceptable and np.int64(rcv.state) >= ESTABLISHED:
        expect_challenge(st, c, 1 - side, frame)
    if answers_syn:
        conn.bits |= REFUSED
        note_refused(st, c, seg)
        refuse_earlier(st, c, side, now, frame)
    if refuses:
        receive(st, p, RCV_RST_PASSIVE, now, frame, -1)
    if keeps_syn_sent:
        return
    is_echo = flags & ACK == 0 and np.int64(seg.seq) == np.int64(rcv.last_ack)
    denies_fin = flags & ACK != 0 and np.int64(rcv.bits) & FIN_SENT != 0
    denies_fin = denies_fin and seq_le(np.int64(seg.ack), np.int64(rcv.fin_seq))
    if is_echo or denies_fin:
        # The RST of a host without a socket, or one that does not acknowledge the FIN: it was never taken in.
        fin_not_received(st, k)
    if np.int64(rcv.state) == SYN_RECEIVED and acceptable and seq_gt(np.int64(seg.seq), (np.int64(snd.iss) + 1) & MASK):
        # The sender had sent data: its third ACK was not captured.
        receive(st, p, RCV_ACK_OF_SYN, now, frame, -1)
    if np.int64(snd.state) == TIME_WAIT and is_echo and np.int64(rcv.last_flags) & FIN:
        never_waited(st, k, now, frame)
    if np.int64(snd.state) == TIME_WAIT:
        end_span(st, k, now, frame, END_UNKNOWN)
    elif np.int64(snd.state) == CLOSED and np.int64(snd.span) >= 0 and is_echo:
        note_answered(st, k, frame)
    if np.int64(snd.state) not in (CLOSED, LISTEN):
        snd.reset_state = snd.state
        if (np.int64(snd.state) >= ESTABLISHED or np.int64(snd.state) == SYN_RECEIVED) and not is_syn_pending(st, c):
            conn.bits |= ABORTED
        move(st, k, SND_RST, BASIS_SENT, now, frame)
    snd.bits |= RST_SENT
    if acceptable:
        rcv.reset_state = rcv.state
        rcv.bits |= RST_TAKEN
        if np.int64(rcv.state) == TIME_WAIT:
            end_span(st, p, now, frame, END_ASSASSINATED)
            span_at(st, np.int64(rcv.span)).is_syn_pending = 1 if is_syn_pending(st, c) else 0
        elif not answers_syn and not is_syn_pending(st, c):
            conn.bits |= ABORTED
        passive = side == ORIG and np.int64(rcv.state) == SYN_RECEIVED and np.int64(conn.opened) == OPENED_HANDSHAKE
        move(st, p, RCV_RST_PASSIVE if passive else RCV_RST, BASIS_ASSUMED, now, frame)


@kernel
def refuse_earlier(st, c, side, time, frame):  # type: ignore[no-untyped-def]
    """Who refuses a SYN with RST has let the earlier incarnation go too."""
    previous = np.int64(conn_at(st, c).previous)
    if previous < 0:
        return
    swapped = np.int64(conn_at(st, c).orig_is_b) ^ np.int64(conn_at(st, previous).orig_is_b)
    k = 2 * previous + (side ^ swapped)
    end_span(st, k, time, frame, END_UNKNOWN)
    move(st, k, SND_RST, BASIS_SENT, time, frame)


@kernel
def never_waited(st, k, time, frame):  # type: ignore[no-untyped-def]
    """A repeated FIN met a host without a socket inside 2MSL: it had never entered TIME-WAIT, or lost it.

    The usual cause is tcp_max_tw_buckets, where the entry is dropped at once; that is what the rows then say.
    """
    drop_span(st, k)
    tcb_at(st, k).reset_state = FIN_WAIT_2
    retract(st, k, TIME_WAIT, FIN_WAIT_2, time, frame, RETRACT_TIME_WAIT)


@kernel
def is_syn_pending(st, c):  # type: ignore[no-untyped-def]
    """Whether a SYN waits for its answer while the earlier incarnation ``c`` gets this RST."""
    head = newest_incarnation(st, np.int64(conn_at(st, c).slot))
    return head != c


@kernel
def note_answered(st, k, frame):  # type: ignore[no-untyped-def]
    """After an assassination the old holder answers like a host without a socket."""
    span = span_at(st, np.int64(tcb_at(st, k).span))
    if np.int64(span.end_reason) == END_ASSASSINATED and np.int64(span.answered_frame) < 0:
        span.answered_frame = frame


@kernel
def open_reset(st, c, side, seg, acceptable, answers_syn, keeps_syn_sent):  # type: ignore[no-untyped-def]
    """Write down a RST with everything that the classification asks for."""
    conn = conn_at(st, c)
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, 2 * c + 1 - side)
    if np.int64(conn.reset_rows) >= MOST_RESET_ROWS:
        reset_at(st, np.int64(conn.reset)).repeats += 1
        return
    conn.reset_rows += 1
    s = new_reset(st)
    row = reset_at(st, s)
    row.next = conn.reset
    conn.reset = s
    now = st.counters[NOW]
    flags = np.int64(seg.flags)
    seq = np.int64(seg.seq)
    row.connection_id = conn.id
    row.endpoint = side
    set_peers(st, row, 2 * c + side)
    row.time = now
    row.frame = seg.frame
    row.seq = seq
    row.sender_state = snd.state
    row.receiver_state = rcv.state
    row.seq_delta = seq_diff(seq, np.int64(rcv.rcv_nxt)) if np.int64(rcv.bits) & RCV_KNOWN else 0
    row.ack_delta = 0
    if flags & ACK and np.int64(snd.bits) & RCV_KNOWN:
        row.ack_delta = seq_diff(np.int64(seg.ack), np.int64(snd.rcv_nxt))
    row.is_bare = 1 if flags & ACK == 0 else 0
    row.is_accepted = 1 if acceptable else 0
    row.has_ts = 1 if np.int64(seg.options) & HAS_TS else 0
    row.window = seg.window
    row.was_window_closed = 1 if np.int64(snd.bits) & WINDOW_CLOSED else 0
    note_windows(row, snd, rcv, seg)
    row.is_repeat = 1 if np.int64(snd.bits) & RST_SENT else 0
    row.ttl_delta = np.int64(seg.ttl) - np.int64(snd.ttl) if np.int64(snd.segments) > 0 else 0
    note_ip_id_of_reset(row, snd, seg)
    row.trigger_frame = rcv.last_frame
    row.trigger_gap_ns = now - np.int64(rcv.last_time) if np.int64(rcv.last_frame) >= 0 else -1
    row.rtt_ns = np.int64(snd.rtt_us) * 1000 if np.int64(snd.rtt_us) else -1
    row.sender_seq_delta = seq_diff(seq, np.int64(snd.snd_nxt)) if np.int64(snd.bits) & NXT_KNOWN else 0
    row.sender_segments = snd.segments
    row.fin_acked_gap_ns = now - np.int64(snd.fin_acked_time) if np.int64(snd.fin_acked_time) >= 0 else -1
    note_time_wait(st, 2 * c + side, row)
    row.two_msl_ns = st.params[TWO_MSL]
    row.trigger_len = rcv.last_len
    row.trigger_flags = rcv.last_flags
    echoes = np.int64(rcv.last_frame) >= 0 and np.int64(rcv.last_flags) & ACK != 0 and not has_answered(snd, rcv)
    row.is_echo = 1 if echoes and flags & ACK == 0 and seq == np.int64(rcv.last_ack) else 0
    note_ladder(st, c, row, snd)
    row.is_syn_answer = 1 if answers_syn else 0
    row.earlier_state = earlier_state(st, conn) if answers_syn else 255
    row.is_stale_ack_answer = 1 if keeps_syn_sent else 0
    row.is_syn_pending = 1 if is_syn_pending(st, c) else 0
    row.fin_frame = snd.fin_frame
    row.peer_fin_frame = rcv.fin_frame
    in_flight = np.int64(snd.bits) & NXT_KNOWN != 0 and np.int64(snd.bits) & ISS_KNOWN != 0
    row.bytes_in_flight = max(seq_diff(np.int64(snd.snd_nxt), np.int64(snd.snd_una)), 0) if in_flight else 0
    row.unacked_bytes = unacked_bytes(snd, rcv)
    row.received_bytes = rcv.payload_bytes
    row.received_gap_ns = now - np.int64(rcv.payload_time) if np.int64(rcv.payload_time) >= 0 else -1
    row.sent_bytes = snd.payload_bytes
    row.retransmits = snd.unanswered
    row.continued_frame = -1
    row.continued_data_frame = -1
    row.challenge_frame = -1
    row.repeats = 0
    row.verdict = 255


@kernel
def earlier_state(st, conn):  # type: ignore[no-untyped-def]
    """In which state of the earlier incarnation a SYN met its receiver, if this RST is the first answer to it."""
    if np.int64(conn.reuse) < 0:
        return 255
    met = reuse_at(st, np.int64(conn.reuse))
    if np.int64(met.answer) != ANSWER_NONE:
        return 255
    return LAST_ACK if np.int64(met.is_last_ack_lost) else np.int64(met.receiver_state)


@kernel
def note_ip_id_of_reset(row, snd, seg):  # type: ignore[no-untyped-def]
    """How far the identification leaps from those of the sender; Linux has 0 where it has no socket."""
    ip_id = np.int64(seg.ip_id)
    leap = (ip_id - np.int64(snd.last_ip_id)) & 0xFFFF
    row.ip_id_delta = leap - 65536 if leap > 32767 else leap
    row.is_ip_id_counter = 1 if ip_id and np.int64(snd.bits) >> IP_ID_STEPS == 3 else 0


@kernel
def has_answered(snd, rcv):  # type: ignore[no-untyped-def]
    """Whether the sender has acknowledged the other side's last segment: a host without a socket does not."""
    end = np.int64(rcv.last_seq) + np.int64(rcv.last_len) + (1 if np.int64(rcv.last_flags) & FIN else 0)
    if end == np.int64(rcv.last_seq) or np.int64(snd.bits) & ACKED == 0 or np.int64(snd.last_flags) & RST:
        return False
    return np.int64(snd.last_frame) > np.int64(rcv.last_frame) and seq_diff(np.int64(snd.last_ack), end) >= 0


@kernel
def unacked_bytes(snd, rcv):  # type: ignore[no-untyped-def]
    """Text of the other side that the sender of a RST had never acknowledged."""
    if np.int64(snd.bits) & ACKED == 0 or np.int64(rcv.bits) & NXT_KNOWN == 0:
        return 0
    end = np.int64(rcv.fin_seq) if np.int64(rcv.bits) & FIN_SENT else np.int64(rcv.snd_nxt)
    return max(seq_diff(end, np.int64(snd.last_ack)), 0)


@kernel
def note_ladder(st, c, row, snd):  # type: ignore[no-untyped-def]
    """A RST above all that its sender sent, right after another one: a device tries the numbers of a whole window."""
    row.ladder_frame = -1
    if np.int64(snd.last_flags) & RST == 0 or np.int64(row.sender_seq_delta) <= 0 or np.int64(row.is_echo):
        return
    s = np.int64(conn_at(st, c).reset)
    while s >= 0:
        other = reset_at(st, s)
        if np.int64(other.endpoint) == np.int64(row.endpoint) and np.int64(other.ladder_frame) < 0:
            other.ladder_frame = row.frame
        s = np.int64(other.next)


@kernel
def note_windows(row, snd, rcv, seg):  # type: ignore[no-untyped-def]
    """How much of the sender's receive buffer was full: Linux subtracts the unread bytes from the window of its RST."""
    shift = np.int64(snd.wscale) if np.int64(rcv.bits) & WSCALE_ON_SYN else 0
    row.window_unit = 1 << shift
    row.window_missing = np.int64(snd.window_max) - (np.int64(seg.window) << shift)
    row.receive_window = rcv.window_max


@kernel
def note_time_wait(st, k, row):  # type: ignore[no-untyped-def]
    """The TIME-WAIT of the RST's sender: since when, and whether it is certain."""
    row.time_wait_gap_ns = -1
    row.is_time_wait_proved = 0
    s = np.int64(tcb_at(st, k).span)
    if s >= 0:
        row.time_wait_gap_ns = st.counters[NOW] - since(st, k)
        row.is_time_wait_proved = 1 if np.int64(span_at(st, s).start_basis) == START_ACK else 0


@kernel
def follow_resets(st, c, side, seg, is_progress):  # type: ignore[no-untyped-def]
    """A later segment of an incarnation with RSTs: the alleged sender goes on, or the receiver challenges it."""
    s = np.int64(conn_at(st, c).reset)
    flags = np.int64(seg.flags)
    plain = flags & (SYN | FIN) == 0 and np.int64(seg.payload_len) == 0
    while s >= 0:
        row = reset_at(st, s)
        s = np.int64(row.next)
        if np.int64(row.endpoint) == side:
            if is_progress and np.int64(row.continued_frame) < 0 and np.int64(row.is_stale_ack_answer) == 0:
                row.continued_frame = seg.frame
            if np.int64(seg.payload_len) > 0 and np.int64(row.continued_data_frame) < 0:
                if np.int64(row.is_stale_ack_answer) == 0 and seq_ge(np.int64(seg.seq), np.int64(row.seq)):
                    row.continued_data_frame = seg.frame
        elif plain and np.int64(row.is_accepted) == 0 and np.int64(row.challenge_frame) < 0:
            row.challenge_frame = seg.frame


@kernel
def last_reset(st, c, side):  # type: ignore[no-untyped-def]
    """The row of the last RST of endpoint ``side`` that was acceptable, or -1."""
    s = np.int64(conn_at(st, c).reset)
    while s >= 0:
        row = reset_at(st, s)
        if np.int64(row.endpoint) == side and np.int64(row.is_accepted):
            return s
        s = np.int64(row.next)
    return np.int64(-1)


@kernel
def reset_time(st, c, side):  # type: ignore[no-untyped-def]
    """When endpoint ``side`` sent its last RST that was acceptable."""
    s = last_reset(st, c, side)
    return np.int64(reset_at(st, s).time) if s >= 0 else st.counters[NOW]
