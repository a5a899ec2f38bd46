"""Merges the batches of several files into one series in time order, without reading more of them than needed.

A file may step back in time; its segments keep their order all the same. The key of a segment is therefore the latest
time its file has shown so far, and the merge is a stable sort by key and file: how the files were cut into batches
makes no difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture.merge_order import lanes_of, put, take_in_order
from tcptrace_tw.kernels.arrays import Buffers, in_parts, zeros
from tcptrace_tw.kernels.marks import load
from tcptrace_tw.schema.segments import SEGMENT, Segments

SMALL = 4096
"""A batch of at most this many segments is copied, and the next one is read at once: mostly there is none, and the file
is closed. A ring may have thousands of such files that all begin at the same time."""

LOOK_AHEAD = 1
"""Batches that a source keeps valid beyond those without a merge, which reads one before the last is used up."""

_NEVER = (1 << 63) - 1


class Source(NamedTuple):
    """One file: when it begins, and how to read it."""

    first_time: int | None
    """ns since 1970; None: read it when all files before it have ended."""
    open: Callable[[], Iterator[Segments]]


class _Cursor:
    """One file that is being read."""

    def __init__(self, index: int, source: Source) -> None:
        self.index = index
        self.batch: Any = None
        self.keys: NDArray[np.int64] = np.zeros(0, np.int64)
        self.at = 0
        self.is_read = False
        """Whether the file has been read to its end: what is at hand is all there is."""
        self._first_time = np.int64(source.first_time or 0)
        self._latest = self._first_time
        self._batches = source.open()
        self._next: Any = None

    @property
    def last(self) -> int:
        """Key of the last segment at hand."""
        return int(self.keys[-1])

    def fill(self) -> bool:
        """Have at least one segment at hand; False at the end. What was at hand before is no longer valid."""
        while self.at == self.keys.size:
            self.batch = self._take_batch()
            if self.batch is None:
                return False
            if self._latest == self._first_time:
                self._count_from_first(self.batch.time)
            self.keys = np.maximum(np.maximum.accumulate(self.batch.time), self._latest)
            self._latest = self.keys[-1] if self.keys.size else self._latest
            self.at = 0
        return True

    def _count_from_first(self, times: NDArray[np.int64]) -> None:
        """What is older than the first frame of the file counts as captured with it: so time never lags behind keys."""
        early = np.flatnonzero(times < self._first_time)
        if early.size:
            times[early] = self._first_time

    def _take_batch(self) -> Any:
        batch, self._next = self._next, None
        if batch is None and not self.is_read:
            batch = next(self._batches, None)
        if batch is not None and batch.size <= SMALL:
            batch = batch.copy()
            self._next = next(self._batches, None)
            self.is_read = self._next is None
        return batch

    def take(self, stop: int) -> tuple[Segments, NDArray[np.int64]]:
        """The segments up to ``stop`` and their keys, as views."""
        part = slice(self.at, stop)
        self.at = stop
        return self.batch[part], self.keys[part]


def merge(sources: Sequence[Source], size: int, *, compiled: bool) -> Iterator[Segments]:
    """Yield the segments of all files in time order, in batches of at most ``size``.

    The sources are in the order of their first times. A file is opened when its time has come and let go at its end,
    so a rotated capture is read file by file. A batch is valid until the next one is asked for.
    """
    waiting = deque(enumerate(sources))
    cursors: list[_Cursor] = []
    merger = _Merger(size, compiled=compiled)
    while True:
        cursors = [cursor for cursor in cursors if cursor.fill()]
        while waiting and _is_due(waiting[0][1], cursors):
            cursor = _Cursor(*waiting.popleft())
            if cursor.fill():
                cursors.append(cursor)
        if not cursors:
            return
        yield from merger.in_order(_take_until(cursors, waiting[0][1] if waiting else None))


def _is_due(source: Source, cursors: Sequence[_Cursor]) -> bool:
    """Whether a file may hold a segment that comes before the end of what is at hand."""
    if not cursors:
        return True
    return source.first_time is not None and source.first_time <= min(cursor.last for cursor in cursors)


def _take_until(cursors: Sequence[_Cursor], following: Source | None) -> list[tuple[Segments, NDArray[np.int64]]]:
    """What no segment still to be read can come before: all up to the end of the cursor that ends first and goes on.

    Lanes whose files have been read to their end hold nothing back; the file that ``following`` is comes behind them.
    """
    going_on = [cursor for cursor in cursors if not cursor.is_read]
    begin = _NEVER if following is None or following.first_time is None else following.first_time
    end = min((cursor.last for cursor in going_on), default=_NEVER)
    last_index = next((cursor.index for cursor in going_on if cursor.last == end), _NEVER)
    if begin < end:
        end, last_index = begin, _NEVER
    taken = []
    for cursor in cursors:
        # The cursor that ends first may go on with the same key; later files come after that.
        stop = int(np.searchsorted(cursor.keys, end, "right" if cursor.index <= last_index else "left"))
        if stop > cursor.at:
            taken.append(cursor.take(stop))
    return taken


class _Merger:
    """Puts what several files have at hand in order."""

    def __init__(self, size: int, *, compiled: bool) -> None:
        self._size = size
        self._take_in_order = load(take_in_order, compiled=compiled)
        self._put = load(put, compiled=compiled)
        self._buffers = Buffers(SEGMENT, size)

    def in_order(self, parts: Sequence[tuple[Segments, NDArray[np.int64]]]) -> Iterator[Segments]:
        """Batches of at most ``size`` segments; those of one file need not be copied."""
        if len(parts) == 1:
            yield from in_parts(parts[0][0], self._size)
            return
        lanes = lanes_of([keys for _, keys in parts])
        rows = [_as_words(batch) for batch, _ in parts]
        begins, places = lanes.at.tolist(), zeros(lanes.keys.size, np.int64)
        before = begins
        while count := self._take_in_order(lanes, self._size, places):
            merged = self._buffers.take()[:count]
            words, now = _as_words(merged), lanes.at.tolist()
            for row, begin, start, stop in zip(rows, begins, before, now, strict=True):
                if start < stop:
                    self._put(row[start - begin : stop - begin], places[start:stop], words)
            before = now
            yield merged
            del merged, words


def _as_words(batch: Any) -> NDArray[np.int64]:
    """The same memory, a row of words for each segment."""
    words: NDArray[np.int64] = batch.view(np.ndarray).view(np.int64).reshape(batch.size, -1)
    return words
