"""What the user names becomes an ordered list of files, and files that overlap become one series in time order."""

from __future__ import annotations

import gzip
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace_tw import one_pass
from tcptrace_tw.capture import merge as merging
from tcptrace_tw.capture import ring
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.head import read_head
from tcptrace_tw.capture.merge import Source, merge
from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.errors import CaptureError, UsageError
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.schema import segments
from tcptrace_tw.settings import Settings
from tcptrace_tw.stages import BUFFERS, read_ahead

S = 1_000_000_000


def pcap(first_s: int | None, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    header = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    record = b"" if first_s is None else struct.pack(f"{order}IIII", first_s, 5, 4, 4) + b"abcd"
    return header + record


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, 12 + len(body)) + body + struct.pack(f"{order}I", 12 + len(body))


def pcapng(ticks: int, order: str = "<", options: bytes = b"", before: bytes = b"") -> bytes:
    section = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(order, 1, struct.pack(f"{order}HHI", 1, 0, 0) + options)
    packet = block(order, 6, struct.pack(f"{order}IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, 4, 4) + b"abcd")
    return section + before + interface + packet


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("data", "first_time"),
    [
        (lambda o: pcap(7, o), 7 * S + 5000),
        (lambda o: pcap(7, o, 0xA1B23C4D), 7 * S + 5),
        (lambda o: pcap(None, o), None),
        (lambda o: pcapng(7_000_001, o), 7 * S + 1000),
        (lambda o: pcapng(7 * S + 1, o, option(o, 9, b"\x09")), 7 * S + 1),
        (lambda o: pcapng(7 << 10, o, option(o, 9, b"\x8a")), 7 * S),
        (lambda o: pcapng(7_000_001, o, option(o, 14, struct.pack(f"{o}q", 3))), 10 * S + 1000),
        (lambda o: pcapng(7_000_001, o, before=block(o, 4, bytes(100_000))), 7 * S + 1000),
        (lambda o: pcapng(7 << 33, o, option(o, 9, b"\xa1")), 7 * S),
        (lambda o: pcapng(0, o, option(o, 14, struct.pack(f"{o}q", -1))), 0),
        (lambda o: pcapng(7, o, option(o, 14, struct.pack(f"{o}q", 1 << 62))), 0),
        (lambda o: pcapng(7, o, option(o, 14, struct.pack(f"{o}q", -(1 << 63)))), 0),
        (lambda o: pcapng((1 << 64) - 1, o), 0),
        (lambda o: pcapng(7, o, option(o, 9, b"\x7f")), 0),
        (lambda o: pcapng(7, o, option(o, 9, b"\xff")), 0),
        (lambda o: gzip.compress(pcapng(7_000_001, o)), 7 * S + 1000),
    ],
)
def test_the_head_tells_when_the_capture_begins(tmp_path: Path, order: str, data: Any, first_time: int) -> None:
    path = tmp_path / "head"
    path.write_bytes(data(order))
    head = read_head(str(path))

    assert head is not None
    assert head.first_time == first_time


@pytest.mark.parametrize(
    "data", [b"", b"abc", b"#!/bin/sh\n", gzip.compress(b"notes", mtime=0), b"\x0a\x0d\x0d\x0a" + bytes(20)]
)
def test_other_files_are_no_captures(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "head"
    path.write_bytes(data)
    assert read_head(str(path)) is None


def test_a_wrapped_ring_is_read_in_the_order_of_its_first_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``tcpdump -C 10 -W 4`` leaves x0 x1 x2 x3 with any phase, and without -W the names do not sort."""
    monkeypatch.chdir(tmp_path)
    for name, first_s in {"x": 10, "x1": 50, "x2": 20, "x10": 30, "x3": 40}.items():
        Path(name).write_bytes(pcap(first_s))
    Path("x9").write_bytes(pcap(None))

    found = ring.find(["x9", "x1", "x2", "x", "x3", "x10"])
    assert found.files == ["x", "x2", "x10", "x3", "x1", "x9"]
    assert found.first_times == [10 * S + 5000, 20 * S + 5000, 30 * S + 5000, 40 * S + 5000, 50 * S + 5000, None]
    assert found.remarks == []
    assert ring.find(["x*"]).files == found.files


def test_a_directory_gives_its_captures_and_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d/deep").mkdir(parents=True)
    Path("d/b.gz").write_bytes(gzip.compress(pcap(1)))
    Path("d/deep/a.txt").write_bytes(pcapng(2_000_000))
    Path("d/readme").write_text("no capture")
    Path("d/empty.pcap").touch()
    os.mkfifo("d/fifo")
    os.symlink("missing", "d/dangling")

    found = ring.find(["d"])
    assert found.files == ["d/b.gz", "d/deep/a.txt"]
    assert found.remarks == ["d: 3 files left out: d/empty.pcap (empty), d/fifo (a pipe), d/readme (not a capture)"]


def test_a_file_named_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(pcap(1))
    Path("b").write_bytes(pcap(2))
    assert ring.find([".", "a", "./b", "b"]).files == ["./a", "./b"]


@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_names_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b c").write_bytes(pcap(1))
    Path("a").write_bytes(pcap(2))
    Path("list").write_text(separator.join(["a", "b c", ""]))
    assert ring.read_list("list") == ["a", "b c"]


def test_a_single_file_is_not_looked_at() -> None:
    """It may be a pipe; and what is wrong with it is said when it is opened."""
    assert ring.find(["-"]).files == ["-"]
    assert ring.find(["missing"]).files == ["missing"]


def test_a_pipe_among_files_keeps_the_order_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pcap(1))
    found = ring.find(["-", str(tmp_path / "a")])
    assert found.files == ["-", str(tmp_path / "a")]
    assert "can be read only once" in found.remarks[0]


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ([], UsageError, "no capture given"),
        (["none*"], CaptureError, "none\\*: no capture found, there is no file"),
        (["d"], CaptureError, "d: no capture found, its only file is not one"),
        (["a", "missing"], CaptureError, "missing: there is no such file"),
        (["a", "d/readme"], CaptureError, "d/readme: is a text file, not a capture"),
        (["d/empty", "d2/empty"], CaptureError, "d/empty: is empty, as is every file"),
    ],
)
def test_what_cannot_be_found_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(pcap(1))
    for folder in ("d", "d2"):
        Path(folder).mkdir()
    Path("d/readme").write_text("no capture")
    if "d" not in args:
        Path("d/empty").touch()
        Path("d2/empty").touch()
    with pytest.raises(error, match=message):
        ring.find(args)


def facts(name: str, first_s: float, last_s: float, frames: int = 1000) -> FileFacts:
    return FileFacts(name, first_time=int(first_s * S), last_time=int(last_s * S), frames=frames)


def test_gaps_and_overlaps_above_a_second_are_told() -> None:
    assert ring.remarks_on_times([facts("a", 0, 10), facts("b", 10.5, 20), facts("c", 19.5, 30)]) == []
    assert ring.remarks_on_times([facts("a", 0, 10), facts("b", 14.5, 20)]) == ["4.5 s are missing between a and b"]
    assert ring.remarks_on_times([facts("a", 0, 10), facts("b", 8, 20)]) == ["a and b overlap by 2.0 s; merged by time"]
    assert ring.remarks_on_times([facts("a", 0, 10, 3), facts("b", 14.5, 20)]) == []


def batches(times: list[int], file: int, cuts: list[int]) -> Iterator[segments.Segments]:
    """A file of segments at these times, cut in pieces, in one buffer that is used again and again."""
    buffer: Any = segments.allocate(max(cuts, default=0) + len(times))
    at, sizes = 0, iter(cuts)
    while at < len(times):
        part = times[at : at + next(sizes, len(times))]
        buffer.time[: len(part)] = part
        buffer.frame[: len(part)] = np.arange(at, at + len(part)) + 1 + (file << 40)
        yield buffer[: len(part)]
        buffer.time[:] = -1
        at += len(part)


FILES = st.lists(st.tuples(st.lists(st.integers(0, 30), min_size=1), st.lists(st.integers(0, 5))), max_size=5)


@given(files=FILES, size=st.integers(1, 20))
def test_merging_is_a_stable_sort_by_time_and_file(files: list[tuple[list[int], list[int]]], size: int) -> None:
    """However the files are cut; within a file that steps back in time, the file's own order stays."""
    files.sort(key=lambda f: f[0][0])
    expected = []
    for file, (times, _) in enumerate(files):
        keys = np.maximum.accumulate(times).tolist()
        expected += [(key, file, number + 1) for number, key in enumerate(keys)]
    sources = [
        Source(times[0], lambda file=file, times=times, cuts=cuts: batches(times, file, cuts))  # type: ignore[misc]
        for file, (times, cuts) in enumerate(files)
    ]

    frames: list[int] = []
    for batch in merge(sources, size, compiled=False):
        part: Any = batch
        assert 0 < part.frame.size <= size
        frames += part.frame.tolist()
    assert frames == [number + (file << 40) for _, file, number in sorted(expected)]


def test_small_files_that_begin_together_are_closed_at_once() -> None:
    """A ring may have thousands of them: more than a process may have open."""
    opened: list[int] = []
    most = 0

    def source(file: int) -> Source:
        def read() -> Iterator[segments.Segments]:
            nonlocal most
            opened.append(file)
            most = max(most, len(opened))
            yield from batches([5, 5 + file % 7], file, [])
            opened.remove(file)

        return Source(5, read)

    frames = [
        frame
        for batch in merge([source(file) for file in range(200)], 100, compiled=False)
        for frame in batch.frame.tolist()
    ]

    times = [(time, (file << 40) + i + 1) for file in range(200) for i, time in enumerate((5, 5 + file % 7))]
    assert frames == [frame for _, frame in sorted(times)]
    assert most == 1


def test_a_rotated_capture_is_opened_file_by_file() -> None:
    opened: list[int] = []

    def source(file: int, first: int | None) -> Source:
        def read() -> Iterator[segments.Segments]:
            opened.append(file)
            yield from batches([10 * file, 10 * file + 9], file, [])

        return Source(first, read)

    seen = []
    for _ in merge([source(0, 0), source(1, 10), source(2, 20), source(3, None)], 100, compiled=False):
        seen.append(list(opened))
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_what_is_in_use_is_not_written_to_while_the_merge_looks_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small batch is copied and the next one read at once: so a source keeps one more than a reader alone."""
    monkeypatch.setattr(merging, "SMALL", 4)
    room: list[Any] = [segments.allocate(9) for _ in range(BUFFERS + merging.LOOK_AHEAD)]

    def read() -> Iterator[segments.Segments]:
        for number, size in enumerate([9, 2, 2, 9, 9, 1, 3, 2, 9, 2, 9, 2, 2, 2, 9]):
            room.append(room.pop(0))
            room[-1].time[:] = room[-1].frame[:] = number
            yield room[-1][:size]

    behind = Source(100, lambda: batches([100] * 3, 1, []))

    def read_and_kept() -> Iterator[tuple[list[int], list[int]]]:
        for batch in read_ahead(merge([Source(0, read), behind], 20, compiled=False)):  # type: ignore[arg-type]
            before = batch.frame.tolist()
            time.sleep(0.02)  # the merge goes on as far as it can
            yield before, batch.frame.tolist()

    found = list(read_and_kept())

    assert len(found) > 10
    assert [before for before, _ in found] == [now for _, now in found]


def test_a_pass_over_several_files_keeps_as_many_batches_as_the_merge_wants(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[int] = []

    class Recorded(Reader):
        def __init__(self, *arguments: Any, buffers: int, **options: Any) -> None:
            given.append(buffers)
            super().__init__(*arguments, buffers=buffers, **options)

    monkeypatch.setattr(one_pass, "Reader", Recorded)
    for name in "ab":
        (tmp_path / f"{name}.pcap").write_bytes(pcap(None))
    for names in (["a.pcap"], ["a.pcap", "b.pcap"]):
        run = one_pass.Run(
            [str(tmp_path / each) for each in names], Settings(), None, transitions=False, seed=new_seed()
        )
        list(run.chunks())

    ahead = given[0]
    assert given == [ahead, ahead + merging.LOOK_AHEAD, ahead + merging.LOOK_AHEAD]
