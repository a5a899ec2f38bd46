"""The clock of a file: a batch in order is passed by, and leaves what looking at each segment leaves."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tcptrace_tw.capture.clock import AGAIN_NS, BACK_NS, LEAP_NS, Clock
from tcptrace_tw.schema import segments

STEPS = (0, 1, AGAIN_NS, BACK_NS, LEAP_NS - 1, LEAP_NS, -1, -AGAIN_NS, -BACK_NS, -LEAP_NS)
BEGIN = 1_700_000_000_000_000_000


def batches(steps: list[list[int]]) -> list[segments.Segments]:
    """Segments of one connection, each so much later than the one before."""
    time, frame, made = BEGIN, 0, []
    for each in steps:
        batch = segments.allocate(len(each))
        for row, step in enumerate(each):
            time, frame = time + step, frame + 1
            batch[row].time, batch[row].frame, batch[row].seq = time, frame, frame % 3
        made.append(batch)
    return made


def in_order(batch: segments.Segments, before: int) -> bool:
    times = [before, *batch.time.tolist()]
    return all(one <= other for one, other in itertools.pairwise(times))


@given(st.lists(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4), min_size=1, max_size=5))
@example([[0, 1], [1, 1]])
@example([[0, 1], [LEAP_NS - 1], [LEAP_NS], [0]])
@example([[0, AGAIN_NS], [-AGAIN_NS, AGAIN_NS], [1]])
@example([[0, BACK_NS], [-BACK_NS, 0], [BACK_NS], [1]])
def test_a_batch_in_order_leaves_the_same_clock_and_the_same_marks(steps: list[list[int]]) -> None:
    clocks = Clock(compiled=False), Clock(compiled=False)
    before = BEGIN
    for one, other in zip(batches(steps), batches(steps), strict=True):
        clocks[0].see(one)
        clocks[1].see(other, is_in_order=in_order(other, before))
        before = int(one.time[-1])
        assert one.options.tolist() == other.options.tolist()
        assert clocks[0].words.tolist() == clocks[1].words.tolist()


def test_a_batch_in_order_is_passed_by() -> None:
    clock = Clock(compiled=False)
    first, second = batches([[0, 1], [1, 1]])
    clock.see(first)
    clock._mark = lambda *_: 1 // 0  # type: ignore[method-assign,assignment]
    clock.see(second, is_in_order=True)

    assert np.max(second.options) == 0
