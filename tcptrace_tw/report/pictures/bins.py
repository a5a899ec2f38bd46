"""Counts over time and over durations, in tables that never grow: what a picture needs of a million rows.

Bins of time are powers of ten wide, and become ten times as wide when there are too many. So the bars of a picture,
which are 1, 2 or 5 times a power of ten wide, are whole bins, and no count is split.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NS = 1_000_000_000
MOST_BINS = 8192
NARROWEST_NS = 1_000_000
MOST_BARS = 80

PER_DECADE = 10
DECADES = 10
FIRST_NS = 1_000
"""Durations from 1 us on, ten bins to a decade; shorter ones fall into the first bin, longer ones into the last."""


class Bars(NamedTuple):
    """Counts by bar and category; bar ``n`` begins at ``begin + n * width`` (ns)."""

    begin: int
    width: int
    counts: Ints


class TimeBins:
    """Counts by time and category."""

    def __init__(self, categories: int) -> None:
        self._categories = categories
        self._width = NARROWEST_NS
        self._first = 0
        self._counts: Ints = np.zeros((0, categories), np.int64)

    @property
    def totals(self) -> Ints:
        """All counts by category."""
        totals: Ints = self._counts.sum(axis=0)
        return totals

    def add(self, times: NDArray[Any], categories: NDArray[Any]) -> None:
        """Count each row at its time (ns)."""
        if not times.size:
            return
        first, last = int(times.min()), int(times.max())
        if self._counts.size:
            first = min(first, self._first * self._width)
            last = max(last, (self._first + len(self._counts)) * self._width - 1)
        width = self._width
        while last // width - first // width >= MOST_BINS:
            width *= 10
        self._reach(first // width, last // width, width)
        places = (times // width - self._first) * self._categories + categories
        self._counts += np.bincount(places, minlength=self._counts.size).reshape(self._counts.shape)

    def _reach(self, first: int, last: int, width: int) -> None:
        """Make room from one bin to another, of this width."""
        counts: Ints = np.zeros((last - first + 1, self._categories), np.int64)
        if self._counts.size:
            bins = (np.arange(len(self._counts)) + self._first) * self._width // width - first
            np.add.at(counts, bins, self._counts)
        self._counts, self._first, self._width = counts, first, width

    def bars(self, begin: int, end: int, most: int = MOST_BARS) -> Bars:
        """The counts from ``begin`` to ``end`` (ns) in at most about ``most`` bars of a round width."""
        width = max(self._width, _round_width(max(1, end - begin) // most))
        first, last = begin // width, max(begin, end) // width
        counts: Ints = np.zeros((last - first + 1, self._categories), np.int64)
        bins = (np.arange(len(self._counts)) + self._first) * self._width // width - first
        inside = (bins >= 0) & (bins < len(counts))
        np.add.at(counts, bins[inside], self._counts[inside])
        return Bars(first * width, width, counts)


def _round_width(least: int) -> int:
    """The least of 1, 2, 5, 10 ... that is not below ``least``."""
    power = 1
    while power * 10 <= least:
        power *= 10
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


class DurationBins:
    """Counts by duration, on a logarithmic scale, and category."""

    def __init__(self, categories: int) -> None:
        self.counts: Ints = np.zeros((PER_DECADE * DECADES, categories), np.int64)

    def add(self, durations: NDArray[Any], categories: NDArray[Any]) -> None:
        """Count each duration (ns)."""
        if durations.size:
            places = duration_bin(durations) * self.counts.shape[1] + categories
            self.counts += np.bincount(places, minlength=self.counts.size).reshape(self.counts.shape)

    @property
    def filled(self) -> tuple[int, int]:
        """The first bin that holds something and the one behind the last; (0, 0) where none does."""
        places = np.flatnonzero(self.counts.sum(axis=1))
        return (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)


def duration_bin(durations: NDArray[Any]) -> Ints:
    """The bin of each duration (ns)."""
    places = np.searchsorted(_EDGES_NS, durations, side="right") - 1
    return np.clip(places, 0, PER_DECADE * DECADES - 1)


def edge_s(place: int) -> float:
    """Where a bin of durations begins, in seconds."""
    return FIRST_NS / NS * float(10.0 ** (place / PER_DECADE))


_EDGES_NS: Ints = np.ceil(FIRST_NS * 10.0 ** (np.arange(PER_DECADE * DECADES) / PER_DECADE) - 1e-6).astype(np.int64)
