"""State changes of one endpoint, and how long a receipt waits for its proof.

What an endpoint sends is certain at the tap. What it receives is only assumed: the segment may be lost behind the
tap. So a receipt (an ACK of a SYN or FIN, a SYN+ACK, a FIN) moves the endpoint's state at once, but its row waits:
- it is written as ``confirmed`` when the endpoint answers in a way that only the receipt explains;
- it is taken back without a trace when the endpoint shows that it never got the segment;
- it is written as ``assumed`` when neither has happened by the end of the incarnation or by its next own step.
Only conclusions that had been certain, and prove wrong later, need a row that retracts them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.states import (
    CLOSE_WAIT,
    FIN_WAIT_1,
    RCV_ACK_OF_FIN,
    RCV_FIN,
    RCV_FIN_AND_ACK,
    RCV_RST,
    RCV_SYN,
    RCV_SYN_ACK,
    SND_RST,
    TIME_WAIT,
    TIMEOUT,
    UNKNOWN_STATE,
)
from tcptrace_tw.schema.words import (
    BASIS_ASSUMED,
    BASIS_CONFIRMED,
    BASIS_INFERRED,
    BASIS_MIDSTREAM,
    EVENT_FIRST_SEEN,
    EVENT_RETRACTION,
)
from tcptrace_tw.tcp.store.access import cause_at, conn_at, out_transition_at, tcb_at, tuple_at
from tcptrace_tw.tcp.store.records import (
    ENTERED_FIN_WAIT_1,
    FIN_RECEIVED,
    OUT_TRANSITIONS,
    PENDING,
    WANT_TRANSITIONS,
    KernelState,
)

RETRACT_RESET, RETRACT_TIME_WAIT, RETRACT_CLOSE, RETRACT_TIMEOUT = range(4)


@kernel
def move(st: KernelState, k: int, event: int, basis: int, time: int, frame: int) -> None:
    """Apply an event that is certain to endpoint ``k``; receipts that still wait are written first."""
    tcb = tcb_at(st, k)
    old = tcb.state
    new = np.int64(st.next_state[old, event])
    if new == old:
        return
    commit(st, k, PENDING, BASIS_ASSUMED)
    tcb.state = new
    if new == FIN_WAIT_1:
        tcb.bits |= ENTERED_FIN_WAIT_1
    if st.counters[WANT_TRANSITIONS]:
        write_transition(st, k, old, new, event, basis, time, frame, -1)


@kernel
def receive(st: KernelState, k: int, event: int, time: int, frame: int, tsval: int) -> bool:
    """Apply an assumed receipt to endpoint ``k``; its row waits. Returns whether the state changed."""
    tcb = tcb_at(st, k)
    old = tcb.state
    new = np.int64(st.next_state[old, event])
    if new == old:
        return False
    if tcb.pending == PENDING:
        commit(st, k, 1, BASIS_ASSUMED)
    n = tcb.pending
    tcb.pending_event[n] = event
    tcb.pending_from[n] = old
    if st.counters[WANT_TRANSITIONS]:
        cause = cause_at(st, k)
        cause.time[n] = time
        cause.frame[n] = frame
        cause.tsval[n] = tsval
    tcb.pending = n + 1
    tcb.state = new
    return True


@kernel
def commit(st: KernelState, k: int, count: int, basis: int) -> None:
    """Write the first ``count`` waiting receipts of endpoint ``k`` with the basis given."""
    tcb = tcb_at(st, k)
    n = tcb.pending
    if n == 0:
        return
    count = min(count, n)
    for j in range(count):
        event = np.int64(tcb.pending_event[j])
        old = np.int64(tcb.pending_from[j])
        if st.counters[WANT_TRANSITIONS]:
            cause = cause_at(st, k)
            new = np.int64(st.next_state[old, event])
            write_transition(st, k, old, new, event, basis, np.int64(cause.time[j]), np.int64(cause.frame[j]), -1)
    for j in range(count, n):
        tcb.pending_event[j - count] = tcb.pending_event[j]
        tcb.pending_from[j - count] = tcb.pending_from[j]
        if st.counters[WANT_TRANSITIONS]:
            cause = cause_at(st, k)
            cause.time[j - count] = cause.time[j]
            cause.frame[j - count] = cause.frame[j]
            cause.tsval[j - count] = cause.tsval[j]
    tcb.pending = n - count


@kernel
def prove(st: KernelState, k: int, acks_syn: bool, acks_fin: bool, echo: int) -> None:
    """Endpoint ``k`` has sent a segment: write the receipts that it proves, and those before them.

    ``acks_syn``, ``acks_fin``: whether its ACK field covers the peer's SYN, FIN. ``echo``: its TSecr, or -1.
    """
    tcb = tcb_at(st, k)
    proven = 0
    for j in range(tcb.pending):
        event = np.int64(tcb.pending_event[j])
        if event == RCV_SYN_ACK or event == RCV_SYN:
            if acks_syn:
                proven = j + 1
        elif event == RCV_FIN or event == RCV_FIN_AND_ACK:
            if acks_fin:
                proven = j + 1
        elif echo >= 0 and st.counters[WANT_TRANSITIONS]:
            tsval = np.int64(cause_at(st, k).tsval[j])
            if tsval >= 0 and ((echo - tsval) & 0xFFFFFFFF) < 0x80000000:
                proven = j + 1
    if proven:
        commit(st, k, proven, BASIS_CONFIRMED)


@kernel
def take_back(st: KernelState, k: int, event: int) -> bool:
    """Endpoint ``k`` never got a segment: drop that receipt and those after it. Returns whether one fell."""
    tcb = tcb_at(st, k)
    for j in range(tcb.pending):
        if np.int64(tcb.pending_event[j]) == event or (
            event == RCV_ACK_OF_FIN and np.int64(tcb.pending_event[j]) == RCV_FIN_AND_ACK
        ):
            for later in range(j, tcb.pending):
                gone = np.int64(tcb.pending_event[later])
                if gone == RCV_FIN or gone == RCV_FIN_AND_ACK:
                    tcb.bits &= ~FIN_RECEIVED
            tcb.state = tcb.pending_from[j]
            tcb.pending = j
            return True
    return False


@kernel
def is_pending(st: KernelState, k: int, event: int) -> bool:
    """Whether a receipt of this kind of endpoint ``k`` still waits for its proof."""
    tcb = tcb_at(st, k)
    for j in range(tcb.pending):
        if np.int64(tcb.pending_event[j]) == event:
            return True
    return False


@kernel
def first_seen(st: KernelState, k: int, state: int, time: int, frame: int) -> None:
    """Give endpoint ``k`` its first state, because its opening was not captured."""
    tcb_at(st, k).state = state
    if st.counters[WANT_TRANSITIONS]:
        write_transition(st, k, UNKNOWN_STATE, state, EVENT_FIRST_SEEN, BASIS_MIDSTREAM, time, frame, -1)


@kernel
def retract(st: KernelState, k: int, wrong: int, right: int, time: int, frame: int, which: int) -> bool:
    """Endpoint ``k`` never went from ``right`` to ``wrong``: a row takes the earlier one back.

    ``which`` says what is taken back: its last RST, its entry into TIME-WAIT, that into FIN-WAIT-1 or CLOSE-WAIT, or
    the end of TIME-WAIT by the timer.
    """
    tcb = tcb_at(st, k)
    if tcb.state != wrong or wrong == right:
        return False
    commit(st, k, PENDING, BASIS_ASSUMED)
    tcb.state = right
    if st.counters[WANT_TRANSITIONS]:
        cause = cause_at(st, k)
        row = cause.reset_id if which == RETRACT_RESET else cause.time_wait_id
        if which == RETRACT_CLOSE:
            row = cause.close_id
        elif which == RETRACT_TIMEOUT:
            row = cause.timeout_id
        write_transition(st, k, wrong, right, EVENT_RETRACTION, BASIS_INFERRED, time, frame, row)
    return True


@kernel
def write_transition(
    st: KernelState, k: int, old: Any, new: Any, event: Any, basis: int, time: Any, frame: Any, retracts: int
) -> None:
    """Write one row of the transitions table."""
    counters = st.counters
    n = counters[OUT_TRANSITIONS]
    counters[OUT_TRANSITIONS] = n + 1
    row = out_transition_at(st, n)
    c = k >> 1
    conn = conn_at(st, c)
    number = conn.transitions + 1
    conn.transitions = number
    row.transition_id = number
    row.connection_id = conn.id
    row.time = time
    row.frame = frame
    row.retracts = retracts
    row.endpoint = k & 1
    row.from_state = old
    row.to_state = new
    row.event = event
    row.basis = basis
    key = tuple_at(st, conn.slot)
    if (k & 1) == conn.orig_is_b:
        row.ip_hi = key.a_hi
        row.ip_lo = key.a_lo
        row.port = key.a_port
    else:
        row.ip_hi = key.b_hi
        row.ip_lo = key.b_lo
        row.port = key.b_port
    if retracts < 0:
        remember_cause(cause_at(st, k), event, new, number)


@kernel
def remember_cause(cause: Any, event: int, new: int, transition_id: int) -> None:
    """Keep the numbers of the rows that may be taken back: a RST, TIME-WAIT and its end, and the step to a close."""
    if event == SND_RST or event == RCV_RST:
        cause.reset_id = transition_id
    if new == TIME_WAIT:
        cause.time_wait_id = transition_id
    if new == FIN_WAIT_1 or new == CLOSE_WAIT:
        cause.close_id = transition_id
    if event == TIMEOUT:
        cause.timeout_id = transition_id
