"""Tallies by key: sums, extremes and a rough count of what is different, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.keys import Keys

Ints = NDArray[np.int64]

LATEST = np.iinfo(np.int64).max

SKETCH_WORDS = 4
SKETCH_BITS = 64 * SKETCH_WORDS
"""What is different sets one of so many bits; how many are set says about how many there are (linear counting)."""

MIXER = np.uint64(0x9E3779B97F4A7C15)


class Tallies:
    """Rows of ``fields`` by key, as long as there are fewer than ``most`` keys.

    Of a field ``first_...`` or ``shortest_...`` the least is kept, of ``last_...`` or ``longest_...`` the greatest.
    """

    def __init__(self, most: int, fields: tuple[str, ...], *, compiled: bool, seed: Seed) -> None:
        self.keys = Keys(most, compiled=compiled, seed=seed)
        self._most = most
        self.columns: dict[str, Ints] = {}
        for name in fields:
            self.columns[name] = np.full(0, self._begin(name), np.int64)
        self._sketch = np.zeros((0, SKETCH_WORDS), np.uint64)

    @staticmethod
    def _begin(name: str) -> int:
        if name.startswith(("first_", "shortest_")):
            return LATEST
        return -1 if name.startswith(("last_", "longest_")) else 0

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, name: str) -> Ints:
        """A column of all keys, in the order of their numbers."""
        return self.columns[name][: len(self)]

    def numbers(self, *parts: NDArray[Any]) -> Ints:
        """The number of each key, -1 where there is no room; there is room for its row."""
        numbers = self.keys.number(*parts)
        self._grow(len(self.keys))
        return numbers

    def _grow(self, size: int) -> None:
        room = self._sketch.shape[0]
        if size <= room:
            return
        wanted = max(size, 2 * room, 64)
        for name, old in self.columns.items():
            self.columns[name] = np.full(wanted, self._begin(name), np.int64)
            self.columns[name][:room] = old
        sketch = np.zeros((wanted, SKETCH_WORDS), np.uint64)
        sketch[:room] = self._sketch
        self._sketch = sketch

    def take(self, numbers: Ints, **values: NDArray[Any] | int) -> None:
        """Add one row of values for each number; those without room are left out."""
        known = numbers >= 0
        for name, value in values.items():
            column = self.columns[name]
            found = np.broadcast_to(np.asarray(value, np.int64), numbers.shape)[known]
            if name.startswith(("first_", "shortest_")):
                np.minimum.at(column, numbers[known], found)
            elif name.startswith(("last_", "longest_")):
                np.maximum.at(column, numbers[known], found)
            else:
                np.add.at(column, numbers[known], found)

    def mark(self, numbers: Ints, *parts: NDArray[Any]) -> None:
        """Note what is different: the same parts set the same bit, in every run."""
        known = numbers >= 0
        mixed = np.zeros(numbers.shape, np.uint64)
        for part in parts:
            mixed = (mixed ^ part.astype(np.int64).view(np.uint64)) * MIXER
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(32)
        bit = mixed[known] >> np.uint64(56)
        place = numbers[known] * SKETCH_WORDS + (bit >> np.uint64(6)).astype(np.int64)
        np.bitwise_or.at(self._sketch.reshape(-1), place, np.uint64(1) << (bit & np.uint64(63)))

    def different(self) -> Ints:
        """About how many different things were marked for each key, at most ``SKETCH_BITS``."""
        bits = np.bitwise_count(self._sketch[: len(self)]).sum(axis=1).astype(np.int64)
        free = np.maximum(SKETCH_BITS - bits, 1) / SKETCH_BITS
        return np.minimum(np.round(-SKETCH_BITS * np.log(free)).astype(np.int64), SKETCH_BITS)
