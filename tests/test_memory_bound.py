"""A bound of memory: unanswered SYNs are forgotten first, everything else stays right, and the reader is told."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcptrace_tw import memory_limit, one_pass, pipeline, settings
from tcptrace_tw.errors import UsageError
from tcptrace_tw.tcp import tracker
from tcptrace_tw.tcp.store import records as s
from tests import capture_bytes as cb
from tests.generate import healthy_traffic
from tests.scenario import Result, play_pcap, render
from tests.scenario.play import engine
from tests.test_attempts import MS, T0, syn

GIB = 1 << 30


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> list[tracker.Tracker]:
    """From now on connections may take 1 MB, and are looked at in batches of 50 segments; the trackers used."""
    monkeypatch.setattr(one_pass, "for_connections", lambda most: 1_000_000)
    monkeypatch.setattr(one_pass, "BATCH_SIZE", 50)
    monkeypatch.setattr(tracker, "LINGER_NS", MS)
    used: list[tracker.Tracker] = []
    make = tracker.Tracker.__init__

    def noted(self: tracker.Tracker, *args: object, **options: object) -> None:
        make(self, *args, **options)  # type: ignore[arg-type]
        used.append(self)

    monkeypatch.setattr(tracker.Tracker, "__init__", noted)
    return used


def flood(count: int) -> bytes:
    """SYNs of so many sources, each 0.1 ms after the one before."""
    rng = random.Random(3)
    return cb.pcap([cb.Record(syn(rng, 35 * n + 1), T0 + n * MS // 10) for n in range(count)], nano=True)


def rows(result: Result, table: str) -> list[str]:
    return sorted(str(row) for row in result.tables[table])


def test_a_flood_is_forgotten_and_every_syn_is_counted(bounded: list[tracker.Tracker]) -> None:
    """The oldest SYNs are let go of; each leaves the row that it would leave at the end."""
    capture = flood(8000)
    got = play_pcap(capture, compiled=True)
    hands = bounded[0]

    assert hands.counters[s.FORGOTTEN_ATTEMPTS] > 1000
    assert hands.counters[s.FORGOTTEN_CONNECTIONS] == 0
    assert 2 * int(hands.counters[s.ARCHIVE_USED]) <= 1_000_000
    assert len(got.tables["connections"]) == 8000
    assert {row.close for row in got.connections} == {"unanswered"}
    assert [f.rule for f in got.findings if f.rule == "CP013"]


def test_what_is_kept_stays_right(bounded: list[tracker.Tracker], monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations amid a flood that is too large have the rows that they have in a run without a bound."""
    talk = [cb.Record(frame, time) for frame, time in records(render(list(healthy_traffic(5, 20))))]
    begin = talk[0].time_ns
    scan = [cb.Record(frame, time - T0 + begin) for frame, time in records(flood(8000))]
    mixed = cb.pcap(sorted(talk + scan, key=lambda record: record.time_ns), nano=True)
    got = play_pcap(mixed, compiled=True)
    assert bounded[0].counters[s.FORGOTTEN_ATTEMPTS] > 1000
    monkeypatch.setattr(one_pass, "for_connections", lambda most: None)
    whole = play_pcap(mixed, compiled=True)

    for table in ("connections", "time_wait", "reuses"):
        assert rows(got, table) == rows(whole, table)


def records(pcap: bytes) -> Iterator[tuple[bytes, int]]:
    """The frames of a nanosecond capture and their times."""
    at = 24
    while at < len(pcap):
        seconds, ns, size, _ = struct.unpack_from("<IIII", pcap, at)
        yield pcap[at + 16 : at + 16 + size], seconds * 10**9 + ns
        at += 16 + size


def test_nothing_is_forgotten_where_everything_fits(bounded: list[tracker.Tracker]) -> None:
    """A few hundred SYNs fit into the bound: no finding, nothing early."""
    got = play_pcap(flood(300))

    assert bounded[0].forgotten == 0
    assert not [f for f in got.findings if f.rule == "CP013"]


def test_the_notice_comes_once(bounded: list[tracker.Tracker], tmp_path: Path) -> None:
    """Whoever waits is told when the bound is reached, not once a batch."""
    path, said = tmp_path / "flood.pcap", []
    path.write_bytes(flood(8000))
    with engine(compiled=True):
        pipeline.analyze([str(path)], settings.Settings(), [], notice=said.append)

    assert said == [one_pass.FORGETTING]


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2 * GIB), ("512m", GIB // 2), ("1.5 GiB", 3 * GIB // 2), ("1048576", 1 << 20)]
)
def test_sizes(text: str, size: int) -> None:
    """A size is a number with or without a unit of 1024."""
    assert settings.Settings(max_memory=text).max_memory == size


@pytest.mark.parametrize("wrong", ["", "much", "-1G", "1X", "10", 0, True, 1.5])
def test_wrong_sizes(wrong: object) -> None:
    """What is no size, or less than anything could be done with, is refused in one line."""
    with pytest.raises(UsageError, match=r"--max-memory .*is not a valid size"):
        settings.Settings(max_memory=wrong)  # type: ignore[arg-type]


def test_the_container_decides(tmp_path: Path) -> None:
    """The smallest limit of the groups of a process counts, of both versions of cgroups."""
    own = tmp_path / "own"
    own.write_text("4:memory:/jobs/a\n0::/slice/b\n")
    for folder, name, limit in (
        ("memory/jobs/a", "memory.limit_in_bytes", "9223372036854771712"),
        ("memory/jobs", "memory.limit_in_bytes", "3000000"),
        ("slice/b", "memory.max", "max"),
        ("slice", "memory.max", "5000000"),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(limit + "\n")

    assert min(memory_limit._control_groups(str(tmp_path), str(own))) == 3_000_000


def test_half_of_the_machine_is_the_default() -> None:
    """Without a bound half of what there is may be taken, less what the program takes itself."""
    there = memory_limit.available()
    if there is None:
        pytest.skip("this system does not say how much memory it has")

    assert memory_limit.for_connections(None) == max(there // 2 - memory_limit.OWN, there // 8)
    assert memory_limit.for_connections(4 * GIB) == 4 * GIB - memory_limit.OWN
    assert memory_limit.for_connections(1 << 20) == 1 << 18
    assert sys.maxsize > there
