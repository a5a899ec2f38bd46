"""Two queues of incarnations, as chains through their records: those that may be forgotten, and those that cool.

An incarnation is first in the second one, for a short time; if it is over by then, it may be buried.
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.tcp.store.access import conn_at
from tcptrace_tw.tcp.store.records import (
    COOLING,
    COOLING_HEAD,
    COOLING_TAIL,
    IN_QUEUE,
    NEXT_DUE,
    QUEUE_HEAD,
    QUEUE_TAIL,
)


@kernel
def enqueue(st, c, due, cools):  # type: ignore[no-untyped-def]
    """Put incarnation ``c`` at the end of a queue, to be looked at again at time ``due``."""
    regs = st.regs
    conn = conn_at(st, c)
    first, last = (COOLING_HEAD, COOLING_TAIL) if cools else (QUEUE_HEAD, QUEUE_TAIL)
    conn.due = due
    regs[NEXT_DUE] = min(regs[NEXT_DUE], due)
    tail = regs[last]
    conn.queue_previous = tail
    conn.queue_next = -1
    conn.bits |= COOLING if cools else IN_QUEUE
    if tail >= 0:
        conn_at(st, tail).queue_next = c
    else:
        regs[first] = c
    regs[last] = c


@kernel
def dequeue(st, c):  # type: ignore[no-untyped-def]
    """Take incarnation ``c`` out of the queue that it is in, if any."""
    regs = st.regs
    conn = conn_at(st, c)
    bits = np.int64(conn.bits)
    if bits & (IN_QUEUE | COOLING) == 0:
        return
    first, last = (COOLING_HEAD, COOLING_TAIL) if bits & COOLING else (QUEUE_HEAD, QUEUE_TAIL)
    conn.bits &= ~(IN_QUEUE | COOLING) & 0xFFFF
    before = np.int64(conn.queue_previous)
    after = np.int64(conn.queue_next)
    if before >= 0:
        conn_at(st, before).queue_next = after
    else:
        regs[first] = after
    if after >= 0:
        conn_at(st, after).queue_previous = before
    else:
        regs[last] = before
