"""Which rows agree in all of some columns: one pass over the rows, no sorting, no pandas."""

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.keyed_hash import as_bytes

Ints = NDArray[np.int64]

_BITS = 16
_ROUNDS = 4
_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)


def group(columns: list[Ints]) -> tuple[Ints, Ints]:
    """The number of each row's group, and the first-come row that stands for each group.

    Rows are thrown into a table by a hash; those that meet a stranger there go into the next round with
    another hash, and what is left after some rounds is sorted.
    """
    size = columns[0].size
    standing = np.full(size, -1, np.int64)
    left = np.arange(size)
    for multiplier in _MULTIPLIERS[:_ROUNDS]:
        left = _settle(columns, left, standing, multiplier)
        if not left.size:
            break
    else:
        _sort_out(columns, left, standing)
    leaders = np.flatnonzero(standing == np.arange(size))
    numbers = np.zeros(size, np.int64)
    numbers[leaders] = np.arange(leaders.size)
    return numbers[standing], leaders


class Groups:
    """Gives every distinct row of integers a number that lasts, from 0; the first of all when there are ``most``.

    Most rows are known already and are found by a look into one of two tables; the others are told apart by ``group``.
    """

    def __init__(self, most: int) -> None:
        self.rows: list[tuple[int, ...]] = []
        """The distinct rows, by number."""
        self._most = most
        self._numbers: dict[bytes, int] = {}
        self._tables = tuple((multiplier, np.full(1 << _BITS, -1, np.int64)) for multiplier in _MULTIPLIERS[:2])
        self._known: Ints = np.zeros((0, 0), np.int64)

    def number(self, columns: list[Ints]) -> Ints:
        """The number of each row; ``columns`` are int64 and contiguous."""
        numbers = np.zeros(columns[0].size, np.int64)
        left = np.arange(columns[0].size)
        for multiplier, table in self._tables:
            part = columns if left.size == numbers.size else [column[left] for column in columns]
            found = table[_slots(part, multiplier)]
            agrees = found >= 0
            for column, known in zip(part, self._known, strict=False):
                agrees &= known[found] == column
            numbers[left] = found
            left = left[~agrees]
            if not left.size:
                return numbers
        numbers[left] = self._enter([column[left] for column in columns])
        return numbers

    def _enter(self, columns: list[Ints]) -> Ints:
        groups, leaders = group(columns)
        columns = [column[leaders] for column in columns]
        before = len(self.rows)
        rows = np.stack(columns, 1)
        keys = zip(as_bytes(rows), rows.tolist(), strict=True)
        numbers = np.array([self._number(key, row) for key, row in keys], np.int64)
        self._keep(np.array(self.rows[before:], np.int64).reshape(-1, len(columns)).T, before)
        left = np.ones(numbers.size, bool)
        for multiplier, table in self._tables:
            slots = _slots(columns, multiplier)
            free = left & (table[slots] < 0)
            table[slots[free]] = numbers[free]
            left &= table[slots] != numbers
        return numbers[groups]

    def _keep(self, columns: Ints, before: int) -> None:
        """Rows of their own beside the list of tuples: columns, with room to grow."""
        count = before + columns.shape[1]
        if count > self._known.shape[1]:
            room = np.zeros((columns.shape[0], 2 * count), np.int64)
            if before:
                room[:, :before] = self._known[:, :before]
            self._known = room
        self._known[:, before:count] = columns

    def _number(self, key: bytes, row: list[int]) -> int:
        if key not in self._numbers:
            if len(self.rows) >= self._most:
                return 0
            self._numbers[key] = len(self.rows)
            self.rows.append(tuple(row))
        return self._numbers[key]


def _settle(columns: list[Ints], left: Ints, standing: Ints, multiplier: int) -> Ints:
    slots = _slots([column[left] for column in columns], multiplier)
    table = np.empty(1 << _BITS, np.int64)
    table[slots[::-1]] = left[::-1]  # the first row of a slot is written last
    leaders = table[slots]
    agrees = np.ones(left.size, bool)
    for column in columns:
        agrees &= column[left] == column[leaders]
    standing[left[agrees]] = leaders[agrees]
    return left[~agrees]


def _slots(columns: list[Ints], multiplier: int) -> Ints:
    """A place for each row: a polynomial in the multiplier, of which the upper bits are the better mixed ones."""
    factor = np.uint64(multiplier)
    mixed = columns[0].view(np.uint64) * factor
    for column in columns[1:]:
        mixed += column.view(np.uint64)
        mixed *= factor
    mixed ^= mixed >> np.uint64(29)
    mixed *= factor
    mixed >>= np.uint64(64 - _BITS)
    return mixed.view(np.int64)


def _sort_out(columns: list[Ints], left: Ints, standing: Ints) -> None:
    rows = np.stack([column[left] for column in columns], axis=1)
    _, firsts, where = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    standing[left] = left[firsts[where.ravel()]]
