"""The passing batch: one array per column of ``columns.SEGMENTS``, bundled so that a kernel takes it as one argument."""

from collections import namedtuple
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.spec.columns import SEGMENTS

_FIELDS = [field for column in SEGMENTS.columns for field in column.fields]

if TYPE_CHECKING:

    class Segments(tuple[NDArray[Any], ...]):
        """The same for the type checker, which cannot follow the declaration."""

        _fields: tuple[str, ...]

        def __new__(cls, *columns: NDArray[Any]) -> Self:
            """One array a column."""

        def __getattr__(self, name: str) -> NDArray[Any]:
            """A column."""

else:
    Segments = namedtuple("Segments", [name for name, _ in _FIELDS])
    """Columns of equal length. A batch is only valid until the next one is read: copy what must outlive it."""


MOST = 1 << 14
"""The most segments of a batch: compiled kernels take a batch as one record with this room in every column."""

BATCH = np.dtype([(name, dtype, MOST) for name, dtype in _FIELDS])


def allocate(size: int) -> Segments:
    """A batch with room for ``size`` segments, at most ``MOST``."""
    if size > MOST:
        raise ValueError(f"a batch holds at most {MOST} segments, not {size}")
    record = np.zeros(1, BATCH)
    return Segments(*(record[name][0][:size] for name, _ in _FIELDS))


def head(batch: Segments, size: int) -> Segments:
    """The first ``size`` segments of a batch, as views."""
    return Segments(*(column[:size] for column in batch))


def segment_record(batch: Segments) -> Any:
    """The record that the columns of a batch lie in, as compiled kernels take it; a copy where they lie elsewhere."""
    record = batch.frame.base
    if record is None or record.dtype != BATCH or batch.frame.ctypes.data != record.ctypes.data:
        size = batch.frame.size
        record = np.zeros(1, BATCH)
        for name, _ in _FIELDS:
            record[name][0][:size] = getattr(batch, name)
    return record[0]


TUPLE = np.dtype(
    [
        ("a_hi", "i8"),
        ("a_lo", "i8"),
        ("b_hi", "i8"),
        ("b_lo", "i8"),
        ("scope", "i8"),
        ("batch", "u4"),  # the number of the last batch with a segment of it
        ("a_port", "u2"),
        ("b_port", "u2"),
    ]
)
"""Endpoint a is the lesser of the two by (address, port): both directions of a tuple have one key."""


class Places(NamedTuple):
    """Where the segments of a batch belong; valid until as many more batches have come as there are buffers."""

    number: int
    """Of the batch."""
    slots: NDArray[np.int32]
    directions: NDArray[np.uint8]
    """0: sent by endpoint a of the tuple, 1: by b."""
    hashes: NDArray[np.int64]
    """Of the tuples, 32 bits."""


def make_places() -> Places:
    """Places for as many segments as a batch has at the most."""
    return Places(0, np.zeros(MOST, np.int32), np.zeros(MOST, np.uint8), np.zeros(MOST, np.int64))
