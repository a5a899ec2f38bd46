"""Which SYNs of a pair of addresses a server ignored, and which for their timestamps (docs/semantics.md: clocks).

Rows of connections come in the order of their ends, the ignored ones last of all. What is kept until then are not the
SYNs but, for each pair and quarter of a second, the highest and the lowest timestamps; where there are too many, what
is kept together becomes longer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import Array, bundle
from tcptrace_tw.kernels.marks import entry, kernel
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.buckets import KEY_BITS, KEY_MASK, SHIFT, USED, BucketTable, bucket_table, buckets_kind
from tcptrace_tw.measure.keys import NEAR
from tcptrace_tw.schema.segments import prefetch

NS = 1_000_000_000

MEMORY_NS = 60 * NS
"""How long tcp_tw_recycle remembered a timestamp (TCP_PAWS_MSL)."""

MOST_ENTRIES = 1 << 17

NARROWEST = 28
"""A tick is so many binary digits of nanoseconds wide: 0.27 s."""

TICK_BITS = 63 - NARROWEST

PAIR = np.dtype(
    [("time", "i8"), ("frame", "i8"), ("connection_id", "i8"), ("end_time", "i8"), ("answered", "i8"),
     ("ignored", "i8"), ("answered_samples_end", "i8"), ("ignored_samples_end", "i8"), ("answered_stale", "i8"),
     ("ignored_stale", "i8"), ("first_time", "i8"), ("last_time", "i8"), ("first_frame", "i8"), ("last_frame", "i8"),
     ("first_id", "i8"), ("waits_begin", "i8"), ("waits_end", "i8")]
)  # fmt: skip
"""All SYNs of a pair, and the first and the last that was ignored; every SYN looks at the fields of the first line.

``answered_samples_end``, ``ignored_samples_end``: the time of the last sample of that kind, once there are enough.
``waits_begin``, ``waits_end``: when the server first and last entered TIME-WAIT towards the client; 0 if it did not.
"""

ENTRY = np.dtype(
    [("word", "i8"), ("first_time", "i8"), ("high_time", "i8"), ("low_time", "i8"), ("first", "u4"), ("high", "u4"),
     ("low", "u4"), ("answered", "i4"), ("stale", "i4"), ("ignored", "i4"), ("ignored_begin", "i8"),
     ("ignored_end", "i8"), ("ignored_high", "i8")]
)  # fmt: skip
"""The SYNs of a pair in a bucket.

``first``, ``high``, ``low``: TSvals of answered ones, the first, the highest and the lowest; ``stale``: answered ones
below another of the bucket that came before. ``ignored_high``: the highest TSval among the ignored ones, which came
from ``ignored_begin`` to ``ignored_end``.
"""


class SynTable(NamedTuple):
    """``table``: entries by pair and bucket; ``pairs`` by their numbers."""

    table: BucketTable
    pairs: Any


SYNS_KIND = bundle(SynTable, table=buckets_kind(ENTRY), pairs=Array(PAIR))


def syn_table(most_pairs: int, seed: Seed, most: int = MOST_ENTRIES) -> SynTable:
    """A table with room for ``most`` entries, a power of two; its pages are only used when written."""
    return SynTable(bucket_table(ENTRY, most, seed), zeros(most_pairs, PAIR).view(np.recarray))


def by_pair_and_time(syns: SynTable) -> NDArray[np.int64]:
    """The places of the entries in this order."""
    words = syns.table.entries["word"][: int(syns.table.counters[USED])]
    return np.argsort((words & KEY_MASK) << TICK_BITS | words >> KEY_BITS)


@kernel
def behind(tsval: int, earlier: int) -> int:
    """How many ticks ``tsval`` lies ahead of ``earlier``, modulo, signed."""
    return ((tsval - earlier + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


@kernel
def add_syns(entry: Any, other: Any) -> None:
    """Add the SYNs of another bucket of the pair."""
    if other.answered > 0:
        known, stale = entry.answered, entry.stale + other.stale
        if known > 0 and (is_overtaken(entry, other) or is_overtaken(other, entry)):
            stale += 1
        add_answered(entry, other.first, other.first_time)
        add_answered(entry, other.low, other.low_time)
        add_answered(entry, other.high, other.high_time)
        entry.answered = known + other.answered
        entry.stale = stale
    if other.ignored > 0:
        add_ignored(entry, other.ignored_high, other.ignored_begin)
        entry.ignored_end = max(entry.ignored_end, other.ignored_end)
        entry.ignored += other.ignored - 1


@kernel
def is_overtaken(entry: Any, other: Any) -> bool:
    """Whether the lowest answered SYN of a bucket came after a higher one of another bucket."""
    return other.high_time < entry.low_time and behind(other.high, entry.low) > 1


@kernel
def add_answered(entry: Any, tsval: int, time: int) -> None:
    """Take an answered SYN, which may come before or after those that are known."""
    if entry.answered == 0:
        entry.first = tsval
        entry.high = tsval
        entry.low = tsval
        entry.first_time = time
        entry.high_time = time
        entry.low_time = time
    elif time < entry.first_time:
        entry.first = tsval
        entry.first_time = time
    is_below = entry.high_time < time and behind(entry.high, tsval) > 1
    is_above = time < entry.low_time and behind(tsval, entry.low) > 1
    entry.answered += 1
    entry.stale += 1 if is_below or is_above else 0
    # Of one TSval, what came first is above longer.
    ahead = behind(tsval, entry.high)
    if ahead > 0 or (ahead == 0 and time < entry.high_time):
        entry.high = tsval
        entry.high_time = time
    ahead = behind(tsval, entry.low)
    if ahead < 0 or (ahead == 0 and time > entry.low_time):
        entry.low = tsval
        entry.low_time = time


@kernel
def add_ignored(entry: Any, tsval: int, time: int) -> None:
    """Take an ignored SYN."""
    if entry.ignored == 0:
        entry.ignored_high = tsval
        entry.ignored_begin = time
        entry.ignored_end = time
    entry.ignored += 1
    if behind(tsval, entry.ignored_high) > 0:
        entry.ignored_high = tsval
    entry.ignored_begin = min(entry.ignored_begin, time)
    entry.ignored_end = max(entry.ignored_end, time)


@kernel
def take_syn(pair: Any, entry: Any, r: Any, ignored: int) -> None:
    """Take the SYN of a row of ``connections``: what the pair knows of it, and what the entry of that time does."""
    time, frame = r.first_time, r.orig_syn_frame
    is_first = pair.answered + pair.ignored == 0
    if is_first or time < pair.time or (time == pair.time and frame < pair.frame):
        pair.time = time
        pair.frame = frame
        pair.connection_id = r.connection_id
    pair.end_time = time if is_first else max(pair.end_time, time)
    if not ignored:
        pair.answered += 1
        add_answered(entry, r.orig_syn_tsval, time)
        return
    if pair.ignored == 0 or time < pair.first_time or (time == pair.first_time and frame < pair.first_frame):
        pair.first_time = time
        pair.first_frame = frame
        pair.first_id = r.connection_id
    if pair.ignored == 0 or time > pair.last_time or (time == pair.last_time and frame > pair.last_frame):
        pair.last_time = time
        pair.last_frame = frame
    pair.ignored += 1
    add_ignored(entry, r.orig_syn_tsval, time)


@entry(SYNS_KIND, Array(np.int64))
def judge(syns: Any, order: Any) -> None:
    """Hold the SYNs of each bucket against those that were answered in the minute before; ``order``: by pair and time.

    Ignored ones of a bucket count together, and only if a higher one was answered before the first of them.
    """
    for place in range(order.size):
        prefetch(syns.table.entries, order[min(place + NEAR, order.size - 1)])
        entry = record_of(syns.table.entries, order[place])
        number = entry.word & KEY_MASK
        pair = record_of(syns.pairs, number)
        if entry.answered > 0 and pair.ignored > 0:
            low_is_below = entry.stale == 0 and was_later(syns, order, place, entry.low, entry.low_time, entry.low_time)
            pair.answered_stale += entry.stale + (1 if low_is_below else 0)
        begin, end = entry.ignored_begin, entry.ignored_end
        if entry.ignored > 0 and was_later(syns, order, place, entry.ignored_high, begin, end):
            pair.ignored_stale += entry.ignored


@kernel
def was_later(syns: Any, order: Any, place: int, tsval: int, begin: int, end: int) -> bool:
    """Whether a SYN answered before ``begin``, in the minute before ``end``, was later by more than a tick."""
    table = syns.table
    number = record_of(table.entries, order[place]).word & KEY_MASK
    while place >= 0:
        other = record_of(table.entries, order[place])
        bucket_end = ((other.word >> KEY_BITS) + 1) << (table.counters[SHIFT] + NARROWEST)
        if other.word & KEY_MASK != number or bucket_end + MEMORY_NS < end:
            return False
        if other.answered > 0 and (
            (is_fresh(other.high_time, begin, end) and behind(other.high, tsval) > 1)
            or (is_fresh(other.first_time, begin, end) and behind(other.first, tsval) > 1)
        ):
            return True
        place -= 1
    return False


@kernel
def is_fresh(time: int, begin: int, end: int) -> bool:
    """Whether something of ``time`` came before ``begin`` and was remembered at ``end``."""
    return time < begin and end <= time + MEMORY_NS
