"""The queue of incarnations that may soon be forgotten, oldest first, as a chain through their records."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.jit import kernel
from tcptrace_tw.tcp.places import conn_at
from tcptrace_tw.tcp.state import IN_QUEUE, QUEUE_HEAD, QUEUE_TAIL


@kernel
def enqueue(st, c, due):  # type: ignore[no-untyped-def]
    """Put incarnation ``c`` at the end of the queue, to be looked at again at time ``due``."""
    regs = st.regs
    conn = conn_at(st, c)
    conn.due = due
    tail = regs[QUEUE_TAIL]
    conn.queue_previous = tail
    conn.queue_next = -1
    conn.bits |= IN_QUEUE
    if tail >= 0:
        conn_at(st, tail).queue_next = c
    else:
        regs[QUEUE_HEAD] = c
    regs[QUEUE_TAIL] = c


@kernel
def dequeue(st, c):  # type: ignore[no-untyped-def]
    """Take incarnation ``c`` out of the queue, if it is there."""
    regs = st.regs
    conn = conn_at(st, c)
    if np.int64(conn.bits) & IN_QUEUE == 0:
        return
    conn.bits &= ~IN_QUEUE & 0xFFFF
    before = np.int64(conn.queue_previous)
    after = np.int64(conn.queue_next)
    if before >= 0:
        conn_at(st, before).queue_next = after
    else:
        regs[QUEUE_HEAD] = after
    if after >= 0:
        conn_at(st, after).queue_previous = before
    else:
        regs[QUEUE_TAIL] = before
