"""Feeds packed bytes to decompressors in pieces that fit: what one of them does not use goes to the next."""

from __future__ import annotations

import re
from typing import Protocol

PIECE_BYTES = 1 << 20
"""Packed bytes handed to a decompressor at once: between two calls other threads may hold the interpreter."""

FIRST_BYTES = 1 << 12
"""What a decompressor gets first; each time it wants more it gets four times as many. What follows a small member
would have to be copied back.
"""

PADDING_BYTES = 1 << 26
"""More zeros than these after a member are no padding: a sparse file may have terabytes of them."""


_ZEROS = re.compile(rb"\0*")


class Packed(Protocol):
    """Where packed bytes come from."""

    position: int

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, at least one; nothing at the end."""


class Feed:
    """Packed bytes in pieces; what a decompressor did not use goes back."""

    def __init__(self, packed: Packed, *, is_careful: bool) -> None:
        self.failure: OSError | None = None
        """Why the bytes end, where that is not the end of the file."""
        self.largest = FIRST_BYTES if is_careful else PIECE_BYTES
        """How many bytes ``take`` should be asked for at most: a careful run keeps what is not yet unpacked small."""
        self._packed = packed
        self._step = self.largest
        self._data = b""
        self._at = 0
        self._before = 0

    @property
    def position(self) -> int:
        """How many bytes have been used."""
        return self._before + self._at

    def peek(self, size: int) -> bytes:
        """The next bytes; fewer than ``size`` only at the end."""
        while len(self._data) - self._at < size and self._read():
            pass
        return self._data[self._at : self._at + size]

    def take(self, size: int) -> memoryview:
        """Use the next bytes: at least one; nothing at the end, or where reading fails."""
        if self._at == len(self._data):
            try:
                self._read()
            except OSError as error:
                self.failure = error
        piece = memoryview(self._data)[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def give_back(self, count: int) -> None:
        """The last ``count`` bytes of what was taken last were not used."""
        self._at -= count

    def at_hand(self, most: int) -> bytes:
        """What has been read and not been used."""
        return self._data[self._at : self._at + most]

    def skip_zeros(self) -> None:
        """Use the zero bytes that come next, unless they are more than padding."""
        begin = self.position
        while self.position - begin <= PADDING_BYTES and self.peek(1) == b"\0":
            self._at = _ZEROS.match(self._data, self._at).end()  # type: ignore[union-attr]

    def _read(self) -> bool:
        more = self._packed.read(self._step)
        self._step = min(4 * self._step, PIECE_BYTES)
        self._before += self._at
        self._data, self._at = self._data[self._at :] + more, 0
        return bool(more)
