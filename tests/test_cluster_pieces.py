"""A large pcap file that is mapped in pieces has the tables and the report of one pass, wherever it is cut."""

from __future__ import annotations

import os
import random
import signal
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw import load
from tcptrace_tw.capture.cuts import MOST_LOOKED, _Records, cuts
from tcptrace_tw.cluster import plan, run
from tcptrace_tw.cluster.workers import Workers
from tcptrace_tw.position import Position
from tests import capture_bytes as build
from tests.cluster_runs import Here, Tables, assert_same, in_one_pass, in_parts, start, wait_for
from tests.generate import healthy_traffic
from tests.scenario.render import render_frame
from tests.test_cluster_parts import FIXTURES, FOLDERS, FORGETS, IS_EVERYTHING, captures, is_small, settings_of

HEADER, RECORD = 24, 16
FEW_BYTES = 2_000
"""A piece of ten to twenty records."""

Report = tuple[Tables, dict[str, Any]]
Frames = list[build.Record]


class Mapping(Here):
    """Counts what is mapped: pieces, and files that were mapped again as a whole."""

    def __init__(self) -> None:
        self.pieces = self.again = 0

    def submit(self, *arguments: Any, **options: Any) -> Any:
        task, of, number = arguments[1:]
        if task is run.map_piece:
            self.pieces += number < len(of.pieces)
            self.again += number >= len(of.pieces)
        return super().submit(*arguments, **options)


def in_pieces(files: list[str], folder: Path, piece_bytes: int = FEW_BYTES, **settings: Any) -> tuple[Report, Mapping]:
    mapping = Mapping()
    means = run.Means(executor=mapping, workers=1, spool=str(folder / "spool"), parts=4, piece_bytes=piece_bytes)
    return in_parts(files, 4, means=means, **settings), mapping


def same_in_pieces(data: bytes, folder: Path, piece_bytes: int = FEW_BYTES, **settings: Any) -> tuple[Report, Mapping]:
    """Check that a capture is the same in pieces; what it says, and how it was mapped."""
    path = folder / "a.pcap"
    path.write_bytes(data)
    found, mapping = in_pieces([str(path)], folder, piece_bytes, **settings)
    assert_same(found, in_one_pass([str(path)], **settings))
    return found, mapping


def offsets_of(data: bytes) -> list[int]:
    """Where the records of a little-endian pcap file begin."""
    found, at = [], HEADER
    while at + RECORD <= len(data):
        found.append(at)
        at += RECORD + struct.unpack_from("<I", data, at + 8)[0]
    return found


@pytest.fixture(scope="module")
def traffic() -> Frames:
    """No two frames have the same time, in microseconds."""
    frames = enumerate(healthy_traffic(11, 30))
    return [build.Record(render_frame(frame), frame.time_ns + 1_000 * n) for n, frame in frames]


@pytest.fixture
def cut_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets at which files are cut: whoever has this fixture says where."""
    places: list[int] = []
    monkeypatch.setattr(plan, "cuts", lambda path, every: list(places))
    return places


def can_be_cut(name: str) -> bool:
    files = (FIXTURES / name).glob("capture*.pcap")
    return is_small(name) and name != FORGETS and any(cuts(str(path), FEW_BYTES) for path in files)


@pytest.mark.parametrize("name", list(filter(can_be_cut, FOLDERS))[:: 1 if IS_EVERYTHING else 12])
def test_fixtures_are_the_same_in_pieces(name: str, tmp_path: Path) -> None:
    files = captures(name, tmp_path)
    found, mapping = in_pieces(files, tmp_path, **settings_of(name))

    assert_same(found, in_one_pass(files, **settings_of(name)))
    assert mapping.pieces > len(files)


@pytest.mark.parametrize("form", [{}, {"nano": True}, {"order": ">"}, {"nano": True, "order": ">"}])
def test_every_kind_of_pcap_is_cut(form: dict[str, Any], traffic: Frames, tmp_path: Path) -> None:
    data = build.pcap(traffic, **form)
    found, mapping = same_in_pieces(data, tmp_path)

    assert mapping.pieces >= 20
    assert mapping.again == 0
    assert len(found[1]["capture"]["files"]) == 1


@pytest.mark.parametrize("cut", [
    {"snaplen": 40}, {"link": 101}, {"read_filter": "port 443"}, {"ignore_vlan": True}, {"filter": "port 80"},
    {"since": "+20s", "until": "+60s"},
])  # fmt: skip
def test_headers_and_settings_hold_for_every_piece(cut: dict[str, Any], traffic: Frames, tmp_path: Path) -> None:
    form = {name: cut[name] for name in cut if name in ("snaplen", "link")}
    asked = {name: cut[name] for name in cut if name not in form}
    frames = [
        build.Record(record.frame[14:] if form.get("link") else record.frame[:12] + b"\x81\0\0\x05" + record.frame[12:])
        ._replace(time_ns=record.time_ns)
        for record in traffic
    ]  # fmt: skip
    short = form.get("snaplen", 65535)
    data = build.pcap([each._replace(frame=each.frame[:short], wirelen=len(each.frame)) for each in frames], **form)
    _, mapping = same_in_pieces(data, tmp_path, **asked)

    assert mapping.pieces > 5
    assert mapping.again == 0


def test_several_files_of_which_some_are_cut(traffic: Frames, tmp_path: Path) -> None:
    """Two sensors, one of which has captured little; frames are numbered by file."""
    for name, frames in (("large", traffic[::2]), ("larger", traffic[1::2][20:]), ("small", traffic[1::2][:20])):
        (tmp_path / f"{name}.pcap").write_bytes(build.pcap(frames, nano=True))
    files = sorted(map(str, tmp_path.glob("*.pcap")))
    found, mapping = in_pieces(files, tmp_path)

    assert_same(found, in_one_pass(files))
    assert mapping.pieces > 12
    assert mapping.again == 0


@settings(max_examples=60 if IS_EVERYTHING else 8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_wherever_a_file_is_cut(traffic: Frames, cut_at: list[int], tmp_path: Path, data: st.DataObject) -> None:
    """At records or at any other byte; frames of the same time, late ones, a step back, damage, an end in a record."""
    rng = random.Random(data.draw(st.integers(0, 1 << 30)))
    frames = list(traffic[: rng.randrange(20, len(traffic))])
    late_ns = data.draw(st.sampled_from([0, 0, 30_000_000, 3_000_000_000]))
    if rng.random() < 0.5:
        frames = [record._replace(time_ns=record.time_ns // 10**6 * 10**6) for record in frames]
    frames.sort(key=lambda record: record.time_ns + rng.choice((0, 0, late_ns)))
    step_ns, behind = data.draw(st.sampled_from([0, 0, 0, 5_000_000_000, 7_200 * 10**9])), rng.randrange(len(frames))
    frames[behind:] = [record._replace(time_ns=record.time_ns - step_ns) for record in frames[behind:]]
    content = bytearray(build.pcap(frames, nano=True))
    records = offsets_of(bytes(content))
    cut_at[:] = sorted(rng.sample(records[1:], data.draw(st.integers(1, min(20, len(records) - 1)))))
    if data.draw(st.sampled_from([False, False, False, True])):
        cut_at[:] = sorted({*cut_at, rng.randrange(records[1], len(content))})
    trouble = data.draw(st.sampled_from(["none", "none", "end", "zeros", "length"]))
    at = rng.choice(records[1:])
    if trouble == "end":
        del content[rng.randrange(records[1], len(content)) :]
        cut_at[:] = [place for place in cut_at if place < len(content)]
    elif trouble == "zeros":
        content[at:] = bytes(len(content) - at)
    elif trouble == "length":
        content[at + 8 : at + 12] = b"\xff\xff\xff\x7f"

    same_in_pieces(bytes(content), tmp_path)


def test_a_piece_without_tcp(traffic: Frames, cut_at: list[int], tmp_path: Path) -> None:
    """The first one, one in the middle, and the last one; two reasons are as frequent in all, but not in each."""
    arp, stp = b"\xff" * 12 + b"\x08\x06" + bytes(28), b"\xff" * 12 + b"\x00\x26" + bytes(38)
    groups = [[arp, stp, stp], traffic[:100], [stp, arp, arp], traffic[100:], [arp, stp]]
    data, now = build.pcap([]), traffic[0].time_ns - 10**9
    for group in groups:
        frames = [
            each if isinstance(each, build.Record) else build.Record(each, now + n) for n, each in enumerate(group, 1)
        ]
        cut_at.append(len(data))
        data += build.pcap(frames, nano=True)[HEADER:]
        now = frames[-1].time_ns
    data = build.pcap([], nano=True) + data[HEADER:]
    del cut_at[0]
    found, mapping = same_in_pieces(data, tmp_path)

    assert (mapping.pieces, mapping.again) == (5, 0)
    assert list(found[1]["capture"]["skipped"].values()) == [4, 4]


def test_an_end_in_the_middle_of_a_record_is_said_with_the_frames_of_all_pieces(
    traffic: Frames, tmp_path: Path
) -> None:
    data = build.pcap(traffic, nano=True)[:-5]
    found, mapping = same_in_pieces(data, tmp_path)

    assert mapping.again == 0
    (file,) = found[1]["capture"]["files"]
    assert file["damage"] == (
        f"byte {offsets_of(data)[-1]}: the file ends after {len(traffic[-1].frame) - 5} of the {len(traffic[-1].frame)}"
        f" bytes of a record; the {len(traffic) - 1} frames before it were kept"
    )


def test_damage_in_the_middle_has_the_file_mapped_as_a_whole(traffic: Frames, tmp_path: Path) -> None:
    data = bytearray(build.pcap(traffic, nano=True))
    at = offsets_of(bytes(data))[len(traffic) // 2]
    data[at + 8 : at + 12] = b"\xff\xff\xff\x7f"
    _, mapping = same_in_pieces(bytes(data), tmp_path)

    assert mapping.pieces > 5
    assert mapping.again == 1


def test_what_was_never_written_is_not_cut(traffic: Frames, tmp_path: Path) -> None:
    """A crash leaves a file of its full size: zeros follow the frames, and pieces end where they begin."""
    data = build.pcap(traffic, nano=True)
    _, mapping = same_in_pieces(data + bytes(len(data)), tmp_path)

    assert mapping.pieces > 5
    assert mapping.again == 0


def test_damaged_segments_and_late_frames_are_told_by_their_number_in_the_file(
    traffic: Frames, cut_at: list[int], tmp_path: Path
) -> None:
    frames = list(traffic)
    bad = bytearray(frames[300].frame)
    bad[14 + 20 + 13] = 3  # SYN and FIN
    frames[300] = frames[300]._replace(frame=bytes(bad))
    frames[350] = frames[350]._replace(time_ns=frames[349].time_ns - 1_000)
    cut_at[:] = [offsets_of(build.pcap(frames))[n] for n in (100, 200, 280)]
    found, mapping = same_in_pieces(build.pcap(frames, nano=True), tmp_path)

    assert (mapping.pieces, mapping.again) == (4, 0)
    assert "'damaged_frame': 301" in str(found[0]["capture"])
    assert "'backward_frame': 351" in str(found[0]["capture"])


@pytest.mark.parametrize(("back_ns", "again"), [(0, 1), (1_000, 1), (10**9, 1), (-1, 0)])
def test_what_follows_a_cut_must_be_newer_than_what_was_before_it(
    back_ns: int, again: int, traffic: Frames, cut_at: list[int], tmp_path: Path
) -> None:
    frames = list(traffic)
    frames[200:] = [each._replace(time_ns=each.time_ns + 3 * 10**9) for each in frames[200:]]
    frames[200] = frames[200]._replace(time_ns=frames[199].time_ns - back_ns)
    cut_at[:] = [offsets_of(build.pcap(frames))[200]]
    _, mapping = same_in_pieces(build.pcap(frames, nano=True), tmp_path)

    assert (mapping.pieces, mapping.again) == (2, again)


@pytest.mark.parametrize(("late_ns", "again"), [(999_999_999, 0), (10**9, 1)])
@pytest.mark.parametrize("is_first", [False, True])
def test_a_clock_that_goes_back_by_a_second_counts_from_the_first_frame(
    late_ns: int, again: int, is_first: bool, traffic: Frames, cut_at: list[int], tmp_path: Path
) -> None:
    """In the first piece it does already."""
    frames = list(traffic)
    frames[190:] = [each._replace(time_ns=each.time_ns + 3 * 10**9) for each in frames[190:]]
    frames[200:] = [each._replace(time_ns=each.time_ns + 3 * 10**9) for each in frames[200:]]
    frames[195] = frames[195]._replace(time_ns=frames[194].time_ns - late_ns)
    cut_at[:] = [offsets_of(build.pcap(frames))[200 if is_first else 150]]
    _, mapping = same_in_pieces(build.pcap(frames, nano=True), tmp_path)

    assert (mapping.pieces, mapping.again) == (2, again and not is_first)


def test_a_capture_that_is_carried_by_a_connection_is_no_place_to_cut(traffic: Frames, tmp_path: Path) -> None:
    """Its headers look as true as those around it; whether a guess was wrong is seen when pieces are joined."""
    carried = []
    for n in range(1, 8):
        now = traffic[-1].time_ns + n * 10**9
        inside = build.pcap([each._replace(time_ns=now + k) for k, each in enumerate(traffic[:100])], nano=True)
        frame = build.ethernet(build.ipv4(build.tcp(inside[HEADER:9000], seq=1 + 9000 * n)))
        carried.append(build.Record(frame, now))
    data = build.pcap([*traffic[:60], *carried], nano=True)
    path = tmp_path / "guessed.pcap"
    path.write_bytes(data)
    _, mapping = same_in_pieces(data, tmp_path, 3_000)

    assert set(cuts(str(path), 3_000)) - set(offsets_of(data))
    assert mapping.again == 1


@pytest.mark.parametrize("every", [3_000, 10_000, 30_000])
def test_cuts_are_where_records_begin(every: int, traffic: Frames, tmp_path: Path) -> None:
    data = build.pcap(traffic, nano=True)
    (tmp_path / "a.pcap").write_bytes(data)
    found = cuts(str(tmp_path / "a.pcap"), every)

    assert set(found) <= set(offsets_of(data))
    assert len(found) > len(data) // every // 3
    assert all(before < after for before, after in pairwise(found))


def test_jitter_is_no_reason_not_to_cut(traffic: Frames, tmp_path: Path) -> None:
    """Several queues of one interface: frames change places, everywhere."""
    rng = random.Random(3)
    frames = [each._replace(time_ns=traffic[0].time_ns + 1_000 * n) for n, each in enumerate(traffic)]
    frames.sort(key=lambda record: record.time_ns + rng.randrange(3_000))
    _, mapping = same_in_pieces(build.pcap(frames, nano=True), tmp_path)

    assert mapping.pieces > 5
    assert mapping.again == 0


def test_what_is_small_packed_or_no_pcap_is_not_cut(traffic: Frames, tmp_path: Path) -> None:
    import gzip

    data = build.pcap(traffic)
    os.mkfifo(tmp_path / "pipe")
    for name, content in {
        "small": data, "packed": gzip.compress(data, 0), "text": b"frames " * 10_000, "short": data[:30],
        "pcapng": build.section() + build.interface() + b"".join(build.packet(each.frame) for each in traffic),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)

    assert cuts(str(tmp_path / "small"), len(data) // 2)
    assert cuts(str(tmp_path / "small"), len(data) // 2 + 1) == []
    for name in ("packed", "text", "short", "pcapng", "pipe", "none", "."):
        assert cuts(str(tmp_path / name), 10) == [], name
    assert cuts("s3://bucket/a.pcap", 10) == []


def test_progress_comes_to_its_end(traffic: Frames, tmp_path: Path) -> None:
    """Also where a file is mapped again."""
    from tcptrace_tw.settings import Settings

    data = bytearray(build.pcap(traffic, nano=True))
    for trouble in (None, len(data) // 2):
        if trouble is not None:
            data[trouble : trouble + 500] = b"\xff" * 500
        (tmp_path / "a.pcap").write_bytes(data)
        seen: list[Any] = []
        means = run.Means(executor=Here(), workers=1, spool=str(tmp_path / "spool"), piece_bytes=FEW_BYTES)
        run.analyze([str(tmp_path / "a.pcap")], Settings(), [], seen.append, means=means)
        end: Position = seen[0]()

        assert end.bytes == end.total


def test_pieces_are_not_mapped_again(traffic: Frames, tmp_path: Path) -> None:
    """As after the death of the client: what has a note is kept, and pieces of another size are others."""
    (tmp_path / "a.pcap").write_bytes(build.pcap(traffic, nano=True))
    spool = tmp_path / "spool"

    def analyze(piece_bytes: int) -> Report:
        means = run.Means(
            executor=Here(), workers=1, spool=str(spool), parts=4, keep_spool=True, piece_bytes=piece_bytes
        )
        return in_parts([str(tmp_path / "a.pcap")], 4, means=means)

    first = analyze(FEW_BYTES)
    (folder,) = spool.iterdir()
    made = {path: path.stat().st_mtime_ns for path in folder.glob("map/*")}
    (folder / "map" / "000003.json").unlink()
    (folder / "map" / "000005.segments").write_bytes(b"spoilt")

    assert_same(analyze(FEW_BYTES), first)
    again = {path for path in folder.glob("map/*") if path.stat().st_mtime_ns != made.get(path)}
    assert {path.name.partition(".")[0] for path in again} == {"000003", "000005"}
    assert_same(analyze(2 * FEW_BYTES), first)
    assert len(list(spool.iterdir())) == 2


def test_a_file_that_has_changed_meanwhile_is_read_as_it_is(traffic: Frames, tmp_path: Path) -> None:
    """Cut off behind the plan: one pass that begins now would say the same."""
    path = tmp_path / "a.pcap"
    data = build.pcap(traffic, nano=True)
    path.write_bytes(data)

    class Shortens(Mapping):
        def submit(self, *arguments: Any, **options: Any) -> Any:
            path.write_bytes(data[: len(data) // 2])
            return super().submit(*arguments, **options)

    mapping = Shortens()
    means = run.Means(executor=mapping, workers=1, spool=str(tmp_path / "spool"), parts=4, piece_bytes=FEW_BYTES)

    assert_same(in_parts([str(path)], 4, means=means), in_one_pass([str(path)]))
    assert mapping.again == 1


def test_headers_that_are_nearly_true_are_not_looked_at_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A hostile file: every chain of headers ends at one that is false."""
    group = b"".join(struct.pack("<IIIIc", 1_700_000_000, n, 1, 1, b"x") for n in range(1, 250)) + b"\xff" * 17
    data = build.pcap([build.Record(b"x", 1_700_000_000 * 10**9)]) + group * 500
    (tmp_path / "a.pcap").write_bytes(data)
    looked = []
    header = _Records.header
    monkeypatch.setattr(_Records, "header", lambda self, *at: looked.append(at) or header(self, *at))

    assert cuts(str(tmp_path / "a.pcap"), len(data) // 2) == []
    assert MOST_LOOKED < len(looked) < 2 * MOST_LOOKED


def test_workers_map_pieces_and_one_that_is_killed_costs_one(traffic: Frames, tmp_path: Path) -> None:
    """Workers of this machine, to whom plan and pieces are sent."""
    path = tmp_path / "a.pcap"
    path.write_bytes(build.pcap(traffic, nano=True))
    with Workers(2) as pool:
        wait_for(lambda: pool.pids)
        os.kill(pool.pids[0], signal.SIGKILL)
        means = run.Means(executor=pool, workers=2, spool=str(tmp_path / "spool"), parts=4, piece_bytes=FEW_BYTES)
        found = in_parts([str(path)], 4, means=means)

    assert_same(found, in_one_pass([str(path)]))
    assert list((tmp_path / "spool").iterdir()) == []


def of_transfers(count: int) -> bytes:
    """Transfers whose segments the sender's hardware would cut: 60,000 bytes each."""
    sent, now = list[build.Record](), 1_700_000_000 * 10**9

    def frame(port: int, is_from_client: bool, flags: int, seq: int, ack: int, payload: bytes = b"") -> None:
        nonlocal now
        now += 1_000_000
        ends = {"src": "10.0.0.1", "dst": "10.0.0.2"} if is_from_client else {"src": "10.0.0.2", "dst": "10.0.0.1"}
        ports = {"sport": port, "dport": 80} if is_from_client else {"sport": 80, "dport": port}
        segment = build.tcp(payload, seq=seq, ack=ack, flags=flags, **ports)
        sent.append(build.Record(build.ethernet(build.ipv4(segment, **ends)), now))

    payload = bytes(range(240)) * 250
    for port in range(40_000, 40_000 + count):
        frame(port, True, 0x02, 100, 0)
        frame(port, False, 0x12, 500, 101)
        for n in range(20):
            frame(port, True, 0x10, 101 + n * len(payload), 501, payload)
            frame(port, False, 0x10, 501, 101 + (n + 1) * len(payload))
        frame(port, True, 0x11, 101 + 20 * len(payload), 501)
        frame(port, False, 0x11, 501, 102 + 20 * len(payload))
        frame(port, True, 0x10, 102 + 20 * len(payload), 502)
    return b"".join([build.pcap([]), *(build.pcap([each])[HEADER:] for each in sent)])


@pytest.mark.slow
def test_a_file_of_200_mb_by_the_command_line(tmp_path: Path) -> None:
    """Of the size that is cut without being asked: by two processes, in three pieces."""
    (tmp_path / "a.pcap").write_bytes(of_transfers(170))

    def written(name: str, *more: str) -> dict[str, list[str]]:
        assert start("analyze", "a.pcap", "-o", name, "-q", *more, cwd=tmp_path).wait() == 0
        trace = load(tmp_path / name)
        tables = ("connections", "transitions", "time_wait", "findings", "services", "capture")
        return {table: sorted(map(repr, trace.table(table).to_pylist())) for table in tables}

    whole = written("one")

    assert len(whole["connections"]) == 170
    assert written("two", "--jobs", "2", "--spool", "spool", "--keep-spool") == whole
    assert len(list(tmp_path.glob("spool/*/map/*.json"))) == 3
