"""A SYN meets an earlier incarnation of its 4-tuple: TIME-WAIT may begin 2MSL again, LAST-ACK may come back.

RFC 9293 3.10.7.4 (first, TIME-WAIT) and 3.6.1; RFC 6191; Linux tcp_timewait_state_process. What a stack does is one of
the profile's rules (``protocol.profiles``).
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.profiles import ACCEPT_PAWS_REJECT
from tcptrace_tw.protocol.seq import seq_diff
from tcptrace_tw.protocol.states import CLOSED, RCV_ACK_OF_FIN, TIME_WAIT
from tcptrace_tw.schema.columns import FIN, HAS_TS, RST, SYN
from tcptrace_tw.tcp.facts.reuse import is_sent_by_opener, note_on_earlier, note_retry, open_reuse
from tcptrace_tw.tcp.machine.time_wait import restart
from tcptrace_tw.tcp.machine.transitions import take_back
from tcptrace_tw.tcp.store.access import conn_at, reuse_at, span_at, tcb_at
from tcptrace_tw.tcp.store.records import NOW, RESTART_REFUSED_SYN, RESTART_STALE_SYN, TS_VALID


@kernel
def syn_meets_earlier(st, c, new, seg):  # type: ignore[no-untyped-def]
    """The SYN that opens incarnation ``new`` meets ``c``, which is still remembered."""
    open_reuse(st, c, new, seg)
    side = np.int64(conn_at(st, new).orig_is_b) ^ np.int64(conn_at(st, c).orig_is_b)
    if np.int64(tcb_at(st, 2 * c + 1 - side).state) == TIME_WAIT:
        judge_syn(st, c, side, reuse_at(st, np.int64(conn_at(st, new).reuse)), seg)


@kernel
def judge_syn(st, c, side, row, seg):  # type: ignore[no-untyped-def]
    """What the profile's stack does with this SYN in TIME-WAIT, and whether it begins 2MSL anew."""
    k = 2 * c + 1 - side
    step = np.int64(row.tsval_delta)
    both = np.int64(row.has_ts) != 0 and np.int64(row.previous_ts_ok) != 0
    sign = 0 if not both or step == 0 else (1 if step > 0 else -1)
    above = 1 if np.int64(row.isn_delta) > 0 else 0
    verdict = np.int64(st.syn_table[np.int64(row.previous_ts_ok), np.int64(row.has_ts), sign + 1, above])
    row.acceptance = verdict
    if verdict == ACCEPT_PAWS_REJECT:
        if st.params[RESTART_STALE_SYN]:
            restart(st, k, st.counters[NOW], seg.frame)
            count_stale_syn(span_at(st, np.int64(tcb_at(st, k).span)), seg.frame)
    elif verdict != 0 and st.params[RESTART_REFUSED_SYN]:
        restart(st, k, st.counters[NOW], seg.frame)


@kernel
def count_stale_syn(span, frame):  # type: ignore[no-untyped-def]
    """A SYN refused for its timestamp restarted TIME-WAIT."""
    if np.int64(span.stale_syns) == 0:
        span.first_stale_syn_frame = frame
    span.stale_syns += 1


@kernel
def old_syn_in_time_wait(st, k, seg):  # type: ignore[no-untyped-def]
    """The incarnation's own SYN wanders into the TIME-WAIT of endpoint ``k``: too old to open anything."""
    t = tcb_at(st, k)
    if np.int64(t.span) < 0:
        return
    both = np.int64(seg.options) & HAS_TS != 0 and np.int64(t.bits) & TS_VALID != 0
    if both and seq_diff(np.int64(seg.tsval), np.int64(t.ts_recent)) < 0:
        if st.params[RESTART_STALE_SYN]:
            restart(st, k, st.counters[NOW], seg.frame)
            count_stale_syn(span_at(st, np.int64(t.span)), seg.frame)
    elif st.params[RESTART_REFUSED_SYN]:
        restart(st, k, st.counters[NOW], seg.frame)


@kernel
def retry_meets_earlier(st, c, seg):  # type: ignore[no-untyped-def]
    """The SYN of incarnation ``c`` is retransmitted; the earlier one's TIME-WAIT meets it again."""
    previous = np.int64(conn_at(st, c).previous)
    if not note_retry(st, c, seg) or previous < 0:
        return
    k = 2 * previous + 1 - (np.int64(conn_at(st, c).orig_is_b) ^ np.int64(conn_at(st, previous).orig_is_b))
    is_stale = np.int64(reuse_at(st, np.int64(conn_at(st, c).reuse)).acceptance) == ACCEPT_PAWS_REJECT
    if np.int64(tcb_at(st, k).state) == TIME_WAIT and is_stale and st.params[RESTART_STALE_SYN]:
        restart(st, k, st.counters[NOW], seg.frame)
        count_stale_syn(span_at(st, np.int64(tcb_at(st, k).span)), seg.frame)


@kernel
def earlier_answers(st, new, c, seg, side):  # type: ignore[no-untyped-def]
    """A segment with the numbers of ``c`` while the SYN of ``new`` waits.

    Who was thought to be CLOSED and answers with an ACK never got the ACK of its FIN.
    """
    row = reuse_at(st, np.int64(conn_at(st, new).reuse))
    is_bare_ack = np.int64(seg.flags) & (SYN | FIN | RST) == 0 and np.int64(seg.payload_len) == 0
    k = 2 * c + side
    if is_bare_ack and not is_sent_by_opener(st, c, row, side):
        if np.int64(tcb_at(st, k).state) == CLOSED and take_back(st, k, RCV_ACK_OF_FIN):
            row.receiver_state = tcb_at(st, k).state
    note_on_earlier(st, new, c, seg, side)
