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
from tcptrace_tw.kernels.kinds import Array
from tcptrace_tw.kernels.marks import entry, load

Ints = NDArray[np.int64]

LIMIT = 1 << 18
COARSEST = 62

_KEY_BITS = 62


class Steps:
    """A sorted multiset of (pool, bin of time), with bins as wide as the limit asks for."""

    def __init__(self) -> None:
        self.pools, self.bins, self.counts = (np.zeros(0, np.int64) for _ in range(3))
        self._merge = load(merge_steps, compiled=library.choose())
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
        if self.bins.size > LIMIT:
            self.coarsen(min(self._shift + self._digits_too_many(), COARSEST))
        return self._shift

    def coarsen(self, shift: int) -> None:
        """Widen the bins to ``2 ** shift`` ns."""
        if shift > self._shift and self.bins.size:
            self._keep(self.pools, self.bins >> (shift - self._shift), self.counts)
        self._shift = max(shift, self._shift)

    def _take(self, pools: Ints, bins: Ints) -> None:
        """Sort the new ones, and let them in between the old ones; equal ones become one."""
        pools, bins = _sorted(pools, bins)
        room = _room(self.bins.size + bins.size)
        size = self._merge(self.pools, self.bins, self.counts, pools, bins, *room)
        self.pools, self.bins, self.counts = (column[:size].copy() for column in room)

    def _keep(self, pools: Ints, bins: Ints, counts: Ints) -> None:
        """Of sorted pairs, take equal ones together."""
        firsts = _firsts(pools, bins)
        self.pools, self.bins = pools[firsts], bins[firsts]
        self.counts = np.add.reduceat(counts, firsts)

    def _digits_too_many(self) -> int:
        """How many binary digits the bins must lose until there are few enough of them."""
        is_same = self.pools[1:] == self.pools[:-1]
        needed = np.bincount(_bit_lengths((self.bins[1:] ^ self.bins[:-1])[is_same]), minlength=COARSEST + 1)
        pools = self.pools.size - int(np.count_nonzero(is_same))
        few = pools + needed.sum() - np.cumsum(needed) <= LIMIT  # by how many digits are lost
        return min(int(few.argmax()), COARSEST) if few.any() else COARSEST


_OF_THREAD = threading.local()


def _room(size: int) -> Ints:
    """Three columns to merge into, of the thread and soon used again: fresh ones cost more than the merge."""
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


def order_of(pools: Ints, bins: Ints) -> Ints:
    """The order by pool and bin; of equal pairs the first one stays first."""
    keys = _keys(pools, bins)
    return np.lexsort((bins, pools)) if keys is None else np.argsort(keys[0], kind="stable")


def _sorted(pools: Ints, bins: Ints) -> tuple[Ints, Ints]:
    keys = _keys(pools, bins)
    if keys is None:
        order = np.lexsort((bins, pools))
        return pools[order], bins[order]
    key, base, bits = keys
    key.sort()
    return key >> bits, (key & ((1 << bits) - 1)) + base


def _keys(pools: Ints, bins: Ints) -> tuple[Ints, int, int] | None:
    """Pool and bin in one number, the least bin and the bits that a bin takes; None where they need more bits."""
    if not bins.size:
        return None
    base = int(bins.min())
    bits = (int(bins.max()) - base).bit_length()
    if int(pools.max()).bit_length() + bits > _KEY_BITS:
        return None
    return pools << bits | (bins - base), base, bits


def _firsts(pools: Ints, bins: Ints) -> Ints:
    """Where among sorted pairs another one begins."""
    is_new = np.ones(bins.size, np.bool_)
    np.logical_or(pools[1:] != pools[:-1], bins[1:] != bins[:-1], out=is_new[1:])
    return np.flatnonzero(is_new)


def _bit_lengths(numbers: Ints) -> Ints:
    """``int.bit_length`` of 64 bits without sign; 0 has none."""
    bits = numbers.view(np.uint64)
    _, exponents = np.frexp(bits.astype(np.float64))
    lengths = exponents.astype(np.int64)
    is_rounded_up = (lengths > 0) & (bits >> np.maximum(lengths - 1, 0).astype(np.uint64) == 0)
    return np.where(is_rounded_up, lengths - 1, lengths)
