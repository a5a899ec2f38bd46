"""A sliding window over the bytes of a capture: one buffer, filled again and again.

Mapping the file instead was measured, twice, and is slower: the scan jumps from record to record, and each jump would
miss the cache that the copy has just filled. A file that is cut while it is mapped would end the process, too.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tcptrace_tw.kernels.arrays import zeros


class Stream(Protocol):
    """Where bytes come from (see ``source``)."""

    name: str
    size: int | None
    position: int
    compression: str
    damage: str | None

    def readinto(self, buffer: memoryview) -> int:
        """Fill some of ``buffer``; 0 at the end."""


WINDOW_SIZE = 1 << 20
"""Fits into the second-level cache: what was just read is still there when it is decoded."""


class Window:
    """``data[start:end]`` are the bytes not yet used; ``offset`` is where ``data[0]`` lies in the stream.

    ``data`` is a uint8 array for compiled kernels, a memoryview for interpreted ones (see ``octets``); ``view`` is
    the same bytes as a memoryview in any case. A prompt window hands on what has come; any other waits until it is
    full.
    """

    def __init__(self, stream: Stream, *, compiled: bool, size: int = WINDOW_SIZE, is_prompt: bool = False) -> None:
        self._stream = stream
        self._is_prompt = is_prompt
        self._compiled = compiled
        self._is_ended = False
        self.start = self.end = 0
        self.offset = 0
        self._allocate(size)

    def _allocate(self, size: int) -> None:
        room = zeros(size, np.uint8)
        self.view = memoryview(room)
        self.data: Any = room if self._compiled else self.view

    def refill(self) -> bool:
        """Keep the unused bytes, read more behind them; False when the stream has no more.

        The window grows when one record needs more than it has; the formats bound the size of a record.
        """
        rest = self.end - self.start
        old = self.view
        if rest == len(old):
            self._allocate(2 * len(old))
        self.view[:rest] = old[self.start : self.end]
        self.offset += self.start
        self.start, self.end = 0, rest
        return self._read()

    def _read(self) -> bool:
        count = 0
        while not self._is_ended and self.end < len(self.view):
            got = self._stream.readinto(self.view[self.end :])
            self._is_ended = got == 0
            self.end += got
            count += got
            if self._is_prompt:
                break
        return count > 0

    def need(self, size: int) -> bool:
        """Have at least ``size`` unused bytes; False when the stream ends before."""
        while self.end - self.start < size:
            if not self.refill():
                return False
        return True

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, or what there is of them."""
        return bytes(self.view[self.start : min(self.start + size, self.end)])

    def take(self, size: int) -> bytes:
        """Use the next ``size`` bytes, of which there are enough."""
        piece = self.peek(size)
        self.start += size
        return piece

    def skip(self, size: int) -> bool:
        """Use the next ``size`` bytes unseen; False when the stream ends before."""
        while self.end - self.start < size:
            size -= self.end - self.start
            self.start = self.end
            if not self.refill():
                return False
        self.start += size
        return True
