"""A look at incarnations that are not over gives the rows that the end of the capture would give, and moves nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.flow import FlowTable
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.schema.segments import allocate
from tcptrace_tw.tcp import tracker as module
from tcptrace_tw.tcp.peek import Peek, ended_now
from tcptrace_tw.tcp.tracker import Tracker
from tests.scenario import parse, render

FIXTURES = Path(__file__).parent.parent / "fixtures"
NAMES = sorted(path.parent.name for path in FIXTURES.glob("kernel-*/capture.pcap") if path.stat().st_size < 60_000)[::4]
PROFILE = profile("linux", None)


class Room:
    """The flow table and the tracker over one capture, with what a look needs."""

    def __init__(self, *, compiled: bool) -> None:
        self.compiled, self.seed = compiled, new_seed()
        self.flow = FlowTable(compiled=compiled, seed=self.seed)
        self.tracker = self.fresh()
        self.slots: set[int] = set()

    def fresh(self) -> Tracker:
        return Tracker(PROFILE, compiled=self.compiled, transitions=False, seed=self.seed)

    def arrive(self, batch) -> list:
        self.flow.assign(batch)
        self.slots |= set(batch.slot.tolist())
        found = [
            (table.name, row) for table, rows in self.tracker.arrive(batch, self.flow.tuples) for row in plain(rows)
        ]
        return found + self.finished()

    def finished(self) -> list:
        return [(table.name, row) for table, rows in self.tracker.drain() for row in plain(rows)]

    def looked_at(self, time: int, slots=None) -> list:
        slots = np.array(sorted(self.slots if slots is None else slots), np.int64)
        peek = Peek(PROFILE, compiled=self.compiled, seed=self.seed)
        found = list(peek.rows(self.tracker, slots, self.flow.tuples, time))
        again = list(peek.rows(self.tracker, slots, self.flow.tuples, time))
        assert rows_of(found) == rows_of(again)
        return rows_of(found)

    def all_ended(self, time: int) -> list:
        return rows_of(ended_now(self.tracker, self.flow.tuples, time, self.fresh()))


def plain(rows) -> list:
    return rows.view(np.ndarray).tolist()


def rows_of(chunks) -> list:
    return sorted((table.name, row) for table, rows in chunks for row in plain(rows))


def batches(path: Path, size: int):
    with open_stream(str(path)) as stream:
        for batch in Reader(stream, compiled=True, batch_size=size).batches():
            yield batch.copy().view(np.recarray)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [7, 1000])
def test_a_look_gives_what_the_end_would_give(name, size):
    """After any batch; and the rows that leave in the end are those of a run in which nobody looked."""
    path = next((FIXTURES / name).glob("capture.*"))
    looked, plain_run = Room(compiled=True), Room(compiled=True)
    left, left_plain, time = [], [], 0
    for number, batch in enumerate(batches(path, size)):
        time = max(time, int(batch.time.max()))
        left_plain += plain_run.arrive(batch.copy().view(np.recarray))
        left += looked.arrive(batch)
        if number % 3 == 0:
            looked.looked_at(time)
            looked.all_ended(time)
    seen, everything = looked.looked_at(time), looked.all_ended(time)
    end, end_plain = (
        rows_of(looked.tracker.finish(time, looked.flow.tuples)),
        rows_of(plain_run.tracker.finish(time, plain_run.flow.tuples)),
    )

    assert left == left_plain
    assert end == end_plain
    assert seen == everything == end
    assert len(end) > 0


def test_a_look_agrees_interpreted():
    path = FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap"
    found = []
    for compiled in (False, True):
        room = Room(compiled=compiled)
        for batch in batches(path, 1000):
            room.arrive(batch)
            time = int(batch.time.max())
        found.append((room.looked_at(time), room.all_ended(time)))

    assert found[0] == found[1]


def test_a_look_at_some_slots_gives_only_theirs():
    room = Room(compiled=True)
    for batch in batches(FIXTURES / "kernel-nat-few-ports" / "capture.pcap", 1000):
        room.arrive(batch)
        time = int(batch.time.max())
    some = sorted(room.slots)[::3]
    parts = [room.looked_at(time, [slot]) for slot in some]

    assert sorted(row for part in parts for row in part) == room.looked_at(time, some)
    assert room.looked_at(time, []) == room.looked_at(time, [max(room.slots) + 1]) == []


SYN_ON_AN_OPEN_CONNECTION = """
A = 10.0.0.1:40000
B = 10.0.0.2:80

+0.000 A > B  S  1000:1000(0) win 65535
+0.001 A < B  S. 5000:5000(0) ack 1001 win 65535
+0.001 A > B  .  1001:1001(0) ack 5001 win 65535
+9.000 A > B  S  9000000:9000000(0) win 65535
"""


def test_a_look_shows_the_first_connection_of_a_capture_before_a_syn_and_behind_it(tmp_path):
    """Nobody has answered the SYN on its 4-tuple: both may live, and the earlier one has the first place of all."""
    path = tmp_path / "capture.pcap"
    path.write_bytes(render(parse(SYN_ON_AN_OPEN_CONNECTION).frames))
    room, connections = Room(compiled=True), []
    for batch in batches(path, 3):
        room.arrive(batch)
        time = int(batch.time.max())
        seen = room.looked_at(time)
        connections.append([name for name, _ in seen].count("connections"))

        assert seen == room.all_ended(time)
    assert connections == [1, 2]


def test_the_archive_and_attempts_are_part_of_everything(monkeypatch):
    """Thousands of unanswered SYNs and closed connections: most of them are archived."""
    monkeypatch.setattr(module, "ARCHIVE_FROM", 8)
    room = Room(compiled=True)
    batch = allocate(3000)
    batch["src_lo"], batch["dst_lo"] = 0xFFFF << 32 | 1, 0xFFFF << 32 | 2
    batch["sport"] = 1024 + np.arange(3000)
    batch["dport"], batch["flags"], batch["seq"] = 80, 2, np.arange(3000) * 7
    batch["time"] = 10**18 + np.arange(3000) * 10_000_000
    batch["frame"] = np.arange(3000) + 1
    room.arrive(batch.view(np.recarray))
    time = int(batch["time"].max())
    everything = room.all_ended(time)

    assert room.tracker.counters[module.s.ATTEMPTS] > 1000
    assert len(room.looked_at(time)) < 2000
    assert everything == room.all_ended(time) == rows_of(room.tracker.finish(time, room.flow.tuples))
    assert sum(name == "connections" for name, _ in everything) == 3000
