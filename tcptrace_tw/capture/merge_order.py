"""The merge of several lanes of segments, each in order, by kernels: the lane with the least key comes next.

A lane is what is at hand of one file. Its segments are taken one after the other as long as no other lane has a lesser
key; of equal keys the earlier lane comes first. Each segment is copied once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.kinds import INTEGER, Array, bundle
from tcptrace_tw.kernels.marks import entry, inlined, kernel

_WORDS = Array(np.int64)


class Lanes(NamedTuple):
    """``keys``: those of all lanes, one lane behind the other.

    ``at``, ``ends``: what is left of each lane, as places in ``keys``.
    ``heap``: the lanes that have something left, the one that comes next in front; ``left``: how many these are.
    """

    keys: Any
    at: Any
    ends: Any
    heap: Any
    left: Any


LANES_KIND = bundle(Lanes, keys=_WORDS, at=_WORDS, ends=_WORDS, heap=_WORDS, left=_WORDS)


def lanes_of(keys: Sequence[Any]) -> Lanes:
    """Lanes of which nothing is taken yet; ``keys`` of each: at least one, none less than the one before."""
    sizes = [each.size for each in keys]
    at, ends, heap = (zeros(len(keys), np.int64) for _ in range(3))
    lanes = Lanes(zeros(sum(sizes), np.int64), at, ends, heap, zeros(1, np.int64))
    np.concatenate(keys, out=lanes.keys)
    np.cumsum(sizes, out=lanes.ends)
    lanes.at[:] = lanes.ends - sizes
    lanes.heap[:] = np.argsort([each[0] for each in keys], kind="stable")  # what is in order is a heap
    lanes.left[0] = len(keys)
    return lanes


@entry(LANES_KIND, INTEGER, _WORDS)
def take_in_order(lanes: Lanes, most: int, places: Any) -> int:
    """Take the next segments, at most so many; returns how many.

    ``places``: at the place of a segment in ``keys`` the place that it gets among those that are taken now.
    """
    keys, heap, left = lanes.keys, lanes.heap, lanes.left
    count = 0
    while left[0] > 0 and count < most:
        lane = heap[0]
        at, end = lanes.at[lane], min(lanes.ends[lane], lanes.at[lane] + most - count)
        other = second(lanes)
        while at < end and (other < 0 or is_before(keys[at], lane, keys[lanes.at[other]], other)):
            places[at] = count
            count += 1
            at += 1
        lanes.at[lane] = at
        if at == lanes.ends[lane]:
            left[0] -= 1
            heap[0] = heap[left[0]]
        sink(lanes)
    return count


@inlined
def is_before(key: int, lane: int, other_key: int, other: int) -> bool:
    """Whether the segment of ``lane`` comes before that of another one."""
    return key < other_key or (key == other_key and lane < other)


@kernel
def second(lanes: Lanes) -> Any:
    """The lane that would come next without the first one; -1 if there is no other."""
    heap, left = lanes.heap, lanes.left[0]
    if left < 3:
        return heap[1] if left == 2 else -1
    one, other = heap[1], heap[2]
    is_first = is_before(lanes.keys[lanes.at[one]], one, lanes.keys[lanes.at[other]], other)
    return one if is_first else other


@kernel
def sink(lanes: Lanes) -> None:
    """Let the lane in front sink to where it belongs."""
    keys, at, heap, left = lanes.keys, lanes.at, lanes.heap, lanes.left[0]
    place = 0
    while 2 * place + 1 < left:
        below = 2 * place + 1
        if below + 1 < left:
            one, other = heap[below], heap[below + 1]
            below += 1 if is_before(keys[at[other]], other, keys[at[one]], one) else 0
        lane, child = heap[place], heap[below]
        if is_before(keys[at[lane]], lane, keys[at[child]], child):
            return
        heap[place] = child
        heap[below] = lane
        place = below


@entry(Array(np.int64, ndim=2), _WORDS, Array(np.int64, ndim=2))
def put(segments: Any, places: Any, merged: Any) -> None:
    """Copy each segment to its place; a segment is a row of words."""
    for i in range(places.size):
        place = places[i]
        for word in range(merged.shape[1]):
            merged[place, word] = segments[i, word]
