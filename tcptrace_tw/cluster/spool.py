"""The spool: what tasks hand to each other lies in files, which appear whole or not at all.

A task writes its output under a name of its own, gives it its final name, and writes the note about it last. A note
holds the digests of what it is about, so a task that is found done is not done again. All of it is named by the plan:
another plan has another folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.cluster.dealing import EIGHT, FOUR, ONE, TWO, Dealt, take_up
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

COLUMNS = [(name, width) for names, width in ((EIGHT, 8), (FOUR, 4), (TWO, 2), (ONE, 1)) for name in names]


class Hashed:
    """A file that is being written, and the digest of what was."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.blake2b(digest_size=16)
        self.size = 0

    def write(self, data: Any) -> None:
        """Add bytes."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """Of all that was written."""
        return self._hash.hexdigest()


@contextmanager
def appearing(path: Place) -> Iterator[Hashed]:
    """A file that has its name when this block ends well; otherwise nothing is left of it."""
    if isinstance(path, Object):
        with SpooledTemporaryFile(MEMORY_BYTES) as buffer:
            yield Hashed(buffer)  # type: ignore[arg-type] # it is written like a file
            buffer.seek(0)
            path.put(buffer)  # type: ignore[arg-type]
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.partial")
    try:
        with partial.open("xb", buffering=1 << 18) as file:
            yield Hashed(file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_note(path: Place, note: Any) -> None:
    """Write a note: the last thing that a task does."""
    with appearing(path) as file:
        file.write(json.dumps(note).encode())


def read_note(path: Place) -> Any:
    """A note, or None where a task has not been done, or its note cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def is_whole(path: Place, digest: str) -> bool:
    """Whether a file is there and has this digest."""
    try:
        if isinstance(path, Object):
            found = hashlib.blake2b(digest_size=16)
            for chunk in path.chunks():
                found.update(chunk)
            return found.hexdigest() == digest
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest() == digest
    except OSError:
        return False


def encode(dealt: Dealt, part: int, codec: int) -> bytes:
    """The block of a part: its head, then the columns that are not all zeros, one behind the other."""
    size = int(dealt.fill[part])
    groups = [dealt.eight, dealt.four, dealt.two, dealt.one] if dealt.is_wide[part] else [None, dealt.four, dealt.two,
                                                                                         dealt.one]  # fmt: skip
    kept, bits, number = [], 0, 0
    for group, names in zip(groups, (EIGHT, FOUR, TWO, ONE), strict=True):
        for place in range(len(names)):
            if group is not None and (column := group[part, place, :size]).any():
                kept.append(column)
                bits |= 1 << number
            number += 1
    plain = b"".join(column.data for column in kept)
    stored = _packed(plain, codec)
    head = np.zeros(1, HEAD)
    head["size"], head["stored"], head["plain"], head["columns"] = size, len(stored), len(plain), bits
    head["first"], head["codec"], head["is_wide"] = dealt.first[part], codec, dealt.is_wide[part]
    return head.tobytes() + stored


def _packed(plain: bytes, codec: int) -> bytes:
    if CODECS[codec] == "none":
        return plain
    import pyarrow as pa

    packed: bytes = pa.compress(plain, CODECS[codec] + "_raw", asbytes=True)
    return packed


class BlockReader:
    """Reads the blocks of one part back, as batches of segments."""

    def __init__(self, *, compiled: bool) -> None:
        self._take_up = load(take_up, compiled=compiled)
        self._batch = allocate(MOST)
        self._groups = {width: np.zeros((len(names), MOST), f"u{width}") for names, width in
                        ((FOUR, 4), (TWO, 2), (ONE, 1))}  # fmt: skip
        self._groups[8] = np.zeros((len(EIGHT), MOST), np.int64)

    def batches(self, path: Place, places: list[list[int]]) -> Iterator[Segments]:
        """The blocks at these offsets and of these sizes, each a batch; a batch is valid until the next one."""
        if isinstance(path, Object):
            for some in together(places):
                yield from map(self._read, path.ranges(some))
            return
        with path.open("rb") as file:
            for offset, size in places:
                file.seek(offset)
                yield self._read(file.read(size))

    def _read(self, block: bytes) -> Segments:
        head = np.frombuffer(block, HEAD, 1)[0]
        size, codec, data = int(head["size"]), CODECS[int(head["codec"])], block[HEAD.itemsize :]
        if codec != "none":
            import pyarrow as pa

            data = pa.decompress(data, int(head["plain"]), codec + "_raw", asbytes=True)
        at, seats = 0, dict.fromkeys(self._groups, 0)
        for number, (_, width) in enumerate(COLUMNS):
            column = self._groups[width][seats[width]]
            seats[width] += 1
            if int(head["columns"]) >> number & 1:
                column[:size] = np.frombuffer(data, column.dtype, size, at)
                at += size * width
            else:
                column[:size] = 0
        first = head["first"].astype(np.int64)
        groups = [self._groups[width] for width in (8, 4, 2, 1)]
        self._take_up(self._batch, size, first, bool(head["is_wide"]), *groups)
        return self._batch[:size]


def together(places: list[list[int]]) -> Iterator[list[list[int]]]:
    """Blocks that are asked of a store at once: some megabytes."""
    some: list[list[int]] = []
    for each in places:
        if some and sum(size for _, size in some) + each[1] > CHUNK_BYTES:
            yield some
            some = []
        some.append(each)
    if some:
        yield some


def append_rows(file: Hashed, rows: NDArray[Any]) -> None:
    """Write records as they are, with zeros between their fields: nobody has set what was there."""
    data = np.ascontiguousarray(rows).view(np.uint8).reshape(rows.size, rows.dtype.itemsize)
    gaps = _gaps(rows.dtype)
    if gaps.size:
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
