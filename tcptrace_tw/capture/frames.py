"""Frames as the file formats deliver them: where each lies in the window, how long it is, and when it came."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcptrace_tw.jit import inlined
from tcptrace_tw.memory import zeros
from tcptrace_tw.spec.segments import MOST

_COLUMNS = (("time", "i8"), ("at", "i4"), ("caplen", "i4"), ("wirelen", "i4"), ("link", "i4"))
_RECORD = np.dtype([(name, kind, MOST) for name, kind in _COLUMNS])


class Frames:
    """Columns of equal length: ns since 1970, offset in the window, captured and original length, link type.

    A compiled kernel knows all of them by the address of one record.
    """

    def __init__(self, size: int, *, compiled: bool) -> None:
        record = zeros(1, _RECORD)
        self.time, self.at, self.caplen, self.wirelen, self.link = (record[name][0][:size] for name, _ in _COLUMNS)
        self._record = record.view(np.recarray) if compiled else None

    @property
    def as_argument(self) -> Any:
        """How kernels take the frames: the first item of it has the columns."""
        return (self,) if self._record is None else self._record


# How a scan ended.
DRY, FULL, DAMAGED, BLOCK = range(4)

WIRELEN_MAX = 0x7FFFFFFF


class Totals(NamedTuple):
    """What is added up over all frames of a file."""

    frames: int
    captured_bytes: int
    wire_bytes: int
    first_time: int
    last_time: int
    time: int
    """Of the frame before."""
    backward_steps: int
    truncated_options: int


TOTALS = np.dtype([(name, "i8") for name in Totals._fields])


@inlined
def survey(frames: Any, count: int, totals: Any) -> None:
    """Add the first ``count`` frames to the totals of the file (one record)."""
    t = totals[0]
    captured, wire, backward = 0, 0, 0
    first, last, before = int(t.first_time), int(t.last_time), int(t.time)
    for i in range(count):
        time = int(frames.time[i])
        captured += int(frames.caplen[i])
        wire += int(frames.wirelen[i])
        backward += 1 if time < before else 0
        first = min(first, time)
        last = max(last, time)
        before = time
    t.frames += count
    t.captured_bytes += captured
    t.wire_bytes += wire
    t.backward_steps += backward
    t.first_time, t.last_time, t.time = first, last, before
