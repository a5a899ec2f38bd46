"""Rows of tables in the spool: written block by block as ``packing`` packs them, read in any order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.cluster.packing import BLOCK, Memory, how_to_read, memory_of, pack, unpack, unpack_word
from tcptrace_tw.cluster.spare import Spare
from tcptrace_tw.cluster.spool import Hashed
from tcptrace_tw.kernels.arrays import Buffers, zeros
from tcptrace_tw.kernels.marks import load
from tcptrace_tw.storage import Object, Place

COUNT, STRIDE, HEAD = 0, 1, 2
"""Before the rows of a block: how many there are, the words of a packed one, and from ``HEAD`` on how it is packed."""

WORD = 8

PIECE_ROWS, MOST_PIECE_ROWS = 1 << 14, (1 << 14) + 256
"""The number of rows that are looked at together, and the most where a connection goes on."""

Words = NDArray[np.int64]


class Room(NamedTuple):
    """Where rows of one kind wait until they fill a block, and where the block is made of them."""

    rows: Words
    head: Words
    block: Words
    """The part of the head that says how rows are packed: three numbers for each word."""
    packed: Memory


def _room_for(dtype: np.dtype[Any]) -> Room:
    size = dtype.itemsize // WORD
    head = zeros(HEAD + 3 * size, np.int64)
    rows, packed = (zeros(BLOCK * size, np.int64) for _ in range(2))
    return Room(rows, head, head[HEAD:].reshape(3, size), memory_of(packed))


_SPARE_ROOMS = Spare(_room_for)
"""By the kind of the rows."""


@cache
def masks_of(dtype: np.dtype[Any]) -> Words:
    """For each word of a row, the bits that belong to fields."""
    masks = np.zeros(dtype.itemsize, np.uint8)
    for kind, at, *_ in (dtype.fields or {}).values():
        masks[at : at + kind.itemsize] = 0xFF
    return masks.view(np.int64)


class RowWriter:
    """Writes the rows of one table to a file."""

    def __init__(self, file: Hashed, dtype: np.dtype[Any], *, compiled: bool) -> None:
        self._file, self._dtype = file, dtype
        self._pack = load(pack, compiled=compiled)
        self._room = _SPARE_ROOMS.take(dtype)
        self._filled = 0

    def add(self, rows: NDArray[Any]) -> None:
        """Take rows; they are copied."""
        data = np.ascontiguousarray(rows).view(np.ndarray).view(np.int64)
        size = self._dtype.itemsize // WORD
        while data.size:
            taken = data[: (BLOCK - self._filled) * size]
            self._room.rows[self._filled * size : self._filled * size + taken.size] = taken
            self._filled += taken.size // size
            data = data[taken.size :]
            if self._filled == BLOCK:
                self._flush()

    def close(self) -> None:
        """Write the last rows."""
        if self._filled:
            self._flush()
        _SPARE_ROOMS.give_back(self._dtype, self._room)

    def _flush(self) -> None:
        room, count = self._room, self._filled
        stride = self._pack(room.rows, count, masks_of(self._dtype), room.block, room.packed)
        room.head[COUNT], room.head[STRIDE] = count, stride
        self._file.write(room.head.view(np.uint8).data)
        self._file.write(room.packed.one[: count * stride * WORD].data)
        self._filled = 0


class Rows:
    """The rows of one table, as they were written."""

    def __init__(self, path: Place, dtype: np.dtype[Any], *, compiled: bool) -> None:
        self.dtype, self.size = dtype, 0
        self._packed, size = _words_of(path), dtype.itemsize // WORD
        heads, limits, at = list[Words](), list[tuple[int, int]](), 0
        while at < self._packed.size:
            heads.append(self._packed[at + HEAD : at + HEAD + 3 * size])
            count, stride = self._packed[at : at + HEAD].tolist()
            at += HEAD + 3 * size
            limits.append((at, stride))
            at += count * stride
            self.size += count
        blocks = np.array(heads, np.int64).reshape(len(heads), 3, size)
        self._how = how_to_read(blocks, np.array(limits, np.int64).reshape(len(heads), 2))
        self._unpack = load(unpack, compiled=compiled)
        self._unpack_word = load(unpack_word, compiled=compiled)

    def column(self, name: str, room: Words | None = None) -> Words:
        """One column of eight bytes of all rows; ``room``: memory for it."""
        found = zeros(self.size, np.int64) if room is None else room
        assert self.dtype.fields is not None
        self._unpack_word(self._packed, self._how, self.dtype.fields[name][1] // WORD, found)
        return found

    def take(self, order: Words, begin: int, rows: NDArray[Any]) -> None:
        """Make the rows that ``order`` names from its place ``begin`` on: as many as there is room for."""
        room = rows.view(np.ndarray).view(np.int64)
        self._unpack(self._packed, self._how, order, begin, rows.size, room)

    def whole_connections(self, pieces: Buffers) -> Iterator[NDArray[Any]]:
        """About ``PIECE_ROWS`` rows at a time, up to where a connection ends; ``pieces``: memory for them."""
        ids, order = self.column("connection_id"), np.arange(self.size)
        cuts = [0]
        while cuts[-1] < self.size:
            cut = min(cuts[-1] + PIECE_ROWS, self.size)
            while cut < self.size and ids[cut] == ids[cut - 1]:
                cut += 1
            cuts.append(cut)
        for begin, end in pairwise(cuts):
            is_long = end - begin > MOST_PIECE_ROWS
            piece = np.empty(end - begin, self.dtype) if is_long else np.asarray(pieces.take())[: end - begin]
            self.take(order, begin, piece)
            yield piece
            del piece


def _words_of(path: Place) -> Words:
    """All of a file, mapped. Kernels ask for memory that may be written; the file is not."""
    if isinstance(path, Object):
        return np.frombuffer(bytearray(path.read_bytes()), np.int64)
    return np.memmap(path, np.int64, "c").view(np.ndarray) if path.stat().st_size else np.zeros(0, np.int64)
