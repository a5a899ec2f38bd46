"""Sums by key and bucket of time, in a table that never grows: where there are too many, buckets become twice as wide.

What an entry holds, and how two of them are added, is their owner's business: ``fold(entry, later)`` is a kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import Array, Bundle, bundle
from tcptrace_tw.kernels.marks import inlined, kernel
from tcptrace_tw.keyed_hash import Seed, hashed, weighed
from tcptrace_tw.measure.keys import NUMBER_BITS, NUMBER_MASK
from tcptrace_tw.schema.segments import prefetch

KEY_BITS = 20
KEY_MASK = (1 << KEY_BITS) - 1

USED, SHIFT = range(2)

NEIGHBOUR_BITS = 4
NEIGHBOURS = 1 << NEIGHBOUR_BITS
"""Neighbours among the keys are neighbours in the index: one cache line of it serves so many of them."""

SEAT_BITS = 32
SEAT_MASK = (1 << SEAT_BITS) - 1

MARK_SHIFT = NUMBER_BITS
TURN_SHIFT = MARK_SHIFT - NEIGHBOUR_BITS
"""Of a hash, the upper bits are the mark; those below turn the neighbours in their line, and the others choose it."""

Ints = NDArray[np.int64]


class BucketTable(NamedTuple):
    """``entries`` in the order in which they came; ``index``: open addressing, 0 or entry + 1 and a mark above it.

    Each entry begins with ``word``, which is ``bucket << KEY_BITS | key``; a bucket is ``2 ** counters[SHIFT]`` ticks
    of the owner's clock. ``blank``: one entry of zeros.
    """

    index: NDArray[np.int32]  # type: ignore[assignment]
    entries: Any
    blank: Any
    counters: Ints
    seed: Seed


def buckets_kind(entry: np.dtype[Any]) -> Bundle:
    """The kind of a table of such entries."""
    records = Array(entry)
    return bundle(
        BucketTable,
        index=Array(np.int32),
        entries=records,
        blank=records,
        counters=Array(np.int64),
        seed=Array(np.int64),
    )


def bucket_table(entry: np.dtype[Any], most: int, seed: Seed) -> BucketTable:
    """A table with room for ``most`` entries, a power of two; its pages are only used when written."""
    entries, blank = zeros(most, entry).view(np.recarray), zeros(1, entry).view(np.recarray)
    return BucketTable(zeros(2 * most, np.int32), entries, blank, zeros(2, np.int64), seed)


@inlined
def word_of(table: Any, key: int, tick: int) -> int:
    """What an entry is found by."""
    return tick >> table.counters[SHIFT] << KEY_BITS | key


@inlined
def seat_of(table: Any, word: int) -> int:
    """The place of the index where a word belongs, and above it the mark by which it is told from its neighbours."""
    h = hashed(table.seed, int(table.seed[0]) + weighed(table.seed, 1, word >> NEIGHBOUR_BITS))
    place = (h << NEIGHBOUR_BITS | ((word ^ (h >> TURN_SHIFT)) & (NEIGHBOURS - 1))) & (table.index.size - 1)
    return (h >> MARK_SHIFT) << SEAT_BITS | place


@inlined
def next_place(table: Any, place: int) -> int:
    """Where to look next: an odd step comes to every place."""
    return (place + NEIGHBOURS + 1) & (table.index.size - 1)


@inlined
def place_of(table: Any, word: int) -> int:
    """The place of a word in the index: where it is, or the free one where it belongs."""
    seat = seat_of(table, word)
    place, mark = seat & SEAT_MASK, seat >> SEAT_BITS
    while True:
        entry = np.int64(table.index[place])
        if entry == 0:
            return place
        if entry >> NUMBER_BITS == mark and table.entries[(entry & NUMBER_MASK) - 1].word == word:
            return place
        place = next_place(table, place)


@inlined
def number_in(table: Any, place: int) -> Any:
    """The number of the entry that a place of the index leads to, or -1."""
    return (np.int64(table.index[place]) & NUMBER_MASK) - 1


@inlined
def set_place(table: Any, place: int, word: int, number: Any) -> None:
    """Let a place of the index lead to an entry."""
    table.index[place] = seat_of(table, word) >> SEAT_BITS << NUMBER_BITS | (number + 1)


@inlined
def ask_place(table: Any, key: int, tick: int) -> int:
    """Soon the entry of a key will be asked for; returns the seat for ``ask_entry``."""
    seat = seat_of(table, word_of(table, key, tick))
    prefetch(table.index, seat & SEAT_MASK)
    return seat


@inlined
def ask_entry(table: Any, seat: int) -> None:
    """Very soon the entry will be asked for that has this seat, or the one after it."""
    place = seat & SEAT_MASK
    if np.int64(table.index[place]) >> NUMBER_BITS != seat >> SEAT_BITS:
        place = next_place(table, place)
    prefetch(table.entries, max(number_in(table, place), np.int64(0)))


@inlined
def entry_of(table: Any, key: int, tick: int, fold: Any) -> Any:
    """The entry of a key at ``tick``, for the caller to change; a new one is all zeros."""
    number = number_in(table, place_of(table, word_of(table, key, tick)))
    if number < 0:
        number = add_entry(table, key, tick, fold)
    return record_of(table.entries, number)


@kernel
def add_entry(table: Any, key: int, tick: int, fold: Any) -> int:
    """The number of an entry for a key at ``tick`` that has none, made where there is none in wider buckets either."""
    size = table.entries.size
    if table.counters[USED] == size:
        while table.counters[USED] * 4 > size * 3:
            widen(table, fold)
    word = word_of(table, key, tick)
    place = place_of(table, word)
    number = number_in(table, place)
    if number < 0:
        number = table.counters[USED]
        table.counters[USED] = number + 1
        set_place(table, place, word, number)
        table.entries[number].word = word
    return number


@kernel
def widen(table: Any, fold: Any) -> None:
    """Make the buckets twice as wide: entries that fall together become one, at the place of the first of them."""
    count, kept = table.counters[USED], np.int64(0)
    table.counters[SHIFT] += 1
    for i in range(table.index.size):
        table.index[i] = 0
    for i in range(count):
        old = table.entries[i].word
        word = (old >> (KEY_BITS + 1) << KEY_BITS) | (old & KEY_MASK)
        place = place_of(table, word)
        number = number_in(table, place)
        if number >= 0:
            fold(record_of(table.entries, number), record_of(table.entries, i))
            continue
        table.entries[kept] = table.entries[i]
        table.entries[kept].word = word
        set_place(table, place, word, kept)
        kept += 1
    for i in range(kept, count):
        table.entries[i] = table.blank[0]
    table.counters[USED] = kept
