"""What harms readers of captures, one of each kind: no traceback, no hang, no flood of memory, and a true count.

Smaller ones lie in ``tests/fuzz/corpus``; these are long, or live.
"""

from __future__ import annotations

import errno
import glob
import gzip
import io
import os
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tcptrace_tw import pipeline
from tcptrace_tw.capture import pcapng, ring
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.head import read_head
from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.errors import CaptureError
from tests import capture_bytes as cb
from tests.fuzz.seeds import conversation
from tests.scenario.play import engine

TALK = list(conversation())
PACKETS = b"".join(cb.packet(r.frame, r.time_ns // 1000) for r in TALK)
HANG_S = 10
MANY = 1_000_000
MANY_OTHERS = 200_000


def read(path: Path) -> FileFacts:
    with open_stream(str(path)) as stream:
        reader = Reader(stream, compiled=False)
        for _ in reader.batches():
            pass
    return reader.facts


def interfaces(order: str) -> bytes:
    """All different, as far as a snap length can be."""
    shape = struct.Struct(f"{order}IIHHII")
    return b"".join(shape.pack(1, 20, cb.ETHERNET, 0, 1 + i % 200_000, 20) for i in range(MANY))


MANY_BLOCKS: dict[str, tuple[Callable[[], bytes], int]] = {
    "interfaces": (lambda: cb.section() + interfaces("<") + PACKETS, len(TALK)),
    "link types": (
        lambda: cb.section() + b"".join(cb.interface(cb.ETHERNET + i) for i in range(65_000)) + PACKETS,
        len(TALK),
    ),
    "big-endian interfaces": (lambda: cb.section(">") + interfaces(">")[: 20 * MANY_OTHERS], 0),
    "sections": (lambda: cb.section() * (MANY_OTHERS) + cb.interface() + PACKETS, len(TALK)),
    "statistics": (
        lambda: cb.section() + cb.interface() + b"".join(cb.statistics(i, i) for i in range(MANY_OTHERS)) + PACKETS,
        len(TALK),
    ),
    "unknown blocks": (lambda: cb.section() + cb.interface() + cb.block(0xBAD, b"") * MANY_OTHERS + PACKETS, len(TALK)),
}


@pytest.mark.parametrize("kind", MANY_BLOCKS)
def test_a_million_blocks_are_read_in_seconds(tmp_path: Path, kind: str) -> None:
    """Processor time, because other tests run beside it; interpreted, the slower way."""
    make, segments = MANY_BLOCKS[kind]
    path = tmp_path / "many.pcapng"
    path.write_bytes(make())

    begun = time.process_time()
    facts = read(path)
    read_head(str(path))

    assert facts.tcp_segments == segments
    assert facts.damage is None
    assert time.process_time() - begun < HANG_S


def large_interfaces(count: int, different: bool) -> Iterator[bytes]:
    """Interfaces whose options are 320 kB each: a long description, or very many comments."""
    for i in range(count):
        body = struct.pack("<HHI", cb.ETHERNET, 0, 0)
        if different:
            body += cb.option(2, struct.pack("<I", i) + bytes(65_000)) * 5
        else:
            body += cb.option(1, b"") * 80_000
        yield cb.block(1, body)


@pytest.mark.parametrize("different", [True, False])
def test_what_is_large_and_says_little_is_not_kept(different: bool) -> None:
    """A packed file of some kB may hold a GB of it. Memory is measured by what Python has in hand at most."""
    data = cb.section() + b"".join(large_interfaces(200, different)) + PACKETS
    stream = cb.Bytes(data)

    begun = time.process_time()
    tracemalloc.start()
    reader = Reader(stream, compiled=False)
    segments = sum(batch.size for batch in reader.batches())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert segments == len(TALK)
    assert most < 16 << 20, f"{most >> 20} MB of {len(data) >> 20}"
    assert time.process_time() - begun < HANG_S


def test_only_a_million_interfaces_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapng, "INTERFACES_MAX", 5)
    data = cb.section() + cb.interface() * 9 + cb.packet(TALK[0].frame, which=4) + cb.packet(TALK[0].frame, which=5)
    reader = Reader(cb.Bytes(data), compiled=False)

    assert sum(batch.size for batch in reader.batches()) == 1
    assert "packet of interface 5, but the section has described 5" in (reader.facts.damage or "")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("window_size", [64, 4096])
def test_more_interfaces_than_are_kept_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, compiled: bool, window_size: int
) -> None:
    """Also where one crosses the end of the window, and where the file ends inside one."""
    monkeypatch.setattr(pcapng, "INTERFACES_MAX", 5)
    data = cb.section() + cb.interface() * 300 + cb.packet(TALK[0].frame, which=4)
    cut = data[: -len(cb.packet(TALK[0].frame, which=4)) - 3]
    with engine(compiled):
        whole = Reader(cb.Bytes(data), compiled=compiled, window_size=window_size)
        assert sum(batch.size for batch in islice(whole.batches(), 10)) == 1
        with pytest.raises(CaptureError, match="there is no whole frame before it"):
            list(Reader(cb.Bytes(cut), compiled=compiled, window_size=window_size).batches())


DESCRIPTIONS = {
    "sections": cb.section(),
    "statistics": cb.statistics(0, 1),
    "sections with an interface": cb.section() + cb.interface(),
    "sections of both byte orders": cb.section(">") + cb.interface(order=">") + cb.section() + cb.interface(),
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_descriptions_in_a_row_do_not_each_cost_a_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A packed file of a few kilobytes holds millions of them, and a walk of a kernel takes longer than to read one."""
    path, walks = tmp_path / "many.pcapng", []
    scan = pcapng.PcapngFile.scan
    monkeypatch.setattr(pcapng.PcapngFile, "scan", lambda *given: walks.append(1) or scan(*given))
    path.write_bytes(
        cb.section() + cb.interface() + DESCRIPTIONS[kind] * 5000 + cb.section() + cb.interface() + PACKETS
    )

    assert read(path).frames == len(TALK)
    assert len(walks) < 20


def test_statistics_count_for_the_interfaces_before_them_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "few.pcapng"
    first = cb.section() + cb.interface() + cb.statistics(0, 5) + cb.interface() + cb.statistics(1, 7)
    second = cb.section(">") + cb.interface(order=">") + cb.statistics(0, 9, ">") + cb.statistics(1, 100, ">")
    path.write_bytes(first + second + cb.section() + cb.interface() + PACKETS)

    facts = read(path)

    assert (facts.frames, facts.lost_frames, facts.damage) == (len(TALK), 21, None)


def test_statistics_of_interfaces_that_are_not_described_count_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(cb.section() + cb.interface() + cb.statistics(0, 3) + cb.statistics(7, 1000) + PACKETS)

    assert read(path).lost_frames == 3


def test_the_old_packet_block_says_how_many_frames_were_lost(tmp_path: Path) -> None:
    """The count since the packet before; 65535 stands for: not known."""
    path = tmp_path / "x.pcapng"
    blocks = [bytearray(cb.old_packet(record.frame)) for record in TALK[:3]]
    for block, drops in zip(blocks, (2, 0xFFFF, 5), strict=True):
        struct.pack_into("<H", block, 10, drops)
    path.write_bytes(cb.section() + cb.interface() + b"".join(blocks))

    assert read(path).lost_frames == 7


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_a_fifo_that_closes_in_mid_record_gives_what_came_before(tmp_path: Path, form: str) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = cb.pcap(TALK) if form == "pcap" else cb.section() + cb.interface() + PACKETS

    def feed() -> None:
        with path.open("wb", buffering=0) as fifo:
            fifo.write(data[:-7])

    feeder = threading.Thread(target=feed)
    feeder.start()
    facts = read(path)
    feeder.join()

    assert facts.frames == len(TALK) - 1
    assert facts.damage is not None
    assert facts.damage.endswith(f"the {len(TALK) - 1} frames before it were kept")


def test_a_file_that_grows_while_it_is_read_is_read_to_some_end(tmp_path: Path) -> None:
    """tcpdump may still write it: every whole record at hand is taken, and what is half written is told."""
    path = tmp_path / "growing.pcap"
    data = cb.pcap(TALK * 50)
    path.write_bytes(data[: len(data) // 3])
    with open_stream(str(path)) as stream:
        reader = Reader(stream, compiled=False, batch_size=16, window_size=4096)
        batches = reader.batches()
        next(batches)
        with path.open("ab") as file:
            file.write(data[len(data) // 3 : -5])
        for _ in batches:
            pass

    assert reader.facts.frames == len(TALK) * 50 - 1
    assert reader.facts.damage is not None


def test_zeros_where_a_record_should_begin_end_a_capture(tmp_path: Path) -> None:
    """A ring file of fixed size, or one that a crash left behind; a terabyte of zeros takes no room on disk."""
    path = tmp_path / "x.pcap"
    path.write_bytes(cb.pcap(TALK))
    size = path.stat().st_size
    os.truncate(path, 1 << 40)
    facts = read(path)

    assert facts.frames == len(TALK)
    assert facts.damage is not None
    assert facts.damage.startswith(f"byte {size}: zeros where a record should start")


@pytest.mark.parametrize("search", ["folder", "glob", "deep glob"])
def test_a_search_leaves_out_what_may_never_end(tmp_path: Path, search: str) -> None:
    """Pipes, devices and links to them; links to folders that lead up multiply the paths without end."""
    folder = tmp_path / "d"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    for name in "abc":
        (folder / name).symlink_to(folder)
    (folder / "x.pcap").write_bytes(cb.pcap(TALK))
    (folder / "deep").mkdir()
    (folder / "deep" / "y.pcap").write_bytes(cb.pcap(TALK))
    pattern = {"folder": folder, "glob": folder / "*", "deep glob": folder / "**" / "*"}[search]

    found = ring.find([str(pattern)])

    assert {os.path.basename(file) for file in found.files} == {"x.pcap", "y.pcap"}
    assert "pipe (a pipe)" in found.remarks[0]
    assert "zero (a device)" in found.remarks[0]


def test_two_stars_find_what_glob_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x", "a/x", "a/b/x", "a/[b]/x", ".hidden/x", "c/x"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(cb.pcap(TALK))
    patterns = ["**/x", "a/**/x", "a/**", "**/b/*", f"{tmp_path}/**/x", "*/**/x", "**/**/x", "**/*b*/x"]
    for pattern in patterns:
        expected = {os.path.realpath(path) for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)}
        assert {os.path.realpath(path) for path in ring.find([pattern]).files} == expected, pattern
    assert "a/b/x" in ring.find(["**/x"]).files


def test_a_named_file_of_a_set_that_the_disk_does_not_give_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone it is an error; of a set the others count, and a file that fails later counts up to there."""

    class Dying(io.FileIO):
        def readinto(self, buffer: Any) -> int | None:
            left = {"dead": 0, "dying": 1000}.get(os.path.basename(str(self.name)), 1 << 30) - self.tell()
            if left <= 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().readinto(memoryview(buffer)[:left])

    for name in ("dead", "dying", "well"):
        (tmp_path / name).write_bytes(cb.pcap(TALK * 50))
    monkeypatch.setattr(io, "FileIO", Dying)
    files = [str(tmp_path / name) for name in ("dead", "dying", "well")]
    summary = pipeline.analyze(files, pipeline.Settings(), [])

    facts = {os.path.basename(file.name): file for file in summary.capture.files}
    assert facts["well"].frames == len(TALK) * 50
    assert facts["well"].damage is None
    assert 0 < facts["dying"].frames < len(TALK) * 50
    assert str(facts["dying"].damage).startswith("byte 1000: Input/output error")
    assert "Input/output error" in str(facts["dead"].damage)
    with pytest.raises(CaptureError, match="Input/output error"):
        pipeline.analyze(files[:1], pipeline.Settings(), [])


def test_a_directory_full_of_things_that_are_no_captures(tmp_path: Path) -> None:
    """Sockets, dangling links, loops of links, empty files, texts, noise; one capture among them."""
    for i in range(50):
        (tmp_path / f"text{i}").write_text("this is a text\n" * i)
        (tmp_path / f"noise{i}").write_bytes(os.urandom(100) or b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to("missing")
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b"a text")[:-3])
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CaptureError, match="no capture found"):
        ring.find([str(tmp_path)])

    (tmp_path / "capture").write_bytes(cb.pcap(TALK))
    found = ring.find([str(tmp_path)])
    assert found.files == [str(tmp_path / "capture")]
    assert "left out" in found.remarks[0]


def test_one_file_of_a_set_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    """Its magic is that of a capture, so it is one, and damaged; alone it is an error."""
    (tmp_path / "a").write_bytes(cb.pcap(TALK))
    (tmp_path / "b").write_bytes(gzip.compress(cb.pcap(TALK))[:15])
    summary = pipeline.analyze([str(tmp_path)], pipeline.Settings(), [])

    assert summary.capture.frames == len(TALK)
    assert [file.damage is None for file in summary.capture.files] == [True, False]
    (tmp_path / "a").unlink()
    with pytest.raises(CaptureError, match="gzip data ends before its end mark; there is no frame before it"):
        pipeline.analyze([str(tmp_path)], pipeline.Settings(), [])
