"""Letting go: an incarnation that is over is remembered for a while, then its rows are written."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.kernels.marks import entry, kernel
from tcptrace_tw.protocol.states import CLOSED, LISTEN, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.schema.segments import SHARDS, Seg, shard_of
from tcptrace_tw.schema.words import BASIS_ASSUMED
from tcptrace_tw.tcp.facts.anomaly_rows import write_anomalies
from tcptrace_tw.tcp.facts.rows import write_connection, write_facts, write_span
from tcptrace_tw.tcp.facts.timestamp_clock import mark_broken_clocks
from tcptrace_tw.tcp.machine.fin import UNANSWERED_FINS, fin_not_received
from tcptrace_tw.tcp.machine.time_wait import expire
from tcptrace_tw.tcp.machine.transitions import commit
from tcptrace_tw.tcp.store.access import (
    conn_at,
    key_at,
    newest_incarnation,
    prefetch_incarnation,
    prefetch_newest,
    prefetch_span,
    set_newest_incarnation,
    tcb_at,
    tuple_at,
)
from tcptrace_tw.tcp.store.archive import due_of, oldest_archived, put_into_archive, should_be_archived, unpack
from tcptrace_tw.tcp.store.attempt_record import read_attempt
from tcptrace_tw.tcp.store.attempts import archive_attempt, drop_attempt, due_of_attempt, oldest_attempt
from tcptrace_tw.tcp.store.freelists import free_incarnation, new_incarnation, release_slot
from tcptrace_tw.tcp.store.queues import dequeue, enqueue
from tcptrace_tw.tcp.store.records import (
    ACKED,
    ARCHIVED,
    CONNS_LIVE,
    FIN_SENT,
    HAS_RST,
    IDLE_AFTER,
    LINGER,
    LINGERING_HEAD,
    LONG_CONNECTIONS,
    NEVER,
    NEXT_DUE,
    NOW,
    ONE_SOCKET,
    ONE_WAY_CONNECTIONS,
    OPENED,
    OPENED_AT,
    OPENED_EACH,
    OPENED_MARKS,
    PENDING,
    PLAIN_CONNECTIONS,
    QUEUE_HEAD,
    REMEMBER,
    REMEMBER_AT_LEAST,
    SAW_PLAIN,
    SHARD_WORDS,
    VAIN_CONNECTIONS,
    KernelState,
    Tcb,
)

GIVEN_BACK = -(1 << 31)
"""In ``newest`` while released slots are settled: the same slot may be named twice."""


@kernel
def is_over(st: KernelState, c: int) -> bool:
    """Whether nothing more is expected of incarnation ``c``: both ends are done, or nobody ever answered."""
    orig_state = tcb_at(st, 2 * c).state
    resp_state = tcb_at(st, 2 * c + 1).state
    o_done = orig_state == CLOSED or orig_state == LISTEN or orig_state == TIME_WAIT
    r_done = resp_state == CLOSED or resp_state == LISTEN or resp_state == TIME_WAIT
    return (o_done and r_done) or (orig_state == SYN_SENT and r_done) or (o_done and resp_state == SYN_RECEIVED)


@kernel
def last_time(st: KernelState, c: int) -> int:
    """Time of the last segment of incarnation ``c``."""
    return max(tcb_at(st, 2 * c).last_time, tcb_at(st, 2 * c + 1).last_time)


MANY = SHARDS * OPENED_EACH * (OPENED_MARKS - 1)
"""So many incarnations are opened, and those before them are remembered for a shorter time: hundreds come a second."""

AGAIN_NS = 10_000_000_000
"""So much later it is asked again whether an archived incarnation may be forgotten."""


@kernel
def passes_by(st: KernelState, c: int) -> bool:
    """Whether many incarnations were opened since the last segment of ``c``, by those in the shard of its 4-tuple.

    Then it is remembered for the least time; otherwise for longer than 2MSL of any stack.
    """
    key = tuple_at(st, conn_at(st, c).slot)
    ports = key.a_port << 16 | key.b_port
    shard = shard_of(key.a_lo, key.b_lo, ports, key.a_hi, key.b_hi, key.scope) * SHARD_WORDS
    opened = st.shards[shard + OPENED]
    if opened <= OPENED_EACH * (OPENED_MARKS - 1):
        return False
    oldest = ((opened - 1) // OPENED_EACH + 1) % OPENED_MARKS
    return st.shards[shard + OPENED_AT + oldest] > last_time(st, c)


@kernel
def count_opened(st: KernelState, seg: Seg) -> None:
    """Count an incarnation that ``seg`` opens in its shard, and remember when every ``OPENED_EACH``-th was opened."""
    shard = (seg.print & (SHARDS - 1)) * SHARD_WORDS
    opened = st.shards[shard + OPENED]
    if opened % OPENED_EACH == 0:
        st.shards[shard + OPENED_AT + opened // OPENED_EACH % OPENED_MARKS] = st.counters[NOW]
    st.shards[shard + OPENED] = opened + 1


@kernel
def is_lone_syn(st: KernelState, c: int) -> bool:
    """Whether incarnation ``c`` is one SYN, as of scans and floods: attempts are remembered for the least time."""
    orig = tcb_at(st, 2 * c)
    return orig.segments == 1 and orig.state == SYN_SENT and tcb_at(st, 2 * c + 1).segments == 0


@kernel
def is_forgotten(st: KernelState, c: int) -> bool:
    """Whether incarnation ``c`` is over and so old that nothing of it is remembered."""
    silent = st.counters[NOW] - last_time(st, c)
    if silent < st.params[REMEMBER_AT_LEAST] or not is_over(st, c):
        return False
    return silent >= st.params[REMEMBER] or is_lone_syn(st, c) or passes_by(st, c)


@kernel
def forget_finished(st: KernelState) -> None:
    """Let go of at most two incarnations of each kind whose time has come: at most one is opened for every segment."""
    counters = st.counters
    if counters[NOW] < counters[NEXT_DUE]:
        return
    for _ in range(2):
        forget_oldest(st)
        forget_archived(st)
        forget_attempt(st)
        look_at_cooled(st)
    archived = due_of_archived(st, oldest_archived(st)) if counters[ARCHIVED] else NEVER
    counters[NEXT_DUE] = min(first_due(st, QUEUE_HEAD), first_due(st, LINGERING_HEAD), archived, due_of_attempt(st))


@kernel
def due_of_archived(st: KernelState, at: int) -> int:
    """When the archived incarnation at unit ``at`` may be forgotten, by how many there are now."""
    sooner = st.params[REMEMBER] - st.params[REMEMBER_AT_LEAST] if st.counters[ARCHIVED] > MANY else 0
    return due_of(st, at) - sooner


@kernel
def first_due(st: KernelState, head: int) -> int:
    """When the first of a queue is to be looked at."""
    c = st.counters[head]
    return conn_at(st, c).due if c >= 0 else NEVER


@kernel
def forget_oldest(st: KernelState) -> None:
    """Look at the first of the queue, if its time has come: forget it, archive it if idle, or let it wait again."""
    c = st.counters[QUEUE_HEAD]
    now = st.counters[NOW]
    if c < 0 or now < conn_at(st, c).due:
        return
    look_ahead(st, conn_at(st, c).queue_next)
    if is_forgotten(st, c):
        retire(st, c)
        return
    dequeue(st, c)
    if last_time(st, c) + st.params[IDLE_AFTER] <= now and should_be_archived(st, c):
        archive(st, c, now + st.params[REMEMBER])
    else:
        enqueue(st, c, now + st.params[IDLE_AFTER], False)


@kernel
def forget_archived(st: KernelState) -> None:
    """Forget the oldest archived incarnation, if its time has come; one that is only idle is archived again."""
    if st.counters[ARCHIVED] == 0:
        return
    at = oldest_archived(st)
    if st.counters[NOW] < due_of_archived(st, at):
        return
    c = unpack(st, at)
    if is_forgotten(st, c):
        retire(st, c)
    elif not should_be_archived(st, c):
        enqueue(st, c, st.counters[NOW] + st.params[IDLE_AFTER], False)
    else:
        due = (last_time(st, c) if is_over(st, c) else st.counters[NOW]) + st.params[REMEMBER]
        sooner = st.params[REMEMBER] - st.params[REMEMBER_AT_LEAST]
        archive(st, c, max(due, st.counters[NOW] + sooner + AGAIN_NS))


@kernel
def forget_attempt(st: KernelState) -> None:
    """Let go of the oldest attempt, if its time has come."""
    if st.counters[NOW] >= due_of_attempt(st):
        retire_attempt(st, oldest_attempt(st))


@kernel
def retire_attempt(st: KernelState, at: int) -> None:
    """Write the row of the attempt at unit ``at``; it needs no slot of the flow table for that."""
    c = new_incarnation(st)
    read_attempt(st, at, c, 0)
    drop_attempt(st, at)
    write_connection(st, c, key_at(st, 0))
    count_caveats(st, c)
    free_incarnation(st, c)


@kernel
def archive(st: KernelState, c: int, due: int) -> None:
    """Archive incarnation ``c``, which is in no queue and can be archived, until ``due``; an attempt in less room."""
    if not archive_attempt(st, c):
        put_into_archive(st, c, due)


@kernel
def look_at_cooled(st: KernelState) -> None:
    """Bury the first of those that cool, if its time has come and it is over; otherwise it waits in the other queue."""
    c = st.counters[LINGERING_HEAD]
    now = st.counters[NOW]
    if c < 0 or now < conn_at(st, c).due:
        return
    look_ahead(st, conn_at(st, c).queue_next)
    dequeue(st, c)
    last = last_time(st, c)
    is_still = is_over(st, c)
    if is_still and last + st.params[LINGER] > now:
        enqueue(st, c, now + st.params[LINGER], True)
    elif is_still and should_be_archived(st, c):
        archive(st, c, last + st.params[REMEMBER])
    else:
        enqueue(st, c, now + st.params[IDLE_AFTER], False)


@kernel
def look_ahead(st: KernelState, c: int) -> None:
    """Ask for what the next burials need, ``c`` being the first: it lies far back, and memory is slow."""
    if c < 0:
        return
    prefetch_newest(st, conn_at(st, c).slot)
    for k in range(2 * c, 2 * c + 2):
        prefetch_span(st, max(tcb_at(st, k).span, 0))
    following = conn_at(st, c).queue_next
    if following >= 0:
        prefetch_incarnation(st, following)


@kernel
def retire(st: KernelState, c: int) -> None:
    """Write the rows of incarnation ``c`` and give its records back."""
    conn = conn_at(st, c)
    for k in range(2 * c, 2 * c + 2):
        if tcb_at(st, k ^ 1).fin_repeats >= UNANSWERED_FINS:
            fin_not_received(st, k)
        commit(st, k, PENDING, BASIS_ASSUMED)
        expire(st, k)
    if conn.bits & ONE_SOCKET:
        tcb_at(st, 2 * c + 1).state = tcb_at(st, 2 * c).state
    write_connection(st, c, tuple_at(st, conn.slot))
    write_span(st, 2 * c)
    write_span(st, 2 * c + 1)
    if conn.stale >= 0:
        mark_broken_clocks(st, c)
    write_anomalies(st, c)
    write_facts(st, c)
    count_caveats(st, c)
    dequeue(st, c)
    slot = conn.slot
    previous = conn.previous
    if newest_incarnation(st, slot) == c:
        set_newest_incarnation(st, slot, previous)
        if previous < 0:
            release_slot(st, slot)
    else:
        newer = newest_incarnation(st, slot)
        if newer >= 0 and conn_at(st, newer).previous == c:
            conn_at(st, newer).previous = previous
    free_incarnation(st, c)
    st.counters[CONNS_LIVE] -= 1


@kernel
def count_caveats(st: KernelState, c: int) -> None:
    """Count what tells a filtered or one-way capture from a whole one (docs/semantics.md: the capture itself)."""
    orig = tcb_at(st, 2 * c)
    resp = tcb_at(st, 2 * c + 1)
    if conn_at(st, c).bits & SAW_PLAIN:
        st.counters[PLAIN_CONNECTIONS] += 1
    elif (orig.bits | resp.bits) & FIN_SENT == 0:
        # Refused, probed, or never answered: the whole of it may be SYNs and RSTs.
        if conn_at(st, c).bits & HAS_RST or orig.segments == 0 or resp.segments == 0:
            st.counters[VAIN_CONNECTIONS] += 1
    if tells_directions(orig, resp):
        st.counters[LONG_CONNECTIONS] += 1
        is_half = orig.segments == 0 or resp.segments == 0
        if is_half and conn_at(st, c).bits & ONE_SOCKET == 0:
            st.counters[ONE_WAY_CONNECTIONS] += 1


@kernel
def tells_directions(orig: Tcb, resp: Tcb) -> bool:
    """Whether a connection is long enough to show one direction only, or acknowledges what was never captured."""
    count = orig.segments + resp.segments
    if count > 10:
        return True
    acks = (orig.bits | resp.bits) & ACKED != 0
    return count >= 3 and acks and (orig.syn_frame >= 0 or resp.syn_frame >= 0)


@entry(Array(np.int32), INTEGER, Array(np.int32))
def settle_released(released: Any, count: int, newest: Any) -> int:
    """Keep those of ``released[:count]`` that nothing lives in (``newest`` is -1), each once; returns how many."""
    kept = 0
    for i in range(count):
        slot = released[i]
        if newest[slot] == -1:
            newest[slot] = GIVEN_BACK
            released[kept] = slot
            kept += 1
    for i in range(kept):
        newest[released[i]] = -1
    return kept
