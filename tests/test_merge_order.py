"""Lanes that are in order become one series in order, whatever the pieces in which it is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace_tw.capture.merge_order import lanes_of, put, take_in_order
from tcptrace_tw.kernels.marks import load

LANES = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=30).map(sorted), min_size=1, max_size=9)


def taken(keys: list[list[int]], most: int, *, compiled: bool) -> list[list[tuple[int, int]]]:
    """Key and lane of what each call takes, in the order of the places."""
    lanes = lanes_of([np.array(each, np.int64) for each in keys])
    lane_of = np.repeat(np.arange(len(keys)), [len(each) for each in keys])
    call, found = load(take_in_order, compiled=compiled), []
    before = lanes.at.copy()
    places = np.full(lanes.keys.size, -1, np.int64)
    while count := call(lanes, most, places):
        now = np.concatenate([np.arange(*ends) for ends in zip(before, lanes.at, strict=True)]).astype(np.int64)
        assert sorted(places[now].tolist()) == list(range(count))
        order = now[np.argsort(places[now])]
        found.append([(int(lanes.keys[i]), int(lane_of[i])) for i in order])
        before = lanes.at.copy()
    return found


@pytest.mark.parametrize("compiled", [False, True])
@given(keys=LANES, most=st.integers(1, 40))
def test_the_least_key_comes_first_and_of_equal_ones_the_earlier_lane(
    compiled: bool, keys: list[list[int]], most: int
) -> None:
    found = taken(keys, most, compiled=compiled)

    assert [each for call in found for each in call] == sorted((key, n) for n, lane in enumerate(keys) for key in lane)
    assert all(len(call) == most for call in found[:-1])


@pytest.mark.parametrize("compiled", [False, True])
def test_a_hundred_lanes(compiled: bool) -> None:
    random = np.random.default_rng(3)
    keys = [np.sort(random.integers(0, 500, random.integers(1, 60))).tolist() for _ in range(100)]

    found = taken(keys, 77, compiled=compiled)

    assert [each for call in found for each in call] == sorted((key, n) for n, lane in enumerate(keys) for key in lane)


@pytest.mark.parametrize("compiled", [False, True])
def test_numbers_at_both_ends_of_their_range(compiled: bool) -> None:
    least, most = -(1 << 63), (1 << 63) - 1

    assert taken([[least, most], [least, 0, most], [most]], 9, compiled=compiled) == [
        [(least, 0), (least, 1), (0, 1), (most, 0), (most, 1), (most, 2)]
    ]


@pytest.mark.parametrize("compiled", [False, True])
def test_segments_are_copied_to_their_places(compiled: bool) -> None:
    segments: Any = np.arange(12, dtype=np.int64).reshape(4, 3)
    merged = np.full((6, 3), -1, np.int64)

    load(put, compiled=compiled)(segments[1:], np.array([5, 0, 2]), merged)

    assert merged.tolist() == [[6, 7, 8], [-1] * 3, [9, 10, 11], [-1] * 3, [-1] * 3, [3, 4, 5]]
