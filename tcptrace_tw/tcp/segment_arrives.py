"""SEGMENT ARRIVES, seen from beside the wire (RFC 9293 3.10.7), for both endpoints of every connection.

A host runs this section for the segments that it receives. We watch one point of the path and run it twice for
every segment: first the sender does what sending it means, then the receiver does what receiving it means.

What the sender did is certain. That the receiver gets it is an assumption, and how such receipts wait for their
proof is told in ``transitions``. Before the segment moves anybody, it is read as evidence: its ACK and TSecr prove
what its sender had received before it sent it (``prove``), a repeated SYN, SYN+ACK or FIN shows what its sender had
not received (``take_back``).

The receiver's part keeps the order of 3.10.7.4: first the sequence number (and with it RFC 7323's timestamps),
second RST, fourth SYN, fifth ACK, seventh the text, eighth FIN. The order matters where one segment carries two
things: a FIN that also acknowledges our FIN is FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT, and never CLOSING.

A segment whose numbers fit neither end, or that PAWS makes the receiver drop, is counted and moves nobody.
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.jit import kernel
from tcptrace_tw.tcp.places import (
    conn_at,
    head_of,
    prefetch_head,
    prefetch_incarnation,
    span_at,
    tcb_at,
)
from tcptrace_tw.spec.columns import ACK, FIN, HAS_MSS, HAS_TS, HAS_WSCALE, RST, SYN, TRUNCATED
from tcptrace_tw.spec.seq import MASK, seq_diff, seq_gt, seq_le
from tcptrace_tw.spec.states import (
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    LAST_ACK,
    LISTEN,
    RCV_ACK_OF_FIN,
    RCV_ACK_OF_SYN,
    RCV_FIN,
    RCV_FIN_AND_ACK,
    RCV_SYN,
    RCV_SYN_ACK,
    SND_FIN,
    SND_SYN,
    SND_SYN_ACK,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    UNKNOWN_STATE,
)
from tcptrace_tw.spec.words import (
    BASIS_INFERRED,
    BASIS_SENT,
    END_CAPTURE,
    OPENED_SIMULTANEOUS,
    RESP,
    START_ACK,
    START_FIN,
)
from tcptrace_tw.tcp.fin import fin_not_received
from tcptrace_tw.tcp.history import count_segment
from tcptrace_tw.tcp.incarnation import forget_finished, incarnation_of, is_over, retire
from tcptrace_tw.tcp.duplicate import is_duplicate_frame
from tcptrace_tw.tcp.oddities import (
    expect_challenge,
    follow_oddity,
    look_at_clock,
    note_half_close,
    note_merged,
    note_syn_retry,
    note_synack_repeat,
    note_unseen,
)
from tcptrace_tw.tcp.queue import enqueue
from tcptrace_tw.tcp.reset import follow_resets, reset_time, rst_arrives
from tcptrace_tw.tcp.reuse import note_old_duplicate, note_on_earlier, note_retry
from tcptrace_tw.tcp.rows import note_established
from tcptrace_tw.tcp.stale import follow_stale, is_keep_alive, is_stale, open_stale, store_ts_recent
from tcptrace_tw.tcp.state import (
    ABORTED,
    ACKED,
    BACKWARD_FRAME,
    CONNS_USED,
    ECHO_VALID,
    ENTERED_FIN_WAIT_1,
    FIN_ACKED,
    FIN_RECEIVED,
    FIN_SENT,
    IGNORES_RST,
    IN_QUEUE,
    ISS_KNOWN,
    KEEPS_TS_RECENT,
    LAST_ACK_LOST,
    MAX_BACKWARD,
    NOW,
    NXT_KNOWN,
    OUT_CONNECTIONS,
    OUT_ODDITIES,
    OUT_RESETS,
    OUT_ROOM,
    OUT_STALE,
    OUT_TRANSITIONS,
    PASSES_FIN_WAIT_2,
    RCV_KNOWN,
    REFUSED,
    RELEASED,
    REMEMBER,
    RESTART_EXACT_ACK,
    RESTART_FIN,
    RESTART_OTHER_ACK,
    RESTART_STALE,
    RST_SENT,
    RST_TAKEN,
    SAW_PLAIN,
    START,
    SYN_PAYLOAD,
    TS_OK,
    TS_ON_SYN,
    TS_VALID,
    WSCALE_ON_SYN,
)
from tcptrace_tw.tcp.time_wait import enter_time_wait, expire, holder_acks, restart
from tcptrace_tw.tcp.transitions import (
    RETRACT_RESET,
    is_pending,
    move,
    prove,
    receive,
    retract,
    take_back,
)

FARTHEST_JUMP = 1 << 30
"""Mid-stream nothing is known of the window: only what lies half the sequence space away is not believed."""


@kernel
def segments_arrive(seg, size, slots, directions, start, st, connection_ids, states):  # type: ignore[no-untyped-def]
    """Move each endpoint's state by the segments of one batch, in order, from segment ``start`` up to ``size``.

    Fills ``connection_ids`` and ``states`` (sender's state, receiver's state, who sent it). Returns
    the number of segments done: less than the batch when the row buffers have to be emptied first.
    """
    regs = st.regs
    for i in range(start, size):
        if is_full(st):
            return i
        look_ahead(st, slots, i, size)
        advance_clock(regs, np.int64(seg.time[i]), seg.frame[i])
        forget_finished(st)
        direction = np.int64(directions[i])
        slot = np.int64(slots[i])
        if is_duplicate_frame(st, seg, i, slot, direction):
            c = head_of(st, slot)
            if c >= 0:
                conn_at(st, c).duplicates += 1
                connection_ids[i] = conn_at(st, c).id
                states[i, 2] = direction ^ np.int64(conn_at(st, c).orig_is_b)
            states[i, 0] = UNKNOWN_STATE
            states[i, 1] = UNKNOWN_STATE
            continue
        c = incarnation_of(st, seg, i, slot, direction)
        side = direction ^ np.int64(conn_at(st, c).orig_is_b)
        segment_arrives(st, c, side, seg, i, slot)
        connection_ids[i] = conn_at(st, c).id
        states[i, 0] = tcb_at(st, 2 * c + side).state
        states[i, 1] = tcb_at(st, 2 * c + 1 - side).state
        states[i, 2] = side
    return size


FAR, NEAR = 24, 12
"""How many segments ahead the records of the incarnation are asked for, in two steps: memory is slow, not the steps."""


@kernel
def look_ahead(st, slots, i, size):  # type: ignore[no-untyped-def]
    """Ask for the records of later segments, so that they lie in the cache when their turn comes."""
    if i + FAR < size:
        prefetch_head(st, np.int64(slots[i + FAR]))
        c = head_of(st, np.int64(slots[i + NEAR]))
        if c >= 0:
            prefetch_incarnation(st, c)


@kernel
def is_full(st):  # type: ignore[no-untyped-def]
    """Whether a row buffer might not hold what one more segment can cause."""
    regs = st.regs
    return (
        regs[OUT_TRANSITIONS] + 64 > OUT_ROOM[1]
        or regs[OUT_CONNECTIONS] + 8 > OUT_ROOM[0]
        or regs[OUT_STALE] + 2048 > OUT_ROOM[4]
        or regs[OUT_RESETS] + 256 > OUT_ROOM[5]
        or regs[OUT_ODDITIES] + 16 > OUT_ROOM[6]
    )


@kernel
def advance_clock(regs, time, frame):  # type: ignore[no-untyped-def]
    """The clock of the tracker never goes back: a segment captured late counts as captured now."""
    if regs[START] < 0:
        regs[START] = time
        regs[NOW] = time
    elif time >= regs[NOW]:
        regs[NOW] = time
    elif regs[NOW] - time > regs[MAX_BACKWARD]:
        regs[MAX_BACKWARD] = regs[NOW] - time
        regs[BACKWARD_FRAME] = frame


@kernel
def segment_arrives(st, c, side, seg, i, slot):  # type: ignore[no-untyped-def]
    """One segment of incarnation ``c``, sent by endpoint ``side``."""
    conn = conn_at(st, c)
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    flags = np.int64(seg.flags[i])
    now = st.regs[NOW]
    head = head_of(st, slot)
    if head != c and np.int64(conn_at(st, head).reuse) >= 0:
        note_on_earlier(st, head, c, seg, i, side)
    if np.int64(rcv.state) == TIME_WAIT:
        expire(st, p)
    if np.int64(snd.state) == TIME_WAIT:
        expire(st, k)
    if np.int64(conn.oddity) >= 0:
        follow_oddity(st, c, side, seg, i)
    if flags & RST:
        rst_arrives(st, c, side, seg, i)
    elif flags & SYN:
        syn_arrives(st, c, side, seg, i)
    else:
        conn.bits |= SAW_PLAIN if flags & FIN == 0 else 0
        text_arrives(st, c, side, seg, i)
    if np.int64(conn.established_time) < 0:
        note_established(conn, tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1), now)
    count_segment(conn, snd, rcv, side, seg, i, now)
    if np.int64(conn.bits) & IN_QUEUE == 0 and is_over(st, c):
        enqueue(st, c, now + st.params[REMEMBER])


@kernel
def syn_arrives(st, c, side, seg, i):  # type: ignore[no-untyped-def]
    """SYN and SYN+ACK (RFC 9293 3.10.7.2 and 3.10.7.3)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    flags = np.int64(seg.flags[i])
    seq = np.int64(seg.seq[i])
    now = st.regs[NOW]
    frame = np.int64(seg.frame[i])
    known = np.int64(snd.bits) & ISS_KNOWN != 0
    again = known and seq == np.int64(snd.iss) and np.int64(snd.syn_frame) >= 0
    if known and seq != np.int64(snd.iss):
        return  # a SYN+ACK of other numbers: an old duplicate; RFC 9293 3.10.7.4 answers it with an ACK
    if not again:
        note_syn(st, conn, snd, rcv, seg, i)
    if flags & ACK == 0:
        if again:
            syn_again(st, c, side, seg, i)
        if np.int64(snd.state) == CLOSED and (np.int64(rcv.state) <= SYN_SENT):
            move(st, k, SND_SYN, BASIS_SENT, now, frame)
        if not again and np.int64(rcv.state) == SYN_SENT and side == RESP:
            conn.opened = OPENED_SIMULTANEOUS
            receive(st, p, RCV_SYN, now, frame, -1)
            receive(st, k, RCV_SYN, now, np.int64(rcv.syn_frame), -1)
        return
    ack = np.int64(seg.ack[i])
    if np.int64(rcv.bits) & ISS_KNOWN == 0:
        infer_syn(st, p, ack, seg, i)
    prove(st, k, True, np.int64(rcv.bits) & FIN_SENT != 0 and seq_gt(ack, np.int64(rcv.fin_seq)), -1)
    if again:
        if np.int64(rcv.bits) & ACKED and np.int64(rcv.state) >= ESTABLISHED:
            if now - np.int64(rcv.last_time) > 1000 * np.int64(snd.rtt_us):
                note_synack_repeat(st, c, side, seg, i)
        snd.syn_repeats += 1 if np.int64(snd.last_flags) & (SYN | ACK) == SYN | ACK or np.int64(snd.state) >= ESTABLISHED else 0
        take_back(st, k, RCV_ACK_OF_SYN)
    if np.int64(snd.state) == CLOSED and not again:
        snd.state = LISTEN
        conn.bits &= ~REFUSED & 0xFFFF
    if np.int64(snd.state) == LISTEN or np.int64(snd.state) == SYN_SENT:
        move(st, k, SND_SYN_ACK, BASIS_SENT, now, frame)
    acks_syn = 0 < seq_diff(ack, np.int64(rcv.iss)) <= seq_diff(np.int64(rcv.snd_nxt), np.int64(rcv.iss))
    if acks_syn:
        if not again and np.int64(rcv.syn_repeats) > 0:
            note_syn_retry(st, c, 1 - side, seg, i)
        rcv.snd_una = ack
        tsval = np.int64(seg.tsval[i]) if np.int64(seg.options[i]) & HAS_TS else -1
        if np.int64(rcv.state) == SYN_SENT:
            receive(st, p, RCV_SYN_ACK, now, frame, tsval)
        elif np.int64(rcv.state) == SYN_RECEIVED:
            receive(st, p, RCV_ACK_OF_SYN, now, frame, tsval)
        rcv.rcv_nxt = (seq + 1) & MASK
        rcv.bits |= RCV_KNOWN
    snd.last_ack = ack
    snd.bits |= ACKED


@kernel
def note_syn(st, conn, snd, rcv, seg, i):  # type: ignore[no-untyped-def]
    """What the first SYN of an endpoint says about it."""
    seq = np.int64(seg.seq[i])
    flags = np.int64(seg.flags[i])
    options = np.int64(seg.options[i])
    late = np.int64(snd.bits) & NXT_KNOWN != 0
    snd.syn_frame = seg.frame[i]
    snd.iss = seq
    end = (seq + 1 + np.int64(seg.payload_len[i])) & MASK
    if not late:
        snd.snd_nxt = end
        snd.snd_una = seq
    snd.bits |= ISS_KNOWN | NXT_KNOWN
    if np.int64(seg.payload_len[i]) > 0:
        snd.bits |= SYN_PAYLOAD
    if options & HAS_TS and options & TRUNCATED == 0:
        snd.bits |= TS_ON_SYN
    if options & HAS_WSCALE:
        snd.bits |= WSCALE_ON_SYN
        snd.wscale = min(np.int64(seg.wscale[i]), 14)
    if np.int64(rcv.bits) & RCV_KNOWN == 0:
        rcv.rcv_nxt = (seq + 1) & MASK
        rcv.bits |= RCV_KNOWN
    if np.int64(rcv.bits) & TS_ON_SYN and np.int64(snd.bits) & TS_ON_SYN:
        conn.bits |= TS_OK
    if options & HAS_MSS:
        rcv.mss_256 = min((np.int64(seg.mss[i]) + 255) >> 8, 255)
    if options & HAS_TS:
        snd.first_tsval = seg.tsval[i]
        snd.last_tsval = seg.tsval[i]
        rcv.ts_recent = seg.tsval[i]
        rcv.ts_recent_frame = seg.frame[i]
        rcv.bits |= TS_VALID
        if flags & ACK:
            snd.ts_echoed = seg.tsecr[i]
            snd.echo_frame = seg.frame[i]
            snd.bits |= ECHO_VALID
            snd.ts_echoed_s = (st.regs[NOW] - st.regs[START]) // 1_000_000_000


@kernel
def syn_again(st, c, side, seg, i):  # type: ignore[no-untyped-def]
    """The SYN once more: its sender has not got the answer, or an old duplicate comes by (RFC 9293 3.5)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    snd = tcb_at(st, k)
    snd.syn_repeats += 1
    note_retry(st, c, seg, i)
    take_back(st, k, RCV_SYN_ACK)
    if np.int64(snd.state) >= ESTABLISHED:
        expect_challenge(st, c, 1 - side, seg.frame[i])
        if np.int64(conn.old_syn_frame) < 0:
            conn.old_syn_frame = seg.frame[i]


@kernel
def infer_syn(st, p, ack, seg, i):  # type: ignore[no-untyped-def]
    """A SYN+ACK tells the ISN of a SYN that was not captured."""
    t = tcb_at(st, p)
    t.iss = (ack - 1) & MASK
    t.snd_nxt = ack
    t.snd_una = ack
    t.bits |= ISS_KNOWN | NXT_KNOWN
    if np.int64(seg.options[i]) & HAS_TS:
        t.bits |= TS_ON_SYN
        conn_at(st, p >> 1).bits |= TS_OK
    if np.int64(seg.options[i]) & HAS_WSCALE:
        t.bits |= WSCALE_ON_SYN
        t.wscale = 14  # not known: the widest
    if np.int64(t.state) == CLOSED:
        move(st, p, SND_SYN, BASIS_INFERRED, st.regs[NOW], seg.frame[i])


@kernel
def text_arrives(st, c, side, seg, i):  # type: ignore[no-untyped-def]
    """ACK, data and FIN (RFC 9293 3.10.7.4)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    flags = np.int64(seg.flags[i])
    seq = np.int64(seg.seq[i])
    length = np.int64(seg.payload_len[i])
    fin = 1 if flags & FIN else 0
    end = (seq + length + fin) & MASK
    ack = np.int64(seg.ack[i])
    if np.int64(snd.bits) & NXT_KNOWN == 0 or np.int64(rcv.bits) & NXT_KNOWN == 0:
        begin_midstream(st, c, side, seq, ack, flags)
    if np.int64(rcv.state) == SYN_SENT and flags & ACK and seq_le(ack, np.int64(rcv.iss)):
        # An ACK of other numbers towards SYN-SENT: 3.10.7.3 answers it with RST and stays.
        remember_ack(snd, ack)
        return
    if np.int64(conn.bits) & TS_OK:
        look_at_clock(st, c, side, seg, i)
    if length > 1500 and length > np.int64(snd.mss_256) << 8 and 0 < np.int64(snd.mss_256) < 255:
        note_merged(st.regs, seg.frame[i])
    stale = is_stale(st, conn, snd, rcv, seg, i) and not is_keep_alive(rcv, seq, length)
    if not stale and note_old_duplicate(st, c, seg, i, side):
        return
    if not stale and not fits(snd, rcv, seq, end):
        snd.unfit = min(np.int64(snd.unfit) + 1, 255)
        if np.int64(snd.unfit) < 3:
            if np.int64(rcv.state) == TIME_WAIT:
                into_time_wait(st, p, seg, i, RESTART_OTHER_ACK)
            return
    snd.unfit = 0
    if np.int64(conn.stale) >= 0:
        follow_stale(st, c, side, seg, i)
    if np.int64(conn.reset) >= 0:
        after_reset(st, c, side, seg, i, end)
    if stale:
        open_stale(st, c, side, seg, i)
        if np.int64(rcv.state) == TIME_WAIT:
            into_time_wait(st, p, seg, i, RESTART_STALE)
        if flags & ACK:
            snd_acks(st, c, side, seg, i, ack)
        return
    sender_sends(st, c, side, seg, i, end)
    if np.int64(rcv.state) == TIME_WAIT and np.int64(rcv.span) >= 0:
        time_wait_receives(st, c, side, seg, i, end)
    if flags & ACK:
        fifth_check_the_ack(st, c, side, seg, i, ack)
    if end != seq:
        seventh_process_the_text(rcv, seq, (seq + length) & MASK)
    if np.int64(snd.bits) & FIN_SENT and np.int64(rcv.bits) & FIN_RECEIVED == 0:
        eighth_check_the_fin(st, c, side, seg, i)
    if np.int64(seg.options[i]) & HAS_TS:
        store_ts_recent(st, snd, rcv, seg, i)


@kernel
def begin_midstream(st, c, side, seq, ack, flags):  # type: ignore[no-untyped-def]
    """The first numbers of an endpoint whose SYN was not captured (semantics: 2.1, 9.5)."""
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, 2 * c + 1 - side)
    if np.int64(snd.bits) & NXT_KNOWN == 0:
        snd.iss = seq
        snd.snd_una = seq
        snd.snd_nxt = seq
        snd.bits |= NXT_KNOWN
    if np.int64(rcv.bits) & RCV_KNOWN == 0:
        rcv.rcv_nxt = seq
        rcv.bits |= RCV_KNOWN
    if np.int64(rcv.bits) & NXT_KNOWN == 0 and flags & ACK:
        rcv.iss = ack
        rcv.snd_una = ack
        rcv.snd_nxt = ack
        rcv.bits |= NXT_KNOWN
        snd.rcv_nxt = ack
        snd.bits |= RCV_KNOWN


@kernel
def fits(snd, rcv, seq, end):  # type: ignore[no-untyped-def]
    """First, check sequence number: near what the sender has sent, or near what the receiver expects."""
    reach = max(np.int64(rcv.window_max), 65535) + 65535
    if np.int64(snd.bits) & ISS_KNOWN == 0 or np.int64(rcv.bits) & ISS_KNOWN == 0:
        reach = FARTHEST_JUMP
    ahead = seq_diff(seq, np.int64(snd.snd_nxt))
    if -reach <= ahead <= reach:
        return True
    return np.int64(rcv.bits) & ACKED != 0 and -reach <= seq_diff(end, np.int64(rcv.last_ack)) <= reach


@kernel
def sender_sends(st, c, side, seg, i, end):  # type: ignore[no-untyped-def]
    """What sending the segment says about its sender, and what it does to it."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    flags = np.int64(seg.flags[i])
    seq = np.int64(seg.seq[i])
    now = st.regs[NOW]
    frame = np.int64(seg.frame[i])
    repeats_fin = False
    if flags & FIN and np.int64(snd.bits) & FIN_SENT:
        repeats_fin = end == (np.int64(snd.fin_seq) + 1) & MASK
    if repeats_fin:
        fin_again(st, k, seg, i)
    if flags & ACK:
        snd_acks(st, c, side, seg, i, np.int64(seg.ack[i]))
    if np.int64(snd.state) == SYN_RECEIVED and np.int64(rcv.bits) & SYN_PAYLOAD == 0:
        if np.int64(seg.payload_len[i]) > 0 and np.int64(rcv.segments) > 0:
            # Data before the third ACK was seen: it was not captured.
            move(st, k, RCV_ACK_OF_SYN, BASIS_INFERRED, now, frame)
    ahead = seq_diff(end, np.int64(snd.snd_nxt))
    if ahead > 0:
        snd.snd_nxt = end
    elif end != seq:
        snd.retransmits += 1
        if np.int64(snd.last_flags) & RST == 0 and np.int64(rcv.last_frame) < np.int64(snd.last_frame):
            snd.unanswered = min(np.int64(snd.unanswered) + 1, 65535)
    elif ahead == -1:  # a keep-alive probe
        silent = np.int64(rcv.last_frame) < np.int64(snd.last_frame)
        snd.unanswered = min(np.int64(snd.unanswered) + 1, 65535) if silent else 0
    if flags & FIN and np.int64(snd.bits) & FIN_SENT == 0:
        snd.fin_seq = (end - 1) & MASK
        snd.fin_frame = frame
        snd.bits |= FIN_SENT
        note_half_close(st, c, k)
        close_sent(st, k, p, now, frame)


@kernel
def close_sent(st, k, p, now, frame):  # type: ignore[no-untyped-def]
    """The sender's FIN. If it does not acknowledge the peer's FIN, it was sent before that one came: the FINs cross."""
    snd = tcb_at(st, k)
    crosses = False
    if is_pending(st, k, RCV_FIN):
        crosses = take_back(st, k, RCV_FIN)
    move(st, k, SND_FIN, BASIS_SENT, now, frame)
    if crosses:
        snd.bits |= FIN_RECEIVED
        receive(st, k, RCV_FIN, now, tcb_at(st, p).fin_frame, -1)
    peer = tcb_at(st, p)
    if np.int64(peer.bits) & ACKED and seq_gt(np.int64(peer.last_ack), np.int64(snd.fin_seq)):
        # The tap shows the ACK before the FIN.
        snd.bits |= FIN_ACKED
        snd.fin_acked_frame = peer.last_frame
        snd.fin_acked_time = now
        receive(st, k, RCV_ACK_OF_FIN, now, frame, -1)


@kernel
def snd_acks(st, c, side, seg, i, ack):  # type: ignore[no-untyped-def]
    """The ACK field as evidence: what its sender had received when it sent this."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    now = st.regs[NOW]
    frame = np.int64(seg.frame[i])
    if np.int64(snd.state) != SYN_SENT and is_pending(st, k, RCV_SYN):
        take_back(st, k, RCV_SYN)  # no SYN+ACK of its own: the SYNs did not cross after all
    if np.int64(snd.state) == SYN_RECEIVED and np.int64(rcv.bits) & SYN_PAYLOAD == 0:
        beyond = seq_gt(ack, (np.int64(rcv.iss) + 1) & MASK) or np.int64(seg.seq[i]) != (np.int64(snd.iss) + 1) & MASK
        if beyond and np.int64(seg.flags[i]) & SYN == 0:
            # It has got or sent more than the handshake: the third ACK was not captured.
            move(st, k, RCV_ACK_OF_SYN, BASIS_INFERRED, now, frame)
    if np.int64(snd.state) == SYN_SENT and seq_gt(ack, np.int64(rcv.iss)) and np.int64(rcv.bits) & NXT_KNOWN:
        # Its SYN+ACK was not captured.
        if np.int64(rcv.state) == CLOSED and np.int64(rcv.segments) == 0:
            rcv.state = LISTEN
            move(st, p, SND_SYN_ACK, BASIS_INFERRED, now, frame)
        move(st, k, RCV_SYN_ACK, BASIS_INFERRED, now, frame)
    acks_fin = np.int64(rcv.bits) & FIN_SENT != 0 and seq_gt(ack, np.int64(rcv.fin_seq))
    if acks_fin and np.int64(snd.bits) & FIN_RECEIVED == 0:
        fin_received(st, k, p, np.int64(rcv.fin_frame), now, False, seg, i)
    if np.int64(snd.pending) > 0:
        echo = np.int64(seg.tsecr[i]) if np.int64(seg.options[i]) & HAS_TS else -1
        prove(st, k, seq_gt(ack, np.int64(rcv.iss)), acks_fin, echo)
    if acks_fin and np.int64(snd.state) == TIME_WAIT and np.int64(snd.span) >= 0:
        if st.params[KEEPS_TS_RECENT] and np.int64(seg.options[i]) & HAS_TS:
            # The TSecr is that of the FIN's last copy: the earlier copies were lost.
            late = np.int64(seg.tsecr[i]) == np.int64(rcv.last_tsval)
            holder_acks(st, k, now, frame, START_ACK, late)
        else:
            holder_acks(st, k, now, frame, START_ACK, False)
    if np.int64(snd.bits) & RCV_KNOWN == 0 or seq_gt(ack, np.int64(snd.rcv_nxt)):
        if seq_diff(ack, np.int64(rcv.snd_nxt)) <= FARTHEST_JUMP:
            snd.rcv_nxt = ack
            snd.bits |= RCV_KNOWN
    remember_ack(snd, ack)


@kernel
def remember_ack(snd, ack):  # type: ignore[no-untyped-def]
    """LAST.ACK of the sender."""
    snd.last_ack = ack
    snd.bits |= ACKED


@kernel
def fin_again(st, k, seg, i):  # type: ignore[no-untyped-def]
    """The sender repeats its FIN: it has not got an ACK of it that had time to arrive."""
    t = tcb_at(st, k)
    t.fin_repeats = min(np.int64(t.fin_repeats) + 1, 65535)
    if np.int64(tcb_at(st, k ^ 1).bits) & ENTERED_FIN_WAIT_1 and np.int64(t.bits) & ENTERED_FIN_WAIT_1:
        # Simultaneous close: the peer would have acknowledged the FIN by now.
        fin_not_received(st, k ^ 1)
    acked = np.int64(t.fin_acked_time)
    if acked < 0:
        return
    if st.regs[NOW] - acked <= np.int64(t.rtt_us) * 1000:
        return  # they crossed
    if np.int64(t.fin_repeat_frame) < 0:
        t.fin_repeat_frame = seg.frame[i]
    was_last = np.int64(t.state) == CLOSED
    if take_back(st, k, RCV_ACK_OF_FIN) and was_last:
        t.bits |= LAST_ACK_LOST
    t.fin_acked_time = -1


@kernel
def time_wait_receives(st, c, side, seg, i, end):  # type: ignore[no-untyped-def]
    """A segment that is no RST and no SYN arrives in TIME-WAIT."""
    rcv = tcb_at(st, 2 * c + 1 - side)
    seq = np.int64(seg.seq[i])
    rcv_nxt = np.int64(rcv.rcv_nxt)
    p = 2 * c + 1 - side
    if np.int64(seg.flags[i]) & FIN and end == rcv_nxt:
        if into_time_wait(st, p, seg, i, RESTART_FIN):
            span_at(st, np.int64(rcv.span)).fin_repeats += 1
    elif end == seq and seq == rcv_nxt:
        into_time_wait(st, p, seg, i, RESTART_EXACT_ACK)
    else:
        into_time_wait(st, p, seg, i, RESTART_OTHER_ACK)


@kernel
def into_time_wait(st, p, seg, i, kind):  # type: ignore[no-untyped-def]
    """2MSL begins anew, where the profile's stack does so for this kind of segment."""
    if st.params[kind] and np.int64(tcb_at(st, p).span) >= 0:
        restart(st, p, st.regs[NOW], seg.frame[i])
        return True
    return False


@kernel
def fifth_check_the_ack(st, c, side, seg, i, ack):  # type: ignore[no-untyped-def]
    """The receiver's SYN, data or FIN are acknowledged."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    rcv = tcb_at(st, p)
    now = st.regs[NOW]
    frame = np.int64(seg.frame[i])
    if seq_gt(ack, np.int64(rcv.snd_nxt)):
        # Bytes that were not captured: the receiver must have sent them, or the ACK is not of this connection.
        reach = max(np.int64(tcb_at(st, k).window_max), 65535)
        if np.int64(rcv.bits) & ISS_KNOWN and seq_diff(ack, np.int64(rcv.snd_nxt)) > reach:
            return
        if np.int64(seg.flags[i]) & FIN == 0 and np.int64(rcv.segments) > 0:
            note_unseen(st, c, 1 - side, np.int64(rcv.snd_nxt), ack, frame)
        rcv.snd_nxt = ack
    if seq_gt(ack, np.int64(rcv.snd_una)):
        rcv.snd_una = ack
        rcv.unanswered = 0
    state = np.int64(rcv.state)
    tsval = np.int64(seg.tsval[i]) if np.int64(seg.options[i]) & HAS_TS else -1
    if state == SYN_RECEIVED:
        if seq_gt(ack, np.int64(rcv.iss)):
            receive(st, p, RCV_ACK_OF_SYN, now, frame, tsval)
    if np.int64(rcv.bits) & FIN_SENT and seq_gt(ack, np.int64(rcv.fin_seq)):
        fin_acked(st, c, side, seg, i, tsval)


@kernel
def fin_acked(st, c, side, seg, i, tsval):  # type: ignore[no-untyped-def]
    """Our FIN is acknowledged: FIN-WAIT-1 to FIN-WAIT-2, CLOSING to TIME-WAIT, LAST-ACK to CLOSED."""
    p = 2 * c + 1 - side
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, p)
    now = st.regs[NOW]
    frame = np.int64(seg.frame[i])
    rcv.bits |= FIN_ACKED
    if np.int64(rcv.fin_acked_frame) < 0:
        rcv.fin_acked_frame = frame
    if np.int64(rcv.fin_acked_time) < 0:
        rcv.fin_acked_time = now
    state = np.int64(rcv.state)
    if state == FIN_WAIT_1:
        if not st.params[PASSES_FIN_WAIT_2] and is_fin_in_order(snd, rcv, seg, i):
            return  # both at once, in eighth_check_the_fin
        receive(st, p, RCV_ACK_OF_FIN, now, frame, tsval)
    elif state == CLOSING:
        receive(st, p, RCV_ACK_OF_FIN, now, frame, tsval)
        enter_time_wait(st, p, now, frame, START_ACK, snd.fin_frame)
    elif state == LAST_ACK:
        receive(st, p, RCV_ACK_OF_FIN, now, frame, tsval)


@kernel
def is_fin_in_order(snd, rcv, seg, i):  # type: ignore[no-untyped-def]
    """Whether the segment's FIN is the next thing that the receiver expects."""
    return np.int64(seg.flags[i]) & FIN != 0 and seq_le(np.int64(seg.seq[i]), np.int64(rcv.rcv_nxt))


@kernel
def seventh_process_the_text(rcv, seq, text_end):  # type: ignore[no-untyped-def]
    """RCV.NXT moves over text that is in order."""
    if seq_le(seq, np.int64(rcv.rcv_nxt)) and seq_gt(text_end, np.int64(rcv.rcv_nxt)):
        rcv.rcv_nxt = text_end


@kernel
def eighth_check_the_fin(st, c, side, seg, i):  # type: ignore[no-untyped-def]
    """The FIN is taken in when everything before it has been received."""
    conn = conn_at(st, c)
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    missing = seq_diff(np.int64(snd.fin_seq), np.int64(rcv.rcv_nxt))
    # A capture without data never shows what is before the FIN.
    unseen = np.int64(conn.bits) & SAW_PLAIN == 0
    if missing > 0 and not unseen:
        return
    fin_received(st, p, k, np.int64(seg.frame[i]), st.regs[NOW], True, seg, i)


@kernel
def fin_received(st, p, k, frame, time, is_now, seg, i):  # type: ignore[no-untyped-def]
    """Endpoint ``p`` takes in the FIN of ``k``: with this very segment, or earlier, as its own ACK shows."""
    rcv = tcb_at(st, p)
    snd = tcb_at(st, k)
    state = np.int64(rcv.state)
    if state == CLOSED or state == LISTEN or state == SYN_SENT:
        return
    rcv.bits |= FIN_RECEIVED
    fin_end = (np.int64(snd.fin_seq) + 1) & MASK
    if seq_gt(fin_end, np.int64(rcv.rcv_nxt)):
        rcv.rcv_nxt = fin_end
    event = RCV_FIN
    if is_now and state == FIN_WAIT_1 and not st.params[PASSES_FIN_WAIT_2]:
        if np.int64(seg.flags[i]) & ACK and seq_gt(np.int64(seg.ack[i]), np.int64(rcv.fin_seq)):
            event = RCV_FIN_AND_ACK
    tsval = np.int64(seg.tsval[i]) if is_now and np.int64(seg.options[i]) & HAS_TS else -1
    if receive(st, p, event, time, frame, tsval) and np.int64(rcv.state) == TIME_WAIT:
        if is_now:
            enter_time_wait(st, p, time, frame, START_FIN, snd.fin_frame)
        else:
            enter_time_wait(st, p, time, np.int64(seg.frame[i]), START_ACK, snd.fin_frame)


@kernel
def after_reset(st, c, side, seg, i, end):  # type: ignore[no-untyped-def]
    """Segments after a RST: an endpoint that goes on in sequence never sent it, or never took it."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    now = st.regs[NOW]
    frame = np.int64(seg.frame[i])
    is_new = end != np.int64(seg.seq[i]) and np.int64(seg.seq[i]) == np.int64(snd.snd_nxt)
    acks_more = np.int64(seg.flags[i]) & ACK != 0 and seq_gt(np.int64(seg.ack[i]), np.int64(snd.last_ack))
    goes_on = np.int64(snd.bits) & RST_SENT != 0 and (is_new or acks_more)
    follow_resets(st, c, side, seg, i, goes_on)
    if goes_on:
        for e in range(2 * c, 2 * c + 2):
            bring_back(st, e, now, frame)
        snd.bits &= ~RST_SENT & 0xFFFFFFFF
    elif np.int64(snd.bits) & RST_TAKEN and np.int64(snd.state) == CLOSED:
        # A host that had taken the RST would answer with RST, or not at all.
        if now - reset_time(st, c, 1 - side) > np.int64(snd.rtt_us) * 1000:
            bring_back(st, k, now, frame)
    if np.int64(tcb_at(st, p).bits) & RST_TAKEN == 0 and np.int64(snd.bits) & RST_SENT == 0:
        conn_at(st, c).bits &= ~ABORTED & 0xFFFF


@kernel
def bring_back(st, k, time, frame):  # type: ignore[no-untyped-def]
    """Endpoint ``k`` lives on after a RST."""
    t = tcb_at(st, k)
    t.bits &= ~RST_TAKEN & 0xFFFFFFFF
    if retract(st, k, CLOSED, np.int64(t.reset_state), time, frame, RETRACT_RESET):
        if np.int64(t.state) == TIME_WAIT and np.int64(t.span) >= 0:
            span = span_at(st, np.int64(t.span))
            span.end = -1
            span.end_frame = -1
            span.end_reason = END_CAPTURE
            t.bits |= IGNORES_RST
            peer = tcb_at(st, k ^ 1)
            restart(st, k, np.int64(peer.last_time), np.int64(peer.last_frame))


@kernel
def finish(st, start):  # type: ignore[no-untyped-def]
    """The end of the capture: let go of every incarnation from place ``start`` on; returns the place to go on from."""
    for c in range(start, st.regs[CONNS_USED]):
        if is_full(st):
            return c
        st.regs[RELEASED] = 0
        if np.int64(conn_at(st, c).id) > 0:
            retire(st, c)
    return st.regs[CONNS_USED]
