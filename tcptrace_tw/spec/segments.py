"""The passing batch: one array per column of ``columns.SEGMENTS``, bundled so that a kernel takes it as one argument."""

from collections import namedtuple

import numpy as np

from tcptrace_tw.spec.columns import SEGMENTS

_FIELDS = [field for column in SEGMENTS.columns for field in column.fields]

Segments = namedtuple("Segments", [name for name, _ in _FIELDS])  # type: ignore[misc]
"""Columns of equal length. A batch is only valid until the next one is read: copy what must outlive it."""


def allocate(size: int) -> Segments:
    """A batch with room for ``size`` segments."""
    return Segments(*(np.zeros(size, dtype) for _, dtype in _FIELDS))


def head(batch: Segments, size: int) -> Segments:
    """The first ``size`` segments of a batch, as views."""
    return Segments(*(column[:size] for column in batch))
