"""How far a pass over captures is, for those who show it while it goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol


class Position(NamedTuple):
    """How far a pass is."""

    bytes: int
    total: int | None
    """Bytes in all; None where that is not known, as for a pipe."""
    segments: int
    connections: int
    time_wait: int | None
    """Endpoints in TIME-WAIT at the time of the last segment; only counted where the total is not known."""

    def and_then(self, more: Taken) -> Position:
        """A pass that is the first of two, where ``more`` says how far the second one is."""
        known = self.total is not None and more.total is not None
        total = (self.total or 0) + (more.total or 0) if known else None
        return self._replace(bytes=self.bytes + more.bytes, total=total)


class Source(Protocol):
    """What is read: ``capture.source.Stream``."""

    position: int
    size: int | None


class Taken:
    """How much was taken from each of some files; one thread reads, and any thread may ask."""

    def __init__(self, files: Sequence[str]) -> None:
        self._sizes = [_size(file) for file in files]
        self._taken = [0] * len(files)
        self._open: dict[int, Source] = {}

    @contextmanager
    def following(self, index: int, source: Source) -> Iterator[None]:
        """Within this block a file is read; at its end it counts as a whole."""
        self._sizes[index] = source.size
        self._open[index] = source
        try:
            yield
        finally:
            self._taken[index] = source.size or source.position
            del self._open[index]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(self._taken) + sum(source.position for source in list(self._open.values()))

    @property
    def total(self) -> int | None:
        """Of all files; None where the size of one is not known."""
        known = [size for size in self._sizes if size is not None]
        return sum(known) if len(known) == len(self._sizes) else None


def _size(file: str) -> int | None:
    with suppress(OSError, ValueError):
        if os.path.isfile(file):
            return os.path.getsize(file)
    return None


Progress = Callable[[Callable[[], Position]], None]
"""Called once, before the pass, with a function that gives the position to any thread at any time."""
