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

ACTIVE, WAITING, NEW, NEW_ODD = range(4)
"""The columns: connections open, TIME-WAITs, connections begun, and those of them that came from an odd port."""

Ints = NDArray[np.int64]


class SeriesTable(NamedTuple):
    """One entry for each key and bucket in which something changed, in the order in which they came.

    ``words``: ``bucket << KEY_BITS | key``; a bucket is ``2 ** regs[SHIFT]`` seconds. ``steps``: what changed.
    ``index``: open addressing, entry + 1 or 0.
    """

    index: NDArray[np.int32]  # type: ignore[assignment]
    words: Ints
    steps: NDArray[np.int32]
    regs: Ints


@inlined
def place_of(series: Any, word: Any) -> Any:
    """The place of a word in the index: where it is, or the free one where it belongs."""
    mask = series.index.size - 1
    h = ((word & 0xFFFFFFFF) * 0x2C9277B5 + (word >> 32) * 0x5F356495) & 0x7FFFFFFFFFFFFFF
    place = (h ^ (h >> 29)) & mask
    while True:
        entry = np.int64(series.index[place]) - 1
        if entry < 0 or series.words[entry] == word:
            return place
        place = (place + 1) & mask


@kernel
def entry_of(series, key, time):  # type: ignore[no-untyped-def]
    """The entry of a key at ``time`` (ns): its ``steps`` are the caller's to change."""
    while True:
        word = time // NS >> series.regs[SHIFT] << KEY_BITS | key
        place = place_of(series, word)
        entry = np.int64(series.index[place]) - 1
        if entry >= 0:
            return entry
        entry = series.regs[USED]
        if entry < series.words.size:
            series.regs[USED] = entry + 1
            series.index[place] = entry + 1
            series.words[entry] = word
            return entry
        while series.regs[USED] * 4 > series.words.size * 3:
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
        word = (series.words[i] >> (KEY_BITS + 1) << KEY_BITS) | (series.words[i] & KEY_MASK)
        place = place_of(series, word)
        entry = np.int64(series.index[place]) - 1
        if entry < 0:
            entry, kept = kept, kept + 1
            series.index[place] = entry + 1
            series.words[entry] = word
        for column in range(series.steps.shape[1]):
            step = series.steps[i, column]
            series.steps[i, column] = 0
            series.steps[entry, column] += step
    series.regs[USED] = kept


class Series:
    """Sums by key and bucket, for fewer keys than half of ``most`` (a power of two).

    The pages of its arrays are only used when written.
    """

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self.table = SeriesTable(
            np.zeros(2 * most, np.int32), np.zeros(most, np.int64), np.zeros((most, 4), np.int32), np.zeros(2, np.int64)
        )

    def in_order(self, rank: Ints) -> Ints:
        """The entries, ordered by bucket, then by the rank of their keys."""
        words = self.table.words[: int(self.table.regs[USED])]
        return np.argsort(words & ~KEY_MASK | rank[words & KEY_MASK])

    @property
    def bucket_s(self) -> int:
        """How wide a bucket is."""
        return 1 << int(self.table.regs[SHIFT])
