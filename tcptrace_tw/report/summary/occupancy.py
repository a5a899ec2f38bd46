"""How many endpoints were in TIME-WAIT at once: over time, and for each pool of a holder.

A pool is what runs out: the ports of a client towards one server port, or the entries of one server port.
Spans are kept as steps up and down at moments of time, once for all and once by pool. There are at most ``LIMIT`` of
each kind (see ``steps``). So memory is bounded, and peaks are exact up to a quarter of a million spans, whatever the
length of the capture; beyond, they are about right.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import in_parts
from tcptrace_tw.report.summary.pools import MOST_ROWS, Pools
from tcptrace_tw.report.summary.steps import Ints, Steps, order_of
from tcptrace_tw.report.words.codec import Time
from tcptrace_tw.report.words.text import endpoint_text, ip_text
from tcptrace_tw.schema.words import ORIG, RESP

Merged = tuple[Ints, Ints, Ints, int]
"""Steps by pool and time: the pools, the bins, what each step changes, and the width of a bin as a shift."""

_EXACT = 10
"""Bins of a microsecond (2**10 ns) are as exact as most captures."""
CURVES = 3
"""The number of pools that have a curve of their own."""


@dataclass
class Pool:
    """One holder of TIME-WAIT entries, and how many there were."""

    ip: str
    role: str
    """``client``: it opened the connections, and ``service`` is the server's; ``server``: ``service`` is its own."""
    service: str
    spans: int = 0
    peak: int = 0
    span_seconds: float = 0.0
    """Sum of the spans whose end was seen."""
    first_start: Time | None = None
    last_start: Time | None = None
    open: tuple[int, ...] = ()
    """Most entries open at once in each step of the curve of all; only of the pools with the highest peaks."""

    @property
    def seconds(self) -> float:
        """From the first span's beginning to the last one's."""
        return (
            0.0 if self.first_start is None or self.last_start is None else (self.last_start - self.first_start) / 1e9
        )


@dataclass
class Curve:
    """Most entries open at once in each step of time."""

    start: Time | None = None
    step_ns: int = 0
    open: tuple[int, ...] = ()
    peak: int = 0
    peak_time: Time | None = None
    is_exact: bool = True
    """False where there were so many spans that only their bins of time are known: the peak is a little too high."""


class Occupancy:
    """Takes TIME-WAIT spans in any order; ``curve`` and ``pools`` say how many were open at once."""

    def __init__(self) -> None:
        self.spans = 0
        self._starts, self._ends = Steps(), Steps()
        self._all_starts, self._all_ends = Steps(), Steps()
        self._pools = Pools()

    def add(self, rows: NDArray[Any]) -> None:
        """Take rows of ``time_wait``."""
        self.spans += rows.size
        for part in in_parts(rows, MOST_ROWS):
            start_pools, starts, end_pools, ends = self._pools.take(part)
            self._starts.add(start_pools, starts)
            self._ends.add(end_pools, ends)
            self._all_starts.add(0, starts)
            self._all_ends.add(0, ends)

    def curve(self, until: int | None = None, steps: int = 120) -> Curve:
        """All holders together, in at most ``steps`` steps from the first span to ``until`` or the last end."""
        _, bins, changes, shift = merged(self._all_starts, self._all_ends)
        if not bins.size:
            return Curve()
        level = np.cumsum(changes)
        peak = int(level.argmax())
        last = max(int(bins[-1]), (until or 0) >> shift)
        width = max(1, -(-(last - int(bins[0]) + 1) // steps))
        since = (bins - bins[0]).astype(np.uint64)  # from the first to the last time that a column can hold: 64 bits
        return Curve(
            Time(int(bins[0]) << shift),
            width << shift,
            tuple(
                highest_of_each((since // np.uint64(width)).astype(np.int64), level, (last - int(bins[0])) // width + 1)
            ),
            int(level[peak]),
            Time(int(bins[peak]) << shift),
            shift <= _EXACT,
        )

    def pools(self, most: int = 20, curve: Curve | None = None) -> list[Pool]:
        """The pools with the highest peaks, highest first; the first ones with levels in the steps of ``curve``."""
        steps = merged(self._starts, self._ends)
        of_pool, _, changes, _ = steps
        if not of_pool.size:
            return []
        level = np.cumsum(changes)
        firsts = np.flatnonzero(np.concatenate(([True], of_pool[1:] != of_pool[:-1])))
        before = np.concatenate(([0], level))[firsts]
        peaks = np.maximum(np.maximum.reduceat(level, firsts) - before, 1)  # a span of no length was there, too
        best = self._best(peaks, most)
        found = [self._pool(n, int(peaks[n])) for n in best]
        if curve is not None and curve.start is not None and curve.open:
            for pool, number in zip(found[:CURVES], best, strict=False):
                pool.open = tuple(levels_of(steps, number, curve.start, curve.step_ns, len(curve.open)))
        return found

    def _best(self, peaks: Ints, most: int) -> list[int]:
        """The pools with the highest peaks, in an order that does not depend on which of them came first."""
        spans, firsts = self._pools.sums.spans, self._pools.sums.first_start
        order = np.lexsort((firsts, -spans, -peaks))[: 4 * most].tolist()
        return sorted(order, key=lambda n: (-peaks[n], -spans[n], firsts[n], self._pools.key(n)))[:most]

    def _pool(self, number: int, peak: int) -> Pool:
        sums = self._pools.sums[number]
        return Pool(
            *describe_pool(self._pools.key(number)),
            int(sums.spans),
            peak,
            round(float(sums.ns) / 1e9, 3),
            Time(int(sums.first_start)),
            Time(int(sums.last_start)),
        )

    @property
    def pool_count(self) -> int:
        """How many pools there are."""
        return len(self._pools)

    @property
    def restarts(self) -> int:
        """How often 2MSL began again."""
        return self._pools.restarts

    @property
    def reasons(self) -> Ints:
        """How many spans ended for which reason, by its code."""
        return self._pools.reasons


def pool_columns(rows: NDArray[Any]) -> list[Ints]:
    """The pool of each row of ``time_wait``: a client's by the peer's address and port, a server's by its own port."""
    is_client = rows["holder"] == ORIG
    return [
        np.ascontiguousarray(rows["ip_hi"]),
        np.ascontiguousarray(rows["ip_lo"]),
        np.where(is_client, rows["peer_ip_hi"], 0),
        np.where(is_client, rows["peer_ip_lo"], 0),
        np.where(is_client, rows["peer_port"], rows["port"]).astype(np.int64),
        np.where(is_client, ORIG, RESP),
    ]


def levels_of(steps: Merged, number: int, begin: int, width: int, count: int) -> list[int]:
    """The most that one pool had open in each of ``count`` steps of ``width`` ns from ``begin`` on."""
    of_pool, bins, changes, shift = steps
    first, last = int(np.searchsorted(of_pool, number)), int(np.searchsorted(of_pool, number, "right"))
    since = np.clip(((bins[first:last] << shift) - begin) // width, 0, count - 1)
    return highest_of_each(since, np.cumsum(changes[first:last]), count)


def merged(starts: Steps, ends: Steps) -> Merged:
    """All steps by pool and time, what each changes, and the bins' width as a shift.

    Of one moment the ends come first: a port is taken again when it is free. In wide bins nobody knows the order.
    """
    shift = max(starts.settle(), ends.settle())
    starts.coarsen(shift)
    ends.coarsen(shift)
    first, second = (ends, starts) if shift <= _EXACT else (starts, ends)
    pools, bins = (np.concatenate((getattr(first, name), getattr(second, name))) for name in ("pools", "bins"))
    sign = -1 if first is ends else 1
    changes = np.concatenate((sign * first.counts, -sign * second.counts))
    order = order_of(pools, bins)
    return pools[order], bins[order], changes[order], shift


def highest_of_each(step: Ints, level: Ints, steps: int) -> list[int]:
    """The highest level of each step; a step in which nothing moves keeps the level before it."""
    found, current = [], 0
    bounds = np.searchsorted(step, np.arange(steps + 1))
    for number in range(steps):
        at, end = int(bounds[number]), int(bounds[number + 1])
        found.append(max(current, int(level[at:end].max(initial=0))))
        current = int(level[end - 1]) if end > at else current
    return found


def describe_pool(key: tuple[int, ...]) -> tuple[str, str, str]:
    """Address, role and service of a pool."""
    hi, lo, peer_hi, peer_lo, port, role = key
    if role == ORIG:
        return ip_text(hi, lo), "client", endpoint_text(ip_text(peer_hi, peer_lo), port)
    ip = ip_text(hi, lo)
    return ip, "server", endpoint_text(ip, port)
