"""Tuples to slots: the hash of the tuples that are remembered (4-tuple plus scope), and the direction of a segment.

A slot is a place, not an identity: it is given back when nothing of the tuple is remembered any more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.jit import kernel, load
from tcptrace_tw.memory import Pool
from tcptrace_tw.spec.segments import TUPLE, Segments

USED, FREE, FREE_HEAD, SEED = range(4)

GIVEN_BACK = -(1 << 31)
"""In ``heads`` while slots are given back: the same slot may be named twice."""


class FlowState(NamedTuple):
    """``index``: open addressing, slot + 1 or 0. ``regs``: counters by the names above."""

    tuples: Any
    index: NDArray[np.int32]  # type: ignore[assignment]
    regs: NDArray[np.int64]


@kernel
def mix(h: Any, x: Any) -> Any:
    """Stir the 64 bits of ``x`` into the 32-bit hash ``h``; products stay below 2**63 in both modes."""
    h = ((h ^ (x & 0xFFFFFFFF)) * 0x45D9F3B) & 0x7FFFFFFFFFFFFFF
    h = (h ^ (h >> 27)) & 0xFFFFFFFF
    h = ((h ^ ((x >> 32) & 0xFFFFFFFF)) * 0x2C1B3C6D) & 0x7FFFFFFFFFFFFFF
    return (h ^ (h >> 29)) & 0xFFFFFFFF


@kernel
def is_swapped(src_hi: Any, src_lo: Any, sport: Any, dst_hi: Any, dst_lo: Any, dport: Any) -> bool:
    """Whether the source is endpoint b."""
    if src_lo != dst_lo:
        return src_lo > dst_lo
    if src_hi != dst_hi:
        return src_hi > dst_hi
    return sport > dport


@kernel
def assign_slots(seg, state, slots, directions):  # type: ignore[no-untyped-def]
    """Fill ``slots`` and ``directions`` (0: sent by a, 1: sent by b) for every segment of a batch.

    The caller has made room for as many new tuples as there are segments.
    """
    tuples, index, regs = state.tuples, state.index, state.regs
    mask = index.size - 1
    seed = regs[SEED]
    for i in range(seg.seq.size):
        a_hi, a_lo, a_port = seg.src_hi[i], seg.src_lo[i], np.int64(seg.sport[i])
        b_hi, b_lo, b_port = seg.dst_hi[i], seg.dst_lo[i], np.int64(seg.dport[i])
        swapped = is_swapped(a_hi, a_lo, a_port, b_hi, b_lo, b_port)
        if swapped:
            a_hi, a_lo, a_port, b_hi, b_lo, b_port = b_hi, b_lo, b_port, a_hi, a_lo, a_port
        scope = seg.scope[i]
        h = mix(mix(seed, a_lo), b_lo)
        h = mix(h, (a_port << 16) | b_port)
        if (a_hi | b_hi | scope) != 0:
            h = mix(mix(mix(h, a_hi), b_hi), scope)
        place = h & mask
        while True:
            slot = np.int64(index[place]) - 1
            if slot < 0:
                slot = _add(tuples, regs, a_hi, a_lo, a_port, b_hi, b_lo, b_port, scope, h)
                index[place] = slot + 1
                break
            t = tuples[slot]
            if t.hash == h and t.a_lo == a_lo and t.b_lo == b_lo and t.a_port == a_port and t.b_port == b_port:
                if t.a_hi == a_hi and t.b_hi == b_hi and t.scope == scope:
                    break
            place = (place + 1) & mask
        slots[i] = slot
        directions[i] = 1 if swapped else 0


@kernel
def _add(tuples, regs, a_hi, a_lo, a_port, b_hi, b_lo, b_port, scope, h):  # type: ignore[no-untyped-def]
    slot = regs[FREE_HEAD]
    if slot >= 0:
        regs[FREE_HEAD] = np.int64(tuples[slot].a_hi)
        regs[FREE] -= 1
    else:
        slot = regs[USED]
        regs[USED] += 1
    t = tuples[slot]
    t.a_hi = a_hi
    t.a_lo = a_lo
    t.b_hi = b_hi
    t.b_lo = b_lo
    t.scope = scope
    t.hash = h
    t.a_port = a_port
    t.b_port = b_port
    return slot


@kernel
def release_slots(released, count, heads, state):  # type: ignore[no-untyped-def]
    """Give back the slots of ``released[:count]`` that nothing lives in any more (``heads`` is -1)."""
    tuples, index, regs = state.tuples, state.index, state.regs
    for i in range(count):
        slot = np.int64(released[i])
        if heads[slot] == -1:
            heads[slot] = GIVEN_BACK
            _remove(tuples, index, slot)
            tuples[slot].a_hi = regs[FREE_HEAD]
            regs[FREE_HEAD] = slot
            regs[FREE] += 1
    for i in range(count):
        slot = np.int64(released[i])
        if heads[slot] == GIVEN_BACK:
            heads[slot] = -1


@kernel
def _remove(tuples, index, slot):  # type: ignore[no-untyped-def]
    """Take a slot out of the index and close the gap: later entries of the run move back towards their hash."""
    mask = index.size - 1
    hole = np.int64(tuples[slot].hash) & mask
    while index[hole] != slot + 1:
        hole = (hole + 1) & mask
    place = (hole + 1) & mask
    while index[place] != 0:
        home = np.int64(tuples[np.int64(index[place]) - 1].hash) & mask
        if ((place - home) & mask) >= ((place - hole) & mask):
            index[hole] = index[place]
            hole = place
        place = (place + 1) & mask
    index[hole] = 0


@kernel
def rehash(tuples, index, old_index):  # type: ignore[no-untyped-def]
    """Enter every slot of ``old_index`` into the empty ``index``."""
    mask = index.size - 1
    for i in range(old_index.size):
        entry = np.int64(old_index[i])
        if entry:
            place = np.int64(tuples[entry - 1].hash) & mask
            while index[place] != 0:
                place = (place + 1) & mask
            index[place] = entry


class FlowTable:
    """The remembered tuples. ``tuples`` is a recarray of ``TUPLE`` indexed by slot."""

    def __init__(self, *, compiled: bool, seed: int = 0x1234567) -> None:
        self._assign = load(assign_slots, compiled=compiled)
        self._release = load(release_slots, compiled=compiled)
        self._rehash = load(rehash, compiled=compiled)
        self._pool = Pool(TUPLE, 1 << 12)
        self._index = np.zeros(1 << 13, np.int32)
        self.regs = np.array([0, 0, -1, seed], np.int64)

    @property
    def tuples(self) -> Any:
        """The keys, by slot."""
        return self._pool.records

    @property
    def capacity(self) -> int:
        """How many slots there are room for."""
        return self._pool.capacity

    @property
    def live(self) -> int:
        """How many tuples are remembered."""
        return int(self.regs[USED] - self.regs[FREE])

    def assign(self, batch: Segments, slots: NDArray[np.int32], directions: NDArray[np.uint8]) -> None:
        """Give every segment of the batch its slot and direction."""
        self._reserve(batch.seq.size)
        self._assign(batch, self._state(), slots, directions)

    def release(self, released: NDArray[np.int32], count: int, heads: NDArray[np.int32]) -> None:
        """Forget the tuples of these slots where ``heads`` says that nothing lives there."""
        if count:
            self._release(released, count, heads, self._state())

    def _state(self) -> FlowState:
        return FlowState(self._pool.records, self._index, self.regs)

    def _reserve(self, new: int) -> None:
        self._pool.reserve(int(self.regs[USED]) + new)
        wanted = 2 * (self.live + new)
        if self._index.size < wanted:
            size = self._index.size
            while size < wanted:
                size *= 2
            index = np.zeros(size, np.int32)
            self._rehash(self._pool.records, index, self._index)
            self._index = index
