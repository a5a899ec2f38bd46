"""The passing batch: one array per column of ``columns.SEGMENTS``, bundled so that a kernel takes it as one argument."""

from collections import namedtuple
from typing import Any

import numpy as np

from tcptrace_tw.spec.columns import SEGMENTS

_FIELDS = [field for column in SEGMENTS.columns for field in column.fields]

Segments = namedtuple("Segments", [name for name, _ in _FIELDS])  # type: ignore[misc]
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
    return record.view(np.recarray)[0]
