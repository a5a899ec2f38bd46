"""The clock of the capture: it never goes back for the tracker, and what made it go back is told apart.

A frame may be written late, and the next ones go on as before. A frame may have an absurd time, far ahead, and all that
follow seem to go back. Files may be joined one behind the other in the wrong order, or the same one twice. Or the clock
of the capturing host was set: then connections go on across the step.
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.tcp.store.records import (
    ABSURD_TIMES,
    BACK_RUN,
    BACK_SINCE,
    BACKWARD_FRAME,
    FIRST_PRINT,
    LATE_FRAMES,
    LEAP_FROM,
    LEAP_RUN,
    MAX_BACKWARD,
    NOW,
    REPEATED_FRAMES,
    REPEATED_UNTIL,
    START,
    STEPS_BACK,
)

BACK_NS = 1_000_000_000
"""Frames that are out of order by less are not worth a word."""

AGAIN_NS = 20_000_000
"""The first frame comes again so much later: not a copy that the tap made (see duplicate_frames)."""

LEAP_NS = 3_600_000_000_000
"""A pause of the capture that is shorter is believed."""

LATE_NS = 60_000_000_000
"""No frame waits longer to be written."""

FEW = 3
"""So many frames may be late, or have an absurd time; more of them in a row are another clock."""


@kernel
def advance_clock(counters, time, frame):  # type: ignore[no-untyped-def]
    """The clock of the tracker never goes back: a segment captured late counts as captured now."""
    if counters[START] < 0:
        counters[START] = time
        counters[NOW] = time
    elif time >= counters[NOW]:
        if counters[BACK_RUN]:
            end_run(counters)
        if time - counters[NOW] >= LEAP_NS:
            counters[LEAP_FROM] = counters[NOW]
            counters[LEAP_RUN] = 0
        counters[LEAP_RUN] += 1
        counters[NOW] = time
    else:
        go_back(counters, time, frame)


@kernel
def go_back(counters, time, frame):  # type: ignore[no-untyped-def]
    """A frame is older than one before it."""
    back = counters[NOW] - time
    if back > counters[MAX_BACKWARD]:
        counters[MAX_BACKWARD] = back
        counters[BACKWARD_FRAME] = frame
    if back < BACK_NS or counters[ABSURD_TIMES]:
        return
    if counters[BACK_RUN] == 0 and counters[LEAP_RUN] <= FEW and 0 <= counters[LEAP_FROM] <= time:
        counters[ABSURD_TIMES] = counters[LEAP_RUN]  # the frames before it had leapt ahead, and it goes on from there
        return
    before = counters[BACK_RUN]
    if before == 0:
        counters[BACK_SINCE] = frame
    counters[BACK_RUN] = max(before + 1, FEW + 1 if back > LATE_NS else 0)
    if before <= FEW < counters[BACK_RUN]:
        counters[STEPS_BACK] += 1


@kernel
def end_run(counters):  # type: ignore[no-untyped-def]
    """The time has caught up with the latest frame: those before were few and late, or many."""
    if counters[BACK_RUN] <= FEW:
        counters[LATE_FRAMES] += counters[BACK_RUN]
    counters[BACK_RUN] = 0


@kernel
def is_repeated(counters, seg):  # type: ignore[no-untyped-def]
    """Whether the capture holds itself again: from its first frame on, with the same time, all has been captured."""
    if counters[FIRST_PRINT] == 0:
        counters[FIRST_PRINT] = seg.print
    time = np.int64(seg.time)
    if time == counters[START] and seg.print == counters[FIRST_PRINT] and counters[NOW] - time >= AGAIN_NS:
        counters[REPEATED_UNTIL] = counters[NOW]
    if counters[REPEATED_UNTIL] < time:
        return False
    counters[REPEATED_FRAMES] += 1
    counters[BACK_RUN] = 0
    return True
