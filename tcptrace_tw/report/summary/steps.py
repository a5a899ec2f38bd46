"""How often something happened at which moment, for each pool, in bounded memory.

There are at most ``LIMIT`` pairs of a pool and a moment. When more are needed the moments become bins, which grow to
twice their width. Pairs are sorted as one number each, which is several times as fast as sorting by two columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LIMIT = 1 << 18
COARSEST = 62

_KEY_BITS = 62


class Steps:
    """A sorted multiset of (pool, bin of time), with bins as wide as the limit asks for."""

    def __init__(self) -> None:
        self.pools, self.bins, self.counts = (np.zeros(0, np.int64) for _ in range(3))
        self._shift = 0
        self._waiting: list[tuple[Ints, Ints]] = []
        self._waiting_size = 0

    def add(self, pools: Ints, times: Ints) -> None:
        """Take one step of each pool at each time."""
        self._waiting.append((pools, times >> self._shift))
        self._waiting_size += times.size
        if self._waiting_size > LIMIT:
            self.settle()

    def settle(self) -> int:
        """Take in what waits; the result is the shift: bins are ``2 ** shift`` ns wide."""
        if self._waiting:
            pools, bins = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting, self._waiting_size = [], 0
            if pools.size:
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
        """Sort the new ones, take equal ones together, and let the old ones in between."""
        pools, bins = _sorted(pools, bins)
        firsts = _firsts(pools, bins)
        pools, bins, counts = pools[firsts], bins[firsts], np.diff(firsts, append=pools.size)
        if self.bins.size:
            pools, bins = np.concatenate((self.pools, pools)), np.concatenate((self.bins, bins))
            order = order_of(pools, bins)
            pools, bins, counts = pools[order], bins[order], np.concatenate((self.counts, counts))[order]
        self._keep(pools, bins, counts)

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
