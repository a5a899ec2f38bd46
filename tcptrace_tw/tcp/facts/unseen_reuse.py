"""A SYN that is answered with other numbers, though no earlier incarnation was captured: its receiver holds one."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import seq_diff
from tcptrace_tw.schema.columns import FIN, HAS_TS
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import ANSWER_CHALLENGE, NONE, NULL_WORD
from tcptrace_tw.tcp.facts.observed import observed
from tcptrace_tw.tcp.facts.reuse import answer, new_row
from tcptrace_tw.tcp.store.access import conn_at, reuse_at, tcb_at
from tcptrace_tw.tcp.store.records import NOW, TS_ON_SYN, KernelState, Row, Tcb


@kernel
def open_unseen_reuse(st: KernelState, c: int, seg: Seg) -> None:
    """The SYN of ``c`` is answered with other numbers: its receiver holds a connection that was not captured.

    ``seg`` is that answer. Its numbers are what the receiver has and expects (RFC 9293 3.10.7.4, first; RFC 5961 4.2).
    """
    conn = conn_at(st, c)
    row = new_row(st, c, conn.first_time)
    orig = tcb_at(st, 2 * c)
    row.previous_connection_id = -1
    row.previous_orig_state = NULL_WORD
    row.previous_resp_state = NULL_WORD
    row.sender_state = NULL_WORD
    row.receiver_state = NULL_WORD
    row.is_previous_reset = 0
    row.is_receiver_fin_acked = 0
    row.is_last_ack_lost = 0
    row.previous_ts_ok = 1 if seg.options & HAS_TS else 0
    row.old_sender_nxt = seg.ack
    row.old_sender_iss = seg.ack
    row.old_responder_nxt = seg.seq
    row.old_responder_iss = seg.seq
    row.responder_tsval = seg.tsval
    row.fin_frame = -1
    row.time_wait_frame = -1
    row.holder = NONE
    row.is_by_holder = 0
    row.gap_ns = -1
    row.is_linux_tw_reuse = 0
    row.observed = observed(st, c)
    note_own_syn(row, orig, seg)


@kernel
def note_own_syn(row: Row, orig: Tcb, seg: Seg) -> None:
    """The SYN of an incarnation without a past; ``seg`` acknowledges what its receiver had expected."""
    has_ts = orig.bits & TS_ON_SYN != 0
    row.syn_frame = orig.syn_frame
    row.last_syn_time = orig.last_time
    row.last_syn_frame = orig.last_frame
    row.syn_retries = orig.syn_repeats
    if orig.syn_repeats > 0:
        row.retry_frame = orig.last_frame
        row.waited_ns = orig.last_time - row.time
    row.isn = orig.iss
    row.isn_delta = seq_diff(orig.iss, seg.ack)
    row.has_ts = 1 if has_ts else 0
    row.tsecr = 0
    row.tsval = orig.last_tsval if has_ts else 0
    row.tsval_delta = 0
    if has_ts and seg.options & HAS_TS:
        row.tsval_delta = seq_diff(orig.last_tsval, seg.tsecr)


@kernel
def note_unseen_answer(st: KernelState, c: int, seg: Seg) -> None:
    """An ACK or SYN+ACK of other numbers towards the SYN of ``c``; a FIN comes by its own timer."""
    conn = conn_at(st, c)
    if seg.flags & FIN:
        return
    if conn.reuse < 0:
        open_unseen_reuse(st, c, seg)
    answer(reuse_at(st, conn.reuse), ANSWER_CHALLENGE, seg, st.counters[NOW])
