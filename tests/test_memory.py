"""Rooms that are used again, pools that grow in place, and memory that goes back to the system."""

from __future__ import annotations

import mmap
from collections.abc import Callable

import numpy as np
import pytest

from tcptrace_tw.kernels import arrays
from tcptrace_tw.kernels.arrays import LARGE, Allocator, Buffers, Pool, address_of, allocated_by, zeros
from tests import capture_bytes as cb
from tests.fuzz.ground import Exact, Guarded
from tests.scenario import play_pcap

ROW = np.dtype([("a", "i8"), ("b", "u1")])


def test_a_room_that_is_not_looked_at_is_used_again() -> None:
    rooms = Buffers(ROW, 8)
    first = rooms.take()
    where = address_of(first)
    del first

    assert address_of(rooms.take()) == where


@pytest.mark.parametrize("allocator", [Allocator, Exact, Guarded])
@pytest.mark.parametrize("size", [8, LARGE])
def test_a_room_is_not_used_again_while_a_part_of_it_is_looked_at(size: int, allocator: type[Allocator]) -> None:
    """A column of a slice, a plain array of it, a view of other numbers: any of them keeps the room."""
    rooms = Buffers(ROW, size)
    with allocated_by(allocator()):
        first = rooms.take()
    column = np.asarray(first)["a"][1:]
    where = address_of(first)
    del first
    assert address_of(rooms.take()) != where
    del column
    rooms = Buffers(ROW, size)
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


class NoMremap(mmap.mmap):
    """A map as CPython has it on macOS and FreeBSD, where the system call is not there."""

    def resize(self, size: int) -> None:
        raise SystemError("mmap: resizing not available--no mremap()")


class NoMaps(Allocator):
    """A system without private maps."""

    stretches = False


def without_mremap(patch: pytest.MonkeyPatch) -> Allocator:
    patch.setattr(mmap, "mmap", NoMremap)
    return Allocator()


SYSTEMS: dict[str, Callable[[pytest.MonkeyPatch], Allocator]] = {
    "no mremap": without_mremap, "no private maps": lambda _: NoMaps(), "exact": lambda _: Exact(),
}  # fmt: skip


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_pool_grows_on_every_system(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many times, from less than a page on; the records keep their content, the new ones are zero."""
    with allocated_by(SYSTEMS[system](monkeypatch)):
        pool = Pool(ROW, 4)
        for size in range(4, 20_000, 999):
            pool.reserve(size)
            pool.records.a[size - 1] = size
            assert (pool.capacity >= size, pool.address) == (True, address_of(pool.records))

    kept = np.zeros(pool.capacity, np.int64)
    kept[np.arange(3, 20_000, 999)] = np.arange(4, 20_000, 999)
    assert pool.records.a.tolist() == kept.tolist()


def test_a_capture_is_read_where_there_is_no_mremap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pools of the tracker grow there, too: 2,100 tuples may need more than it begins with."""
    frames = [cb.Record(cb.ethernet(cb.ipv4(cb.tcp(sport=1024 + n, flags=2))), n * 1000) for n in range(2100)]
    expected = play_pcap(cb.pcap(frames)).summary.connections
    monkeypatch.setattr(mmap, "mmap", NoMremap)

    assert play_pcap(cb.pcap(frames)).summary.connections == expected == 2100


def test_a_large_array_is_a_map_of_its_own() -> None:
    """Its pages are the system's again when it is dropped; the heap would keep them."""
    assert isinstance(zeros(LARGE, np.uint8).base, mmap.mmap)
    assert zeros((8, LARGE), np.int64, align=64).sum() == 0
    assert zeros(LARGE - 1, np.uint8).base is None


@pytest.mark.parametrize("size", [1, 100, LARGE])
def test_an_array_begins_where_it_should(size: int) -> None:
    assert address_of(zeros(size, np.uint8, align=64)) % 64 == 0


def test_an_exact_pool_has_what_was_asked_for() -> None:
    """So an overrun of what was promised is an overrun of the array."""
    with allocated_by(Exact()):
        pool = Pool(ROW, 4096)
        capacities = [pool.capacity]
        for size in (3, 4, 1000):
            pool.reserve(size)
            capacities.append(pool.capacity)

    assert capacities == [1, 3, 4, 1000]
    assert not isinstance(arrays._allocator, Exact)


def test_a_pool_grows_although_its_records_are_held() -> None:
    """As a compiler does until its garbage is collected."""
    pool = Pool(ROW, 4)
    pool.records.a[3] = 7
    held = pool.records
    pool.reserve(1_000_000)
    held.a[0] = 9

    assert (pool.records.a[3], pool.records.a[0], held.a[3]) == (7, 0, 7)
