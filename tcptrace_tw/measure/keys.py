"""Numbers for keys: what a tally is kept by.

A key is five words: two addresses (each high and low) and a port; what a tally does not tell apart is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.kinds import INTEGER, Array, bundle
from tcptrace_tw.kernels.marks import entry, inlined, load
from tcptrace_tw.kernels.wide_records import Row
from tcptrace_tw.keyed_hash import Seed, hashed, weighed
from tcptrace_tw.schema.segments import prefetch

WORDS = 5

NUMBER_BITS = 21
"""Bits of an entry of an index; the others are taken from the hash, so that a stranger is told without a look at it."""

NUMBER_MASK = (1 << NUMBER_BITS) - 1
MARK_SHIFT = NUMBER_BITS

BLOCK = 512
"""Rows are taken in so many at a time: they stay in the cache from one step to the next."""

NEAR = 12
"""How many keys ahead something is asked for."""

Ints = NDArray[np.int64]


class KeyTable(NamedTuple):
    """``index``: open addressing, 0 or number + 1 and bits of the hash above. ``parts``: the keys by number.

    ``used``: how many there are, and how often there was no room for another one.
    """

    index: NDArray[np.int32]  # type: ignore[assignment]
    parts: NDArray[np.int64]
    used: NDArray[np.int64]
    seed: Seed


KEYS_KIND = bundle(
    KeyTable, index=Array(np.int32), parts=Array(np.int64, ndim=2), used=Array(np.int64), seed=Array(np.int64)
)  # fmt: skip


class Wanted(NamedTuple):
    """Room for the keys of a block, at most two of a row; ``row``: where each comes from, as the kernel likes it."""

    parts: NDArray[np.int64]
    hashes: NDArray[np.int64]
    numbers: NDArray[np.int64]
    row: NDArray[np.int64]


WANTED_KIND = bundle(
    Wanted, parts=Array(np.int64, ndim=2), hashes=Array(np.int64), numbers=Array(np.int64), row=Array(np.int64)
)  # fmt: skip


def wanted(most: int = 2 * BLOCK) -> Wanted:
    """Room for ``most`` keys."""
    return Wanted(zeros((most, WORDS), np.int64), *(zeros(most, np.int64) for _ in range(3)))


@inlined
def hash_of(seed: Any, hi: int, lo: int, peer_hi: int, peer_lo: int, port: int) -> int:
    """The hash of a key."""
    total = int(seed[0]) + weighed(seed, 1, port) + weighed(seed, 3, lo) + weighed(seed, 5, peer_lo)
    if (hi | peer_hi) != 0:
        total += weighed(seed, 7, hi) + weighed(seed, 9, peer_hi)
    return hashed(seed, total)


@inlined
def number_at(keys: Any, h: int, hi: int, lo: int, peer_hi: int, peer_lo: int, port: int) -> Any:
    """The number of a key with the hash ``h``: its own, the next one if it is new, or -1 if there is no room for it."""
    parts, mask, mark = keys.parts, keys.index.size - 1, h >> MARK_SHIFT
    place = h & mask
    while True:
        entry = np.int64(keys.index[place])
        if entry == 0:
            break
        if entry >> NUMBER_BITS == mark:
            number = (entry & NUMBER_MASK) - 1
            is_near = parts[number, 1] == lo and parts[number, 3] == peer_lo and parts[number, 4] == port
            if is_near and parts[number, 0] == hi and parts[number, 2] == peer_hi:
                return number
        place = (place + 1) & mask
    number = keys.used[0]
    if number == parts.shape[0]:
        keys.used[1] += 1
        return -1
    keys.used[0] = number + 1
    keys.index[place] = mark << NUMBER_BITS | (number + 1)
    parts[number, 0] = hi
    parts[number, 1] = lo
    parts[number, 2] = peer_hi
    parts[number, 3] = peer_lo
    parts[number, 4] = port
    return number


@inlined
def number_of(keys: Any, hi: int, lo: int, peer_hi: int, peer_lo: int, port: int) -> Any:
    """The number of a key; see ``number_at``."""
    return number_at(keys, hash_of(keys.seed, hi, lo, peer_hi, peer_lo, port), hi, lo, peer_hi, peer_lo, port)


@inlined
def want(keys: Any, n: int, row: Row, hi: int, lo: int, peer_hi: int, peer_lo: int, port: int) -> None:
    """Put a key down as the ``n``-th that is wanted."""
    keys.row[n] = row
    keys.parts[n, 0] = hi
    keys.parts[n, 1] = lo
    keys.parts[n, 2] = peer_hi
    keys.parts[n, 3] = peer_lo
    keys.parts[n, 4] = port


@entry(KEYS_KIND, WANTED_KIND, INTEGER)
def number_keys(keys: Any, wanted: Any, count: int) -> None:
    """Number the first ``count`` keys that are wanted; memory is slow, so it is asked for ahead."""
    mask, parts = keys.index.size - 1, wanted.parts
    for i in range(count):
        h = hash_of(keys.seed, parts[i, 0], parts[i, 1], parts[i, 2], parts[i, 3], parts[i, 4])
        wanted.hashes[i] = h
        prefetch(keys.index, h & mask)
    for i in range(count):
        if i + NEAR < count:
            number = (np.int64(keys.index[wanted.hashes[i + NEAR] & mask]) & NUMBER_MASK) - 1
            prefetch(keys.parts, max(number, np.int64(0)) * WORDS)
        wanted.numbers[i] = number_at(
            keys, wanted.hashes[i], parts[i, 0], parts[i, 1], parts[i, 2], parts[i, 3], parts[i, 4]
        )


class Keys:
    """Gives every distinct key a number, from 0, as long as there are fewer than ``most`` (a power of two)."""

    def __init__(self, most: int, *, compiled: bool, seed: Seed) -> None:
        self.most = most
        self._number_keys = load(number_keys, compiled=compiled)
        self.table = KeyTable(zeros(2 * most, np.int32), zeros((most, WORDS), np.int64), zeros(2, np.int64), seed)
        """What kernels take; the pages of its arrays are only used when written."""

    def __len__(self) -> int:
        return int(self.table.used[0])

    @property
    def refused(self) -> int:
        """How often there was no room for a key."""
        return int(self.table.used[1])

    def number(self, *columns: NDArray[Any]) -> Ints:
        """The numbers of the keys in the rows of at most five ``columns``; -1 where there is no room."""
        keys = wanted(columns[0].size)
        for word, column in enumerate(columns):
            keys.parts[:, word] = column
        self._number_keys(self.table, keys, columns[0].size)
        return keys.numbers

    def column(self, word: int) -> Ints:
        """A word of all keys, in the order of their numbers."""
        return self.table.parts[: len(self), word]
