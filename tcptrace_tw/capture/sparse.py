"""Sparse files: a long hole in one ends it, because no record of a capture is as long as that.

A ring file that was allocated and never written, or that a crash left behind, may have terabytes of zeros that take
no room on disk. Every 16 of them look like the header of an empty record.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcptrace_tw.capture.source import File

HOLE_BYTES = 64 << 20
"""A hole of this length and more was never written. Shorter ones may be payload: tools that copy can dig them."""


def without_holes(file: io.FileIO, status: os.stat_result) -> File:
    """The file itself, or a reader that fails where a long hole begins, if it is large enough to have one."""
    if status.st_size - status.st_blocks * 512 < HOLE_BYTES or not hasattr(os, "SEEK_DATA"):
        return file
    return _Sparse(file, status.st_size)


class _Sparse:
    """Reads a sparse file up to its first long hole."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file = file
        self._size = size
        self._at = 0
        self._checked_to = 0

    def readinto(self, buffer: Any) -> int | None:
        """As in ``io.RawIOBase``; ``OSError`` at the begin of a long hole."""
        if self._at >= self._checked_to:
            self._check()
        room = memoryview(buffer)[: max(0, self._checked_to - self._at)] if self._checked_to < self._size else buffer
        count = self._file.readinto(room)
        self._at += count or 0
        return count

    def close(self) -> None:
        """As in ``io.RawIOBase``."""
        self._file.close()

    def _check(self) -> None:
        """Find how far the file can be read before the next hole is met."""
        data = self._seek(self._at, os.SEEK_DATA, self._size)
        if data - self._at >= HOLE_BYTES:
            raise OSError(f"a hole of {data - self._at} bytes begins here, which were never written")
        self._checked_to = self._seek(data, os.SEEK_HOLE, self._size)
        self._file.seek(self._at)

    def _seek(self, offset: int, whence: int, otherwise: int) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError:  # no data behind the offset, or a file system that knows no holes
            return otherwise
