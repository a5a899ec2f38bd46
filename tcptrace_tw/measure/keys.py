"""Numbers for keys of several columns: what a tally is kept by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def mixed(columns: tuple[Ints, ...]) -> NDArray[np.uint64]:
    """One word that stands for the values of all columns."""
    word = np.zeros(columns[0].size, np.uint64)
    for column in columns:
        word ^= column.astype(np.int64).view(np.uint64) + _FACTOR + (word << np.uint64(6)) + (word >> np.uint64(2))
        word *= _FACTOR
        word ^= word >> np.uint64(29)
    return word


class Keys:
    """Gives every distinct key a number, from 0, as long as there are fewer than ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._numbers: dict[int, int] = {}
        self._parts: list[list[Ints]] = []
        self.left_out = 0
        """Rows whose key had no room."""

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, *columns: NDArray[np.generic]) -> Ints:
        """The numbers of the keys in the rows of ``columns``; -1 where there is no room."""
        wide = tuple(c.astype(np.int64) for c in columns)
        distinct, first, inverse = np.unique(mixed(wide), return_index=True, return_inverse=True)
        numbers = np.empty(distinct.size, np.int64)
        new: list[int] = []
        for place, word in enumerate(distinct.tolist()):
            number = self._numbers.get(word, -1)
            if number < 0 and len(self._numbers) < self._most:
                number = self._numbers[word] = len(self._numbers)
                new.append(place)
            numbers[place] = number
        if new:
            self._parts.append([c[first[new]] for c in wide])
        found: Ints = numbers[inverse.reshape(-1)]
        self.left_out += int((found < 0).sum())
        return found

    def column(self, index: int) -> Ints:
        """A column of all keys, in the order of their numbers."""
        if not self._parts:
            return np.zeros(0, np.int64)
        return np.concatenate([part[index] for part in self._parts])
