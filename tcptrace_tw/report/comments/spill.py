"""Rows by frame, on disk: written as they come, read page by page in the order of the frames.

A pass hands out rows when connections end, not in the order of the capture; and a capture may have more of them than
fit into memory. What stays in memory is one page, and where the pieces of each page lie.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.atomic import writing

PAGE_BITS = 16
"""A page has the rows of ``1 << PAGE_BITS`` frames; a frame is ``file << 40`` plus its number."""

GATHERED = 1 << 16
"""The number of rows that wait in memory before they are written."""

IN_MEMORY = 1 << 22
"""Fewer bytes than these never reach a disk."""


class Spill:
    """Rows of one type, which has a field ``frame``, in a temporary file without a name."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - to the end of this object
        self._waiting: list[NDArray[Any]] = []
        self._count = 0
        self._pieces: dict[int, list[tuple[int, int]]] = {}

    def add(self, rows: NDArray[Any]) -> None:
        """Take rows in any order; the array is kept for a while."""
        self._waiting.append(rows)
        self._count += rows.size
        if self._count >= GATHERED:
            self._write()

    def page(self, number: int) -> NDArray[Any]:
        """The rows of the frames whose upper bits are ``number``: by frame, of one frame in the order they came in."""
        self._write()
        pieces = [self._read(*piece) for piece in self._pieces.get(number, ())]
        rows = np.concatenate(pieces) if pieces else np.zeros(0, self._dtype)
        return rows[np.argsort(rows["frame"], kind="stable")]

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _read(self, offset: int, count: int) -> NDArray[Any]:
        self._file.seek(offset)
        return np.frombuffer(self._file.read(count * self._dtype.itemsize), self._dtype)

    def _write(self) -> None:
        if not self._count:
            return
        rows = np.concatenate(self._waiting)
        self._waiting, self._count = [], 0
        pages = rows["frame"] >> PAGE_BITS
        order = np.argsort(pages, kind="stable")
        rows, pages = rows[order], pages[order]
        starts = np.flatnonzero(np.concatenate(([True], np.diff(pages) != 0)))
        with writing(tempfile.gettempdir()):
            begin = self._file.seek(0, 2)
            self._file.write(rows.tobytes())
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), rows.size], strict=True):
            place = begin + start * self._dtype.itemsize
            self._pieces.setdefault(int(pages[start]), []).append((place, end - start))


class Texts:
    """Texts in a temporary file: what is put down is named by where it lies."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - to the end of this object
        self._end = 0

    def put(self, text: bytes) -> tuple[int, int]:
        """Write a text; returns its place and its length."""
        with writing(tempfile.gettempdir()):
            self._file.seek(self._end)
            self._file.write(text)
        place, self._end = self._end, self._end + len(text)
        return place, len(text)

    def get(self, place: int, length: int) -> bytes:
        """Read a text."""
        self._file.seek(place)
        return self._file.read(length)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
