"""Arrays of records that grow without being copied: the pages of an anonymous map are only used when written."""

from __future__ import annotations

import mmap
import sys
from typing import Any

import numpy as np


class Pool:
    """A recarray that grows; ``address`` is where it lies. Do not keep ``records``: every ``reserve`` changes it."""

    def __init__(self, dtype: np.dtype[Any], capacity: int) -> None:
        self.dtype = dtype
        self.capacity = 0
        self._map: mmap.mmap | None = None
        self.records: Any = np.recarray(0, dtype=dtype)
        self.reserve(capacity)

    def reserve(self, capacity: int) -> None:
        """Make room for ``capacity`` records; the old ones keep their places, the new ones are zero."""
        if capacity <= self.capacity:
            return
        wanted = max(capacity, self.capacity * 3 // 2)
        size = -(-wanted * self.dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        if not self._resize(size):
            self._copy(wanted)
        self.capacity = self.records.size
        self.address: int = address_of(self.records)

    def _resize(self, size: int) -> bool:
        if not hasattr(mmap, "MAP_PRIVATE"):
            return False
        self.records = None
        before: Any = None
        try:
            if self._map is not None:
                self._map.resize(size)
        except BufferError:  # somebody still holds an array of it, as a compiler may: the old map is theirs
            before, self._map = self._map, None
        if self._map is None:
            self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.records = np.frombuffer(self._map, self.dtype, size // self.dtype.itemsize).view(np.recarray)
        if before is not None:
            self.records[: self.capacity] = np.frombuffer(before, self.dtype, self.capacity)
        return True

    def _copy(self, capacity: int) -> None:
        old = self.records
        self.records = np.zeros(capacity, self.dtype).view(np.recarray)
        if old is not None:
            self.records[: old.size] = old


def address_of(array: Any) -> int:
    """Where the elements of an array lie."""
    return int(array.ctypes.data)


class Buffers:
    """Arrays of one size: what nobody looks at any more is used again, instead of being cleared by the system anew."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        self._dtype = dtype
        self._size = size
        self._owners: list[Any] = []

    def take(self) -> Any:
        """A recarray that nobody else holds, nor a part of it; its content is whatever it was."""
        for owner in self._owners:
            if sys.getrefcount(owner) == _UNUSED:
                return owner.view(np.recarray)
        self._owners.append(np.zeros(self._size, self._dtype))
        return self._owners[-1].view(np.recarray)


def _references_of_the_unused() -> int:
    owners = [np.zeros(1)]
    for owner in owners:
        return sys.getrefcount(owner)
    return 0


_UNUSED = _references_of_the_unused()
