"""Slots of tuples: who comes again has the same one, and what is given back too late is kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcptrace_tw.flow import FlowTable
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.spec import segments


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
