"""Counts over time, by key: steps up and down, summed by second; coarser where a capture is too long for that."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.jit import inlined, kernel

NS = 1_000_000_000

MOST_ENTRIES = 1 << 20
"""So many (key, bucket) pairs are kept; with more, buckets become twice as wide."""

KEY_BITS = 20
KEY_MASK = (1 << KEY_BITS) - 1

USED, SHIFT = range(2)

ENTRY = np.dtype([("word", "i8"), ("active", "i4"), ("waiting", "i4"), ("new", "i4"), ("new_odd", "i4")])
"""What changed for a key in a bucket: connections open, TIME-WAITs, connections begun, and those from an odd port.

``word`` is ``bucket << KEY_BITS | key``; a bucket is ``2 ** regs[SHIFT]`` seconds.
"""

BLOCK = 16
"""Neighbours among the keys are neighbours in the index: one cache line of it serves so many of them."""

Ints = NDArray[np.int64]


class SeriesTable(NamedTuple):
    """``entries`` in the order in which they came; ``index``: open addressing, entry + 1 or 0."""

    index: NDArray[np.int32]  # type: ignore[assignment]
    entries: Any
    regs: Ints


@inlined
def place_of(series: Any, word: Any) -> Any:
    """The place of a word in the index: where it is, or the free one where it belongs."""
    mask = series.index.size - 1
    block = word >> 4
    h = ((block & 0xFFFFFFFF) * 0x2C9277B5 + (block >> 32) * 0x5F356495) & 0x7FFFFFFFFFFFFFF
    place = ((h ^ (h >> 29)) << 4 | ((word ^ (word >> KEY_BITS)) & (BLOCK - 1))) & mask
    while True:
        entry = np.int64(series.index[place]) - 1
        if entry < 0 or series.entries[entry].word == word:
            return place
        place = (place + BLOCK + 1) & mask  # an odd step comes to every place


@kernel
def entry_of(series, key, time):  # type: ignore[no-untyped-def]
    """The entry of a key at ``time`` (ns), for the caller to change."""
    while True:
        word = time // NS >> series.regs[SHIFT] << KEY_BITS | key
        place = place_of(series, word)
        entry = np.int64(series.index[place]) - 1
        if entry >= 0:
            return series.entries[entry]
        entry = series.regs[USED]
        if entry < series.entries.size:
            series.regs[USED] = entry + 1
            series.index[place] = entry + 1
            series.entries[entry].word = word
            return series.entries[entry]
        while series.regs[USED] * 4 > series.entries.size * 3:
            widen(series)


@kernel
def widen(series):  # type: ignore[no-untyped-def]
    """Make the buckets twice as wide: entries that fall together become one, the first of them."""
    count = series.regs[USED]
    series.regs[SHIFT] += 1
    for i in range(series.index.size):
        series.index[i] = 0
    kept = np.int64(0)
    for i in range(count):
        old = series.entries[i]
        word = (old.word >> (KEY_BITS + 1) << KEY_BITS) | (old.word & KEY_MASK)
        place = place_of(series, word)
        entry = np.int64(series.index[place]) - 1
        if entry < 0:
            entry, kept = kept, kept + 1
            series.index[place] = entry + 1
        move(series.entries[entry], old, word)
    series.regs[USED] = kept


@kernel
def move(entry, old, word):  # type: ignore[no-untyped-def]
    """Add an entry to one that comes no later, which may be itself, and leave nothing behind."""
    active, waiting, new, new_odd = old.active, old.waiting, old.new, old.new_odd
    old.active = 0
    old.waiting = 0
    old.new = 0
    old.new_odd = 0
    entry.word = word
    entry.active += active
    entry.waiting += waiting
    entry.new += new
    entry.new_odd += new_odd


class Series:
    """Sums by key and bucket, for fewer keys than half of ``most`` (a power of two).

    The pages of its arrays are only used when written.
    """

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        entries = np.zeros(most, ENTRY).view(np.recarray)
        self.table = SeriesTable(np.zeros(2 * most, np.int32), entries, np.zeros(2, np.int64))

    def in_order(self, rank: Ints) -> Ints:
        """The entries, ordered by bucket, then by the rank of their keys."""
        words = self.table.entries["word"][: int(self.table.regs[USED])]
        return np.argsort(words & ~KEY_MASK | rank[words & KEY_MASK])

    @property
    def bucket_s(self) -> int:
        """How wide a bucket is."""
        return 1 << int(self.table.regs[SHIFT])
