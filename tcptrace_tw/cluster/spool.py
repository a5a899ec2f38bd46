"""The spool: what tasks hand to each other lies in files, which appear whole or not at all.

A task writes its output under a name of its own, gives it its final name, and writes the note about it last. A note
holds the digests of what it is about, and of the task, so a task that is found done is not done again, unless what it
rests on has changed. All of it is named by the plan: another plan has another folder.

The digest of a file shows damage, such as data that never reached the disk before the power failed. No later run reads
a temporary spool, so the digest there is the size alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.cluster.dealing import EIGHT, FOUR, ONE, TWO, Dealt, Places, take_up
from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.marks import load
from tcptrace_tw.schema.segments import MOST, Segments, allocate
from tcptrace_tw.storage import CHUNK_BYTES, Object, Place

CODECS = ("none", "lz4")

MEMORY_BYTES = 1 << 22
"""What a store gets is kept in memory up to this, beyond it in a temporary file."""

HEAD = np.dtype(
    [("size", "i8"), ("first", "i8", 2), ("stored", "i8"), ("plain", "i8"), ("columns", "u4"), ("codec", "u1"),
     ("is_wide", "u1"), ("rest", "u2")]
)  # fmt: skip
"""What stands before the columns of a block. ``columns``: a bit for each that is not all zeros."""

WIDTHS = ((EIGHT, 8), (FOUR, 4), (TWO, 2), (ONE, 1))
"""How many columns a block has of each width, in its order."""

ZEROS = 8 * MOST
"""Bytes of zeros before a block in memory: a column that the block does not have is read from them."""

READ_AT_ONCE = 1 << 20


class Hashed:
    """A file that is being written, and the digest of what was."""

    def __init__(self, file: BinaryIO, *, is_checked: bool) -> None:
        self._file, self.is_checked = file, is_checked
        self._sum = self.size = 0

    def write(self, data: Any) -> None:
        """Add bytes, or an array of them."""
        self._file.write(data)
        if self.is_checked:
            self._sum = zlib.crc32(data, self._sum)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """Of all that was written."""
        return f"{self.size}-{self._sum:08x}" if self.is_checked else str(self.size)


@contextmanager
def appearing(path: Place, *, is_checked: bool = False) -> Iterator[Hashed]:
    """A file that has its name when this block ends well; otherwise nothing is left of it."""
    if isinstance(path, Object):
        with SpooledTemporaryFile(MEMORY_BYTES) as buffer:
            yield Hashed(buffer, is_checked=is_checked)  # type: ignore[arg-type] # it is written like a file
            buffer.seek(0)
            path.put(buffer)  # type: ignore[arg-type]
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.partial")
    try:
        with partial.open("xb") as file:
            yield Hashed(file, is_checked=is_checked)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_note(path: Place, note: Any) -> None:
    """Write a note: the last thing that a task does."""
    with appearing(path) as file:
        file.write(json.dumps(note).encode())


def digest_of(value: Any) -> str:
    """What tells whether a task is still the same: a digest of anything that a note can hold."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=12).hexdigest()


def read_note(path: Place) -> Any:
    """A note, or None where a task has not been done, or its note cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def is_whole(path: Place, digest: str) -> bool:
    """Whether a file is there and has this digest."""
    size, _, checksum = digest.partition("-")
    found = 0
    try:
        if size_of(path) != int(size):
            return False
        for data in pieces_of(path) if checksum else ():
            found = zlib.crc32(data, found)
    except (OSError, ValueError):
        return False
    return not checksum or f"{found:08x}" == checksum


def size_of(path: Place) -> int:
    """Bytes of a file or an object; ``FileNotFoundError`` where there is none."""
    if not isinstance(path, Object):
        return path.stat().st_size
    state = path.state()
    if state is None:
        raise FileNotFoundError(f"{path}: there is no such object")
    return state[0]


def pieces_of(path: Place) -> Iterator[bytes]:
    """All of a file, some of it at a time."""
    if isinstance(path, Object):
        yield from path.chunks()
        return
    with path.open("rb", buffering=0) as file:
        while data := file.read(READ_AT_ONCE):
            yield data


def write_block(file: Hashed, dealt: Dealt, part: int, codec: int) -> None:
    """Write the block of a part: its head, then the columns that are not all zeros."""
    size, is_wide = int(dealt.fill[part]), int(dealt.is_wide[part])
    kept, bits, number = [], 0, 0
    for (count, _), group in zip(WIDTHS, (dealt.eight, dealt.four, dealt.two, dealt.one), strict=True):
        for place in range(count):
            if (group is not dealt.eight or is_wide) and (column := group[part, place, :size]).any():
                kept.append(column.view(np.uint8))
                bits |= 1 << number
            number += 1
    plain = sum(len(column) for column in kept)
    stored = [_packed(b"".join(column.data for column in kept), codec)] if CODECS[codec] != "none" else kept
    head = np.zeros(1, HEAD)
    head["size"], head["stored"], head["plain"], head["columns"] = size, sum(map(len, stored)), plain, bits
    head["first"], head["codec"], head["is_wide"] = dealt.first[part], codec, is_wide
    for piece in (head.tobytes(), *stored):
        file.write(piece)


def _packed(plain: bytes, codec: int) -> bytes:
    import pyarrow as pa

    packed: bytes = pa.compress(plain, CODECS[codec] + "_raw", asbytes=True)
    return packed


class BlockSource(NamedTuple):
    """Blocks of one file, by offset, size and rows; ``frames_before`` is added to the frame of each segment."""

    path: Place
    frames_before: int
    places: list[list[int]]


class BlockReader:
    """Reads the blocks of one part back, as batches of segments."""

    def __init__(self, *, compiled: bool) -> None:
        self._take_up = load(take_up, compiled=compiled)
        self._batch = allocate(MOST)
        room = zeros(ZEROS + 2 * (HEAD.itemsize + MOST * sum(n * width for n, width in WIDTHS)), np.uint8, align=8)
        self._block = room[ZEROS:]
        self._at = Places(*(np.zeros(count, np.int64) for count, _ in WIDTHS))
        self._memory = [room.view(dtype) for dtype in (np.int64, np.uint32, np.uint16, np.uint8)]

    def batches(self, sources: Iterable[BlockSource]) -> Iterator[Segments]:
        """The blocks of files one behind the other, in batches as large as can be; one is valid until the next."""
        filled = 0
        for path, frames_before, places in sources:
            for rows in self._blocks(path, places):
                if filled + rows > MOST:
                    yield self._batch[:filled]
                    filled = 0
                self._append(filled, frames_before)
                filled += rows
        yield self._batch[:filled]

    def _blocks(self, path: Place, places: list[list[int]]) -> Iterator[int]:
        """Read one block after the other; the result is how many rows it has."""
        if isinstance(path, Object):
            for some in together(places):
                blocks = path.ranges([[offset, size] for offset, size, _ in some])
                for block, (_, size, rows) in zip(blocks, some, strict=True):
                    self._block[:size] = np.frombuffer(block, np.uint8)
                    yield rows
            return
        with path.open("rb") as file:
            for offset, size, rows in places:
                file.seek(offset)
                file.readinto(memoryview(self._block)[:size])
                yield rows

    def _append(self, start: int, frames_before: int) -> None:
        """Make segments of the block that has been read: from row ``start`` of the batch on."""
        head = self._block[: HEAD.itemsize].view(HEAD)[0]
        size, first, is_wide = int(head["size"]), head["first"] + (0, frames_before), bool(head["is_wide"])
        codec = CODECS[int(head["codec"])]
        if codec != "none":
            import pyarrow as pa

            stored = self._block[HEAD.itemsize : HEAD.itemsize + int(head["stored"])]
            data = pa.decompress(stored, int(head["plain"]), codec + "_raw")
            self._block[HEAD.itemsize : HEAD.itemsize + len(data)] = np.frombuffer(data, np.uint8)
        self._find_columns(size, int(head["columns"]))
        self._take_up(self._batch, start, size, first, is_wide, self._at, *self._memory)

    def _find_columns(self, size: int, columns: int) -> None:
        """Note where the columns begin; ``columns`` has a bit for each that is there."""
        at = ZEROS + HEAD.itemsize
        for (count, width), places in zip(WIDTHS, self._at, strict=True):
            for place in range(count):
                places[place] = at // width if columns & 1 else 0
                at += size * width * (columns & 1)
                columns >>= 1


def together(places: list[list[int]]) -> Iterator[list[list[int]]]:
    """Blocks that are asked of a store at once: some megabytes."""
    some: list[list[int]] = []
    for each in places:
        if some and sum(size for _, size, _ in some) + each[1] > CHUNK_BYTES:
            yield some
            some = []
        some.append(each)
    if some:
        yield some


def append_rows(file: Hashed, rows: NDArray[Any]) -> None:
    """Write records as they are. If the file is checked, clear the padding between their fields first."""
    data = np.ascontiguousarray(rows).view(np.uint8).reshape(rows.size, rows.dtype.itemsize)
    gaps = _gaps(rows.dtype)
    if gaps.size and file.is_checked:
        data[:, gaps] = 0
    file.write(data.reshape(-1).data)


@cache
def _gaps(dtype: np.dtype[Any]) -> NDArray[np.int64]:
    """The bytes of a record that belong to no field."""
    is_free = np.ones(dtype.itemsize, np.bool_)
    if dtype.fields is None:
        is_free[:] = False
    for kind, at, *_ in (dtype.fields or {}).values():
        is_free[at : at + kind.itemsize] = False
    return np.flatnonzero(is_free)
