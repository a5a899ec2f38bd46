"""A SYN meets an earlier incarnation of its 4-tuple: TIME-WAIT may begin 2MSL again, LAST-ACK may come back.

RFC 9293 3.10.7.4 (first, TIME-WAIT) and 3.6.1; RFC 6191; Linux tcp_timewait_state_process. What a stack does is one of
the profile's rules (``protocol.profiles``).
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.profiles import ACCEPT, ACCEPT_PAWS_REJECT
from tcptrace_tw.protocol.seq import seq_diff
from tcptrace_tw.protocol.states import CLOSED, LAST_ACK, RCV_ACK_OF_FIN, TIME_WAIT
from tcptrace_tw.schema.columns import ACK, FIN, HAS_TS, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import ACCEPT_NOT_TIME_WAIT, ANSWER_CHALLENGE
from tcptrace_tw.tcp.facts.reuse import is_asked_otherwise, is_sent_by_opener, note_on_earlier, note_retry, open_reuse
from tcptrace_tw.tcp.machine.time_wait import restart, still_waits
from tcptrace_tw.tcp.machine.transitions import is_pending, take_back
from tcptrace_tw.tcp.store.access import conn_at, reuse_at, span_at, tcb_at
from tcptrace_tw.tcp.store.records import (
    ENTERED_FIN_WAIT_1,
    NOW,
    RESTART_REFUSED_SYN,
    RESTART_STALE_SYN,
    TS_VALID,
    KernelState,
    Row,
    Span,
)

FIN_DUE_NS = 1_000_000_000
"""A FIN whose ACK was lost is retransmitted within this time (RFC 6298 2.4; Linux TCP_RTO_MIN: 200 ms)."""


@kernel
def syn_meets_earlier(st: KernelState, c: int, new: int, seg: Seg, now: int) -> None:
    """The SYN that opens incarnation ``new``, sent at ``now``, meets ``c``, which is still remembered."""
    row = open_reuse(st, c, new, seg, now)
    side = conn_at(st, new).orig_is_b ^ conn_at(st, c).orig_is_b
    k = 2 * c + 1 - side
    row.is_last_ack_likely = 1 if may_be_in_last_ack(st, k, now) else 0
    if tcb_at(st, k).state == TIME_WAIT:
        judge_syn(st, row, now, seg.frame)


@kernel
def may_be_in_last_ack(st: KernelState, k: int, now: int) -> bool:
    """Whether only an ACK that may be lost behind the tap says that endpoint ``k`` is no longer in LAST-ACK."""
    tcb = tcb_at(st, k)
    if tcb.state != CLOSED or tcb.bits & ENTERED_FIN_WAIT_1 or tcb.fin_acked_time < 0:
        return False
    return is_pending(st, k, RCV_ACK_OF_FIN) and now - tcb.fin_acked_time <= FIN_DUE_NS


@kernel
def judge_syn(st: KernelState, row: Row, now: int, frame: int) -> None:
    """What the profile's stack does with this SYN in TIME-WAIT; if that restarts 2MSL, its answer will show it."""
    step = row.tsval_delta
    both = row.has_ts != 0 and row.previous_ts_ok != 0
    sign = 0 if not both or step == 0 else (1 if step > 0 else -1)
    above = 1 if row.isn_delta > 0 else 0
    row.acceptance = st.syn_table[row.previous_ts_ok, row.has_ts, sign + 1, above]
    if is_restarting(st, row):
        row.waiting_time = now
        row.waiting_frame = frame


@kernel
def is_restarting(st: KernelState, row: Row) -> bool:
    """Whether the profile's stack begins 2MSL anew for a SYN that it refuses like this."""
    verdict = row.acceptance
    if verdict == ACCEPT_PAWS_REJECT:
        return st.params[RESTART_STALE_SYN] != 0
    return verdict != ACCEPT and verdict != ACCEPT_NOT_TIME_WAIT and st.params[RESTART_REFUSED_SYN] != 0


@kernel
def restart_for_syn(st: KernelState, k: int, row: Row) -> None:
    """Endpoint ``k`` has answered the SYN out of TIME-WAIT: 2MSL began anew when the SYN came."""
    if row.waiting_time < 0:
        return
    restart(st, k, row.waiting_time, row.waiting_frame)
    if row.acceptance == ACCEPT_PAWS_REJECT:
        count_stale_syn(span_at(st, tcb_at(st, k).span), row.waiting_frame)
    row.waiting_time = -1


@kernel
def count_stale_syn(span: Span, frame: int) -> None:
    """A SYN refused for its timestamp restarted TIME-WAIT."""
    if span.stale_syns == 0:
        span.first_stale_syn_frame = frame
    span.stale_syns += 1


@kernel
def old_syn_in_time_wait(st: KernelState, k: int, seg: Seg) -> None:
    """The incarnation's own SYN wanders into the TIME-WAIT of endpoint ``k``: too old to open anything."""
    tcb = tcb_at(st, k)
    if tcb.span < 0:
        return
    both = seg.options & HAS_TS != 0 and tcb.bits & TS_VALID != 0
    if both and seq_diff(seg.tsval, tcb.ts_recent) < 0:
        if st.params[RESTART_STALE_SYN]:
            restart(st, k, st.counters[NOW], seg.frame)
            count_stale_syn(span_at(st, tcb.span), seg.frame)
    elif st.params[RESTART_REFUSED_SYN]:
        restart(st, k, st.counters[NOW], seg.frame)


@kernel
def retry_meets_earlier(st: KernelState, c: int, seg: Seg) -> None:
    """The SYN of incarnation ``c`` is retransmitted; the earlier one's TIME-WAIT meets it again."""
    previous = conn_at(st, c).previous
    if not note_retry(st, c, seg) or previous < 0:
        return
    k = 2 * previous + 1 - (conn_at(st, c).orig_is_b ^ conn_at(st, previous).orig_is_b)
    row = reuse_at(st, conn_at(st, c).reuse)
    if tcb_at(st, k).state == TIME_WAIT and is_restarting(st, row):
        row.waiting_time = st.counters[NOW]
        row.waiting_frame = seg.frame
        if row.answer == ANSWER_CHALLENGE:
            restart_for_syn(st, k, row)  # it has shown that it is there, and need not answer every SYN


@kernel
def earlier_answers(st: KernelState, new: int, c: int, seg: Seg, side: int) -> None:
    """A segment with the numbers of ``c`` while the SYN of ``new`` waits, before it moves anybody.

    What the receiver of the SYN sends now shows in which state the SYN met it.
    """
    row = reuse_at(st, conn_at(st, new).reuse)
    if row.opened_frame < 0 and not is_sent_by_opener(st, c, row, side):
        k = 2 * c + side
        flags = seg.flags
        if flags & (SYN | FIN | RST) == 0 and seg.payload_len == 0:
            if not is_asked_otherwise(st, c, row, side):
                challenge_shows_state(st, k, row, seg)
        elif flags & (RST | ACK) == RST and seg.seq == tcb_at(st, k).snd_nxt:
            # A host without the connection would have acknowledged the SYN in its RST (RFC 9293 3.5.2, group 1).
            was_in_last_ack(st, k, row)
    note_on_earlier(st, new, c, seg, side)


@kernel
def challenge_shows_state(st: KernelState, k: int, row: Row, seg: Seg) -> None:
    """The SYN's receiver answers with an ACK: it has not got the ACK of its FIN, or is in TIME-WAIT."""
    state = row.receiver_state
    if was_in_last_ack(st, k, row) or (state != TIME_WAIT and state != CLOSED):
        return
    if still_waits(st, k, seg, row.last_syn_time):
        if state == CLOSED:
            row.receiver_state = TIME_WAIT
            row.is_outlived = 1
            judge_syn(st, row, row.last_syn_time, row.last_syn_frame)
        restart_for_syn(st, k, row)


@kernel
def was_in_last_ack(st: KernelState, k: int, row: Row) -> bool:
    """Whether endpoint ``k``, thought to be CLOSED, shows that it never got the ACK of its FIN."""
    if tcb_at(st, k).state != CLOSED or not take_back(st, k, RCV_ACK_OF_FIN):
        return False
    row.receiver_state = tcb_at(st, k).state
    return True


@kernel
def earlier_moved(st: KernelState, new: int, c: int, side: int) -> None:
    """The same segment has moved its sender: a retransmitted FIN shows that the SYN had met LAST-ACK."""
    row = reuse_at(st, conn_at(st, new).reuse)
    tcb = tcb_at(st, 2 * c + side)
    is_shown = row.fin_repeat_frame == tcb.last_frame and tcb.state == LAST_ACK
    if is_shown and row.receiver_state == CLOSED and not is_sent_by_opener(st, c, row, side):
        row.receiver_state = LAST_ACK
