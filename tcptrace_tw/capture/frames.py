"""Frames as the file formats deliver them: where each lies in the window, how long it is, and when it came."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.jit import kernel


class Frames(NamedTuple):
    """Columns of equal length: ns since 1970, offset in the window, captured and original length, link type."""

    time: NDArray[np.int64]
    at: NDArray[np.int32]
    caplen: NDArray[np.int32]
    wirelen: NDArray[np.int32]
    link: NDArray[np.int32]


# How a scan ended.
DRY, FULL, DAMAGED, BLOCK = range(4)

WIRELEN_MAX = 0x7FFFFFFF

Totals = np.dtype(
    [
        (name, "i8")
        for name in ("frames", "captured_bytes", "wire_bytes", "first_time", "last_time", "time", "backward_steps")
    ]
)


def allocate(size: int) -> Frames:
    """Room for ``size`` frames."""
    return Frames(np.zeros(size, np.int64), *(np.zeros(size, np.int32) for _ in range(4)))


@kernel
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
