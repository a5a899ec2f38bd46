"""Structures that are written by hand, each beside a plain model: a dictionary, a list.

The index of the flow table has its model in ``test_flow.py``, buckets have a twin in ``test_measure_twin.py``.
"""

from __future__ import annotations

import types
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw.kernels.arrays import Buffers
from tcptrace_tw.kernels.wide_records import Records
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.measure.keys import Keys
from tcptrace_tw.measure.tallies import Tallies
from tcptrace_tw.tcp.store import delta_codec, freelists
from tcptrace_tw.tcp.store import records as s
from tcptrace_tw.tcp.store.access import set_word
from tcptrace_tw.tcp.store.freelists import clear, free_incarnation, new_incarnation
from tcptrace_tw.tcp.store.queues import dequeue, enqueue

MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
WORD = st.sampled_from((0, 1, 2, -1, 1 << 40, -(1 << 63)))
KEY = st.tuples(WORD, WORD, WORD, WORD, st.sampled_from((0, 80, 65535)))
BATCHES = st.lists(st.lists(KEY, min_size=1, max_size=30), min_size=1, max_size=8)


def columns(rows: list[tuple[int, ...]]) -> list[Any]:
    return [np.array(column, np.int64) for column in zip(*rows, strict=True)]


@MANY
@given(BATCHES, st.sampled_from((4, 16, 256)))
def test_keys_are_numbered_as_a_dictionary_would(batches: list[list[tuple[int, ...]]], most: int) -> None:
    """In the order in which they come, equal keys alike, and -1 as soon as there is no room for another one."""
    keys, model = Keys(most, compiled=False, seed=new_seed()), dict[tuple[int, ...], int]()
    for batch in batches:
        expected = []
        for key in batch:
            if key not in model and len(model) < most:
                model[key] = len(model)
            expected.append(model.get(key, -1))

        assert keys.number(*columns(batch)).tolist() == expected
    assert [tuple(int(keys.column(word)[n]) for word in range(5)) for n in range(len(keys))] == list(model)


@MANY
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-50, 50)), min_size=1, max_size=200), st.sampled_from((4, 16)))
def test_tallies_are_sums_and_extremes(rows: list[tuple[int, int]], most: int) -> None:
    """Of every key that has a number, whatever the number of its rows; the others are left out."""
    tallies = Tallies(most, ("sum", "first_time", "longest_ns"), compiled=False, seed=new_seed())
    model: dict[int, list[int]] = defaultdict(list)
    for key, value in rows:
        numbers = tallies.numbers(np.array([key]))
        tallies.take(numbers, sum=np.array([value]), first_time=np.array([value]), longest_ns=np.array([value]))
        if key in model or len(model) < most:
            model[key].append(value)

    assert tallies["sum"].tolist() == [sum(values) for values in model.values()]
    assert tallies["first_time"].tolist() == [min(values) for values in model.values()]
    assert tallies["longest_ns"].tolist() == [max(-1, *values) for values in model.values()]


class Store:
    """The part of the tracker's state that queues and free lists know."""

    def __init__(self, places: int = 12) -> None:
        self.plain_conns = np.zeros(places, s.CONNECTION).view(np.recarray)
        self.plain_tcbs = np.zeros(2 * places, s.TCB).view(np.recarray)
        self.conns, self.tcbs = Records(self.plain_conns), Records(self.plain_tcbs)
        self.counters = np.zeros(s.REGISTERS, np.int64)
        for register in (s.QUEUE_HEAD, s.QUEUE_TAIL, s.LINGERING_HEAD, s.LINGERING_TAIL, s.CONNS_FREE):
            self.counters[register] = -1
        self.counters[s.NEXT_DUE] = np.iinfo(np.int64).max

    def queue(self, head: int, tail: int) -> list[int]:
        """From its head on; the way back says the same."""
        there, back = self._walk(head, "queue_next"), self._walk(tail, "queue_previous")

        assert there == back[::-1]
        return there

    def _walk(self, begin: int, field: str) -> list[int]:
        found, at = [], int(self.counters[begin])
        while at >= 0:
            found.append(at)
            at = getattr(self.conns[at], field)
        return found


QUEUE_ACTS = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from(("in", "linger", "out", "out")), st.integers(0, 99)), max_size=60
)


@MANY
@given(QUEUE_ACTS)
def test_queues_are_lists(acts: list[tuple[int, str, int]]) -> None:
    """Whoever is put in stands last, whoever is taken out leaves the others in their order, out of either queue."""
    store, queues = Store(), {"in": list[int](), "linger": list[int]()}
    least = np.iinfo(np.int64).max
    for place, act, due in acts:
        if act == "out":
            dequeue(store, place)
            for queue in queues.values():
                queue[:] = [other for other in queue if other != place]
        elif not any(place in queue for queue in queues.values()):
            enqueue(store, place, due, act == "linger")
            queues[act].append(place)
            least = min(least, due)

            assert store.conns[place].due == due
        assert store.queue(s.QUEUE_HEAD, s.QUEUE_TAIL) == queues["in"]
        assert store.queue(s.LINGERING_HEAD, s.LINGERING_TAIL) == queues["linger"]
        assert store.counters[s.NEXT_DUE] == least


@MANY
@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=40))
def test_a_free_list_is_a_stack(acts: list[int | None]) -> None:
    """None takes a place; a number gives one back that is in use. The place that was given back last is taken first."""
    store, used, free = Store(64), list[int](), list[int]()
    for act in acts:
        if act is None:
            place = int(new_incarnation(store))

            assert place == (free.pop() if free else len(used))
            store.conns[place].id = 1
            used.append(place)
        elif used:
            place = used.pop(act % len(used))
            free_incarnation(store, place)
            free.append(place)

            assert store.conns[place].id == 0
        assert store.counters[s.CONNS_USED] == len(used) + len(free)


OTHERS = {
    freelists.new_span: ("spans", s.SPAN, s.SPANS_USED, s.SPANS_FREE),
    freelists.new_reuse: ("reuses", s.REUSE, s.REUSES_USED, s.REUSES_FREE),
    freelists.new_stale: ("stales", s.STALE, s.STALES_USED, s.STALES_FREE),
    freelists.new_reset: ("resets", s.RESET, s.RESETS_USED, s.RESETS_FREE),
    freelists.new_anomaly: ("anomalies", s.ANOMALY, s.ANOMALIES_USED, s.ANOMALIES_FREE),
}
"""Records that are chained by ``next`` where they are free."""


@pytest.mark.parametrize("new", OTHERS, ids=lambda new: new.__name__)
@MANY
@given(acts=st.lists(st.one_of(st.none(), st.integers(0, 99)), max_size=40))
def test_records_that_were_given_back_are_taken_again(new: Any, acts: list[int | None]) -> None:
    """The last one first; only where none is free, a new one."""
    pool, dtype, used_at, free_at = OTHERS[new]
    rows = Records(np.zeros(50, dtype).view(np.recarray))
    counters = np.zeros(s.REGISTERS, np.int64)
    counters[free_at] = -1
    state: Any = types.SimpleNamespace(counters=counters, **{pool: rows})
    held, free = list[int](), list[int]()
    for act in acts:
        if act is None:
            place = int(new(state))

            assert place == (free.pop() if free else len(held))
            held.append(place)
        elif held:
            place = held.pop(act % len(held))
            rows[place].next = counters[free_at]
            counters[free_at] = place
            free.append(place)
        assert counters[used_at] == len(held) + len(free)


SET_BY_OPENER = {"id", "slot", "previous", "opened", "orig_is_b", "incarnation", "due", "queue_previous", "queue_next",
                 "tuple_id", "first_time", "first_frame"}  # fmt: skip


def test_a_record_that_is_used_again_forgets_everything() -> None:
    """A new field is cleared without a line; those that whoever opens an incarnation sets are named."""
    store = Store()
    store.plain_conns.view(np.uint8)[:] = 0x55
    store.plain_tcbs.view(np.uint8)[:] = 0x55
    clear(store, 3)
    fresh = Store()
    clear(fresh, 3)

    left = {
        name for name in s.CONNECTION.names or () if (store.plain_conns[3][name] != fresh.plain_conns[3][name]).any()
    }
    assert left <= SET_BY_OPENER
    for side in (6, 7):
        tcb = store.plain_tcbs[side]
        assert {name for name in s.TCB.names or () if not np.array_equal(tcb[name], fresh.plain_tcbs[side][name])} <= {
            "pending_event", "pending_from",
        }  # fmt: skip
        assert {int(tcb[name]) for name in ("last_time", "syn_frame", "again_since", "span")} == {-1}
        assert {int(tcb[name]) for name in ("snd_nxt", "bits", "segments", "state", "reset_state")} == {0}
    assert store.conns[2].bits == store.conns[4].bits == 0x5555


@MANY
@given(st.lists(st.integers(0, 3), max_size=40))
def test_buffers_hand_out_what_nobody_holds(acts: list[int]) -> None:
    """0 takes an array, others drop one: no two that are held at a time are the same memory."""
    buffers, held, most = Buffers(np.dtype(np.int64), 4), list[Any](), 0
    for number, act in enumerate(acts):
        if act == 0 or not held:
            taken = buffers.take()
            taken[:] = number
            held.append((number, taken))
            del taken
        else:
            held.pop(act % len(held))
        most = max(most, len(held))

        assert all((array == mark).all() for mark, array in held)
    assert len(buffers._owners) == most


@pytest.mark.parametrize("seed", range(10))
def test_archived_records_of_several_connections_do_not_touch_each_other(seed: int) -> None:
    """Packed one behind the other, and read again in another order."""
    rng = np.random.default_rng(seed)

    class Archive:
        archive = np.zeros(1 << 15, np.uint16)

    state: Any = Archive()
    written, at = [], 0
    for number in range(20):
        conn = np.zeros(1, s.CONNECTION).view(np.recarray)
        conn.first_time, conn.first_frame = 10**18, 5000 + number
        conn.established_time = 10**18 + int(rng.integers(0, 10**12))
        conn.duplicates = rng.integers(0, 1 << 32)
        written.append((at, conn))
        at = delta_codec.pack_connection(state, conn[0], conn[0], conn[0], 0, 0, at)
    for begin, conn in (written[i] for i in rng.permutation(20)):
        twin = np.zeros(1, s.CONNECTION).view(np.recarray)
        delta_codec.unpack_connection(state, twin[0], twin[0], twin[0], 0, 0, begin)

        assert (twin.established_time, twin.duplicates) == (conn.established_time, conn.duplicates)


EDGES = [sign * (1 << power) + off for power in (0, 1, 15, 16, 31, 32, 47) for sign in (1, -1) for off in (-1, 0, 1)]


@pytest.mark.parametrize("distance", EDGES)
def test_a_distance_comes_back_from_as_many_units_as_it_takes(distance: int) -> None:
    """None for 0, then one, two or four units of 16 bits: the fewest that hold it with its sign."""
    bits = delta_codec.width(distance)
    units = 0 if distance == 0 else next(n for n in (1, 2, 4) if -(1 << 16 * n - 1) <= distance < 1 << 16 * n - 1)
    state = types.SimpleNamespace(archive=np.full(8, 0x5555, np.uint16))
    set_word(state, 1, distance)
    state.archive[1 + units :] = 0xAAAA  # what is packed behind it

    assert bits + (bits >> 1 & bits) == units
    assert delta_codec.taken(state, 1, bits) == distance


@pytest.mark.parametrize("base", [0, 5, 1 << 40])
@pytest.mark.parametrize("off", [-2, -1, 0, 1, 2])
def test_a_time_comes_back_and_none_is_none(base: int, off: int) -> None:
    value = base + off
    if value >= 0:
        assert delta_codec.later(delta_codec.since(value, base), base) == value
    assert delta_codec.since(-1, base) == 0
    assert delta_codec.later(0, base) == -1


@pytest.mark.parametrize(("x", "distance"), [
    (0, 0), (1, 1), (0xFFFFFFFF, -1), (0x7FFFFFFF, 0x7FFFFFFF), (0x80000000, -0x80000000), (-1, -1), (1 << 32, 0),
])  # fmt: skip
def test_a_distance_modulo_has_a_sign(x: int, distance: int) -> None:
    assert delta_codec.around(x) == distance
