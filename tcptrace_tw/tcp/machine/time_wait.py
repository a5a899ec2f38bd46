"""TIME-WAIT spans: start, restarts and end (RFC 9293 3.6.1 and 3.10.7.4; Linux tcp_timewait_state_process)."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import inlined, kernel
from tcptrace_tw.protocol.states import CLOSED, TIME_WAIT, TIMEOUT
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import BASIS_TIMER, END_CAPTURE, END_EXPIRED, START_FIN
from tcptrace_tw.tcp.machine.transitions import RETRACT_TIMEOUT, move, retract
from tcptrace_tw.tcp.store.access import span_at, tcb_at, time_wait_since
from tcptrace_tw.tcp.store.freelists import new_span
from tcptrace_tw.tcp.store.records import NOW, SPANS_FREE, TWO_MSL, KernelState


@kernel
def enter_time_wait(st: KernelState, k: int, time: int, frame: int, basis: int, fin_frame: int) -> None:
    """Open the span of endpoint ``k``."""
    tcb = tcb_at(st, k)
    at = tcb.span
    if at < 0:
        at = new_span(st)
        tcb.span = at
    span = span_at(st, at)
    span.start = time
    span.start_frame = frame
    span.start_basis = basis
    span.fin_frame = fin_frame
    span.restart = -1
    span.restart_frame = -1
    span.restart_before = -1
    span.restart_frame_before = -1
    span.restarts = 0
    span.fin_repeats = 0
    span.stale_syns = 0
    span.first_stale_syn_frame = -1
    span.end = -1
    span.end_frame = -1
    span.end_reason = END_CAPTURE
    span.answered_frame = -1
    span.shown_ns = -1
    span.is_syn_pending = 0


@kernel
def drop_span(st: KernelState, k: int) -> None:
    """The endpoint was never in TIME-WAIT after all."""
    tcb = tcb_at(st, k)
    at = tcb.span
    if at >= 0:
        span_at(st, at).next = st.counters[SPANS_FREE]
        st.counters[SPANS_FREE] = at
        tcb.span = -1


@kernel
def holder_acks(st: KernelState, k: int, time: int, frame: int, basis: int, is_first_copy: bool) -> None:
    """The holder's first ACK of the peer's FIN: it left after the entry, so the span starts here at the latest.

    ``is_first_copy``: the FIN had been repeated, and the ACK shows that only the last copy arrived.
    """
    span = span_at(st, tcb_at(st, k).span)
    if span.start_basis != START_FIN:
        return
    if span.restart < 0 or (is_first_copy and span.fin_repeats > 0):
        span.start = time
        span.start_frame = frame
        span.restarts = 0
        span.restart = -1
        span.restart_frame = -1
        span.fin_repeats = 0
    span.start_basis = basis


@kernel
def restart(st: KernelState, k: int, time: int, frame: int) -> None:
    """2MSL begins anew."""
    span = span_at(st, tcb_at(st, k).span)
    span.restarts += 1
    span.restart_before = span.restart
    span.restart_frame_before = span.restart_frame
    span.restart = time
    span.restart_frame = frame


@kernel
def restart_not(st: KernelState, k: int) -> None:
    """The peer's FIN found no TIME-WAIT any more: it did not let 2MSL begin anew."""
    span = span_at(st, tcb_at(st, k).span)
    if span.restarts > 0 and span.fin_repeats > 0:
        span.restarts -= 1
        span.fin_repeats -= 1
        span.restart = span.restart_before
        span.restart_frame = span.restart_frame_before


@kernel
def end_span(st: KernelState, k: int, time: int, frame: int, reason: int) -> None:
    """Close the span of endpoint ``k``, if it is open."""
    at = tcb_at(st, k).span
    if at >= 0 and span_at(st, at).end < 0:
        span = span_at(st, at)
        span.end = time
        span.end_frame = frame
        span.end_reason = reason


@inlined
def expire_due(st: KernelState, k: int) -> None:
    """An endpoint whose TIME-WAIT is over by now leaves it."""
    if tcb_at(st, k).state == TIME_WAIT:
        expire(st, k)


@kernel
def expire(st: KernelState, k: int) -> None:
    """Let the 2MSL timer of endpoint ``k`` run out, if its time has come."""
    tcb = tcb_at(st, k)
    if tcb.state != TIME_WAIT or tcb.span < 0:
        return
    if span_at(st, tcb.span).shown_ns >= st.params[TWO_MSL]:
        return  # it has outlived the profile's 2MSL: nobody knows when it ends
    due = time_wait_since(st, k) + st.params[TWO_MSL]
    if st.counters[NOW] >= due:
        move(st, k, TIMEOUT, BASIS_TIMER, due, -1)
        end_span(st, k, due, -1, END_EXPIRED)


@kernel
def still_waits(st: KernelState, k: int, seg: Seg, since: int) -> bool:
    """Endpoint ``k`` answers, at or after ``since``, with exactly its old numbers: its TIME-WAIT has not expired.

    The packets win over the profile: an end by the timer is taken back. Returns whether it is in TIME-WAIT.
    """
    tcb = tcb_at(st, k)
    at = tcb.span
    if at < 0 or seg.seq != tcb.snd_nxt or seg.ack != tcb.rcv_nxt:
        return False
    span = span_at(st, at)
    if tcb.state == CLOSED and span.end_reason == END_EXPIRED and span.end >= 0:
        if retract(st, k, CLOSED, TIME_WAIT, st.counters[NOW], seg.frame, RETRACT_TIMEOUT):
            span.end = -1
            span.end_reason = END_CAPTURE
    if tcb.state != TIME_WAIT:
        return False
    span.shown_ns = max(span.shown_ns, since - time_wait_since(st, k))
    return True
