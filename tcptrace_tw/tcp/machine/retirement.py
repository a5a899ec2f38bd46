"""Letting go: an incarnation that is over is remembered for a while, then its rows are written."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.kernels.marks import entry, kernel
from tcptrace_tw.protocol.states import CLOSED, LISTEN, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.schema.words import BASIS_ASSUMED
from tcptrace_tw.tcp.facts.anomalies import write_oddities
from tcptrace_tw.tcp.facts.rows import write_connection, write_facts, write_span
from tcptrace_tw.tcp.facts.timestamp_clock import mark_broken_clocks
from tcptrace_tw.tcp.machine.fin import fin_not_received
from tcptrace_tw.tcp.machine.time_wait import expire
from tcptrace_tw.tcp.machine.transitions import commit
from tcptrace_tw.tcp.store.access import (
    conn_at,
    head_of,
    key_at,
    prefetch_head,
    prefetch_span,
    prefetch_whole,
    set_head,
    tcb_at,
    tuple_at,
)
from tcptrace_tw.tcp.store.archive import bury, due_of, oldest_buried, should_be_buried, unpack
from tcptrace_tw.tcp.store.attempt_record import read_attempt
from tcptrace_tw.tcp.store.attempts import archive_attempt, drop_attempt, due_of_attempt, oldest_attempt
from tcptrace_tw.tcp.store.freelists import free_incarnation, new_incarnation, release_slot
from tcptrace_tw.tcp.store.queues import dequeue, enqueue
from tcptrace_tw.tcp.store.records import (
    BURIED,
    CONNS_LIVE,
    COOLING_HEAD,
    COOLS,
    FIN_SENT,
    HAS_RST,
    LONG_CONNECTIONS,
    NEVER,
    NEXT_DUE,
    NOW,
    ONE_WAY_CONNECTIONS,
    PENDING,
    PLAIN_CONNECTIONS,
    QUEUE_HEAD,
    REMEMBER,
    SAW_PLAIN,
    SLEEPS,
    VAIN_CONNECTIONS,
)

GIVEN_BACK = -(1 << 31)
"""In ``heads`` while released slots are settled: the same slot may be named twice."""

UNANSWERED_FINS = 3
"""A FIN repeated so often without any ACK was never received: a host in TIME-WAIT answers each of them."""


@kernel
def is_over(st, c):  # type: ignore[no-untyped-def]
    """Whether nothing more is expected of incarnation ``c``: both ends are done, or nobody ever answered."""
    o = np.int64(tcb_at(st, 2 * c).state)
    r = np.int64(tcb_at(st, 2 * c + 1).state)
    o_done = o == CLOSED or o == LISTEN or o == TIME_WAIT
    r_done = r == CLOSED or r == LISTEN or r == TIME_WAIT
    return (o_done and r_done) or (o == SYN_SENT and r_done) or (o_done and r == SYN_RECEIVED)


@kernel
def last_time(st, c):  # type: ignore[no-untyped-def]
    """Time of the last segment of incarnation ``c``."""
    return max(np.int64(tcb_at(st, 2 * c).last_time), np.int64(tcb_at(st, 2 * c + 1).last_time))


@kernel
def is_forgotten(st, c):  # type: ignore[no-untyped-def]
    """Whether incarnation ``c`` is over and so old that nothing of it is remembered."""
    return st.regs[NOW] - last_time(st, c) >= st.params[REMEMBER] and is_over(st, c)


@kernel
def forget_finished(st):  # type: ignore[no-untyped-def]
    """Let go of at most two incarnations of each kind whose time has come: at most one is opened for every segment."""
    regs = st.regs
    if regs[NOW] < regs[NEXT_DUE]:
        return
    for _ in range(2):
        forget_oldest(st)
        forget_buried(st)
        forget_attempt(st)
        look_at_cooled(st)
    buried = due_of(st, oldest_buried(st)) if regs[BURIED] else np.int64(NEVER)
    regs[NEXT_DUE] = min(first_due(st, QUEUE_HEAD), first_due(st, COOLING_HEAD), buried, due_of_attempt(st))


@kernel
def first_due(st, head):  # type: ignore[no-untyped-def]
    """When the first of a queue is to be looked at."""
    c = st.regs[head]
    return np.int64(conn_at(st, c).due) if c >= 0 else np.int64(NEVER)


@kernel
def forget_oldest(st):  # type: ignore[no-untyped-def]
    """Look at the first of the queue, if its time has come: forget it, bury it if it sleeps, or let it wait again."""
    c = st.regs[QUEUE_HEAD]
    now = st.regs[NOW]
    if c < 0 or now < np.int64(conn_at(st, c).due):
        return
    look_ahead(st, np.int64(conn_at(st, c).queue_next))
    if is_forgotten(st, c):
        retire(st, c)
        return
    dequeue(st, c)
    if last_time(st, c) + st.params[SLEEPS] <= now and should_be_buried(st, c):
        archive(st, c, now + st.params[REMEMBER])
    else:
        enqueue(st, c, now + st.params[SLEEPS], False)


@kernel
def forget_buried(st):  # type: ignore[no-untyped-def]
    """Let go of the oldest tombstone, if its time has come; one that only sleeps is buried again."""
    if st.regs[BURIED] == 0:
        return
    at = oldest_buried(st)
    if st.regs[NOW] < due_of(st, at):
        return
    c = unpack(st, at)
    if is_forgotten(st, c):
        retire(st, c)
    elif not should_be_buried(st, c):
        enqueue(st, c, st.regs[NOW] + st.params[SLEEPS], False)
    else:
        archive(st, c, (last_time(st, c) if is_over(st, c) else st.regs[NOW]) + st.params[REMEMBER])


@kernel
def forget_attempt(st):  # type: ignore[no-untyped-def]
    """Let go of the oldest attempt, if its time has come."""
    if st.regs[NOW] >= due_of_attempt(st):
        retire_attempt(st, oldest_attempt(st))


@kernel
def retire_attempt(st, at):  # type: ignore[no-untyped-def]
    """Write the row of the attempt at unit ``at``; it needs no slot of the flow table for that."""
    c = new_incarnation(st)
    read_attempt(st, at, c, 0)
    drop_attempt(st, at)
    write_connection(st, c, key_at(st, 0))
    count_caveats(st, c)
    free_incarnation(st, c)


@kernel
def archive(st, c, due):  # type: ignore[no-untyped-def]
    """Archive incarnation ``c``, which is in no queue and can be buried, until ``due``; an attempt in less room."""
    if not archive_attempt(st, c):
        bury(st, c, due)


@kernel
def look_at_cooled(st):  # type: ignore[no-untyped-def]
    """Bury the first of those that cool, if its time has come and it is over; otherwise it waits in the other queue."""
    c = st.regs[COOLING_HEAD]
    now = st.regs[NOW]
    if c < 0 or now < np.int64(conn_at(st, c).due):
        return
    look_ahead(st, np.int64(conn_at(st, c).queue_next))
    dequeue(st, c)
    last = last_time(st, c)
    is_still = is_over(st, c)
    if is_still and last + st.params[COOLS] > now:
        enqueue(st, c, now + st.params[COOLS], True)
    elif is_still and should_be_buried(st, c):
        archive(st, c, last + st.params[REMEMBER])
    else:
        enqueue(st, c, now + st.params[SLEEPS], False)


@kernel
def look_ahead(st, c):  # type: ignore[no-untyped-def]
    """Ask for what the next burials need, ``c`` being the first: it lies far back, and memory is slow."""
    if c < 0:
        return
    prefetch_head(st, np.int64(conn_at(st, c).slot))
    for k in range(2 * c, 2 * c + 2):
        prefetch_span(st, max(np.int64(tcb_at(st, k).span), 0))
    following = np.int64(conn_at(st, c).queue_next)
    if following >= 0:
        prefetch_whole(st, following)


@kernel
def forget_slot(st, slot):  # type: ignore[no-untyped-def]
    """Let go of everything that a tuple had."""
    c = head_of(st, slot)
    while c >= 0:
        retire(st, c)
        c = head_of(st, slot)


@kernel
def retire(st, c):  # type: ignore[no-untyped-def]
    """Write the rows of incarnation ``c`` and give its records back."""
    conn = conn_at(st, c)
    for k in range(2 * c, 2 * c + 2):
        if np.int64(tcb_at(st, k ^ 1).fin_repeats) >= UNANSWERED_FINS:
            fin_not_received(st, k)
        commit(st, k, PENDING, BASIS_ASSUMED)
        expire(st, k)
    write_connection(st, c, tuple_at(st, np.int64(conn.slot)))
    write_span(st, 2 * c)
    write_span(st, 2 * c + 1)
    if np.int64(conn.stale) >= 0:
        mark_broken_clocks(st, c)
    write_facts(st, c)
    write_oddities(st, c)
    count_caveats(st, c)
    dequeue(st, c)
    slot = np.int64(conn.slot)
    previous = np.int64(conn.previous)
    if head_of(st, slot) == c:
        set_head(st, slot, previous)
        if previous < 0:
            release_slot(st, slot)
    else:
        newer = head_of(st, slot)
        if newer >= 0 and np.int64(conn_at(st, newer).previous) == c:
            conn_at(st, newer).previous = previous
    free_incarnation(st, c)
    st.regs[CONNS_LIVE] -= 1


@kernel
def count_caveats(st, c):  # type: ignore[no-untyped-def]
    """Count what tells a filtered or one-way capture from a whole one (semantics: 9.2, 9.3)."""
    o = tcb_at(st, 2 * c)
    r = tcb_at(st, 2 * c + 1)
    if np.int64(conn_at(st, c).bits) & SAW_PLAIN:
        st.regs[PLAIN_CONNECTIONS] += 1
    elif (np.int64(o.bits) | np.int64(r.bits)) & FIN_SENT == 0:
        # Refused, probed, or never answered: the whole of it may be SYNs and RSTs.
        if np.int64(conn_at(st, c).bits) & HAS_RST or np.int64(o.segments) == 0 or np.int64(r.segments) == 0:
            st.regs[VAIN_CONNECTIONS] += 1
    if np.int64(o.segments) + np.int64(r.segments) > 10:
        st.regs[LONG_CONNECTIONS] += 1
        if np.int64(o.segments) == 0 or np.int64(r.segments) == 0:
            st.regs[ONE_WAY_CONNECTIONS] += 1


@entry(Array(np.int32), INTEGER, Array(np.int32))
def settle_released(released, count, heads):  # type: ignore[no-untyped-def]
    """Keep those of ``released[:count]`` that nothing lives in (``heads`` is -1), each once; returns how many."""
    kept = 0
    for i in range(count):
        slot = np.int64(released[i])
        if heads[slot] == -1:
            heads[slot] = GIVEN_BACK
            released[kept] = slot
            kept += 1
    for i in range(kept):
        heads[np.int64(released[i])] = -1
    return kept
