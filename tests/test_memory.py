"""Rooms that are used again, and pools that grow in place."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.memory import Buffers, Pool, address_of

ROW = np.dtype([("a", "i8"), ("b", "u1")])


def test_a_room_that_nobody_looks_at_is_used_again() -> None:
    rooms = Buffers(ROW, 8)
    first = rooms.take()
    where = address_of(first)
    del first

    assert address_of(rooms.take()) == where


def test_a_room_is_not_used_again_while_a_part_of_it_is_looked_at() -> None:
    """A column of a slice, a plain array of it, a view of other numbers: any of them keeps the room."""
    rooms = Buffers(ROW, 8)
    parts = [rooms.take()[2:5].b, rooms.take()[:3].view(np.ndarray)["a"], np.asarray(rooms.take())[1:2], rooms.take()]

    assert len(rooms._owners) == 4
    del parts[0]
    rooms.take()
    assert len(rooms._owners) == 4


def test_a_pool_keeps_its_records() -> None:
    pool = Pool(ROW, 4)
    pool.records.a[3] = 7
    pool.reserve(1_000_000)

    assert (pool.capacity >= 1_000_000, pool.records.a[3], pool.address) == (True, 7, address_of(pool.records))


def test_a_pool_grows_although_somebody_holds_its_records() -> None:
    """As a compiler does until its garbage is collected."""
    pool = Pool(ROW, 4)
    pool.records.a[3] = 7
    held = pool.records
    pool.reserve(1_000_000)
    held.a[0] = 9

    assert (pool.records.a[3], pool.records.a[0], held.a[3]) == (7, 0, 7)
