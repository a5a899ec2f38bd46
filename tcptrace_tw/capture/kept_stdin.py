"""Stdin can be read only once: its bytes can be kept while they are read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Keep = Callable[[memoryview], object]

_REST_BYTES = 1 << 16

_keep: Keep | None = None
"""Takes what is read from stdin, where it is kept."""


class _Kept:
    """Stdin, whose bytes are kept."""

    def __init__(self, keep: Keep) -> None:
        self._file = io.FileIO(0, closefd=False)
        self._keep = keep

    def readinto(self, buffer: Any, /) -> int | None:
        count = self._file.readinto(buffer)
        if count:
            self._keep(memoryview(buffer)[:count])
        return count

    def close(self) -> None:
        self._file.close()


def opened() -> Any:
    """Stdin as a source reads it; descriptor 0 stays open."""
    return io.FileIO(0, closefd=False) if _keep is None else _Kept(_keep)


@contextmanager
def keeping(keep: Keep) -> Iterator[None]:
    """Within this block ``keep`` gets all bytes of stdin; those that were not read, as behind damage, at its end."""
    global _keep
    _keep = keep
    try:
        yield
        rest, file = memoryview(bytearray(_REST_BYTES)), _Kept(keep)
        while file.readinto(rest):
            pass
    finally:
        _keep = None
