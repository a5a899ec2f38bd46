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

from tcptrace_tw.kernels.kinds import BOOLEAN, INTEGER
from tcptrace_tw.kernels.marks import entry, inlined, kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_gt, seq_le
from tcptrace_tw.protocol.states import RCV_ACK_OF_SYN, SYN_RECEIVED, SYN_SENT, TIME_WAIT, UNKNOWN_STATE
from tcptrace_tw.schema.columns import ACK, FIN, HAS_TS, RST, SYN
from tcptrace_tw.schema.segments import BATCH_KIND, prefetch, segment_at
from tcptrace_tw.schema.words import BASIS_INFERRED
from tcptrace_tw.tcp.facts.anomalies import follow_anomaly, note_half_close, note_merged, note_unseen
from tcptrace_tw.tcp.facts.history import count_segment, note_history
from tcptrace_tw.tcp.facts.old_duplicate import follow_old_duplicate, note_old_duplicate
from tcptrace_tw.tcp.facts.rows import note_established
from tcptrace_tw.tcp.facts.stale_segments import follow_stale, open_stale
from tcptrace_tw.tcp.facts.timestamp_clock import look_at_clock
from tcptrace_tw.tcp.machine.ack_evidence import remember_ack, snd_acks
from tcptrace_tw.tcp.machine.after_reset import after_reset
from tcptrace_tw.tcp.machine.closing import (
    close_sent,
    eighth_check_the_fin,
    fin_acked,
    fin_again,
    into_time_wait,
    time_wait_receives,
)
from tcptrace_tw.tcp.machine.crossing_fins import note_ack_from_beyond
from tcptrace_tw.tcp.machine.duplicate_frames import is_duplicate_frame
from tcptrace_tw.tcp.machine.handshake import syn_arrives
from tcptrace_tw.tcp.machine.incarnation import incarnation_of
from tcptrace_tw.tcp.machine.midstream import begin_midstream, is_lost_text
from tcptrace_tw.tcp.machine.paws import is_keep_alive, is_stale, store_ts_recent
from tcptrace_tw.tcp.machine.reset import rst_arrives
from tcptrace_tw.tcp.machine.retirement import forget_finished, is_over
from tcptrace_tw.tcp.machine.syn_in_time_wait import earlier_answers
from tcptrace_tw.tcp.machine.time_wait import expire
from tcptrace_tw.tcp.machine.transitions import move, receive
from tcptrace_tw.tcp.store.access import (
    STATE_KIND,
    conn_at,
    newest_incarnation,
    prefetch_incarnation,
    prefetch_newest,
    prefetch_seen,
    tcb_at,
)
from tcptrace_tw.tcp.store.archive import is_archived, restore
from tcptrace_tw.tcp.store.attempts import restore_attempt
from tcptrace_tw.tcp.store.queues import dequeue, enqueue
from tcptrace_tw.tcp.store.records import (
    ACKED,
    ATTEMPTS,
    BACKWARD_FRAME,
    FARTHEST_JUMP,
    FIN_RECEIVED,
    FIN_SENT,
    IN_QUEUE,
    ISS_KNOWN,
    LINGER,
    LINGERING,
    MAX_BACKWARD,
    NOW,
    NXT_ACKED,
    NXT_KNOWN,
    PLACE_MASK,
    RESTART_OTHER_ACK,
    RESTART_STALE,
    SAW_PLAIN,
    START,
    SYN_PAYLOAD,
    TS_OK,
)
from tcptrace_tw.tcp.store.reservations import segments_with_room


@entry(BATCH_KIND, INTEGER, INTEGER, STATE_KIND, BOOLEAN)
def segments_arrive(batch, start, size, st, wants_states):  # type: ignore[no-untyped-def]
    """Move each endpoint's state by the segments of one batch, in order, from segment ``start`` up to ``size``.

    Fills the incarnation and the states of each segment if somebody ``wants_states``. Returns the number of segments
    done: less than the batch when there is not enough room for what one more segment can cause.
    """
    counters = st.counters
    done = start
    while done < size:
        sure = min(size, done + segments_with_room(counters))
        if sure <= done:
            return done
        for i in range(done, sure):
            look_ahead(st, batch, i, size)
            seg = segment_at(batch, i)
            advance_clock(counters, np.int64(seg.time), seg.frame)
            forget_finished(st)
            slot = np.int64(seg.slot)
            head = newest_incarnation(st, slot)
            if is_archived(head):
                restore(st, slot)
            elif head < 0 and counters[ATTEMPTS]:
                restore_attempt(st, slot)
            if is_duplicate_frame(st, seg):
                note_duplicate(st, batch[i], seg, newest_incarnation(st, slot))
                continue
            c = incarnation_of(st, seg, slot, np.int64(seg.direction))
            side = np.int64(seg.direction) ^ np.int64(conn_at(st, c).orig_is_b)
            segment_arrives(st, c, side, seg, slot)
            if wants_states:
                note_states(st, batch[i], c, side)
        done = sure
    return done


@kernel
def note_states(st, row, c, side):  # type: ignore[no-untyped-def]
    """Fill in what the segment of ``row`` has led to."""
    row.connection_id = conn_at(st, c).id
    row.sender_state = tcb_at(st, 2 * c + side).state
    row.receiver_state = tcb_at(st, 2 * c + 1 - side).state
    row.side = side


@kernel
def note_duplicate(st, row, seg, c):  # type: ignore[no-untyped-def]
    """Count the copy of a segment of incarnation ``c``, if it has one; it moves nobody."""
    row.connection_id = 0
    row.sender_state = UNKNOWN_STATE
    row.receiver_state = UNKNOWN_STATE
    if c >= 0:
        if np.int64(conn_at(st, c).bits) & (IN_QUEUE | LINGERING) == 0:  # it comes from the archive
            enqueue(st, c, st.counters[NOW] + st.params[LINGER], True)
        conn_at(st, c).duplicates += 1
        row.connection_id = conn_at(st, c).id
        row.side = np.int64(seg.direction) ^ np.int64(conn_at(st, c).orig_is_b)


FARTHEST, FAR, NEAR = 64, 24, 12
"""How many segments ahead the records of the incarnation are asked for, in two steps: memory is slow, not the steps."""


@inlined
def look_ahead(st, batch, i, size):  # type: ignore[no-untyped-def]
    """Ask for the records of later segments, so that they lie in the cache when their turn comes."""
    if i + FAR < size:
        prefetch(batch, min(i + FARTHEST, size - 1))
        prefetch_newest(st, np.int64(segment_at(batch, i + FAR).slot))
        near = segment_at(batch, i + NEAR)
        prefetch_seen(st, np.int64(near.print) & PLACE_MASK)
        c = newest_incarnation(st, np.int64(near.slot))
        if c >= 0:
            prefetch_incarnation(st, c)


@kernel
def advance_clock(counters, time, frame):  # type: ignore[no-untyped-def]
    """The clock of the tracker never goes back: a segment captured late counts as captured now."""
    if counters[START] < 0:
        counters[START] = time
        counters[NOW] = time
    elif time >= counters[NOW]:
        counters[NOW] = time
    elif counters[NOW] - time > counters[MAX_BACKWARD]:
        counters[MAX_BACKWARD] = counters[NOW] - time
        counters[BACKWARD_FRAME] = frame


@kernel
def segment_arrives(st, c, side, seg, slot):  # type: ignore[no-untyped-def]
    """One segment of incarnation ``c``, sent by endpoint ``side``."""
    conn = conn_at(st, c)
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    flags = np.int64(seg.flags)
    now = st.counters[NOW]
    head = newest_incarnation(st, slot)
    if head != c and np.int64(conn_at(st, head).reuse) >= 0:
        earlier_answers(st, head, c, seg, side)
    if np.int64(rcv.state) == TIME_WAIT:
        expire(st, p)
    if np.int64(snd.state) == TIME_WAIT:
        expire(st, k)
    if np.int64(conn.anomaly) >= 0:
        follow_anomaly(st, c, side, seg)
    if np.int64(conn.reuse) >= 0:
        follow_old_duplicate(st, c, side, seg)
    note_history(conn, snd, rcv, side, seg)
    if flags & RST:
        rst_arrives(st, c, side, seg)
    elif flags & SYN:
        syn_arrives(st, c, side, seg)
    else:
        conn.bits |= SAW_PLAIN if flags & FIN == 0 else 0
        text_arrives(st, c, side, seg)
    if np.int64(conn.established_time) < 0:
        note_established(conn, tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1), now)
    count_segment(conn, snd, rcv, side, seg, now)
    if np.int64(conn.bits) & LINGERING == 0 and is_over(st, c):
        dequeue(st, c)
        enqueue(st, c, now + st.params[LINGER], True)


@kernel
def text_arrives(st, c, side, seg):  # type: ignore[no-untyped-def]
    """ACK, data and FIN (RFC 9293 3.10.7.4)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    flags = np.int64(seg.flags)
    seq = np.int64(seg.seq)
    length = np.int64(seg.payload_len)
    fin = 1 if flags & FIN else 0
    end = (seq + length + fin) & MASK
    ack = np.int64(seg.ack)
    if np.int64(snd.bits) & NXT_KNOWN == 0 or np.int64(rcv.bits) & NXT_KNOWN == 0:
        begin_midstream(st, c, side, seq, ack, flags)
    if np.int64(rcv.state) == SYN_SENT and flags & ACK and seq_le(ack, np.int64(rcv.iss)):
        # An ACK of other numbers towards SYN-SENT: 3.10.7.3 answers it with RST and stays.
        remember_ack(snd, ack)
        return
    if np.int64(conn.bits) & TS_OK:
        look_at_clock(st, c, side, seg)
    if length > 1500 and length > np.int64(snd.mss_256) << 8 and 0 < np.int64(snd.mss_256) < 255:
        note_merged(st.counters, seg.frame)
    stale = is_stale(st, conn, snd, rcv, seg) and not is_keep_alive(rcv, seq, length)
    if not stale and note_old_duplicate(st, c, seg, side):
        return
    if not stale and not is_acceptable(snd, rcv, seq, end):
        snd.unacceptable_run = min(np.int64(snd.unacceptable_run) + 1, 255)
        if np.int64(snd.unacceptable_run) < 3:
            if np.int64(rcv.state) == TIME_WAIT:
                into_time_wait(st, p, seg, RESTART_OTHER_ACK)
            return
    snd.unacceptable_run = 0
    if np.int64(conn.stale) >= 0:
        follow_stale(st, c, side, seg)
    if np.int64(conn.reset) >= 0:
        after_reset(st, c, side, seg, end)
    if stale:
        open_stale(st, c, side, seg)
        if np.int64(rcv.state) == TIME_WAIT:
            into_time_wait(st, p, seg, RESTART_STALE)
        if flags & ACK:
            snd_acks(st, c, side, seg, ack)
        return
    sender_sends(st, c, side, seg, end)
    if np.int64(rcv.state) == TIME_WAIT and np.int64(rcv.span) >= 0:
        time_wait_receives(st, c, side, seg, end)
    if flags & ACK:
        fifth_check_the_ack(st, c, side, seg, ack)
    if end != seq:
        seventh_process_the_text(rcv, seq, (seq + length) & MASK)
    if np.int64(snd.bits) & FIN_SENT and np.int64(rcv.bits) & FIN_RECEIVED == 0:
        eighth_check_the_fin(st, c, side, seg)
    if np.int64(seg.options) & HAS_TS:
        store_ts_recent(st, snd, rcv, seg)


@kernel
def is_acceptable(snd, rcv, seq, end):  # type: ignore[no-untyped-def]
    """First, check sequence number: near what the sender has sent, or near what the receiver expects."""
    window = np.int64(rcv.window_max)
    reach = np.int64(65535) + (window if window > 65535 else np.int64(65535))
    if np.int64(snd.bits) & ISS_KNOWN == 0 or np.int64(rcv.bits) & ISS_KNOWN == 0:
        reach = np.int64(FARTHEST_JUMP)
    ahead = seq_diff(seq, np.int64(snd.snd_nxt))
    if -reach <= ahead <= reach:
        return True
    return np.int64(rcv.bits) & ACKED != 0 and -reach <= seq_diff(end, np.int64(rcv.last_ack)) <= reach


@kernel
def sender_sends(st, c, side, seg, end):  # type: ignore[no-untyped-def]
    """What sending the segment says about its sender, and what it does to it."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    flags = np.int64(seg.flags)
    seq = np.int64(seg.seq)
    now = st.counters[NOW]
    frame = np.int64(seg.frame)
    repeats_fin = flags & FIN != 0 and np.int64(snd.bits) & FIN_SENT != 0
    if repeats_fin and end == (np.int64(snd.fin_seq) + 1) & MASK:
        fin_again(st, k, seg)
    if flags & ACK:
        snd_acks(st, c, side, seg, np.int64(seg.ack))
    if np.int64(snd.state) == SYN_RECEIVED and np.int64(rcv.bits) & SYN_PAYLOAD == 0:
        if np.int64(seg.payload_len) > 0 and np.int64(rcv.segments) > 0:
            # Data before the third ACK was seen: it was not captured.
            move(st, k, RCV_ACK_OF_SYN, BASIS_INFERRED, now, frame)
    ahead = seq_diff(end, np.int64(snd.snd_nxt))
    note_ack_from_beyond(snd, rcv, seg, ahead)
    if ahead >= 0:
        snd.snd_nxt = end
        snd.bits &= ~NXT_ACKED & 0xFFFFFFFF
    if ahead <= 0 and end != seq:
        if np.int64(snd.last_flags) & RST == 0 and np.int64(rcv.last_frame) < np.int64(snd.last_frame):
            snd.unanswered = min(np.int64(snd.unanswered) + 1, 65535)
    elif ahead == -1:  # a keep-alive probe
        silent = np.int64(rcv.last_frame) < np.int64(snd.last_frame)
        snd.unanswered = min(np.int64(snd.unanswered) + 1, 65535) if silent else 1
    if flags & FIN and np.int64(snd.bits) & FIN_SENT == 0:
        snd.fin_seq = (end - 1) & MASK
        snd.fin_frame = frame
        snd.bits |= FIN_SENT
        note_half_close(st, c, k)
        close_sent(st, c, side, seg, ahead)


@kernel
def fifth_check_the_ack(st, c, side, seg, ack):  # type: ignore[no-untyped-def]
    """The receiver's SYN, data or FIN are acknowledged."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    rcv = tcb_at(st, p)
    now = st.counters[NOW]
    frame = np.int64(seg.frame)
    if seq_gt(ack, np.int64(rcv.snd_nxt)):
        # Bytes that were not captured: the receiver must have sent them, or the ACK is not of this connection.
        reach = max(np.int64(tcb_at(st, k).window_max), 65535)
        if np.int64(rcv.bits) & ISS_KNOWN and seq_diff(ack, np.int64(rcv.snd_nxt)) > reach:
            return
        if np.int64(seg.flags) & FIN == 0 and is_lost_text(rcv, seq_diff(ack, np.int64(rcv.snd_nxt))):
            if np.int64(conn_at(st, c).stale) < 0:
                note_unseen(st, c, 1 - side, np.int64(rcv.snd_nxt), ack, frame)
        rcv.snd_nxt = ack
        rcv.bits |= NXT_ACKED
    if seq_gt(ack, np.int64(rcv.snd_una)):
        rcv.snd_una = ack
        rcv.unanswered = 0
    state = np.int64(rcv.state)
    tsval = np.int64(seg.tsval) if np.int64(seg.options) & HAS_TS else -1
    if state == SYN_RECEIVED:
        if seq_gt(ack, np.int64(rcv.iss)):
            receive(st, p, RCV_ACK_OF_SYN, now, frame, tsval)
    if np.int64(rcv.bits) & FIN_SENT and seq_gt(ack, np.int64(rcv.fin_seq)):
        fin_acked(st, c, side, seg, tsval)


@kernel
def seventh_process_the_text(rcv, seq, text_end):  # type: ignore[no-untyped-def]
    """RCV.NXT moves over text that is in order."""
    if seq_le(seq, np.int64(rcv.rcv_nxt)) and seq_gt(text_end, np.int64(rcv.rcv_nxt)):
        rcv.rcv_nxt = text_end
