"""Memory that shows an overrun: arrays of exactly the promised size, or with a page behind them that kills."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np

from tcptrace_tw.kernels.arrays import Allocator


class Exact(Allocator):
    """Not a record more than was asked for: interpreted, and checked, an overrun is an error."""

    stretches = False

    def first(self, records: int) -> int:
        return 1

    def grown(self, wanted: int, capacity: int) -> int:
        return wanted


class Guarded(Exact):
    """The same, and whoever touches the byte behind an array dies of SIGSEGV."""

    def zeros(self, shape: int | tuple[int, ...], dtype: Any, align: int = 1) -> Any:
        plain = np.dtype(dtype)
        size = int(np.prod(shape)) * plain.itemsize
        pages = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        array: Any = np.ndarray(shape, plain, mmap.mmap(-1, pages + mmap.PAGESIZE), pages - size)
        _forbid(int(array.ctypes.data) + size)
        return array


_LIBC = ctypes.CDLL(None, use_errno=True)


def _forbid(page: int) -> None:
    if _LIBC.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), 0):
        raise OSError(ctypes.get_errno(), "mprotect")


ALLOCATORS = {"plain": Allocator, "exact": Exact, "guard": Guarded}
