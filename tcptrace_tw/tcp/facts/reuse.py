"""The facts of a reuse: a SYN met a remembered incarnation of its tuple, and what followed.

The row stays open in the pool while the new incarnation lives; rules grade it when it is written.
"""

from __future__ import annotations

from typing import Any

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.profiles import ACCEPT
from tcptrace_tw.protocol.seq import MASK, seq_diff
from tcptrace_tw.protocol.states import LAST_ACK, TIME_WAIT
from tcptrace_tw.schema.columns import ACK, FIN, HAS_TS, RST, SYN
from tcptrace_tw.schema.observed import ACKS, PAYLOAD
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import (
    ACCEPT_NOT_TIME_WAIT,
    ANSWER_CHALLENGE,
    ANSWER_NONE,
    ANSWER_REFUSED,
    ANSWER_RST,
    ANSWER_SYN_ACK,
    BOTH,
    NONE,
    ORIG,
    RESP,
)
from tcptrace_tw.tcp.facts.anomalies import note_challenged_syn
from tcptrace_tw.tcp.facts.observed import observed
from tcptrace_tw.tcp.facts.rows import set_peers
from tcptrace_tw.tcp.store.access import conn_at, reuse_at, span_at, tcb_at
from tcptrace_tw.tcp.store.freelists import new_reuse
from tcptrace_tw.tcp.store.records import (
    ABORTED,
    FIN_ACKED,
    LAST_ACK_LOST,
    NOW,
    REFUSED,
    TS_OK,
    TS_VALID,
    TWO_MSL,
    Conn,
    KernelState,
    Row,
    Tcb,
)

LINUX_ISN_STEP = 65537
"""Linux tcp_twsk_unique and tcp_timewait_state_process: new ISN = old SND.NXT + 65535 + 2 (0 becomes 1)."""


@kernel
def is_linux_step(isn: int, old_nxt: int) -> bool:
    """Whether an ISN is the one that Linux gives to a connection that takes over from TIME-WAIT."""
    step = (old_nxt + LINUX_ISN_STEP) & MASK
    return isn == step or (step == 0 and isn == 1)


@kernel
def open_reuse(st: KernelState, c: int, new: int, seg: Seg, now: int) -> Any:
    """Write down how things stood in incarnation ``c`` when the SYN of incarnation ``new`` came, at ``now``.

    ``seg`` is the SYN, or the SYN+ACK of a SYN that was not captured.
    """
    row = new_row(st, new, now)
    conn = conn_at(st, c)
    # The new incarnation's orig is the sender; which side of the earlier incarnation was that?
    side = conn_at(st, new).orig_is_b ^ conn.orig_is_b
    at = tcb_at(st, 2 * c + side)
    p = tcb_at(st, 2 * c + 1 - side)
    row.previous_orig_state = tcb_at(st, 2 * c).state
    row.previous_resp_state = tcb_at(st, 2 * c + 1).state
    note_previous(row, conn, at, p)
    note_syn_met(row, at, p, seg)
    note_holder(st, c, side, row, now)
    note_linux_step(row, at)
    row.observed = observed(st, c)
    return row


@kernel
def new_row(st: KernelState, new: int, now: int) -> Any:
    """A row of the SYN of incarnation ``new``, of which nothing more is known yet."""
    reuse = new_reuse(st)
    row = reuse_at(st, reuse)
    attempt = conn_at(st, new)
    attempt.reuse = reuse
    row.connection_id = -1
    row.attempt_id = attempt.id
    row.sender_is_b = attempt.orig_is_b
    set_peers(st, row, 2 * new)
    row.time = now
    row.last_syn_time = now
    row.two_msl_ns = st.params[TWO_MSL]
    row.acceptance = ACCEPT_NOT_TIME_WAIT
    row.is_last_ack_likely = 0
    row.is_outlived = 0
    row.waiting_time = -1
    row.waiting_frame = -1
    nothing_followed(row)
    return row


@kernel
def note_reset_of_syn(st: KernelState, c: int, seg: Seg) -> None:
    """The sender of the SYN of ``c`` answers those numbers with RST, and stays in SYN-SENT."""
    reuse = conn_at(st, c).reuse
    if reuse >= 0 and reuse_at(st, reuse).reset_frame < 0 and reuse_at(st, reuse).opened_frame < 0:
        row = reuse_at(st, reuse)
        row.reset_frame = seg.frame
        row.reset_time = st.counters[NOW]


@kernel
def note_previous(row: Row, conn: Conn, snd: Tcb, rcv: Tcb) -> None:
    """The earlier incarnation, in which ``snd`` is of the sender of the SYN and ``rcv`` of its peer."""
    row.previous_connection_id = conn.id
    row.sender_state = snd.state
    row.receiver_state = rcv.state
    row.is_previous_reset = 1 if conn.bits & (REFUSED | ABORTED) else 0
    row.is_receiver_fin_acked = 1 if rcv.bits & FIN_ACKED else 0
    row.is_last_ack_lost = 1 if rcv.bits & LAST_ACK_LOST else 0
    row.previous_ts_ok = 1 if conn.bits & TS_OK else 0
    row.old_sender_nxt = snd.snd_nxt
    row.old_sender_iss = snd.iss
    row.old_responder_nxt = rcv.snd_nxt
    row.old_responder_iss = rcv.iss
    row.responder_tsval = rcv.last_tsval
    last_fin = max(snd.fin_frame, rcv.fin_frame)
    row.fin_frame = last_fin if last_fin >= 0 else conn.rst_frame


@kernel
def note_syn_met(row: Row, snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """The SYN; of one that was not captured its SYN+ACK tells the number, and nothing else."""
    is_syn = seg.flags & ACK == 0
    seq = seg.seq if is_syn else (seg.ack - 1) & MASK
    has_ts = is_syn and seg.options & HAS_TS != 0
    row.syn_frame = seg.frame
    row.last_syn_frame = seg.frame
    row.isn = seq
    row.isn_delta = seq_diff(seq, snd.snd_nxt)
    row.has_ts = 1 if has_ts else 0
    row.tsecr = seg.tsecr if has_ts else 0
    row.tsval = seg.tsval if has_ts else 0
    row.tsval_delta = 0
    if has_ts and rcv.bits & TS_VALID:
        row.tsval_delta = seq_diff(seg.tsval, rcv.ts_recent)


@kernel
def nothing_followed(row: Row) -> None:
    """What becomes of the SYN is not known yet."""
    row.answer = ANSWER_NONE
    row.answer_frame = -1
    row.answer_time = -1
    row.answer_isn_delta = 0
    row.is_linux_tw_accept = 0
    row.reset_frame = -1
    row.reset_time = -1
    row.syn_retries = 0
    row.retry_frame = -1
    row.waited_ns = -1
    row.meanwhile = 0
    row.opened_frame = -1
    row.opened_time = -1
    row.fin_repeat_frame = -1
    row.completed_frame = -1
    row.late_retry_frame = -1
    row.outcome = 0
    row.verdict = 0
    row.cost_ns = -1
    row.is_old_alive = 0
    row.old_duplicate_frame = -1
    row.is_old_duplicate_in_window = 0
    row.is_old_duplicate_rejected = 0
    row.old_duplicates = 0
    row.old_duplicate_bytes = 0
    row.old_duplicate_offset = 0
    row.old_duplicate_refused_frame = -1
    row.old_duplicate_taken_frame = -1
    row.is_old_duplicate_disowned = 0
    row.suspect_frame = -1
    row.suspect_taken_frame = -1


@kernel
def note_linux_step(row: Row, snd: Tcb) -> None:
    """Whether the SYN shows that Linux took its own TIME-WAIT for it (tcp_twsk_unique)."""
    tsecr = row.tsecr
    by_echo = tsecr != 0 and snd.bits & TS_VALID != 0 and tsecr == snd.ts_recent
    by_isn = snd.segments > 0 and is_linux_step(row.isn, snd.snd_nxt)
    if by_isn and row.is_previous_reset == 0:
        row.is_by_holder = 1  # no other state gives that number, whether the FINs were captured or not
    row.is_linux_tw_reuse = 1 if row.is_by_holder and (by_isn or by_echo) else 0


@kernel
def note_holder(st: KernelState, c: int, side: int, row: Row, now: int) -> None:
    """Who had been in TIME-WAIT, and how long ago that began anew."""
    holders = 0
    latest = -1
    frame = -1
    for e in range(2):
        at = tcb_at(st, 2 * c + e).span
        if at >= 0:
            span = span_at(st, at)
            holders += e + 1
            begun = max(span.start, span.restart)
            if begun > latest:
                latest = begun
                frame = span.restart_frame if span.restart >= 0 else span.start_frame
    row.holder = NONE if holders == 0 else (ORIG if holders == 1 else (RESP if holders == 2 else BOTH))
    own = tcb_at(st, 2 * c + side).span
    row.is_by_holder = 1 if own >= 0 else 0
    row.time_wait_frame = frame
    if latest < 0:
        latest = max(tcb_at(st, 2 * c).last_time, tcb_at(st, 2 * c + 1).last_time)
    row.gap_ns = now - latest


@kernel
def note_replayed(st: KernelState, new: int, orig: Tcb, resp: Tcb) -> None:
    """The SYN and its SYN+ACK passed before ``new`` was known: they are the last segments of ``orig`` and ``resp``."""
    row = reuse_at(st, conn_at(st, new).reuse)
    row.syn_frame = orig.last_frame
    row.last_syn_frame = orig.last_frame
    row.isn = orig.iss
    row.isn_delta = seq_diff(orig.iss, row.old_sender_nxt)
    row.is_linux_tw_reuse = 0
    row.connection_id = conn_at(st, new).id
    row.answer = ANSWER_SYN_ACK
    row.answer_frame = resp.last_frame
    row.answer_time = resp.last_time
    row.opened_frame = resp.last_frame
    row.opened_time = resp.last_time
    row.cost_ns = resp.last_time - row.time
    row.answer_isn_delta = seq_diff(resp.last_seq, row.old_responder_nxt)


@kernel
def note_retry(st: KernelState, c: int, seg: Seg) -> bool:
    """The SYN of incarnation ``c`` again; whether it still waits for an earlier one to let it in."""
    reuse = conn_at(st, c).reuse
    if reuse < 0:
        return False
    row = reuse_at(st, reuse)
    if row.opened_frame >= 0:
        if row.late_retry_frame < 0 and row.completed_frame < 0:
            row.late_retry_frame = seg.frame
        return False
    row.syn_retries += 1
    row.retry_frame = seg.frame
    row.waited_ns = st.counters[NOW] - row.time
    row.last_syn_time = st.counters[NOW]
    row.last_syn_frame = seg.frame
    return True


@kernel
def is_sent_by_opener(st: KernelState, c: int, row: Row, side: int) -> bool:
    """Whether endpoint ``side`` of the earlier incarnation ``c`` is the sender of the SYN."""
    return (side ^ conn_at(st, c).orig_is_b) == row.sender_is_b


@kernel
def is_asked_otherwise(st: KernelState, c: int, row: Row, side: int) -> bool:
    """Whether the SYN's sender has since sent an old segment that itself demands an ACK of endpoint ``side`` of ``c``.

    Text, a FIN, and what is not at RCV.NXT do (RFC 9293 3.10.7.4): the ACK tells nothing of the SYN.
    """
    tcb = tcb_at(st, 2 * c + 1 - side)
    flags = tcb.last_flags
    if tcb.last_frame <= row.last_syn_frame or flags & (SYN | RST):
        return False
    return flags & FIN != 0 or tcb.last_len > 0 or tcb.last_seq != row.old_sender_nxt


@kernel
def note_on_earlier(st: KernelState, new: int, c: int, seg: Seg, side: int) -> None:
    """The earlier incarnation's numbers while the SYN of ``new`` waits: an answer, a RST, or old data."""
    row = reuse_at(st, conn_at(st, new).reuse)
    flags = seg.flags
    if is_sent_by_opener(st, c, row, side):
        if flags & RST:
            if row.reset_frame < 0:
                row.reset_frame = seg.frame
                row.reset_time = st.counters[NOW]
            if flags & ACK == 0 and seg.seq == row.old_sender_nxt:
                note_hidden_challenge(row)
        else:
            row.is_old_alive = 1
        return
    if flags & FIN and row.fin_repeat_frame < 0:
        row.fin_repeat_frame = seg.frame
    if flags & RST:
        answer(row, ANSWER_RST, seg, st.counters[NOW])
    elif flags & (SYN | FIN) == 0 and seg.payload_len == 0:
        if is_asked_otherwise(st, c, row, side):
            return
        if row.answer == ANSWER_NONE:
            note_challenged_syn(st, c, side, row.last_syn_frame, seg.frame)
            if seg.seq != row.old_responder_nxt or seg.ack != row.old_sender_nxt:
                row.observed = row.observed & ~PAYLOAD  # a FIN at least was not captured
        answer(row, ANSWER_CHALLENGE, seg, st.counters[NOW])
    elif flags & FIN == 0:
        row.is_old_alive = 1


@kernel
def note_hidden_challenge(row: Row) -> None:
    """The SYN's sender answers an ACK of the earlier numbers with RST (RFC 9293 3.10.7.3), though none was captured.

    A FIN of the earlier connection that came again draws the same RST.
    """
    if row.answer == ANSWER_NONE and row.fin_repeat_frame < 0:
        row.answer = ANSWER_CHALLENGE


@kernel
def answer(row: Row, kind: int, seg: Seg, now: int) -> None:
    """Note the first answer to the SYN."""
    if row.answer == ANSWER_NONE:
        row.answer = kind
        row.answer_frame = seg.frame
        row.answer_time = now


@kernel
def is_retry_explained(row: Row) -> bool:
    """Whether the earlier connection, and not loss, made its sender retransmit the SYN: so say RU004, RU005 and LA.

    Where no ACKs were captured every passive closer seems to be in LAST-ACK; only a FIN that it repeats shows it.
    """
    if row.answer in (ANSWER_CHALLENGE, ANSWER_RST):
        return True
    if row.receiver_state == LAST_ACK:
        return row.observed & ACKS != 0 or row.fin_repeat_frame >= 0
    return row.receiver_state == TIME_WAIT and row.acceptance != ACCEPT


@kernel
def note_refused(st: KernelState, c: int, seg: Seg) -> None:
    """RST+ACK of the new SYN."""
    reuse = conn_at(st, c).reuse
    if reuse >= 0:
        answer(reuse_at(st, reuse), ANSWER_REFUSED, seg, st.counters[NOW])


@kernel
def note_opened(st: KernelState, c: int, seg: Seg, now: int) -> None:
    """The new incarnation was accepted."""
    row = reuse_at(st, conn_at(st, c).reuse)
    answer(row, ANSWER_SYN_ACK, seg, now)
    row.connection_id = conn_at(st, c).id
    row.opened_frame = seg.frame
    row.opened_time = now
    row.cost_ns = now - row.time
    if seg.flags & SYN:
        row.answer_isn_delta = seq_diff(seg.seq, row.old_responder_nxt)
        was_waiting = row.receiver_state == TIME_WAIT
        if was_waiting and is_linux_step(seg.seq, row.old_responder_nxt):
            row.is_linux_tw_accept = 1
