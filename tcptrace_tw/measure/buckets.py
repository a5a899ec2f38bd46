"""Sums by key and bucket of time, in a table that never grows: where there are too many, buckets become twice as wide.

What an entry holds, and how two of them are added, is their owner's business: ``fold(entry, later)`` is a kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.jit import inlined, kernel
from tcptrace_tw.measure.keys import prefetch

KEY_BITS = 20
KEY_MASK = (1 << KEY_BITS) - 1

USED, SHIFT, WIDTH = range(3)

NEIGHBOURS = 16
"""Neighbours among the keys are neighbours in the index: one cache line of it serves so many of them."""

Ints = NDArray[np.int64]


class BucketTable(NamedTuple):
    """``entries`` in the order in which they came; ``index``: open addressing, entry + 1 or 0.

    Each entry begins with ``word``, which is ``bucket << KEY_BITS | key``; a bucket is ``2 ** regs[SHIFT]`` ticks of
    the owner's clock. ``blank``: one entry of zeros. ``lines``: the entries as words, ``regs[WIDTH]`` each.
    """

    index: NDArray[np.int32]  # type: ignore[assignment]
    entries: Any
    blank: Any
    lines: Ints
    regs: Ints


def bucket_table(entry: np.dtype[Any], most: int) -> BucketTable:
    """A table with room for ``most`` entries, a power of two; its pages are only used when written."""
    entries = np.zeros(most, entry)
    records, blank = entries.view(np.recarray), np.zeros(1, entry).view(np.recarray)
    regs = np.array([0, 0, entry.itemsize // 8])
    return BucketTable(np.zeros(2 * most, np.int32), records, blank, entries.view(np.int64), regs)


@inlined
def word_of(table, key, tick):  # type: ignore[no-untyped-def]
    """What an entry is found by."""
    return tick >> table.regs[SHIFT] << KEY_BITS | key


@inlined
def home_of(table, word):  # type: ignore[no-untyped-def]
    """The place of the index where a word belongs."""
    block = word >> 4
    h = ((block & 0xFFFFFFFF) * 0x2C9277B5 + (block >> 32) * 0x5F356495) & 0x7FFFFFFFFFFFFFF
    return ((h ^ (h >> 29)) << 4 | ((word ^ (word >> KEY_BITS)) & (NEIGHBOURS - 1))) & (table.index.size - 1)


@inlined
def place_of(table, word):  # type: ignore[no-untyped-def]
    """The place of a word in the index: where it is, or the free one where it belongs."""
    mask = table.index.size - 1
    place = home_of(table, word)
    while True:
        number = np.int64(table.index[place]) - 1
        if number < 0 or table.entries[number].word == word:
            return place
        place = (place + NEIGHBOURS + 1) & mask  # an odd step comes to every place


@inlined
def ask_place(table, key, tick):  # type: ignore[no-untyped-def]
    """Soon the entry of a key will be asked for; returns the place for ``ask_entry``."""
    place = home_of(table, word_of(table, key, tick))
    prefetch(table.index, place)
    return place


@inlined
def ask_entry(table, place):  # type: ignore[no-untyped-def]
    """Very soon the entry will be asked for that is likely to lie at a place of the index."""
    width = table.regs[WIDTH]
    line = max(np.int64(table.index[place]) - 1, np.int64(0)) * width
    prefetch(table.lines, line)
    prefetch(table.lines, line + width - 1)


@inlined
def entry_of(table, key, tick, fold):  # type: ignore[no-untyped-def]
    """The entry of a key at ``tick``, for the caller to change; a new one is all zeros."""
    number = np.int64(table.index[place_of(table, word_of(table, key, tick))]) - 1
    if number < 0:
        number = add_entry(table, key, tick, fold)
    return table.entries[number]


@kernel
def add_entry(table, key, tick, fold):  # type: ignore[no-untyped-def]
    """The number of an entry for a key at ``tick`` that has none, made where there is none in wider buckets either."""
    size = table.entries.size
    if table.regs[USED] == size:
        while table.regs[USED] * 4 > size * 3:
            widen(table, fold)
    word = word_of(table, key, tick)
    place = place_of(table, word)
    number = np.int64(table.index[place]) - 1
    if number < 0:
        number = table.regs[USED]
        table.regs[USED] = number + 1
        table.index[place] = number + 1
        table.entries[number].word = word
    return number


@kernel
def widen(table, fold):  # type: ignore[no-untyped-def]
    """Make the buckets twice as wide: entries that fall together become one, at the place of the first of them."""
    count, kept = table.regs[USED], np.int64(0)
    table.regs[SHIFT] += 1
    for i in range(table.index.size):
        table.index[i] = 0
    for i in range(count):
        old = table.entries[i].word
        word = (old >> (KEY_BITS + 1) << KEY_BITS) | (old & KEY_MASK)
        place = place_of(table, word)
        number = np.int64(table.index[place]) - 1
        if number >= 0:
            fold(table.entries[number], table.entries[i])
            continue
        table.entries[kept] = table.entries[i]
        table.entries[kept].word = word
        kept += 1
        table.index[place] = kept
    for i in range(kept, count):
        table.entries[i] = table.blank[0]
    table.regs[USED] = kept
