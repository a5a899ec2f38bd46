"""Numbers for keys: what a tally is kept by.

A key is five words: two addresses (each high and low) and a port; what a tally does not tell apart is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.jit import inlined, kernel, load

WORDS = 5

Ints = NDArray[np.int64]


class KeyTable(NamedTuple):
    """``index``: open addressing, number + 1 or 0. ``parts``: the keys by number. ``used``: how many there are."""

    index: NDArray[np.int32]  # type: ignore[assignment]
    parts: NDArray[np.int64]
    used: NDArray[np.int64]


@kernel
def stirred(h: Any, x: Any) -> Any:
    """Stir the 64 bits of ``x`` into the 32-bit hash ``h``; products stay below 2**63 in both modes."""
    h = ((h ^ (x & 0xFFFFFFFF)) * 0x2C9277B5) & 0x7FFFFFFFFFFFFFF
    h = (h ^ (h >> 25)) & 0xFFFFFFFF
    h = ((h ^ ((x >> 32) & 0xFFFFFFFF)) * 0x5F356495) & 0x7FFFFFFFFFFFFFF
    return (h ^ (h >> 29)) & 0xFFFFFFFF


@inlined
def number_of(keys, hi, lo, peer_hi, peer_lo, port):  # type: ignore[no-untyped-def]
    """The number of a key: its own, the next one if it is new, or -1 if there is no room for it."""
    parts, mask = keys.parts, keys.index.size - 1
    place = stirred(stirred(stirred(np.int64(port), lo), peer_lo), hi ^ (peer_hi << 1)) & mask
    while True:
        number = np.int64(keys.index[place]) - 1
        if number < 0:
            break
        is_near = parts[number, 1] == lo and parts[number, 3] == peer_lo and parts[number, 4] == port
        if is_near and parts[number, 0] == hi and parts[number, 2] == peer_hi:
            return number
        place = (place + 1) & mask
    number = keys.used[0]
    if number == parts.shape[0]:
        return np.int64(-1)
    keys.used[0] = number + 1
    keys.index[place] = number + 1
    parts[number, 0] = hi
    parts[number, 1] = lo
    parts[number, 2] = peer_hi
    parts[number, 3] = peer_lo
    parts[number, 4] = port
    return number


@kernel
def number_rows(keys, rows, numbers):  # type: ignore[no-untyped-def]
    """Fill ``numbers`` with the number of each row of ``rows``, an array of keys."""
    for i in range(numbers.size):
        numbers[i] = number_of(keys, rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3], rows[i, 4])


class Keys:
    """Gives every distinct key a number, from 0, as long as there are fewer than ``most`` (a power of two)."""

    def __init__(self, most: int, *, compiled: bool) -> None:
        self.most = most
        self._number_rows = load(number_rows, compiled=compiled)
        self.table = KeyTable(np.zeros(2 * most, np.int32), np.zeros((most, WORDS), np.int64), np.zeros(1, np.int64))
        """What kernels take; the pages of its arrays are only used when written."""

    def __len__(self) -> int:
        return int(self.table.used[0])

    def number(self, *columns: NDArray[Any]) -> Ints:
        """The numbers of the keys in the rows of at most five ``columns``; -1 where there is no room."""
        rows = np.zeros((columns[0].size, WORDS), np.int64)
        for word, column in enumerate(columns):
            rows[:, word] = column
        numbers = np.empty(columns[0].size, np.int64)
        self._number_rows(self.table, rows, numbers)
        return numbers

    def column(self, word: int) -> Ints:
        """A word of all keys, in the order of their numbers."""
        return self.table.parts[: len(self), word]
