"""What the tracker keeps, and where: the archive is a queue, rows begin blank, memory stays within its bound."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw.kernels.wide_records import Records
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema.columns import FRAME_BITS
from tcptrace_tw.schema.segments import SHARDS
from tcptrace_tw.tcp import tracker
from tcptrace_tw.tcp.facts import anomalies, resets, reuse, stale_segments
from tcptrace_tw.tcp.machine import duplicate_frames
from tcptrace_tw.tcp.store import archive, attempt_record
from tcptrace_tw.tcp.store import records as s
from tcptrace_tw.tcp.store.access import set_word
from tcptrace_tw.tcp.store.cache_lines import in_lines
from tests.report_rows import blank
from tests.test_segment_limits import MS, One, T, put

FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
CHAINS = (archive.INCARNATION, archive.ATTEMPT)


def packed(blocks: int) -> Any:
    """The part of the state that the archive knows, with room for so many blocks, the first one taken from the end."""
    counters = np.zeros(s.REGISTERS, np.int64)
    for register in (s.ARCHIVE_FREE, s.ARCHIVE_OLDEST, s.ATTEMPTS_OLDEST, s.ARCHIVE_NEXT, s.ATTEMPTS_NEXT):
        counters[register] = -1
    counters[s.ARCHIVE_ROOM] = blocks * archive.BLOCK
    return SimpleNamespace(counters=counters, archive=np.full(blocks * archive.BLOCK, 0x5555, np.uint16))


def put_in(state: Any, chain: int, units: int, due: int) -> int:
    """Write a record of so many units at the end of a chain, as those who archive do."""
    at = archive.place_for(state, chain, units)
    set_word(state, at, units)
    set_word(state, at + archive.WORD, due)
    set_word(state, at + units, 0)
    state.counters[s.ARCHIVE_NEXT + chain] = at + units
    return int(at)


ACTS = st.lists(
    st.tuples(st.sampled_from(CHAINS), st.sampled_from(("put", "put", "put", "oldest", "any")),
              st.integers(2, 4000).map(lambda words: words * archive.WORD)),
    min_size=40, max_size=100,
)  # fmt: skip


@FEW
@given(ACTS)
def test_a_chain_of_the_archive_is_a_queue(acts: list[tuple[int, str, int]]) -> None:
    """What came first is the oldest; what was taken out of the middle is passed by; empty blocks are used again."""
    state, queues = packed(6), {chain: list[tuple[int, int, int]]() for chain in CHAINS}
    for due, (chain, act, units) in enumerate(acts):
        queue = queues[chain]
        if act == "put" and archive.can_place(state, chain, units):
            at = put_in(state, chain, units, due)
            queue.append((at, units, due))

            assert at % archive.BLOCK + units + archive.WORD < archive.BLOCK
        elif act != "put" and queue:
            at, taken, _ = queue.pop(0 if act == "oldest" else units % len(queue))
            set_word(state, at, -taken)
        for other, kept in queues.items():
            oldest = archive.oldest(state, other)
            assert oldest == (kept[0][0] if kept else -1)
            assert archive.due_of(state, oldest) == (kept[0][2] if kept else s.NEVER)
    spans = sorted((at, at + units) for queue in queues.values() for at, units, _ in queue)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    held = {at // archive.BLOCK for queue in queues.values() for at, _, _ in queue}
    blocks = int(state.counters[s.ARCHIVE_USED]) // archive.BLOCK
    assert blocks - state.counters[s.BLOCKS_FREE] <= len(held) + len(CHAINS)


def test_an_archive_without_room_takes_nothing() -> None:
    """Room is a free block, one that was never used, or the rest of the block that is being filled."""
    state, most = packed(1), archive.BLOCK - archive.HEAD - archive.WORD
    for chain in CHAINS:
        assert archive.can_place(state, chain, 8)
    put_in(state, archive.INCARNATION, most - 12, 1)

    assert archive.can_place(state, archive.INCARNATION, 8)
    assert not archive.can_place(state, archive.INCARNATION, 12)
    assert not archive.can_place(state, archive.ATTEMPT, 8)
    state.counters[s.ARCHIVE_FREE] = 0
    assert archive.can_place(state, archive.ATTEMPT, 8)


@pytest.mark.parametrize("ends", [(None, None), (-1, None), (None, -1), (-1, -1), (5, -1), (5, 5)])
def test_an_archived_record_tells_how_many_endpoints_wait(ends: tuple[int | None, int | None]) -> None:
    """Spans that are open; all of them come back."""
    one = One()
    one.st.counters[s.ARCHIVE_ROOM] = one.st.archive.size
    for place, (tcb, end) in enumerate(zip((one.orig, one.resp), ends, strict=True)):
        if end is not None:
            put(one.st.spans[place], start=T + place, end=end if end < 0 else T + end, end_frame=-1, restart=-1)
            tcb.span = place
    one.st.counters[s.SPANS_USED] = 2
    archive.put_into_archive(one.st, 0, 9)
    at = archive.oldest(one.st, archive.INCARNATION)

    assert archive.open_spans(archive.word_at(one.st, at)) == ends.count(-1)
    assert (one.st.counters[s.ARCHIVED], one.st.counters[s.CONNS_LIVE]) == (1, 0)
    c = archive.restore(one.st, 0)
    back = [one.st.tcbs[2 * c + side].span for side in range(2)]
    assert [span >= 0 for span in back] == [end is not None for end in ends]
    assert [one.st.spans[at].start for at in back if at >= 0] == [
        T + place for place, end in enumerate(ends) if end is not None
    ]


ROWS: list[tuple[Callable[..., None], c.Table, Any, set[str]]] = [
    (anomalies.make_blank, c.ANOMALIES, s.ANOMALY, {"lasted_ns", "end_time"}),
    (resets.nothing_followed, c.RESETS, s.RESET, set()),
    (stale_segments.nothing_answered, c.STALE_SEGMENTS, s.STALE, set()),
    (reuse.nothing_followed, c.REUSES, s.REUSE, set()),
]


@pytest.mark.parametrize(("clear", "table", "dtype", "later"), ROWS, ids=lambda value: getattr(value, "__module__", ""))
def test_a_row_begins_blank(clear: Callable[..., None], table: c.Table, dtype: Any, later: set[str]) -> None:
    """What is not known is null, whatever stood in the record before; words and counts are 0."""
    found = []
    for mark in (0x55, 0x11):
        plain = np.full(dtype.itemsize, mark, np.uint8).view(dtype).view(np.recarray)
        clear(Records(plain)[0])
        found.append(plain)
    cleared = {name for name in table.dtype.names or () if found[0][name] == found[1][name]} - later
    empty = blank(table)

    assert {name: int(found[0][name][0]) for name in cleared} == {name: int(empty[name][0]) for name in cleared}
    assert len(cleared) >= 8


def shard_state(now: int) -> Any:
    hands = tracker.Tracker(profile("linux"), compiled=False, transitions=False, seed=new_seed())
    state = hands._state(np.zeros(1, [("a", "i8")]))
    state.counters[s.NOW] = now
    return state


@pytest.mark.parametrize(("age", "is_early"), [(20 * MS, True), (20 * MS + 1, False)])
def test_a_segment_is_forgotten_too_early_if_its_copy_may_still_come(age: int, is_early: bool) -> None:
    """Within 20 ms; the oldest of a place makes room, and only that is counted."""
    state = shard_state(T)
    for way in range(s.WAYS):
        put(state.seen[way], fingerprint=(way + 1) << 40, time=T - age + way)
    place = duplicate_frames.place_of(state, 9 << 40)

    assert place == 0 or is_early
    assert state.shards[s.FORGOTTEN] == 0 if not is_early else state.shards[s.SEEN_MASK] > s.LEAST_SEEN_MASK
    assert duplicate_frames.place_of(state, 3 << 40) == 2


def test_a_place_that_was_never_used_is_free() -> None:
    state = shard_state(T)
    for way in range(s.WAYS - 1):
        put(state.seen[way], fingerprint=(way + 1) << 40, time=T)

    assert duplicate_frames.place_of(state, 9 << 40) == s.WAYS - 1
    assert state.shards[s.FORGOTTEN] == 0


def test_a_shard_forgets_one_segment_in_1024_before_it_spreads() -> None:
    state = shard_state(T)
    state.shards[s.SEEN_SINCE] = 1024

    assert not duplicate_frames.is_too_full(state, 0)
    assert duplicate_frames.is_too_full(state, 0)


def test_a_shard_spreads_until_it_has_all_places() -> None:
    """Twice as many each time; what has moved is found, and nothing else has."""
    state, spreads = shard_state(T), 0
    prints = [1 << 40 | place << s.SHARD_BITS for place in range(0, 60 * 37, 37)]
    for h in prints:
        put(state.seen[duplicate_frames.place_of(state, h)], fingerprint=h, time=T)
    while duplicate_frames.spread(state, 0):
        spreads += 1
        mask = (s.LEAST_SEEN_MASK + 1 << spreads) - 1
        assert state.shards[s.SEEN_MASK] == mask
        found = [state.seen[duplicate_frames.place_of(state, h)].fingerprint == h for h in prints]
        assert all(found)
    assert state.shards[s.SEEN_MASK] == s.MOST_SEEN_MASK


@pytest.mark.parametrize("fields", [1, 7, 8, 9, 16])
def test_records_fill_whole_cache_lines(fields: int) -> None:
    """Of 64 bytes, and no more of them than the fields need."""
    dtype = in_lines([(f"field{n}", "i8") for n in range(fields)])

    assert dtype.itemsize == 64 * (-(-fields // 8))
    assert s.CONNECTION.itemsize % 64 == s.TCB.itemsize % 64 == 0


@pytest.mark.parametrize("used", [0, 7])
def test_the_archive_takes_what_the_bound_leaves(used: int) -> None:
    """To the block, beside the records of the living, the slots and the index of attempts; never less than nothing."""
    block = 2 * archive.BLOCK
    others = used * (s.CONNECTION.itemsize + 2 * s.TCB.itemsize) + 10 * tracker.BYTES_A_SLOT
    for most, units in ((others, 0), (others + block - 1, 0), (others + block, 1), (others + 3 * block, 3), (0, 0)):
        hands = tracker.Tracker(profile("linux"), compiled=False, transitions=False, seed=new_seed(), most_bytes=most)
        hands.counters[s.CONNS_USED] = used

        assert hands._most_units(10) == units * archive.BLOCK
        assert most == 0 or hands._most_units(0) >= hands._most_units(10)


def test_an_attempt_fits_if_its_numbers_do() -> None:
    """From those of the first of its block: 44 bits of ns, 31 of numbers up and down, 16 of files, 32 of frames."""
    one, at = One(), archive.BLOCK + archive.HEAD
    one.st.archive[:] = 0
    first = {"id": 1 << 40, "tuple_id": 1 << 39, "first_time": T, "first_frame": 7 << FRAME_BITS | 9}
    put(one.conn, **first)
    assert attempt_record.fits(one.st, 0, at)
    half, lag = 1 << 31, 1 << 15
    for name, least, most in (
        ("first_time", T, T + (1 << 44) - 1), ("first_frame", 0, (1 << 16) - 1 << FRAME_BITS | (1 << 32) - 1),
        ("id", (1 << 40) - half, (1 << 40) + half - 1), ("tuple_id", (1 << 39) - lag + 1, (1 << 39) + lag),
    ):  # fmt: skip
        for value, fits in ((least, True), (most, True), (least - 1, False), (most + 1, False)):
            if value < 0:
                continue
            moved = {**first, name: value}
            if name == "id":
                moved["tuple_id"] = value - (1 << 39)
            put(one.conn, **moved)

            assert bool(attempt_record.fits(one.st, 0, at + 24)) == fits, (name, value)


def test_shards_begin_alike() -> None:
    state = shard_state(T)

    assert state.shards.size == SHARDS * s.SHARD_WORDS
    assert set(state.shards.reshape(SHARDS, -1)[:, s.SEEN_MASK].tolist()) == {s.LEAST_SEEN_MASK}


def test_a_tracker_counts_what_was_opened() -> None:
    hands = tracker.Tracker(profile("linux"), compiled=False, transitions=False, seed=new_seed())

    assert (hands.connections, hands.live) == (0, 0)
    assert (One().tracker.connections, One().tracker.live) == (1, 1)
