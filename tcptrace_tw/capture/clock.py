"""The clock of one file: what made it go back is told apart, and each segment that this matters to is marked.

A frame may be written late, and the next ones go on as before. A frame may have an absurd time, far ahead, and all that
follow seem to go back. Files may be joined one behind the other in the wrong order, or the same one twice. Or the clock
of the capturing host was set: then connections go on across the step.

Each file has a clock of its own, so that what is known of it does not depend on the other files of the capture.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.kernels.marks import entry, kernel, load
from tcptrace_tw.schema.columns import BEHIND, REPEATED
from tcptrace_tw.schema.segments import BATCH_KIND, Seg, Segments, segment_at

BACK_NS = 1_000_000_000
"""Frames that are out of order by less are not worth a word."""

AGAIN_NS = 20_000_000
"""The first frame comes again so much later: not a copy that the tap made (see ``tcp.machine.duplicate_frames``)."""

LEAP_NS = 3_600_000_000_000
"""A pause of the capture that is shorter is believed."""

LATE_NS = 60_000_000_000
"""No frame waits longer to be written."""

FEW = 3
"""So many frames may be late, or have an absurd time; more of them in a row are another clock."""

(
    NOW,
    START,
    MAX_BACKWARD,
    BACKWARD_FRAME,
    BACK_RUN,  # frames in a row that are older than one before them
    LEAP_FROM,
    LEAP_RUN,
    LATE_FRAMES,
    ABSURD_TIMES,
    STEPS_BACK,
    REPEATED_UNTIL,
    REPEATED_FRAMES,
    FIRST,
) = range(13)

FIRST_NAMES = ("src_hi", "src_lo", "dst_hi", "dst_lo", "scope", "sport", "dport", "seq", "ack", "tsval", "payload_len",
               "ip_id", "flags", "checksum")  # fmt: skip
WORDS = FIRST + len(FIRST_NAMES)
"""The first segment is kept from ``FIRST`` on."""


@entry(BATCH_KIND, INTEGER, Array(np.int64))
def mark_by_clock(batch: Segments, size: int, clock: Any) -> None:
    """Take a batch, and mark the segments before which the time has gone back, and those of a file in itself."""
    for i in range(size):
        seg = segment_at(batch, i)
        time = seg.time
        advance(clock, seg, time)
        if time == clock[START] or time <= clock[REPEATED_UNTIL]:
            if is_repeated(clock, seg, time):
                record_of(batch, i).options |= REPEATED
        if clock[BACK_RUN]:
            record_of(batch, i).options |= BEHIND


@kernel
def advance(clock: Any, seg: Seg, time: int) -> None:
    """The clock never goes back; what would make it do so is noted."""
    if clock[START] < 0:
        clock[START] = time
        clock[NOW] = time
        keep_first(clock, seg)
    elif time >= clock[NOW]:
        if clock[BACK_RUN]:
            end_run(clock)
        if time - clock[NOW] >= LEAP_NS:
            clock[LEAP_FROM] = clock[NOW]
            clock[LEAP_RUN] = 0
        clock[LEAP_RUN] += 1
        clock[NOW] = time
    else:
        go_back(clock, time, seg.frame)


@kernel
def go_back(clock: Any, time: int, frame: int) -> None:
    """A frame is older than one before it."""
    back = clock[NOW] - time
    if back > clock[MAX_BACKWARD]:
        clock[MAX_BACKWARD] = back
        clock[BACKWARD_FRAME] = frame
    if back < BACK_NS or clock[ABSURD_TIMES]:
        return
    if clock[BACK_RUN] == 0 and clock[LEAP_RUN] <= FEW and 0 <= clock[LEAP_FROM] <= time:
        clock[ABSURD_TIMES] = clock[LEAP_RUN]  # the frames before it had leapt ahead, and it goes on from there
        return
    before = clock[BACK_RUN]
    clock[BACK_RUN] = max(before + 1, FEW + 1 if back > LATE_NS else 0)
    if before <= FEW < clock[BACK_RUN]:
        clock[STEPS_BACK] += 1


@kernel
def end_run(clock: Any) -> None:
    """The time has caught up with the latest frame: those before were few and late, or many."""
    if clock[BACK_RUN] <= FEW:
        clock[LATE_FRAMES] += clock[BACK_RUN]
    clock[BACK_RUN] = 0


@kernel
def keep_first(clock: Any, seg: Seg) -> None:
    """Remember the first segment, in the order of ``FIRST_NAMES``."""
    clock[FIRST] = seg.src_hi
    clock[FIRST + 1] = seg.src_lo
    clock[FIRST + 2] = seg.dst_hi
    clock[FIRST + 3] = seg.dst_lo
    clock[FIRST + 4] = seg.scope
    clock[FIRST + 5] = seg.sport
    clock[FIRST + 6] = seg.dport
    clock[FIRST + 7] = seg.seq
    clock[FIRST + 8] = seg.ack
    clock[FIRST + 9] = seg.tsval
    clock[FIRST + 10] = seg.payload_len
    clock[FIRST + 11] = seg.ip_id
    clock[FIRST + 12] = seg.flags
    clock[FIRST + 13] = seg.checksum


@kernel
def is_first(clock: Any, seg: Seg) -> bool:
    """Whether a segment is the first one again; hardware may fill in the checksum of one that has an identification."""
    if clock[FIRST] != seg.src_hi or clock[FIRST + 1] != seg.src_lo or clock[FIRST + 2] != seg.dst_hi:
        return False
    if clock[FIRST + 3] != seg.dst_lo or clock[FIRST + 4] != seg.scope or clock[FIRST + 5] != seg.sport:
        return False
    if clock[FIRST + 6] != seg.dport or clock[FIRST + 7] != seg.seq:
        return False
    if clock[FIRST + 8] != seg.ack or clock[FIRST + 9] != seg.tsval:
        return False
    if clock[FIRST + 10] != seg.payload_len or clock[FIRST + 11] != seg.ip_id:
        return False
    if clock[FIRST + 12] != seg.flags:
        return False
    return seg.ip_id != 0 or clock[FIRST + 13] == seg.checksum


@kernel
def is_repeated(clock: Any, seg: Seg, time: int) -> bool:
    """Whether the capture holds itself again: from its first frame on, with the same time, all has been captured."""
    if time == clock[START] and clock[NOW] - time >= AGAIN_NS and is_first(clock, seg):
        clock[REPEATED_UNTIL] = clock[NOW]
    if clock[REPEATED_UNTIL] < time:
        return False
    clock[REPEATED_FRAMES] += 1
    clock[BACK_RUN] = 0
    return True


class Clock:
    """Marks the segments of one file, or of files that are read one behind the other in the order given."""

    def __init__(self, *, compiled: bool) -> None:
        self._mark = load(mark_by_clock, compiled=compiled)
        self.words: NDArray[np.int64] = np.zeros(WORDS, np.int64)
        self.words[[START, BACKWARD_FRAME, LEAP_FROM, REPEATED_UNTIL]] = -1

    def see(self, batch: Segments, *, is_in_order: bool = False) -> None:
        """Take one batch. ``is_in_order``: no frame from the last batch on is older than the one before it."""
        if not (is_in_order and self._goes_on(batch)):
            self._mark(batch, batch.size, self.words)

    def _goes_on(self, batch: Segments) -> bool:
        """Whether a batch whose times rise marks nothing; then the clock is set by its last segment alone."""
        words, first, last = self.words, int(batch.time[0]), int(batch.time[-1])
        if words[START] < 0 or words[BACK_RUN] or not words[NOW] <= first <= last < words[NOW] + LEAP_NS:
            return False
        if first <= max(words[START], words[REPEATED_UNTIL]):
            return False
        words[LEAP_RUN] += batch.size
        words[NOW] = last
        return True


def clock_figures(clocks: Iterable[NDArray[np.int64]]) -> dict[str, int]:
    """Columns of the ``capture`` table, from the words of all clocks."""
    found: dict[str, Any] = dict.fromkeys(("late_frames", "absurd_times", "steps_back", "repeated_frames"), 0)
    back, frame = -1, -1
    for words in clocks:
        run = int(words[BACK_RUN])
        found["late_frames"] += int(words[LATE_FRAMES]) + (run if 0 < run <= FEW else 0)
        found["absurd_times"] += int(words[ABSURD_TIMES])
        found["steps_back"] += int(words[STEPS_BACK])
        found["repeated_frames"] += int(words[REPEATED_FRAMES])
        own, at = int(words[MAX_BACKWARD]), int(words[BACKWARD_FRAME])
        if at >= 0 and (own > back or (own == back and at < frame)):
            back, frame = own, at
    return {**found, "backward_ns": back, "backward_frame": frame}
