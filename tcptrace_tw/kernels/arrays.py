"""The memory that kernels write into: arrays, pools of records that grow in place, buffers that are used again.

Compiled kernels do not check their indices. So every array of theirs comes from one ``Allocator``: tests replace it by
one that gives not a byte more than was promised, or that ends every array at a page which may not be touched.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

HUGE = 1 << 22
"""Bytes of a map behind which it asks for large pages: many arrays are filled only a little, and 2 MB would be cleared
for the first byte of each.
"""

LARGE = 1 << 20
"""Bytes from which on an array is a map of its own: its pages are only used when they are written, and the system has
them back as soon as the array is dropped. The heap would clear them all, and keep them.
"""


class Allocator:
    """Where the arrays of kernels come from."""

    stretches = hasattr(mmap, "MAP_PRIVATE")
    """Whether a pool is a map that the system can make longer; its pages are only used when they are written."""

    def zeros(self, shape: int | tuple[int, ...], dtype: Any, align: int = 1) -> Any:
        """An array of zeros that begins at a multiple of ``align`` bytes, at most a page."""
        plain = np.dtype(dtype)
        size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * plain.itemsize
        if self.stretches and size >= LARGE:
            return np.ndarray(shape, plain, _with_large_pages(_map(size)))
        if align == 1:
            return np.zeros(shape, plain)
        room = np.zeros(size + align, np.uint8)
        return np.ndarray(shape, plain, room, -address_of(room) % align)

    def first(self, records: int) -> int:
        """How many records a pool begins with that expects to hold ``records``."""
        return records

    def grown(self, wanted: int, capacity: int) -> int:
        """How many records a pool of ``capacity`` gets when it needs ``wanted``."""
        return max(wanted, capacity * 3 // 2)


_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS if Allocator.stretches else 0

_allocator = Allocator()


def _map(size: int) -> mmap.mmap:
    """Fresh memory of the system."""
    return mmap.mmap(-1, size, flags=_FLAGS)


def _with_large_pages(room: mmap.mmap) -> mmap.mmap:
    """Ask for large pages behind ``HUGE``: kernels reach into large arrays at random places.

    Such a map consists of two for the system, and cannot be made longer.
    """
    if len(room) > HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system may be built without them
            room.madvise(mmap.MADV_HUGEPAGE, HUGE)
    return room


def zeros(shape: int | tuple[int, ...], dtype: Any, align: int = 1) -> Any:
    """An array of zeros for kernels to write into; its first byte lies at a multiple of ``align``."""
    return _allocator.zeros(shape, dtype, align)


def full(shape: int | tuple[int, ...], value: Any, dtype: Any) -> Any:
    """The same, filled with a value."""
    array = zeros(shape, dtype)
    array[...] = value
    return array


@contextmanager
def allocated_by(allocator: Allocator) -> Iterator[None]:
    """Within this context every array of kernels, pool and buffer comes from this allocator; for tests."""
    global _allocator
    before, _allocator = _allocator, allocator
    try:
        yield
    finally:
        _allocator = before


class Pool:
    """A recarray that grows; ``address`` is where it begins. Do not keep ``records``: every ``reserve`` changes it."""

    def __init__(self, dtype: np.dtype[Any], capacity: int) -> None:
        self.dtype = dtype
        self.capacity = 0
        self.records: Any = np.recarray(0, dtype=dtype)
        self._map: mmap.mmap | None = None
        self._allocator = _allocator
        self.reserve(_allocator.first(capacity))

    def reserve(self, capacity: int) -> None:
        """Make room for ``capacity`` records; the old ones keep their places, the new ones are zero."""
        if capacity <= self.capacity:
            return
        wanted = self._allocator.grown(capacity, self.capacity)
        if not self._allocator.stretches:
            self._move(self._allocator.zeros(wanted, self.dtype).view(np.recarray))
        elif not self._stretch(_whole_pages(wanted * self.dtype.itemsize)):
            fresh = _map(_whole_pages(wanted * self.dtype.itemsize))
            self._move(self._records_of(fresh))
            self._map = fresh
        self.capacity = self.records.size
        self.address: int = address_of(self.records)

    def _stretch(self, size: int) -> bool:
        """Make the map longer; False where there is none yet, or where it has to stay as it is."""
        if self._map is None:
            return False
        self.records = None
        try:
            self._map.resize(size)
            return True
        except (BufferError, SystemError):
            # An array of it is still held, as a compiler may do; or the system has no mremap(), as macOS and FreeBSD.
            return False
        finally:
            self.records = self._records_of(self._map)

    def _records_of(self, room: mmap.mmap) -> Any:
        return np.frombuffer(room, self.dtype, len(room) // self.dtype.itemsize).view(np.recarray)

    def _move(self, fresh: Any) -> None:
        """Copy the records to a new place, and let go of the old one."""
        size = self.capacity * self.dtype.itemsize
        fresh.view(np.uint8, np.ndarray)[:size] = self.records[: self.capacity].view(np.uint8, np.ndarray)
        self.records = fresh


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def address_of(array: Any) -> int:
    """Where the elements of an array begin."""
    return int(array.ctypes.data)


class Buffers:
    """Arrays of one size: one that is no longer looked at is used again, so that the system need not clear another."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        self._dtype = dtype
        self._size = size
        self._owners: list[Any] = []

    def take(self) -> Any:
        """A recarray that is held nowhere else, not even a part of it; its content is whatever it was."""
        for owner in self._owners:
            if sys.getrefcount(owner) == _UNUSED:
                return owner.view(np.recarray)
        self._owners.append(zeros(self._size, self._dtype))
        return self._owners[-1].view(np.recarray)


def _references_of_the_unused() -> int:
    owners = [np.zeros(1)]
    for owner in owners:
        return sys.getrefcount(owner)
    return 0


_UNUSED = _references_of_the_unused()


def as_records(rows: Any) -> Any:
    """Rows whose columns are attributes. Such rows stay the same object, whose kind ``calls`` need not spell again."""
    return rows if type(rows) is np.recarray else rows.view(np.recarray)


def in_parts(rows: Any, most: int) -> Iterator[Any]:
    """Rows in parts of at most ``most``; a chunk that is small enough is the same object."""
    if rows.size <= most:
        yield rows
    else:
        yield from (rows[begin : begin + most] for begin in range(0, rows.size, most))
