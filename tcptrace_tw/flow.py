"""Tuples to slots: the hash of the tuples that are remembered (4-tuple plus scope), and the direction of a segment.

A slot is a place, not an identity: it is given back when nothing of the tuple is remembered any more. Whoever gives it
back may be some batches behind, in another thread; a slot that has been met since then is kept.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import Pool, zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import INTEGER, Array, bundle
from tcptrace_tw.kernels.marks import entry, inlined, kernel, load
from tcptrace_tw.keyed_hash import OTHERS, Seed, hashed, total_of_tuple
from tcptrace_tw.schema.segments import (
    BATCH_KIND,
    MOST,
    PRINT_PLACES,
    SHARD_BITS,
    SHARDS,
    TUPLE,
    Segments,
    prefetch,
    segment_at,
    shard_of,
)

USED, FREE, FREE_HEAD, BATCH = range(4)

MASK31 = 0x7FFFFFFF

SEQ, ACK, TSVAL, KIND, CHECKSUM = range(OTHERS, OTHERS + 5)
"""Numbers of the factors in a seed (see ``keyed_hash``); 0 is the summand."""

PRINT_SHIFT = 23
PRINT_MASK = (1 << 41) - 1
"""The 41 upper bits of a total, beside the 22 of a place, are a fingerprint."""

PLACE_FACTOR = 0x2545F4914F6CDD1D

FAR, NEAR = 24, 12
"""How many segments ahead something is asked for."""


class FlowState(NamedTuple):
    """``index``: open addressing, entries ``hash << 32 | slot + 1``, or 0. ``counters``: by the names above."""

    tuples: Any
    index: NDArray[np.int64]  # type: ignore[assignment]
    counters: NDArray[np.int64]
    seed: Seed


FLOW_KIND = bundle(
    FlowState, tuples=Array(TUPLE), index=Array(np.int64), counters=Array(np.int64), seed=Array(np.int64)
)  # fmt: skip


@inlined
def is_swapped(seg: Any) -> Any:
    """1 where the source is endpoint b, 0 otherwise; without a branch, since nobody can foretell it."""
    src_lo, dst_lo, src_hi, dst_hi = seg.src_lo, seg.dst_lo, seg.src_hi, seg.dst_hi
    port = int(seg.sport > seg.dport)
    high = int(src_hi > dst_hi) | (int(src_hi == dst_hi) & port)
    return int(src_lo > dst_lo) | (int(src_lo == dst_lo) & high)


@inlined
def lesser(x: Any, y: Any, swapped: Any) -> Any:
    """``y`` if ``swapped`` is 1, otherwise ``x``."""
    return x ^ ((x ^ y) & -swapped)


@inlined
def hash_of_slot(tuples: Any, slot: Any, seed: Any) -> int:
    """The hash of a tuple that is remembered."""
    t = record_of(tuples, slot)
    ports = t.a_port << 16 | t.b_port
    return hashed(seed, total_of_tuple(seed, t.a_lo, t.b_lo, ports, t.a_hi, t.b_hi, t.scope))


@inlined
def fingerprint(seed: Any, seg: Any, total: Any, direction: Any, shard: Any) -> Any:
    """What two captures of one segment have in common: tuple (by its total), numbers, flags, length, timestamp,
    IP identification, and without one the TCP checksum, which hardware may fill in behind the first tap.

    The upper bits come from the seed, so that a sender cannot forge a segment of another tuple that passes for a copy.
    The lower ones are the place where ``tcp.machine.duplicate_frames`` looks for copies, and do not: segments that
    share a place replace each other, and the same ones must do so in every run; and in every part of it, so the
    lowest are the shard of the tuple.
    """
    kind = seg.ip_id | (seg.flags & 0x1FF) << 16 | direction << 25
    check = seg.checksum * int(seg.ip_id == 0) | (seg.payload_len & 0x3FFF) << 16
    total += int(seed[SEQ]) * seg.seq + int(seed[ACK]) * seg.ack + int(seed[TSVAL]) * seg.tsval
    total += int(seed[KIND]) * kind + int(seed[CHECKSUM]) * check
    place = place_of_print(seg, kind, check) << SHARD_BITS | shard
    return (total >> PRINT_SHIFT & PRINT_MASK) * PRINT_PLACES + place


@inlined
def place_of_print(seg: Any, kind: Any, check: Any) -> Any:
    """A number below ``PRINT_PLACES // SHARDS`` for a segment: all copies have the same."""
    word = seg.seq ^ seg.ack * 8 ^ seg.tsval * 64 ^ kind * 512 ^ check * 4096
    word ^= seg.src_lo ^ seg.dst_lo ^ (seg.sport ^ seg.dport) * 65536
    return word * PLACE_FACTOR >> 50 & (PRINT_PLACES // SHARDS - 1)


@kernel
def hash_keys(batch: Segments, size: int, seed: Any, hashes: Any) -> None:
    """The hash of each segment's tuple, the same in both directions, its direction, and its fingerprint.

    In a loop of its own nothing waits for anything.
    """
    for i in range(size):
        seg = segment_at(batch, i)
        swapped = is_swapped(seg)
        sport, dport = seg.sport, seg.dport
        a_lo, b_lo = lesser(seg.src_lo, seg.dst_lo, swapped), lesser(seg.dst_lo, seg.src_lo, swapped)
        ports = lesser(sport, dport, swapped) << 16 | lesser(dport, sport, swapped)
        a_hi, b_hi = lesser(seg.src_hi, seg.dst_hi, swapped), lesser(seg.dst_hi, seg.src_hi, swapped)
        total = total_of_tuple(seed, a_lo, b_lo, ports, a_hi, b_hi, seg.scope)
        hashes[i] = hashed(seed, total)
        row = batch[i]
        row.direction = swapped
        row.print = fingerprint(seed, seg, total, swapped, shard_of(a_lo, b_lo, ports, a_hi, b_hi, seg.scope))


@inlined
def slot_of(entry: Any) -> int:
    """The slot of an entry of the index, -1 for none."""
    return (entry & MASK31) - 1


@inlined
def look_ahead(tuples: Any, index: Any, hashes: Any, i: int, size: int) -> None:
    """Ask for what later segments need, in two steps: memory is slow."""
    mask = index.size - 1
    if i + FAR < size:
        prefetch(index, hashes[i + FAR] & mask)
        h = hashes[i + NEAR]
        entry = index[h & mask]
        if entry >> 32 != h:
            entry = index[(h + 1) & mask]
        prefetch(tuples, max(slot_of(entry), 0))


@entry(BATCH_KIND, INTEGER, FLOW_KIND, Array(np.int64))
def assign_slots(batch: Segments, size: int, state: Any, hashes: Any) -> None:
    """Fill slot, direction and fingerprint of the ``size`` segments of a batch; ``hashes`` is room to work in.

    The caller has made room for as many new tuples as there are segments.
    """
    tuples, index, counters = state.tuples, state.index, state.counters
    mask = index.size - 1
    hash_keys(batch, size, state.seed, hashes)
    for i in range(size):
        look_ahead(tuples, index, hashes, i, size)
        seg = segment_at(batch, i)
        swapped = seg.direction
        h = hashes[i]
        a_lo = lesser(seg.src_lo, seg.dst_lo, swapped)
        b_lo = lesser(seg.dst_lo, seg.src_lo, swapped)
        a_hi = lesser(seg.src_hi, seg.dst_hi, swapped)
        b_hi = lesser(seg.dst_hi, seg.src_hi, swapped)
        sport, dport = seg.sport, seg.dport
        ports = lesser(sport, dport, swapped) << 16 | lesser(dport, sport, swapped)
        scope = seg.scope
        place = h & mask
        while True:
            entry = index[place]
            slot = slot_of(entry)
            if slot < 0:
                slot = _add(tuples, counters, a_hi, a_lo, b_hi, b_lo, ports, scope)
                index[place] = h << 32 | (slot + 1)
                break
            if entry >> 32 == h:
                t = record_of(tuples, slot)
                if t.a_lo == a_lo and t.b_lo == b_lo and (t.a_port << 16 | t.b_port) == ports:
                    if t.a_hi == a_hi and t.b_hi == b_hi and t.scope == scope:
                        break
            place = (place + 1) & mask
        tuples[slot].batch = counters[BATCH]
        batch[i].slot = slot


@kernel
def _add(tuples: Any, counters: Any, a_hi: int, a_lo: int, b_hi: int, b_lo: int, ports: int, scope: int) -> int:
    slot = counters[FREE_HEAD]
    if slot >= 0:
        counters[FREE_HEAD] = record_of(tuples, slot).a_hi
        counters[FREE] -= 1
    else:
        slot = counters[USED]
        counters[USED] += 1
    t = record_of(tuples, slot)
    t.a_hi = a_hi
    t.a_lo = a_lo
    t.b_hi = b_hi
    t.b_lo = b_lo
    t.scope = scope
    t.a_port = ports >> 16
    t.b_port = ports & 0xFFFF
    return slot


@entry(Array(np.int32), INTEGER, FLOW_KIND)
def release_slots(released: Any, batch: Segments, state: Any) -> None:
    """Give back the slots of ``released``, each named once, that have not been met after batch number ``batch``."""
    tuples, index, counters = state.tuples, state.index, state.counters
    mask = index.size - 1
    for i in range(released.size):
        slot = released[i]
        if i + FAR < released.size:
            prefetch(tuples, released[i + FAR])
            prefetch(index, hash_of_slot(tuples, released[i + NEAR], state.seed) & mask)
        if record_of(tuples, slot).batch <= batch:
            _remove(index, slot, hash_of_slot(tuples, slot, state.seed))
            tuples[slot].a_hi = counters[FREE_HEAD]
            counters[FREE_HEAD] = slot
            counters[FREE] += 1


@kernel
def _remove(index: Any, slot: Any, h: int) -> None:
    """Take a slot out of the index and close the gap: later entries of the run move back towards their hash."""
    mask = index.size - 1
    hole = h & mask
    while slot_of(index[hole]) != slot:
        hole = (hole + 1) & mask
    place = (hole + 1) & mask
    while index[place] != 0:
        home = (index[place] >> 32) & mask
        if ((place - home) & mask) >= ((place - hole) & mask):
            index[hole] = index[place]
            hole = place
        place = (place + 1) & mask
    index[hole] = 0


@entry(Array(np.int64), Array(np.int64))
def rehash(index: Any, old_index: Any) -> None:
    """Enter every entry of ``old_index`` into the empty ``index``."""
    mask = index.size - 1
    for i in range(old_index.size):
        entry = old_index[i]
        if entry:
            place = (entry >> 32) & mask
            while index[place] != 0:
                place = (place + 1) & mask
            index[place] = entry


class FlowTable:
    """The remembered tuples. ``tuples`` is a recarray of ``TUPLE`` indexed by slot.

    One thread assigns. Others may read tuples that are remembered while they hold ``still``, and give slots back.
    """

    def __init__(self, *, compiled: bool, seed: Seed) -> None:
        self._assign = load(assign_slots, compiled=compiled)
        self._release = load(release_slots, compiled=compiled)
        self._rehash = load(rehash, compiled=compiled)
        self._pool = Pool(TUPLE, 1 << 12)
        self._index = zeros(1 << 13, np.int64)
        self._hashes = zeros(MOST, np.int64)
        self._given_back: deque[tuple[NDArray[np.int32], int]] = deque()
        self.still = threading.Lock()
        """Held by whoever looks at ``tuples``, so that they keep their places."""
        self.counters = np.array([0, 0, -1, 0], np.int64)
        self._seed = seed

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
        return int(self.counters[USED] - self.counters[FREE])

    def assign(self, batch: Segments) -> int:
        """Give every segment of the batch its slot, direction and fingerprint; returns the number of the batch."""
        while self._given_back:
            slots, number = self._given_back.popleft()
            self._release(slots, number, self._state())
        self.counters[BATCH] += 1
        self._reserve(batch.size)
        self._assign(batch, batch.size, self._state(), self._hashes)
        return int(self.counters[BATCH])

    def give_back(self, slots: NDArray[np.int32], number: int) -> None:
        """After batch ``number`` nothing of these tuples is remembered any more; the array is the table's to keep."""
        self._given_back.append((slots, number))

    def _state(self) -> FlowState:
        return FlowState(self._pool.records, self._index, self.counters, self._seed)

    def _reserve(self, new: int) -> None:
        if int(self.counters[USED]) + new > self._pool.capacity:
            with self.still:
                self._pool.reserve(int(self.counters[USED]) + new)
        wanted = (self.live + new) * 3 // 2
        if self._index.size < wanted:
            size = self._index.size
            while size < wanted:
                size *= 2
            index = zeros(size, np.int64)
            self._rehash(index, self._index)
            self._index = index
