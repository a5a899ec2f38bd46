"""The passing batch: an array of records, one for each segment, as ``columns.SEGMENTS`` declares them.

Each room fills fields of its own: capture what stands in the frame, flow what keeps the segments of a tuple together,
tcp the states after it. A batch is only valid until the next one is read: copy what must outlive it.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.bounds import within
from tcptrace_tw.kernels.intrinsics import item_at, prefetch_item
from tcptrace_tw.kernels.kinds import Array
from tcptrace_tw.kernels.marks import inlined, intrinsic
from tcptrace_tw.schema.columns import SEGMENTS

LINE = 64
"""Bytes of a cache line."""

MOST = 1 << 15
"""The most segments of a batch."""

SHARD_BITS = 8
SHARDS = 1 << SHARD_BITS
"""4-tuples are dealt to so many shards by a fixed hash: what is looked for within one does not depend on the others."""

PRINT_PLACES = 1 << 22
"""The lower bits of ``print`` are a place below this, where the copies of a segment are looked for.

The lowest of them are the shard of its 4-tuple."""

_FIELDS = [field for column in SEGMENTS.columns for field in column.fields]
_WIDTH = sum(np.dtype(kind).itemsize for _, kind in _FIELDS)

SEGMENT = np.dtype([*_FIELDS, ("room", "u1", -_WIDTH % LINE)])
"""A record fills two cache lines: what moves states is declared first, so that it lies in the first one."""

BATCH_KIND = Array(SEGMENT)

Segments = Any
"""A recarray of ``SEGMENT``: ``batch.seq`` is a column (but the flags are ``batch["flags"]``), ``batch[i]`` a segment."""

Seg = Any
"""One segment, as kernels read it: ``seg.flags`` is a number."""

Segment = namedtuple("Segment", SEGMENT.names or ())  # type: ignore[misc]
"""The same for interpreted kernels: plain numbers."""


def allocate(size: int) -> Segments:
    """A batch with room for ``size`` segments, at most ``MOST``, from the beginning of a cache line on."""
    if size > MOST:
        raise ValueError(f"a batch holds at most {MOST} segments, not {size}")
    return zeros(size, SEGMENT, align=LINE).view(np.recarray)


@intrinsic(item_at)
def segment_at(batch: Any, i: Any) -> Any:
    """Segment ``i`` of a batch, to be read."""
    return Segment._make(batch[within("batch", i, batch.size)].item())


@intrinsic(prefetch_item)
def prefetch(array: Any, i: Any) -> None:
    """Soon ``array[i]`` will be asked for."""


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

SHARD_FACTORS = (0x1E3779B97F4A7C15, 0x42B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 0x3C6EF372FE94F82B,
                 0x510E527FADE682D1)  # fmt: skip
SHARD_FACTOR = 0x2545F4914F6CDD1D


@inlined
def shard_of(a_lo: int, b_lo: int, ports: int, a_hi: int, b_hi: int, scope: int) -> int:
    """The shard of a 4-tuple and its scope, the same in every run: by it copies are looked for, and archives dealt."""
    word = int(a_lo) * SHARD_FACTORS[0] ^ int(b_lo) * SHARD_FACTORS[1] ^ int(ports) * SHARD_FACTORS[2]
    if (a_hi | b_hi | scope) != 0:
        word += int(a_hi) * SHARD_FACTORS[3] ^ int(b_hi) * SHARD_FACTORS[4] ^ int(scope) * SHARD_FACTORS[5]
    word = (word >> 29 & 0x7FFFFFFFF) * SHARD_FACTOR
    return word >> 52 & (SHARDS - 1)
