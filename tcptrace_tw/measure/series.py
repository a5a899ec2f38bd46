"""Counts over time, by key: steps up and down, summed by second; coarser where a capture is too long for that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NS = 1_000_000_000

MOST_ENTRIES = 1 << 20
"""So many (key, bucket) pairs are kept; with more, buckets become twice as wide."""

ROOM = 1 << 18
"""So many steps are collected before they are summed."""

Ints = NDArray[np.int64]


class Series:
    """Sums of ``width`` columns by key and bucket."""

    def __init__(self, width: int) -> None:
        self.bucket_s = 1
        self._width = width
        self._start: int | None = None
        self._loose: list[tuple[Ints, Ints, NDArray[np.int64]]] = []
        self._size = 0

    def add(self, key: Ints, time: Ints, *steps: NDArray[np.int64] | int) -> None:
        """Add ``steps`` at ``time`` (ns) to each key; keys below 0 are left out."""
        keep = key >= 0
        if not keep.any():
            return
        if self._start is None:
            self._start = int(time.min()) // NS
        bucket = (time[keep] // NS - self._start) // self.bucket_s
        table = np.empty((bucket.size, self._width), np.int64)
        for i, step in enumerate(steps):
            table[:, i] = step if isinstance(step, int) else step[keep]
        self._loose.append((key[keep], bucket, table))
        self._size += bucket.size
        if self._size > ROOM and self._size > 2 * self._summed:
            self._sum()

    _summed = 0

    def _sum(self) -> None:
        while True:
            key, bucket, table = self.entries()
            if key.size <= MOST_ENTRIES:
                break
            self._loose = [(key, bucket >> 1, table)]
            self.bucket_s *= 2
        self._loose = [(key, bucket, table)]
        self._size = self._summed = key.size

    def entries(self) -> tuple[Ints, Ints, NDArray[np.int64]]:
        """Keys, buckets and sums, ordered by key, then bucket."""
        if not self._loose:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, self._width), np.int64)
        key, bucket, table = (np.concatenate(parts) for parts in zip(*self._loose, strict=True))
        order = np.lexsort((bucket, key))
        key, bucket, table = key[order], bucket[order], table[order]
        first = np.flatnonzero(np.concatenate(([True], (key[1:] != key[:-1]) | (bucket[1:] != bucket[:-1]))))
        return key[first], bucket[first], np.add.reduceat(table, first, axis=0)

    def time(self, bucket: Ints) -> Ints:
        """The start of each bucket, in ns."""
        return (bucket * self.bucket_s + (self._start or 0)) * NS


def running(key: Ints, table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cumulated sums that begin anew with each key."""
    total = np.cumsum(table, axis=0)
    first = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    before = np.zeros((first.size, table.shape[1]), np.int64)
    before[1:] = total[first[1:] - 1]
    lengths = np.diff(np.append(first, key.size))
    result: NDArray[np.int64] = total - np.repeat(before, lengths, axis=0)
    return result
