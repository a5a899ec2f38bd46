"""Counts over time, by key: steps up and down, summed by second; coarser where a capture is too long for that."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.marks import inlined, kernel
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.buckets import (
    KEY_MASK,
    SHIFT,
    USED,
    ask_entry,
    ask_place,
    bucket_table,
    buckets_kind,
    entry_of,
)
from tcptrace_tw.measure.keys import BLOCK, NEAR

NS = 1_000_000_000

MOST_ENTRIES = 1 << 20
"""So many (key, bucket) pairs are kept."""

ENTRY = np.dtype([("word", "i8"), ("active", "i4"), ("waiting", "i4"), ("new", "i4"), ("new_odd", "i4")])
"""What changed for a key in a bucket: connections open, TIME-WAITs, connections begun, and those from an odd port.

A tick is a second.
"""

SERIES_KIND = buckets_kind(ENTRY)

STEP = np.dtype(
    [("key", "i8"), ("second", "i8"), ("active", "i4"), ("waiting", "i4"), ("new", "i4"), ("new_odd", "i4")]
)
"""What changes for a key in a second."""

STEPS_EACH = 4
"""A row brings about so many steps at the most."""

Ints = NDArray[np.int64]


class Series:
    """Sums by key and bucket, for fewer keys than half of ``most`` (a power of two)."""

    def __init__(self, seed: Seed, most: int = MOST_ENTRIES) -> None:
        self.table = bucket_table(ENTRY, most, seed)
        self.steps = zeros(STEPS_EACH * BLOCK, STEP).view(np.recarray)
        """Room for the steps of a block of rows."""
        self.seats = zeros(STEPS_EACH * BLOCK, np.int64)

    def in_order(self, rank: Ints) -> Ints:
        """The entries, ordered by bucket, then by the rank of their keys."""
        words = self.table.entries["word"][: int(self.table.counters[USED])]
        return np.argsort(words & ~KEY_MASK | rank[words & KEY_MASK])

    @property
    def bucket_s(self) -> int:
        """How wide a bucket is."""
        return 1 << int(self.table.counters[SHIFT])


@inlined
def put_step(steps: Any, n: int, key: int, time: int, active: int, waiting: int) -> Any:
    """Put a step at ``time`` (ns) down as the ``n``-th; returns it for the caller to add to."""
    step = steps[n]
    step.key = key
    step.second = time // NS
    step.active = active
    step.waiting = waiting
    step.new = 0
    step.new_odd = 0
    return step


@kernel
def take_steps(series: Any, steps: Any, seats: Any, count: int) -> None:
    """Add the first ``count`` steps; memory is slow, so it is asked for ahead."""
    for i in range(count):
        seats[i] = ask_place(series, steps[i].key, steps[i].second)
    for i in range(count):
        if i + NEAR < count:
            ask_entry(series, seats[i + NEAR])
        step = record_of(steps, i)
        add(entry_of(series, step.key, step.second, add), step)


@kernel
def add(entry: Any, other: Any) -> None:
    """Add a step, or the entry of another bucket of the key."""
    entry.active += other.active
    entry.waiting += other.waiting
    entry.new += other.new
    entry.new_odd += other.new_odd
