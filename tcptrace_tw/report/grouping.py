"""Which rows agree in all of some columns: one pass over the rows, no sorting, no pandas."""

import numpy as np
from numpy.typing import NDArray

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
    mixed = np.zeros(columns[0].size, np.uint64)
    for column in columns:
        mixed = (mixed ^ column.view(np.uint64)) * np.uint64(multiplier)
        mixed ^= mixed >> np.uint64(29)
    return (mixed * np.uint64(multiplier) >> np.uint64(64 - _BITS)).astype(np.int64)


def _sort_out(columns: list[Ints], left: Ints, standing: Ints) -> None:
    rows = np.stack([column[left] for column in columns], axis=1)
    _, firsts, where = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    standing[left] = left[firsts[where.ravel()]]
