"""A batch of segments, one after the other: what is the same for each, before it arrives at its incarnation."""

from __future__ import annotations

from typing import Any

from tcptrace_tw.kernels.kinds import BOOLEAN, INTEGER
from tcptrace_tw.kernels.marks import entry, inlined, kernel
from tcptrace_tw.protocol.states import UNKNOWN_STATE
from tcptrace_tw.schema.segments import BATCH_KIND, Seg, Segments, prefetch, segment_at
from tcptrace_tw.tcp.machine.duplicate_frames import first_place, is_duplicate_frame
from tcptrace_tw.tcp.machine.incarnation import incarnation_of
from tcptrace_tw.tcp.machine.retirement import forget_finished, is_forgotten
from tcptrace_tw.tcp.machine.segment_arrives import segment_arrives
from tcptrace_tw.tcp.store.access import (
    STATE_KIND,
    conn_at,
    newest_incarnation,
    prefetch_incarnation,
    prefetch_newest,
    prefetch_seen,
    prefetch_tuple,
    tcb_at,
)
from tcptrace_tw.tcp.store.archive import is_archived, restore
from tcptrace_tw.tcp.store.attempts import restore_attempt
from tcptrace_tw.tcp.store.queues import enqueue
from tcptrace_tw.tcp.store.records import (
    ATTEMPTS,
    IN_QUEUE,
    LINGER,
    LINGERING,
    NOW,
    START,
    KernelState,
    Row,
)
from tcptrace_tw.tcp.store.reservations import segments_with_room


@entry(BATCH_KIND, INTEGER, INTEGER, STATE_KIND, BOOLEAN)
def segments_arrive(batch: Segments, start: int, size: int, st: KernelState, wants_states: bool) -> int:
    """Move each endpoint's state by the segments of one batch, in order, from segment ``start`` up to ``size``.

    Fills the incarnation and the states of each segment if somebody ``wants_states``. Returns the number of segments
    done: less than the batch when there is not enough room for what one more segment can cause.
    """
    counters = st.counters
    done = start
    while done < size:
        sure = min(size, done + segments_with_room(counters))
        if sure <= done:
            return done
        for i in range(done, sure):
            look_ahead(st, batch, i, size)
            seg = segment_at(batch, i)
            advance_clock(counters, seg.time)
            forget_finished(st)
            slot = seg.slot
            head = newest_incarnation(st, slot)
            if is_archived(head):
                restore(st, slot)
            elif head < 0 and counters[ATTEMPTS]:
                restore_attempt(st, slot)
            if is_duplicate_frame(st, seg):
                note_duplicate(st, batch[i], seg, newest_incarnation(st, slot))
                continue
            c = incarnation_of(st, seg, slot, seg.direction)
            side = seg.direction ^ conn_at(st, c).orig_is_b
            segment_arrives(st, c, side, seg, slot)
            if wants_states:
                note_states(st, batch[i], c, side)
        done = sure
    return done


@kernel
def advance_clock(counters: Any, time: int) -> None:
    """The clock of the tracker never goes back: a segment captured late counts as captured now."""
    if time > counters[NOW]:
        counters[NOW] = time
    if counters[START] < 0:
        counters[START] = time
        counters[NOW] = time


@kernel
def note_states(st: KernelState, row: Row, c: int, side: int) -> None:
    """Fill in what the segment of ``row`` has led to."""
    row.connection_id = conn_at(st, c).id
    row.sender_state = tcb_at(st, 2 * c + side).state
    row.receiver_state = tcb_at(st, 2 * c + 1 - side).state
    row.side = side


@kernel
def note_duplicate(st: KernelState, row: Row, seg: Seg, c: int) -> None:
    """Count the copy of a segment of incarnation ``c``, if it has one; it moves nobody."""
    row.connection_id = 0
    row.sender_state = UNKNOWN_STATE
    row.receiver_state = UNKNOWN_STATE
    if c < 0:
        return
    if conn_at(st, c).bits & (IN_QUEUE | LINGERING) == 0:  # it comes from the archive
        enqueue(st, c, st.counters[NOW] + st.params[LINGER], True)
    if not is_forgotten(st, c):  # it may only wait for its turn: how long depends on who else is forgotten
        conn_at(st, c).duplicates += 1
        row.connection_id = conn_at(st, c).id
        row.side = seg.direction ^ conn_at(st, c).orig_is_b


FARTHEST, FAR, NEAR = 64, 24, 12
"""How many segments ahead the records of the incarnation are asked for, in two steps: memory is slow, not the steps."""


@inlined
def look_ahead(st: KernelState, batch: Segments, i: int, size: int) -> None:
    """Ask for the records of later segments, so that they lie in the cache when their turn comes."""
    if i + FAR < size:
        prefetch(batch, min(i + FARTHEST, size - 1))
        prefetch_newest(st, segment_at(batch, i + FAR).slot)
        near = segment_at(batch, i + NEAR)
        prefetch_seen(st, first_place(st, near.print))
        c = newest_incarnation(st, near.slot)
        if c >= 0:
            prefetch_incarnation(st, c)
        else:
            prefetch_tuple(st, near.slot)
