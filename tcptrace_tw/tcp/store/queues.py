"""Two queues of incarnations, as chains through their records: those that may be forgotten, and those that cool.

An incarnation is first in the second one, for a short time; if it is over by then, it may be archived.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.tcp.store.access import conn_at
from tcptrace_tw.tcp.store.records import (
    IN_QUEUE,
    LINGERING,
    LINGERING_HEAD,
    LINGERING_TAIL,
    NEXT_DUE,
    QUEUE_HEAD,
    QUEUE_TAIL,
    KernelState,
)


@kernel
def enqueue(st: KernelState, c: int, due: int, lingers: bool) -> None:
    """Put incarnation ``c`` at the end of a queue, to be looked at again at time ``due``."""
    counters = st.counters
    conn = conn_at(st, c)
    first, last = (LINGERING_HEAD, LINGERING_TAIL) if lingers else (QUEUE_HEAD, QUEUE_TAIL)
    conn.due = due
    counters[NEXT_DUE] = min(counters[NEXT_DUE], due)
    tail = counters[last]
    conn.queue_previous = tail
    conn.queue_next = -1
    conn.bits |= LINGERING if lingers else IN_QUEUE
    if tail >= 0:
        conn_at(st, tail).queue_next = c
    else:
        counters[first] = c
    counters[last] = c


@kernel
def dequeue(st: KernelState, c: int) -> None:
    """Take incarnation ``c`` out of the queue that it is in, if any."""
    counters = st.counters
    conn = conn_at(st, c)
    bits = conn.bits
    if bits & (IN_QUEUE | LINGERING) == 0:
        return
    first, last = (LINGERING_HEAD, LINGERING_TAIL) if bits & LINGERING else (QUEUE_HEAD, QUEUE_TAIL)
    conn.bits &= ~(IN_QUEUE | LINGERING)
    before = conn.queue_previous
    after = conn.queue_next
    if before >= 0:
        conn_at(st, before).queue_next = after
    else:
        counters[first] = after
    if after >= 0:
        conn_at(st, after).queue_previous = before
    else:
        counters[last] = before
