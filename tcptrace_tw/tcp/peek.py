"""The rows of incarnations that are not over, as if the capture ended now: a look that moves nobody.

``Peek`` copies the records of some incarnations into a small tracker of its own and lets them end there. ``ended_now``
does so with everything that is remembered. So a row that is looked at early comes out of the same kernels as the one
that leaves in the end, and no kernel knows of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import Pool, zeros
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.protocol.profiles import Profile
from tcptrace_tw.schema.columns import Table
from tcptrace_tw.schema.segments import TUPLE
from tcptrace_tw.tcp.store import records as s
from tcptrace_tw.tcp.store.reservations import RESERVATIONS
from tcptrace_tw.tcp.tracker import Tracker

Ints = NDArray[np.int64]
Rows = Iterator[tuple[Table, NDArray[Any]]]

_OWN = (
    s.CONNS_USED, s.CONNS_FREE, s.CONNS_LIVE, s.SPANS_USED, s.SPANS_FREE, s.REUSES_USED, s.REUSES_FREE, s.STALES_USED,
    s.STALES_FREE, s.RESETS_USED, s.RESETS_FREE, s.ANOMALIES_USED, s.ANOMALIES_FREE, s.QUEUE_HEAD, s.QUEUE_TAIL,
    s.LINGERING_HEAD, s.LINGERING_TAIL, s.RELEASED, s.WANT_TRANSITIONS, s.ARCHIVE_USED, s.ARCHIVE_FREE,
    s.ARCHIVE_OLDEST, s.ARCHIVE_NEXT, s.ARCHIVE_ROOM, s.BLOCKS_FREE, s.ARCHIVED, s.ATTEMPTS, s.ATTEMPTS_OLDEST,
    s.ATTEMPTS_NEXT, s.PLACES, s.PLACES_TAKEN, s.NEXT_DUE,
    *(register for each in RESERVATIONS for register in (each.used, each.room)),
)  # fmt: skip
"""Registers about the memory of a tracker; all others are about the capture."""

_CHAINS = (("stale", "stales", s.STALES_USED), ("reset", "resets", s.RESETS_USED),
           ("anomaly", "anomalies", s.ANOMALIES_USED))  # fmt: skip
"""Field of an incarnation, the pool that its chain lies in, and the register that counts that."""

SPARE = 64


class Peek:
    """Looks at some incarnations of a tracker."""

    def __init__(self, profile: Profile, *, compiled: bool, seed: Seed, keep_duplicates: bool = False) -> None:
        self._mirror = Tracker(
            profile, compiled=compiled, transitions=False, seed=seed, keep_duplicates=keep_duplicates
        )
        self._fresh = self._mirror.counters[list(_OWN)].copy()

    def rows(self, tracker: Tracker, slots: NDArray[Any], tuples: Any, time: int) -> Rows:
        """The rows of what lives in these slots of the flow table, each named once, as of ``time``.

        What is archived is left out. The tracker must not move meanwhile.
        """
        which = _living(tracker, slots)
        if which.size:
            keys = self._take(tracker, which, tuples)
            yield from self._mirror.finish(time, keys)

    def _take(self, tracker: Tracker, which: Ints, tuples: Any) -> Any:
        """Copy the incarnations ``which``, each into a slot of its own; returns the keys of the slots."""
        counters, count = self._mirror.counters, which.size
        counters[:] = tracker.counters
        counters[list(_OWN)] = self._fresh
        pools, own = tracker.pools, self._mirror.pools
        own["conns"].reserve(count + SPARE)
        own["tcbs"].reserve(2 * own["conns"].capacity)
        conns = own["conns"].records[:count]
        conns[:] = pools["conns"].records[which]
        keys = zeros(count, TUPLE).view(np.recarray)
        keys[:] = tuples[conns["slot"]]
        conns["slot"], conns["previous"] = np.arange(count), -1
        conns["bits"] &= 0xFFFF & ~(s.IN_QUEUE | s.LINGERING)
        tcbs = own["tcbs"].records[: 2 * count]
        tcbs[:] = pools["tcbs"].records[np.stack((2 * which, 2 * which + 1), 1).ravel()]
        counters[s.CONNS_USED] = counters[s.CONNS_LIVE] = count
        counters[s.SPANS_USED] = _move(tcbs, "span", pools["spans"], own["spans"])
        counters[s.REUSES_USED] = _move(conns, "reuse", pools["reuses"], own["reuses"])
        for field, pool, used in _CHAINS:
            counters[used] = _move(conns, field, pools[pool], own[pool], is_chain=True)
        self._mirror.set_newest(_counted(count))
        return keys


def _counted(count: int) -> NDArray[np.int32]:
    numbers: NDArray[np.int32] = zeros(count, np.int32)
    numbers[:] = np.arange(count)
    return numbers


def _living(tracker: Tracker, slots: NDArray[Any]) -> Ints:
    """The incarnations in these slots that are not archived: the newest of each, and those before it."""
    found = tracker.newest[slots].astype(np.int64)
    found = found[found >= 0]
    all_found = [found]
    previous = tracker.pools["conns"].records["previous"]
    while found.size:
        found = previous[found].astype(np.int64)
        found = found[found >= 0]
        all_found.append(found)
    return np.concatenate(all_found)


def _move(owners: Any, field: str, source: Pool, target: Pool, *, is_chain: bool = False) -> int:
    """Copy the records that ``owners`` name in ``field``, and those behind them in a chain; returns how many."""
    has = np.flatnonzero(owners[field] >= 0)
    places = owners[field][has].astype(np.int64)
    owners[field][has] = np.arange(has.size)
    used = 0
    while places.size:
        target.reserve(used + places.size + SPARE)
        copies = target.records[used : used + places.size]
        copies[:] = source.records[places]
        used += places.size
        if not is_chain:
            break
        more = np.flatnonzero(copies["next"] >= 0)
        places = copies["next"][more].astype(np.int64)
        copies["next"][more] = used + np.arange(more.size)
    return used


def ended_now(tracker: Tracker, tuples: Any, time: int, mirror: Tracker) -> Rows:
    """The rows of everything that is remembered, as if the capture ended at ``time``; takes as much memory again.

    ``mirror`` is a fresh tracker with the same settings, and is closed then. Rows that are finished must have left.
    """
    counters = mirror.counters
    counters[:] = tracker.counters
    counters[s.WANT_TRANSITIONS] = 0
    for name, count in _used(tracker).items():
        mirror.pools[name].reserve(count)
        mirror.pools[name].records[:count] = tracker.pools[name].records[:count]
    newest = zeros(tracker.newest.size, np.int32)
    newest[:] = tracker.newest
    mirror.set_newest(newest)
    words, marks = tracker.places()
    mirror.set_places(words.copy(), marks.copy())
    yield from mirror.finish(time, tuples)
    mirror.close()


def _used(tracker: Tracker) -> dict[str, int]:
    """How many records of each pool are used."""
    counters = tracker.counters
    used = {each.array: int(counters[each.used]) for each in RESERVATIONS if each.array in tracker.pools}
    return {**used, "tcbs": 2 * used["conns"], "archive": int(counters[s.ARCHIVE_USED]), "released": 0}


def bytes_of(tracker: Tracker) -> int:
    """What ``ended_now`` would have to copy."""
    records = sum(count * tracker.pools[name].dtype.itemsize for name, count in _used(tracker).items())
    return records + tracker.newest.nbytes + sum(each.nbytes for each in tracker.places())


def keep_at_hand(tracker: Tracker, span_ns: int) -> None:
    """From now on nothing is archived before ``span_ns`` have passed since its last segment: it can be looked at."""
    tracker.params[[s.LINGER, s.IDLE_AFTER]] = np.maximum(tracker.params[[s.LINGER, s.IDLE_AFTER]], span_ns)
