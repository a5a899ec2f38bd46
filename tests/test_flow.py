"""Slots of tuples: who comes again has the same one, and what is given back too late is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw.flow import BATCH, FREE, FREE_HEAD, USED, FlowState, FlowTable, assign_slots, rehash, release_slots
from tcptrace_tw.keyed_hash import FACTORS, TABLE, new_seed
from tcptrace_tw.schema import segments


def batch(*ports: int) -> Any:
    """A segment from each of these ports to one server."""
    made = segments.allocate(len(ports))
    made.src_lo, made.dst_lo, made.dport = 1, 2, 80
    made.sport = ports
    return made


def slots(table: FlowTable, *ports: int) -> list[int]:
    part = batch(*ports)
    table.assign(part)
    return [int(slot) for slot in part.slot]


def test_both_directions_of_a_tuple_have_one_slot() -> None:
    table, there = FlowTable(compiled=False, seed=new_seed()), batch(5000)
    back = there.copy()
    back.src_lo, back.dst_lo, back.sport, back.dport = there.dst_lo, there.src_lo, there.dport, there.sport
    table.assign(there)
    table.assign(back)

    assert there.slot == back.slot
    assert there.direction != back.direction


def test_a_slot_that_is_given_back_serves_another_tuple() -> None:
    table = FlowTable(compiled=False, seed=new_seed())
    first, second = slots(table, 5000, 5001)
    table.give_back(np.array([first], np.int32), 1)

    assert slots(table, 5002, 5001) == [first, second]
    assert table.live == 2


def test_a_slot_that_was_met_since_is_kept() -> None:
    """The tracker is a batch behind: what it gives back may have come again meanwhile."""
    table = FlowTable(compiled=False, seed=new_seed())
    (slot,) = slots(table, 5000)
    slots(table, 5000)
    table.give_back(np.array([slot], np.int32), 1)

    assert slots(table, 5000, 5001)[0] == slot
    table.give_back(np.array([slot], np.int32), 3)
    assert slots(table, 5002) == [slot]


MOST_TUPLES = 60
"""Of 64 places, so that runs are long, and go on at the first place after the last."""


class Model:
    """The index of 64 places, on its kernels alone, and a dictionary that does the same."""

    def __init__(self, seed: int, homes: int) -> None:
        """Every tuple belongs at one of ``homes`` places, which are neighbours: the fewer, the longer are the runs."""
        numbers = np.zeros(FACTORS + 4 * TABLE, np.int64)
        numbers[:FACTORS] = np.random.default_rng(seed).integers(-(1 << 63), (1 << 63) - 1, FACTORS, np.int64)
        numbers[-TABLE:] = (np.arange(TABLE) % homes + 50) & 63
        tuples = np.zeros(MOST_TUPLES, segments.TUPLE).view(np.recarray)
        counters = np.zeros(4, np.int64)
        counters[FREE_HEAD] = -1
        self.state = FlowState(tuples, np.zeros(64, np.int64), counters, numbers)
        self.known: dict[int, int] = {}

    def meet(self, ports: list[int]) -> None:
        """As many as there is room for: who is known keeps the slot, who is not takes a free one."""
        new = [port for port in dict.fromkeys(ports) if port not in self.known]
        left_out = set(new[MOST_TUPLES - len(self.known) :])
        ports = [port for port in ports if port not in left_out]
        part = batch(*ports)
        self.state.counters[BATCH] += 1
        assign_slots(part, len(ports), self.state, np.zeros(len(ports), np.int64))
        for port, slot in zip(ports, part.slot.tolist(), strict=True):
            if port in self.known:
                assert slot == self.known[port]
            else:
                assert slot not in self.known.values()
                self.known[port] = slot

    def forget(self, ports: list[int]) -> None:
        slots = [self.known.pop(port) for port in dict.fromkeys(ports) if port in self.known]
        release_slots(np.array(slots, np.int32), int(self.state.counters[BATCH]), self.state)

    def move(self) -> None:
        """Into another index, of as many places."""
        index = np.zeros(64, np.int64)
        rehash(index, self.state.index)
        self.state = self.state._replace(index=index)

    def agrees(self) -> bool:
        """Every tuple has one entry, and there are no others."""
        slots = sorted((self.state.index[self.state.index != 0] & 0x7FFFFFFF) - 1)
        counters = self.state.counters
        return slots == sorted(self.known.values()) and counters[USED] - counters[FREE] == len(self.known)


@pytest.mark.parametrize("homes", [1, 3, 16])
def test_whoever_is_given_back_leaves_the_others_in_reach(homes: int) -> None:
    """Out of a crowded run, each in turn; nobody is met twice, and the place is free again."""
    ports = list(range(1, 21))
    for gone in ports:
        model = Model(gone, homes)
        model.meet(ports)
        model.forget([gone])
        model.meet([port for port in ports if port != gone])
        assert model.agrees()
        model.meet([99, gone])
        assert model.agrees()
        assert model.state.counters[USED] == len(ports) + 1


def test_a_tuple_is_told_from_others_by_every_part() -> None:
    """Each differs from the first in one word only."""
    parts = ("src_hi", "src_lo", "dst_hi", "dst_lo", "sport", "dport", "scope")
    made = segments.allocate(1 + len(parts))
    made.src_hi, made.src_lo, made.dst_hi, made.dst_lo = 5, 1, 6, 2
    made.sport, made.dport, made.scope = 5000, 80, 3
    for place, part in enumerate(parts, 1):
        made[part][place] += 8
    FlowTable(compiled=False, seed=new_seed()).assign(made)

    assert sorted(made.slot.tolist()) == list(range(1 + len(parts)))


def test_equal_addresses_and_ports_have_a_direction() -> None:
    """The higher half decides where the lower one is equal, and the port where both are."""
    for low, high, port in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        there, back = batch(80), batch(80)
        there.src_lo, there.src_hi, there.sport = 2 + low, high, 80 + port
        back.dst_lo, back.dst_hi, back.dport = 2 + low, high, 80 + port
        back.src_lo, there.dst_lo = 2, 2
        table = FlowTable(compiled=False, seed=new_seed())
        table.assign(there)
        table.assign(back)

        assert (int(there.direction[0]), int(back.direction[0])) == (1, 0)
        assert there.slot == back.slot


@pytest.mark.parametrize("live", [0, 100, 5000])
def test_the_index_has_room_for_all_that_comes(live: int) -> None:
    """Half as many places again as tuples, and everything that was in it is in the larger one."""
    table = FlowTable(compiled=False, seed=new_seed())
    ports = list(range(1, live + 1))
    known = slots(table, *ports) if ports else []
    more = slots(table, *range(20_000, 29_000))

    assert table.live == live + 9000
    assert len({*known, *more}) == live + 9000
    assert table._index.size >= table.live * 3 // 2
    assert np.count_nonzero(table._index) == table.live
    assert slots(table, *ports[:50]) == known[:50]


PORTS = st.lists(st.integers(1, 90), min_size=1, max_size=40)
ACTS = st.lists(st.tuples(st.sampled_from(("meet", "meet", "forget", "move")), PORTS), min_size=2, max_size=25)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(ACTS, st.integers(0, 5), st.sampled_from((1, 3, 16, 64)))
def test_the_index_does_what_a_dictionary_does(acts: list[tuple[str, list[int]]], seed: int, homes: int) -> None:
    """Met, given back and moved in any order, and crowded: a tuple that is remembered has its slot and no other."""
    model = Model(seed, homes)
    for act, ports in acts:
        if act == "move":
            model.move()
        else:
            getattr(model, act)(ports)
        assert model.agrees()
    model.meet(list(model.known) or [1])
