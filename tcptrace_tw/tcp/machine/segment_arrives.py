"""SEGMENT ARRIVES, seen from beside the wire (RFC 9293 3.10.7), for both endpoints of a connection.

A host runs this section for the segments that it receives. The tool watches one point of the path, and runs it twice
for each segment: first the sender does what sending it means, then the receiver does what receiving it means.
What the sender did is certain. That the receiver gets it is an assumption, which waits for its proof (``transitions``).

Before anybody moves
  earlier_answers      syn_in_time_wait   the segment has numbers of an earlier life of the 4-tuple
  expire_due           time_wait          2MSL has passed (3.10.8)
  ack_proves           ack_evidence       ACK and TSecr show what the sender had received before it sent this
  take_back            transitions        a retransmitted SYN, SYN+ACK or FIN shows what it had not received

The sender
  bare_syn_arrives     handshake          active open (3.10.1)
  syn_ack_arrives      handshake          passive open, simultaneous open (figures 6 and 7)
  close_sent           closing            its first FIN (3.10.4)
  sender_resets        reset              its RST (3.10.5)

The receiver: the checks of 3.10.7.4, in their order
  first    sequence number   first_check_sequence_number here; is_rst_acceptable in reset
           timestamps        is_stale in paws (RFC 7323 5.3, R1), stale_arrives here
  second   RST               rst_arrives, receiver_resets in reset (in SYN-SENT: 3.10.7.3, second)
  third    security          not looked at
  fourth   SYN               syn_arrives in handshake; in TIME-WAIT: incarnation, syn_in_time_wait
  fifth    ACK               fifth_check_the_ack here; fin_acked in closing
  sixth    URG               moves no state
  seventh  the text          seventh_process_the_text here
  eighth   FIN               eighth_check_the_fin in closing; into_time_wait for one that is retransmitted

Who changes a state
  move      what is certain: the sender's part, a timer, an inference
  receive   what is assumed: the receiver's part; it waits for its proof
  prove     the proof has come: what waited is written as confirmed
  commit    nothing can prove it any more: what waited is written as assumed
  take_back the endpoint shows that it never got the segment: what waited is dropped
  retract   a conclusion that was written as certain is wrong: a row says so

Short names: ``st`` all that kernels remember, ``c`` an incarnation (record ``conn``), ``k`` an endpoint and ``p`` its
peer (``2 * c`` is orig, ``2 * c + 1`` resp), ``snd`` and ``rcv`` the records of who sends and who receives ``seg``.

The order matters where one segment carries two things: a FIN that also acknowledges our FIN is FIN-WAIT-1,
FIN-WAIT-2, TIME-WAIT, and never CLOSING. An unacceptable segment is counted, and moves nobody.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_gt, seq_le
from tcptrace_tw.protocol.states import RCV_ACK_OF_SYN, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.schema.columns import ACK, BEHIND, FIN, HAS_SACK, HAS_TS, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import BASIS_INFERRED
from tcptrace_tw.tcp.facts.anomalies import anomaly_of, follow_anomaly, note_half_close, note_merged, note_unseen
from tcptrace_tw.tcp.facts.history import (
    count_segment,
    count_text_again,
    note_earlier,
    note_history,
)
from tcptrace_tw.tcp.facts.observed import note_observed
from tcptrace_tw.tcp.facts.old_duplicate import follow_old_duplicate, note_old_duplicate
from tcptrace_tw.tcp.facts.races import after_silence
from tcptrace_tw.tcp.facts.repeats import is_keep_alive_probe, note_probe, note_retransmission
from tcptrace_tw.tcp.facts.rows import note_established
from tcptrace_tw.tcp.facts.silence import SILENCE_NS, is_race, note_race
from tcptrace_tw.tcp.facts.stale_segments import follow_stale, open_stale
from tcptrace_tw.tcp.facts.timestamp_clock import look_at_clock
from tcptrace_tw.tcp.facts.unseen_reuse import note_unseen_answer
from tcptrace_tw.tcp.machine.ack_evidence import ack_proves, acknowledge, remember_ack
from tcptrace_tw.tcp.machine.after_reset import after_reset
from tcptrace_tw.tcp.machine.closing import (
    ack_denies_fin,
    close_sent,
    eighth_check_the_fin,
    fin_acked,
    fin_again,
    into_time_wait,
    time_wait_receives,
)
from tcptrace_tw.tcp.machine.crossing_fins import note_ack_from_beyond
from tcptrace_tw.tcp.machine.handshake import syn_arrives
from tcptrace_tw.tcp.machine.hidden_text import hides_text, is_fin_behind_hidden_text, pass_hidden_text
from tcptrace_tw.tcp.machine.midstream import begin_midstream, is_lost_text
from tcptrace_tw.tcp.machine.paws import is_keep_alive, is_stale, store_ts_recent
from tcptrace_tw.tcp.machine.reset import rst_arrives
from tcptrace_tw.tcp.machine.retirement import is_over
from tcptrace_tw.tcp.machine.self_connect import socket_sends_to_itself
from tcptrace_tw.tcp.machine.syn_in_time_wait import earlier_answers, earlier_moved
from tcptrace_tw.tcp.machine.syn_sent import is_of_other_numbers
from tcptrace_tw.tcp.machine.time_wait import expire_due
from tcptrace_tw.tcp.machine.transitions import move, receive
from tcptrace_tw.tcp.store.access import (
    anomaly_at,
    conn_at,
    newest_incarnation,
    tcb_at,
)
from tcptrace_tw.tcp.store.queues import dequeue, enqueue
from tcptrace_tw.tcp.store.records import (
    ACKED,
    BROKE_SILENCE,
    FARTHEST_JUMP,
    FIN_RECEIVED,
    FIN_SENT,
    ISS_KNOWN,
    LINGER,
    LINGERING,
    NOW,
    NXT_ACKED,
    NXT_KNOWN,
    ONE_SOCKET,
    PROBING,
    RESTART_OTHER_ACK,
    RESTART_STALE,
    RST_SENT,
    SENT_BEHIND,
    STEPS_PASSED,
    SYN_PAYLOAD,
    TS_OK,
    KernelState,
    Tcb,
)


@kernel
def segment_arrives(st: KernelState, c: int, side: int, seg: Seg, slot: int) -> None:
    """One segment of incarnation ``c``, sent by endpoint ``side``."""
    conn = conn_at(st, c)
    k, p = 2 * c + side, 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    flags = seg.flags
    now = st.counters[NOW]
    head = newest_incarnation(st, slot)
    is_earlier = head != c and conn_at(st, head).reuse >= 0
    if is_earlier:
        earlier_answers(st, head, c, seg, side)
    expire_due(st, p)
    expire_due(st, k)
    if conn.anomaly >= 0:
        follow_anomaly(st, c, side, seg)
    if conn.reuse >= 0:
        follow_old_duplicate(st, c, side, seg)
    last = max(snd.last_time, rcv.last_time)
    if now - last >= SILENCE_NS or (snd.bits | rcv.bits) & BROKE_SILENCE:
        after_silence(st, c, side, seg, last)
    note_earlier(snd, seg)
    note_history(conn, snd, rcv, side, seg)
    note_observed(st, conn, seg)
    if conn.bits & ONE_SOCKET:
        socket_sends_to_itself(st, c, seg)
    elif flags & RST:
        rst_arrives(st, c, side, seg)
    elif flags & SYN:
        syn_arrives(st, c, side, seg)
    else:
        text_arrives(st, c, side, seg)
    if conn.established_time < 0:
        note_established(conn, tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1), now)
    count_segment(snd, rcv, seg, now)
    if is_earlier:
        earlier_moved(st, head, c, side)
    if conn.bits & LINGERING == 0 and is_over(st, c):
        dequeue(st, c)
        enqueue(st, c, now + st.params[LINGER], True)


@kernel
def text_arrives(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """ACK, data and FIN (RFC 9293 3.10.7.4)."""
    conn = conn_at(st, c)
    k = 2 * c + side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    flags = seg.flags
    ack = seg.ack
    if rcv.state == SYN_SENT and flags & ACK and is_of_other_numbers(rcv, ack):
        # Towards SYN-SENT: 3.10.7.3 answers it with RST and stays.
        note_unseen_answer(st, c, seg)
        remember_ack(snd, ack)
        return
    if snd.bits & NXT_KNOWN == 0 or rcv.bits & NXT_KNOWN == 0:
        begin_midstream(st, c, side, seg.seq, ack, flags)
    note_capture(st, c, side, seg)
    end = (seg.seq + seg.payload_len + (1 if flags & FIN else 0)) & MASK
    stale = is_stale(st, conn, snd, rcv, seg) and not is_keep_alive(rcv, seg.seq, seg.payload_len)
    if not stale and (note_old_duplicate(st, c, seg, side) or not first_check_sequence_number(st, k, seg, end)):
        return
    snd.unacceptable_run = 0
    if conn.stale >= 0:
        follow_stale(st, c, side, seg)
    if conn.reset >= 0:
        after_reset(st, c, side, seg, end)
    if stale:
        stale_arrives(st, c, side, seg)
    else:
        acceptable_text_arrives(st, c, side, seg, end)


@kernel
def note_capture(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """What the segment says about the capture and the clocks, whether it is acceptable or not."""
    snd = tcb_at(st, 2 * c + side)
    length = seg.payload_len
    if conn_at(st, c).bits & TS_OK:
        look_at_clock(st, c, side, seg)
    if length > 1500 and length > snd.mss_256 << 8 and 0 < snd.mss_256 < 255:
        note_merged(st.counters, seg.frame)


@kernel
def first_check_sequence_number(st: KernelState, k: int, seg: Seg, end: int) -> bool:
    """Whether to go on. A third unacceptable segment in a row is taken: it is the capture that has a hole."""
    snd = tcb_at(st, k)
    rcv = tcb_at(st, k ^ 1)
    if is_acceptable(snd, rcv, seg.seq, end):
        return True
    conn = conn_at(st, k >> 1)
    if is_fin_behind_hidden_text(conn, snd, rcv, seg):
        pass_hidden_text(conn, snd, rcv, seg)
        return True
    snd.unacceptable_run = min(snd.unacceptable_run + 1, 255)
    if snd.unacceptable_run >= MOST_UNACCEPTABLE:
        return True
    if rcv.state == TIME_WAIT:
        into_time_wait(st, k ^ 1, seg, RESTART_OTHER_ACK)
    return False


@kernel
def stale_arrives(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """PAWS drops the segment (RFC 7323 5.3, R1); its ACK is evidence of its sender all the same."""
    p = 2 * c + 1 - side
    open_stale(st, c, side, seg)
    if tcb_at(st, p).state == TIME_WAIT:
        into_time_wait(st, p, seg, RESTART_STALE)
    if seg.flags & ACK:
        ack_proves(st, c, side, seg, seg.ack)


@kernel
def acceptable_text_arrives(st: KernelState, c: int, side: int, seg: Seg, end: int) -> None:
    """The sender, then the receiver's checks from the fifth on."""
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, 2 * c + 1 - side)
    seq = seg.seq
    sender_sends(st, c, side, seg, end)
    if rcv.state == TIME_WAIT and rcv.span >= 0:
        if conn_at(st, c).bits & TS_OK == 0 and is_old_text(rcv, seg, end):
            open_stale(st, c, side, seg)
        time_wait_receives(st, c, side, seg, end)
    if seg.flags & ACK:
        fifth_check_the_ack(st, c, side, seg, seg.ack)
    if end != seq:
        seventh_process_the_text(rcv, seq, (seq + seg.payload_len) & MASK)
    if snd.bits & FIN_SENT and rcv.bits & FIN_RECEIVED == 0:
        eighth_check_the_fin(st, c, side, seg)
    if seg.options & HAS_TS:
        store_ts_recent(st, snd, rcv, seg)


MOST_UNACCEPTABLE = 3
"""So many unacceptable segments in a row mean that the capture, not the connection, is broken."""


@kernel
def is_acceptable(snd: Tcb, rcv: Tcb, seq: int, end: int) -> bool:
    """First, check sequence number: near what the sender has sent, or near what the receiver expects."""
    window = rcv.window_max
    reach = 65535 + (window if window > 65535 else 65535)
    if snd.bits & ISS_KNOWN == 0 or rcv.bits & ISS_KNOWN == 0:
        reach = FARTHEST_JUMP
    ahead = seq_diff(seq, snd.snd_nxt)
    if -reach <= ahead <= reach:
        return True
    return rcv.bits & ACKED != 0 and -reach <= seq_diff(end, rcv.last_ack) <= reach


@kernel
def sender_sends(st: KernelState, c: int, side: int, seg: Seg, end: int) -> None:
    """What sending the segment says about its sender, and what it does to it."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    rcv = tcb_at(st, p)
    flags = seg.flags
    seq = seg.seq
    now = st.counters[NOW]
    frame = seg.frame
    repeats_fin = flags & FIN != 0 and snd.bits & FIN_SENT != 0
    if repeats_fin and end == (snd.fin_seq + 1) & MASK:
        fin_again(st, k, seg)
    if flags & ACK:
        ack_proves(st, c, side, seg, seg.ack)
        if rcv.fin_repeats > 0:
            ack_denies_fin(st, k, seg)
    if snd.state == SYN_RECEIVED and rcv.bits & SYN_PAYLOAD == 0:
        if seg.payload_len > 0 and rcv.segments > 0:
            # Data before the third ACK was seen: it was not captured.
            move(st, k, RCV_ACK_OF_SYN, BASIS_INFERRED, now, frame)
    ahead = seq_diff(end, snd.snd_nxt)
    note_ack_from_beyond(snd, rcv, seg, ahead)
    if rcv.bits & (FIN_SENT | RST_SENT) and is_race(snd, rcv, seg, ahead):
        note_race(anomaly_at(st, anomaly_of(st, c, side)), st, c, side, rcv, seg)
    if ahead > 0 and seq == snd.snd_nxt and seg.options & BEHIND and was_before_step(snd):
        st.counters[STEPS_PASSED] += 1
    if ahead >= 0:
        snd.snd_nxt = end
        snd.bits &= ~NXT_ACKED
    is_probe = is_keep_alive_probe(snd, seg, ahead)
    if is_probe:
        note_probe(snd, rcv)
    elif ahead <= 0 and end != seq:
        note_retransmission(snd, rcv)
        count_text_again(snd, rcv, seg.payload_len)
    if rcv.bits & PROBING and not is_probe:
        rcv.probes = 0  # any other segment is an answer, a probe is none (RFC 1122 4.2.3.6)
    if flags & FIN and snd.bits & FIN_SENT == 0:
        fin_sent(st, c, side, seg, end, ahead)


@kernel
def fin_sent(st: KernelState, c: int, side: int, seg: Seg, end: int, ahead: int) -> None:
    """The first FIN of an endpoint: it has closed."""
    k = 2 * c + side
    snd = tcb_at(st, k)
    snd.fin_seq = (end - 1) & MASK
    snd.fin_frame = seg.frame
    snd.bits |= FIN_SENT
    note_half_close(st, c, k, seg)
    close_sent(st, c, side, seg, ahead)


@kernel
def is_old_text(rcv: Tcb, seg: Seg, end: int) -> bool:
    """Text without FIN, all of which the receiver had before: without timestamps only its numbers give it away."""
    return seg.payload_len > 0 and seg.flags & FIN == 0 and seq_le(end, rcv.rcv_nxt)


@kernel
def was_before_step(snd: Tcb) -> bool:
    """Whether an endpoint had sent its last segment before the clock went back."""
    return snd.segments > 0 and snd.bits & SENT_BEHIND == 0


@kernel
def fifth_check_the_ack(st: KernelState, c: int, side: int, seg: Seg, ack: int) -> None:
    """The receiver's SYN, data or FIN are acknowledged."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    rcv = tcb_at(st, p)
    now = st.counters[NOW]
    frame = seg.frame
    if seq_gt(ack, rcv.snd_nxt):
        # Bytes that were not captured: the receiver must have sent them, or the ACK is not of this connection.
        reach = max(tcb_at(st, k).window_max, 65535)
        if rcv.bits & ISS_KNOWN and seq_diff(ack, rcv.snd_nxt) > reach:
            if not hides_text(conn_at(st, c), rcv):
                return
        if seg.flags & FIN == 0 and is_lost_text(rcv, seq_diff(ack, rcv.snd_nxt)):
            if conn_at(st, c).stale < 0:
                note_unseen(st, c, 1 - side, rcv.snd_nxt, ack, frame)
        rcv.snd_nxt = ack
        rcv.bits |= NXT_ACKED
    if seq_gt(ack, rcv.snd_una) or seg.options & HAS_SACK:
        acknowledge(rcv, seg, ack)
    state = rcv.state
    tsval = seg.tsval if seg.options & HAS_TS else -1
    if state == SYN_RECEIVED:
        if seq_gt(ack, rcv.iss):
            receive(st, p, RCV_ACK_OF_SYN, now, frame, tsval)
    if rcv.bits & FIN_SENT and seq_gt(ack, rcv.fin_seq):
        fin_acked(st, c, side, seg, tsval)


@kernel
def seventh_process_the_text(rcv: Tcb, seq: int, text_end: int) -> None:
    """RCV.NXT moves over text that is in order."""
    if seq_le(seq, rcv.rcv_nxt) and seq_gt(text_end, rcv.rcv_nxt):
        rcv.rcv_nxt = text_end
