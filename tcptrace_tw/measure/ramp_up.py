"""From steps to levels: how many connections and TIME-WAITs each source and each address had, second by second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.kernels.marks import entry, kernel, load
from tcptrace_tw.kernels.wide_records import Row, Rows
from tcptrace_tw.measure.buckets import KEY_BITS, KEY_MASK, SHIFT
from tcptrace_tw.measure.keys import NEAR, Keys
from tcptrace_tw.measure.series import NS, SERIES_KIND, Series
from tcptrace_tw.schema.columns import CENSUS, Table
from tcptrace_tw.schema.segments import prefetch

CHUNK = 1 << 16

Ints = NDArray[np.int64]

LEVEL = np.dtype(
    [("bucket", "i8"), ("active", "i4"), ("waiting", "i4"), ("odd", "i4"), ("before_odd", "i4"), ("most", "i4")],
    align=True,
)
"""Where a source or an address stands. ``most``: the highest level so far, in ``bucket``; -1 before the first.

``odd``: connections from odd ports; ``before_odd``: from even ones, as long as no odd one has come.
"""

FILLING = np.dtype(
    [("begin", "i8"), ("first_full", "i8"), ("last_full", "i8"), ("active", "i8"), ("waiting", "i8"),
     ("opened", "i8"), ("opened_filling", "i8"), ("opened_full", "i8")]
)  # fmt: skip
"""How fast a source opened connections until its ports were in use, and how fast from then on; times in buckets.

``begin``: its first bucket; -1 before. ``first_full`` and ``last_full``: those in which nearly as many ports as ever
were in use at the end; -1 before. ``active``, ``waiting``, ``opened``: where it stands.
"""


class Levels:
    """One sweep over a series in the order of time."""

    def __init__(self, series: Series, keys: Keys, rank: Ints, spans: NDArray[np.int32], *, compiled: bool) -> None:
        """``rank``: the order of the keys; ``spans``: their TIME-WAIT spans, without which they are no holders."""
        self._series, self._keys, self._spans = series, keys, spans
        self._order = series.in_order(rank)
        self._sweep = load(sweep, compiled=compiled)
        self._fill = load(fill, compiled=compiled)
        self.holders = Keys(keys.most, compiled=compiled, seed=keys.table.seed)
        self.holder_of = self.holders.number(keys.column(0), keys.column(1))
        self.of_source = _levels(len(keys))
        self.of_holder = _levels(len(self.holders))

    def seconds(self, *, written: bool) -> Iterator[tuple[Table, NDArray[Any]]]:
        """Make the sweep; gives the rows of ``census``, if they are wanted, as it goes on."""
        order, at = self._order, 0
        while at < order.size:
            rows = zeros(CHUNK + len(self._keys) if written else 0, CENSUS.dtype).view(np.recarray)
            at, count = self._sweep(
                self._series.table, order, at, self._keys.table.parts, self._spans,
                self.holder_of, self.of_source, self.of_holder, rows,
            )  # fmt: skip
            if count:
                yield CENSUS, rows[:count]

    def fillings(self) -> Any:
        """After the sweep: one ``FILLING`` for each source."""
        fillings = zeros(len(self._keys), FILLING).view(np.recarray)
        fillings.begin = fillings.first_full = fillings.last_full = -1
        self._fill(self._series.table, self._order, self.of_source, fillings)
        return fillings

    def duration(self, buckets: Ints) -> Ints:
        """How long so many buckets are, in ns."""
        return buckets * (self._series.bucket_s * NS)

    def time(self, bucket: Ints) -> Ints:
        """The start of each bucket, in ns."""
        return bucket * (self._series.bucket_s * NS)


def _levels(count: int) -> Any:
    levels = zeros(count, LEVEL).view(np.recarray)
    levels.most = -1
    return levels


@entry(
    SERIES_KIND, Array(np.int64), INTEGER, Array(np.int64, ndim=2), Array(np.int32, layout="A"), Array(np.int64),
    Array(LEVEL), Array(LEVEL), Array(CENSUS.dtype),
)  # fmt: skip
def sweep(
    series: Any, order: Any, at: int, parts: Any, spans: Any, holder_of: Any, of_source: Any, of_holder: Any, rows: Rows
) -> tuple[int, int]:
    """Go on at ``order[at]`` until the rows are nearly full; returns where it stopped, and how many rows there are.

    A bucket is taken as a whole: only at its end is the level of an address known, which may have many sources.
    """
    count = 0
    while at < order.size and (rows.size == 0 or count + of_source.size <= rows.size):
        bucket = record_of(series.entries, order[at]).word >> KEY_BITS
        end = at
        while end < order.size and record_of(series.entries, order[end]).word >> KEY_BITS == bucket:
            prefetch(series.entries, order[min(end + NEAR, order.size - 1)])
            entry = record_of(series.entries, order[end])
            key = entry.word & KEY_MASK
            level = record_of(of_source, key)
            take_steps(level, entry)
            if spans[key] > 0:
                record_of(of_holder, holder_of[key]).waiting += entry.waiting
                if rows.size:
                    write_second(rows[count], parts, key, level, entry.new)
                    rows[count].time = (bucket << series.counters[SHIFT]) * NS
                    count += 1
            note_peak(level, ports_used(level), bucket)
            end += 1
        for i in range(at, end):
            holder = record_of(of_holder, holder_of[record_of(series.entries, order[i]).word & KEY_MASK])
            note_peak(holder, holder.waiting, bucket)
        at = end
    return at, count


@kernel
def take_steps(level: Any, entry: Any) -> None:
    """What one source did in one bucket."""
    level.active += entry.active
    level.waiting += entry.waiting
    level.odd += entry.new_odd
    if level.odd == 0:
        level.before_odd += entry.new


@entry(SERIES_KIND, Array(np.int64), Array(LEVEL), Array(FILLING))
def fill(series: Any, order: Any, of_source: Any, fillings: Any) -> None:
    """Count what each source opened before 19 of 20 ports of its peak were in use, and from then on while they were.

    The time from the first such bucket to the last is taken as a whole: a port that is free for a moment between two
    connections does not interrupt it.
    """
    for at in range(order.size):
        prefetch(series.entries, order[min(at + NEAR, order.size - 1)])
        entry = record_of(series.entries, order[at])
        key, bucket = entry.word & KEY_MASK, entry.word >> KEY_BITS
        filling = record_of(fillings, key)
        if filling.begin < 0:
            filling.begin = bucket
        filling.active += entry.active
        filling.waiting += entry.waiting
        filling.opened += entry.new
        if ports_used(filling) * 20 >= record_of(of_source, key).most * 19:
            if filling.first_full < 0:
                filling.first_full = bucket
                filling.opened_filling = filling.opened
            filling.last_full = bucket
            filling.opened_full = filling.opened - filling.opened_filling


@kernel
def ports_used(level: Any) -> int:
    """Ports that a source has in use: below nothing no count can fall, though a capture may lack the beginning."""
    return max(level.active, 0) + max(level.waiting, 0)


@kernel
def note_peak(level: Any, height: int, bucket: int) -> None:
    """The first bucket of the highest level."""
    if height > level.most:
        level.most = height
        level.bucket = bucket


@kernel
def write_second(row: Row, parts: Any, key: int, level: Any, new: int) -> None:
    """One row of ``census``, without its time."""
    row.ip_hi = parts[key, 0]
    row.ip_lo = parts[key, 1]
    row.peer_ip_hi = parts[key, 2]
    row.peer_ip_lo = parts[key, 3]
    row.peer_port = parts[key, 4]
    row.time_wait = max(level.waiting, 0)
    row.active = max(level.active, 0)
    row.new = new
