"""How often something happened at which moment, for each pool, in bounded memory.

There are at most ``LIMIT`` pairs of a pool and a moment. When more are needed the moments become bins, which grow to
twice their width. Pairs are sorted as one number each, which is several times as fast as sorting by two columns.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels import library
from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.kernels.marks import entry, kernel, load

Ints = NDArray[np.int64]

LIMIT = 1 << 18
COARSEST = 62

_KEY_BITS = 62

_DIGITS = 64
"""Of a bin."""


class Steps:
    """A sorted multiset of (pool, bin of time), with bins as wide as the limit asks for."""

    def __init__(self) -> None:
        self._kept = zeros((3, LIMIT), np.int64)
        self.pools, self.bins, self.counts = self._kept[:, :0]
        compiled = library.choose()
        self._merge = load(merge_steps, compiled=compiled)
        self._coarsen = load(coarsen_steps, compiled=compiled)
        self._count_digits = load(count_digits, compiled=compiled)
        self._shift = 0
        self._new = zeros((2, LIMIT), np.int64)
        """Pools and bins of the steps that are not counted yet."""
        self._waiting = 0

    def add(self, pools: Ints | int, times: Ints) -> None:
        """Take one step of each pool, or of one, at each time."""
        done = 0
        while done < times.size:
            begin, count = self._waiting, min(times.size - done, self._new.shape[1] - self._waiting)
            self._new[0, begin : begin + count] = pools if isinstance(pools, int) else pools[done : done + count]
            np.right_shift(times[done : done + count], self._shift, out=self._new[1, begin : begin + count])
            self._waiting += count
            done += count
            if self._waiting == self._new.shape[1]:
                self.settle()

    def settle(self) -> int:
        """Take in what waits; the result is the shift: bins are ``2 ** shift`` ns wide."""
        if self._waiting:
            pools, bins = self._new[:, : self._waiting]
            self._waiting = 0
            self._take(pools, bins)
        return self._shift

    def coarsen(self, shift: int) -> None:
        """Widen the bins to ``2 ** shift`` ns."""
        if shift > self._shift and self.bins.size:
            size = self._coarsen(self.pools, self.bins, self.counts, shift - self._shift)
            self.pools, self.bins, self.counts = self.pools[:size], self.bins[:size], self.counts[:size]
        self._shift = max(shift, self._shift)

    def _take(self, pools: Ints, bins: Ints) -> None:
        """Sort the new ones, and let them in between the old ones; equal ones become one."""
        _sort(pools, bins)
        room = _room(self.bins.size + bins.size)
        size = self._merge(self.pools, self.bins, self.counts, pools, bins, *room)
        pools, bins, counts = room[:, :size]
        if size > LIMIT:
            lost = min(self._digits_too_many(pools, bins), COARSEST - self._shift)
            size = self._coarsen(pools, bins, counts, lost)
            self._shift += lost
        self._keep(room[:, :size])

    def _keep(self, rows: Ints) -> None:
        """Let these be the steps; their room is used again, for fresh pages cost more than the merge."""
        size = rows.shape[1]
        if size > self._kept.shape[1]:
            self._kept = zeros((3, size), np.int64)
        self._kept[:, :size] = rows
        self.pools, self.bins, self.counts = self._kept[:, :size]

    def _digits_too_many(self, pools: Ints, bins: Ints) -> int:
        """How many binary digits the bins of sorted pairs must lose until there are few enough of them."""
        needed = np.zeros(_DIGITS + 1, np.int64)
        begun = self._count_digits(pools, bins, needed)
        few = begun + needed.sum() - np.cumsum(needed) <= LIMIT  # by how many digits are lost
        return int(few.argmax()) if few.any() else COARSEST


_OF_THREAD = threading.local()


def _room(size: int) -> Ints:
    """Three columns to merge into, of the thread and soon used again."""
    room: Ints | None = getattr(_OF_THREAD, "room", None)
    if room is None or room.shape[1] < size:
        room = _OF_THREAD.room = np.zeros((3, size), np.int64)
    return room[:, :size]


_COLUMN = Array(np.int64)


@entry(_COLUMN, _COLUMN, _COLUMN, _COLUMN, _COLUMN, _COLUMN, _COLUMN, _COLUMN)
def merge_steps(
    pools: Any, bins: Any, counts: Any, more_pools: Any, more_bins: Any, out_pools: Any, out_bins: Any, out_counts: Any
) -> int:
    """Merge sorted pairs with sorted single steps, some of them equal; returns how many pairs there are then.

    There is room for as many as both have together.
    """
    old, new, size = 0, 0, 0
    while old < bins.size or new < more_bins.size:
        is_old = new == more_bins.size or (
            old < bins.size
            and (pools[old] < more_pools[new] or (pools[old] == more_pools[new] and bins[old] <= more_bins[new]))
        )
        pool = pools[old] if is_old else more_pools[new]
        at = bins[old] if is_old else more_bins[new]
        if size == 0 or out_pools[size - 1] != pool or out_bins[size - 1] != at:
            out_pools[size] = pool
            out_bins[size] = at
            out_counts[size] = 0
            size += 1
        if is_old:
            out_counts[size - 1] += counts[old]
            old += 1
        else:
            out_counts[size - 1] += 1
            new += 1
    return size


@entry(_COLUMN, _COLUMN, _COLUMN)
def count_digits(pools: Any, bins: Any, needed: Any) -> int:
    """Count of sorted pairs how many binary digits each must lose to be the one before it; returns how many pools.

    Pairs that begin a pool are not in ``needed``, which has ``_DIGITS + 1`` places.
    """
    begun = 0
    for i in range(bins.size):
        if i == 0 or pools[i] != pools[i - 1]:
            begun += 1
        else:
            needed[bit_length(bins[i] ^ bins[i - 1])] += 1
    return begun


@kernel
def bit_length(number: int) -> int:
    """``int.bit_length`` of 64 bits without sign; 0 has none."""
    if number < 0:
        return _DIGITS
    length = 0
    for step in (32, 16, 8, 4, 2, 1):
        if number >> step != 0:
            number >>= step
            length += step
    return length + number


@entry(_COLUMN, _COLUMN, _COLUMN, INTEGER)
def coarsen_steps(pools: Any, bins: Any, counts: Any, digits: int) -> int:
    """Let the bins of sorted pairs lose binary digits, in place; returns how many pairs there are then."""
    size = 0
    for i in range(bins.size):
        pool, at, count = pools[i], bins[i] >> digits, counts[i]
        if size > 0 and pools[size - 1] == pool and bins[size - 1] == at:
            counts[size - 1] += count
            continue
        pools[size] = pool
        bins[size] = at
        counts[size] = count
        size += 1
    return size


def order_of(pools: Ints, bins: Ints) -> Ints:
    """The order by pool and bin; of equal pairs the first one stays first."""
    fit = _key_bits(pools, bins)
    if fit is None:
        return np.lexsort((bins, pools))
    keys = bins.copy()
    _join(pools.copy(), keys, *fit)
    return np.argsort(keys, kind="stable")


def _sort(pools: Ints, bins: Ints) -> None:
    """Sort pairs by pool and bin, in place."""
    fit = _key_bits(pools, bins)
    if fit is None:
        order = np.lexsort((bins, pools))
        pools[:], bins[:] = pools[order], bins[order]
        return
    base, bits = fit
    _join(pools, bins, base, bits)
    bins.sort()
    np.right_shift(bins, bits, out=pools)
    bins &= (1 << bits) - 1
    bins += base


def _join(pools: Ints, bins: Ints, base: int, bits: int) -> None:
    """Let each bin be one number with its pool; the pools are spoilt."""
    pools <<= bits
    bins -= base
    bins |= pools


def _key_bits(pools: Ints, bins: Ints) -> tuple[int, int] | None:
    """The least bin, and the bits that a bin takes above it; None where a pool and a bin need more than one number."""
    if not bins.size:
        return None
    base = int(bins.min())
    bits = (int(bins.max()) - base).bit_length()
    return None if int(pools.max()).bit_length() + bits > _KEY_BITS else (base, bits)
