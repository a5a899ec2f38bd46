"""How many endpoints were in TIME-WAIT at once: over time, and for each pool of a holder.

A pool is what runs out: the ports of a client towards one server port, or the entries of one server port.
Spans are kept as steps up and down in bins of time, once for all and once by pool. There are at most ``_LIMIT``
bins of each kind: when more are needed they grow to twice their width, so memory is bounded and short captures are
exact to a millisecond.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.summary.grouping import Groups
from tcptrace_tw.report.words.codec import Time
from tcptrace_tw.report.words.text import endpoint_text, ip_text
from tcptrace_tw.schema.words import ORIG, RESP

Ints = NDArray[np.int64]

_LIMIT = 1 << 18
_FINEST = 20  # 2**20 ns
_POOL_SHIFT = 42
_MOST_POOLS = (1 << 20) - 1
_TIME_MASK = (1 << _POOL_SHIFT) - 1
_LATEST = (1 << _POOL_SHIFT + _FINEST) - 1
"""A later time would count for the next pool; a span ends at most some hours after ``frames.TIME_MAX``."""


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


class Occupancy:
    """Takes TIME-WAIT spans in any order; ``curve`` and ``pools`` say how many were open at once."""

    def __init__(self) -> None:
        self.spans = 0
        self._starts, self._ends = _Steps(), _Steps()
        self._all_starts, self._all_ends = _Steps(), _Steps()
        self._pools = Groups(_MOST_POOLS)  # too many to tell apart: the first one takes the rest
        self._pool_spans = np.zeros(0, np.int64)
        self._pool_ns = np.zeros(0, np.float64)
        self._pool_last, self._pool_minus_first = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def add(self, rows: NDArray[Any]) -> None:
        """Take rows of ``time_wait``."""
        if not rows.size:
            return
        self.spans += rows.size
        pool, start, end = self._pool_numbers(rows), *(np.ascontiguousarray(rows[name]) for name in ("start", "end"))
        ended = end != -1
        start, end = np.clip(start, 0, _LATEST), np.clip(end, 0, _LATEST)
        self._grow()
        size = self._pool_spans.size
        self._pool_spans += np.bincount(pool, minlength=size)
        self._pool_ns += np.bincount(pool, np.where(ended, end - start, 0), minlength=size)
        _raise_to(self._pool_last, pool, start)
        _raise_to(self._pool_minus_first, pool, -start)
        pool, over = pool << _POOL_SHIFT, end[ended]
        self._starts.add(pool, start)
        self._ends.add(pool[ended], over)
        self._all_starts.add(0, start)
        self._all_ends.add(0, over)

    def curve(self, until: int | None = None, steps: int = 120) -> Curve:
        """All holders together, in at most ``steps`` steps from the first span to ``until`` or the last end."""
        bins, changes, shift = _merged(self._all_starts, self._all_ends)
        if not bins.size:
            return Curve()
        level = np.cumsum(changes)
        peak = int(level.argmax())
        last = max(int(bins[-1]), (until or 0) >> shift)
        width = max(1, -(-(last - int(bins[0]) + 1) // steps))
        return Curve(
            Time(int(bins[0]) << shift),
            width << shift,
            tuple(_highest((bins - bins[0]) // width, level, (last - int(bins[0])) // width + 1)),
            int(level[peak]),
            Time(int(bins[peak]) << shift),
        )

    def pools(self, most: int = 20) -> list[Pool]:
        """The pools with the highest peaks, highest first."""
        keys, changes, _ = _merged(self._starts, self._ends)
        if not keys.size:
            return []
        of_pool, level = keys >> _POOL_SHIFT, np.cumsum(changes)
        firsts = np.flatnonzero(np.concatenate(([True], of_pool[1:] != of_pool[:-1])))
        before = np.concatenate(([0], level))[firsts]
        peaks = np.maximum.reduceat(level, firsts) - before
        best = np.lexsort((-self._pool_spans, -peaks))[:most]
        return [self._pool(n, self._pools.rows[n], int(peaks[n])) for n in best.tolist()]

    def _pool(self, number: int, key: tuple[int, ...], peak: int) -> Pool:
        return Pool(
            *_describe(key),
            int(self._pool_spans[number]),
            peak,
            round(float(self._pool_ns[number]) / 1e9, 3),
            Time(-int(self._pool_minus_first[number])),
            Time(int(self._pool_last[number])),
        )

    @property
    def pool_count(self) -> int:
        """How many pools there are."""
        return len(self._pools.rows)

    def _pool_numbers(self, rows: NDArray[Any]) -> Ints:
        """A client's entries pool by the peer's address and port, a server's by its own port."""
        is_client = rows["holder"] == ORIG
        columns = [
            np.ascontiguousarray(rows["ip_hi"]),
            np.ascontiguousarray(rows["ip_lo"]),
            np.where(is_client, rows["peer_ip_hi"], 0),
            np.where(is_client, rows["peer_ip_lo"], 0),
            np.where(is_client, rows["peer_port"], rows["port"]).astype(np.int64),
            np.where(is_client, ORIG, RESP),
        ]
        return self._pools.number(columns)

    def _grow(self) -> None:
        more = len(self._pools.rows) - self._pool_spans.size
        if more:
            self._pool_spans = np.concatenate((self._pool_spans, np.zeros(more, np.int64)))
            self._pool_ns = np.concatenate((self._pool_ns, np.zeros(more)))
            lowest = np.full(more, -np.iinfo(np.int64).max)
            self._pool_last = np.concatenate((self._pool_last, lowest))
            self._pool_minus_first = np.concatenate((self._pool_minus_first, lowest))


class _Steps:
    """A sorted multiset of (pool, bin of time), with bins as wide as the limit asks for."""

    def __init__(self) -> None:
        self.keys, self.counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._shift = _FINEST
        self._waiting: list[Ints] = []
        self._waiting_size = 0

    def add(self, pool: Ints | int, times: Ints) -> None:
        self._waiting.append(pool | times >> self._shift)
        self._waiting_size += times.size
        if self._waiting_size > _LIMIT:
            self.settle()

    def settle(self) -> int:
        """Take in what waits; the result is the shift: bins are ``2 ** shift`` ns wide."""
        if self._waiting:
            new = np.sort(np.concatenate(self._waiting))
            self._waiting, self._waiting_size = [], 0
            keys, counts = _runs(new, np.ones(new.size, np.int64))
            if self.keys.size:
                keys = np.concatenate((self.keys, keys))
                order = np.argsort(keys, kind="stable")
                keys, counts = _runs(keys[order], np.concatenate((self.counts, counts))[order])
            self.keys, self.counts = keys, counts
        if self.keys.size > _LIMIT:
            self.coarsen(self._shift + self._digits_too_many())
        return self._shift

    def _digits_too_many(self) -> int:
        """How many binary digits the bins must lose until there are few enough of them."""
        differ, digits = self.keys[1:] ^ self.keys[:-1], 0
        while np.count_nonzero(differ >> digits) + 1 > _LIMIT:
            digits += 1
        return digits

    def coarsen(self, shift: int) -> None:
        """Widen the bins to ``2 ** shift`` ns."""
        if shift > self._shift and self.keys.size:
            bins = (self.keys & _TIME_MASK) >> (shift - self._shift)
            self.keys, self.counts = _runs(self.keys & ~_TIME_MASK | bins, self.counts)
        self._shift = max(shift, self._shift)


def _raise_to(highest: Ints, numbers: Ints, values: Ints) -> None:
    """Make ``highest`` of these numbers at least so high."""
    above = np.flatnonzero(values > highest[numbers])
    rising = above[np.argsort(values[above])]
    highest[numbers[rising]] = values[rising]  # of several for one number the last one stays


def _merged(starts: _Steps, ends: _Steps) -> tuple[Ints, Ints, int]:
    """All steps by pool and time, up before down in one bin; what each changes; and the bins' width as a shift."""
    shift = max(starts.settle(), ends.settle())
    starts.coarsen(shift)
    ends.coarsen(shift)
    keys = np.concatenate((starts.keys, ends.keys))
    changes = np.concatenate((starts.counts, -ends.counts))
    order = np.argsort(keys, kind="stable")
    return keys[order], changes[order], shift


def _runs(keys: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Equal neighbours as one."""
    if not keys.size:
        return keys, counts
    firsts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[firsts], np.add.reduceat(counts, firsts)


def _highest(step: Ints, level: Ints, steps: int) -> list[int]:
    """The highest level of each step; a step in which nothing moves keeps the level before it."""
    found, current = [], 0
    bounds = np.searchsorted(step, np.arange(steps + 1))
    for number in range(steps):
        at, end = int(bounds[number]), int(bounds[number + 1])
        found.append(max(current, int(level[at:end].max(initial=0))))
        current = int(level[end - 1]) if end > at else current
    return found


def _describe(key: tuple[int, ...]) -> tuple[str, str, str]:
    hi, lo, peer_hi, peer_lo, port, role = key
    if role == ORIG:
        return ip_text(hi, lo), "client", endpoint_text(ip_text(peer_hi, peer_lo), port)
    ip = ip_text(hi, lo)
    return ip, "server", endpoint_text(ip, port)
