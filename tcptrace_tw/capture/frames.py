"""Frames as the file formats deliver them: where each lies in the window, how long it is, and when it came."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.kinds import Array
from tcptrace_tw.kernels.marks import inlined, kernel
from tcptrace_tw.schema.segments import MOST

_COLUMNS = (("time", "i8"), ("at", "i4"), ("caplen", "i4"), ("wirelen", "i4"), ("link", "i4"))
_RECORD = np.dtype([(name, kind, MOST) for name, kind in _COLUMNS])

FRAMES_KIND = Array(_RECORD)


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

TIME_MAX = 4_600_000_000_000_000_000
"""The latest time that is believed, in October 2115: twice as much, or the end of any timer after it, is an int64.

pcap ends in 2106. -1 means "no time" in rows, so times before 1970 are not believed either.
"""


class Totals(NamedTuple):
    """What is added up over all frames of a file."""

    frames: int
    captured_bytes: int
    wire_bytes: int
    first_time: int
    last_time: int
    time: int
    """Of the frame before."""
    told_time: int
    """The same as the file has it."""
    backward_steps: int
    truncated_options: int
    unfit_times: int
    """Frames with a time that is not believed."""
    damaged: int
    """Segments that no stack sends (see ``damage``)."""


TOTALS = np.dtype([(name, "i8") for name in Totals._fields])

TOTALS_KIND = Array(TOTALS)


@inlined
def is_fit(time: int) -> bool:
    """Whether a time is believed: from 1970 to ``TIME_MAX``."""
    return 0 <= time <= TIME_MAX


@inlined
def survey(frames: Any, count: int, totals: Any) -> None:
    """Add the first ``count`` frames to the totals of the file (one record).

    A time that is not believed is replaced before: see ``replace_times``.
    """
    t = totals[0]
    captured, wire, backward, first, last, before = _sums(frames, count, t)
    told = before
    if first < 0 or last > TIME_MAX:
        told = replace_times(frames, count, totals)
        captured, wire, backward, first, last, before = _sums(frames, count, t)
    t.frames += count
    t.captured_bytes += captured
    t.wire_bytes += wire
    t.backward_steps += backward
    t.first_time, t.last_time, t.time, t.told_time = first, last, before, told


@inlined
def _sums(frames: Any, count: int, t: Any) -> tuple[int, int, int, int, int, int]:
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
    return captured, wire, backward, first, last, before


@kernel
def replace_times(frames: Any, count: int, totals: Any) -> int:
    """Replace the times that are not believed; returns the last time as the file has it.

    Such a frame goes on from the frame before it. Times that are all too early, or all too late, keep their distances:
    the clock was wrong, but it went. Else, and where the sum is not believed either, the frame gets the time of the one
    before it; the first frame gets 1970.
    """
    t = totals[0]
    before, told_before = int(t.time), int(t.told_time)
    for i in range(count):
        told = int(frames.time[i])
        if not is_fit(told):
            time = before
            if (told < 0 and told_before < 0) or (told > TIME_MAX and told_before > TIME_MAX):
                time += told - told_before  # a sum that is no int64 turns out negative
            frames.time[i] = time if is_fit(time) else before
            t.unfit_times += 1
        before, told_before = int(frames.time[i]), told
    return told_before
