"""Keeps the rows of the connections that a filter and a span of time mean, each of them whole.

The trackers see every segment, so that numbers are those of the whole capture, and what a connection met before the
span is known; only the rows are chosen. A row that leaves before its connection has ended waits here, because nobody
knows yet whether the connection will be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.schema.columns import Table

Chunk = tuple[Table, NDArray[Any]]

Keeps = Callable[[NDArray[Any], int], NDArray[np.bool_]]
"""Which rows of ``connections`` are wanted; it gets the time of the first frame as well, in ns since 1970."""

WAITING_ROWS = 1 << 14
"""The number of waiting rows from which on it is worth looking for those that need not wait any more."""

_OPEN, _KEPT, _DROPPED = range(3)


class WholeConnections:
    """Chooses rows by their connections."""

    def __init__(self, keeps: Keeps) -> None:
        self.kept = 0
        """How many connections were kept so far."""
        self._keeps = keeps
        self._begin: int | None = None
        self._verdicts = np.zeros(1 << 10, np.uint8)
        self._waiting: list[Chunk] = []
        self._count = 0
        self._limit = WAITING_ROWS

    def choose(self, chunks: Iterable[Chunk], first_time: int) -> Iterator[Chunk]:
        """The rows that are known to be kept; ``first_time`` is that of the capture, in ns since 1970.

        Of later calls it is not asked: a file that is opened later may begin earlier.
        """
        self._begin = first_time if self._begin is None else self._begin
        for table, rows in chunks:
            if table.name == "connections":
                self._judge(rows, self._begin)
                kept = rows[self._verdicts[rows["connection_id"]] == _KEPT]
                self.kept += kept.size
                if kept.size:
                    yield table, kept
            elif rows.size:
                self._waiting.append((table, rows))
                self._count += rows.size
        if self._count > self._limit:
            yield from self.settle()
            self._limit = max(WAITING_ROWS, 2 * self._count)

    def settle(self) -> Iterator[Chunk]:
        """Rows that have waited and are known to be kept by now; at the end of the capture nothing waits any more."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        for table, rows in waiting:
            verdicts = self._of(rows)
            still = rows[verdicts == _OPEN]
            if still.size:
                self._waiting.append((table, still))
                self._count += still.size
            kept = rows[verdicts == _KEPT]
            if kept.size:
                yield table, kept

    def _judge(self, rows: NDArray[Any], begin: int) -> None:
        self._reserve(int(rows["connection_id"].max(initial=0)))
        keeps = self._keeps(rows, begin)
        self._verdicts[rows["connection_id"]] = np.where(keeps, _KEPT, _DROPPED)

    def _of(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """The verdict of each row: that of its connection, or of the one that a SYN met, if none came of it."""
        ids = rows["connection_id"]
        if "previous_connection_id" in (rows.dtype.names or ()):
            ids = np.where(ids < 0, rows["previous_connection_id"], ids)
        self._reserve(int(ids.max(initial=0)))
        verdicts: NDArray[np.uint8] = self._verdicts[ids]
        return verdicts

    def _reserve(self, highest: int) -> None:
        if highest >= self._verdicts.size:
            verdicts = np.zeros(max(highest + 1, 2 * self._verdicts.size), np.uint8)
            verdicts[: self._verdicts.size] = self._verdicts
            self._verdicts = verdicts
