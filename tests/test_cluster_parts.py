"""Dealt to parts, however many, a capture has the tables and the report of one pass."""

from __future__ import annotations

import os
import random
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tcptrace_tw.errors import UsageError
from tests import a_day
from tests import capture_bytes as build
from tests.cluster_runs import assert_same, in_one_pass, in_parts
from tests.generate import conversations_on_one_tuple, healthy_traffic, merged
from tests.scenario import Frame, parse, render
from tests.scenario.render import render_frame

FIXTURES = Path(__file__).parent.parent / "fixtures"
IS_EVERYTHING = "TCPTRACE_TW_EVERYTHING" in os.environ
MOST_BYTES = 1 << 62 if IS_EVERYTHING else 60_000
EVERY = 1 if IS_EVERYTHING else 16

PARTS = (1, 2, 8, 256)


def captures(name: str, folder: Path) -> list[str]:
    """The files of a fixture; a scenario is played into one."""
    files = sorted(str(path) for path in (FIXTURES / name).glob("capture*"))
    scenario = FIXTURES / name / "scenario.pkt"
    if not files and scenario.exists():
        parsed = parse(scenario.read_text())
        (folder / "scenario.pcap").write_bytes(render(parsed.frames, parsed.link))
        files = [str(folder / "scenario.pcap")]
    return files


def settings_of(name: str) -> dict[str, object]:
    expected = FIXTURES / name / "expect.toml"
    return tomllib.loads(expected.read_text()).get("settings", {}) if expected.exists() else {}


def is_small(name: str) -> bool:
    return 0 < sum(path.stat().st_size for path in (FIXTURES / name).glob("[cs][ac][pe]*")) <= MOST_BYTES


FORGETS = "memory-bound"
"""What is forgotten for want of memory depends on the parts."""

FOLDERS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
NAMES = [name for name in FOLDERS if is_small(name) and name != FORGETS]


@pytest.mark.parametrize("name", NAMES[::EVERY])
def test_parts_do_not_matter(name: str, tmp_path: Path) -> None:
    files = captures(name, tmp_path)
    whole = in_one_pass(files, **settings_of(name))

    for parts in PARTS if IS_EVERYTHING else (8,):
        assert_same(in_parts(files, parts, **settings_of(name)), whole)


@pytest.mark.parametrize("parts", PARTS)
def test_any_number_of_parts(parts: int, tmp_path: Path) -> None:
    name = "reuse-isn-zero-becomes-one"
    files = captures(name, tmp_path)
    whole = in_one_pass(files, **settings_of(name))

    assert_same(in_parts(files, parts, **settings_of(name)), whole)


def write(path: Path, frames: list[Frame]) -> None:
    path.write_bytes(build.pcap([build.Record(render_frame(frame), frame.time_ns) for frame in frames], nano=True))


@pytest.mark.parametrize("seed", range(2))
def test_files_and_sensors_are_dealt_as_they_are_read(seed: int, tmp_path: Path) -> None:
    """A frame is seen by one of three sensors, and each rotates its files whenever it likes."""
    rng = random.Random(seed)
    frames = healthy_traffic(seed, 40)
    sensors: list[list[Frame]] = [[], [], []]
    for frame in frames:
        rng.choice(sensors).append(frame)
    for n, seen in enumerate(sensors):
        cuts = sorted(rng.sample(range(1, len(seen)), 3))
        for k, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(seen)], strict=True)):
            write(tmp_path / f"sensor{n}-{k}.pcap", seen[begin:end])
    files = sorted(map(str, tmp_path.glob("*.pcap")))
    whole = in_one_pass(files)

    for parts in (2, 256) if IS_EVERYTHING else (7,):
        assert_same(in_parts(files, parts), whole)


def test_a_damaged_file_and_one_that_is_none_are_said_as_in_one_pass(tmp_path: Path) -> None:
    frames = merged(conversations_on_one_tuple(7, 4, is_lossy=False))
    write(tmp_path / "a.pcap", frames[: len(frames) // 2])
    write(tmp_path / "b.pcap", frames[len(frames) // 2 :])
    (tmp_path / "b.pcap").write_bytes((tmp_path / "b.pcap").read_bytes()[:-30])
    (tmp_path / "c.pcap").write_bytes((tmp_path / "a.pcap").read_bytes()[:30])
    files = [str(tmp_path / f"{name}.pcap") for name in "abc"]
    whole = in_one_pass(files)

    assert_same(in_parts(files, 8), whole)
    assert sum(file["damage"] is not None for file in whole[1]["capture"]["files"]) == 2


def test_the_clock_of_the_capture_is_that_of_all_its_connections(tmp_path: Path) -> None:
    """One connection writes late frames, another one goes on; a third is alone in its part."""
    frames = parse(
        "A = 10.0.0.1:40000\nB = 10.0.0.2:80\nC = 10.0.0.3:40001\nD = 10.0.0.4:40002\n"
        "0 A > B S 1:1(0) win 100\n0.1 B > A S. 1:1(0) ack 2 win 100\n0.2 A > B . 2:2(0) ack 2 win 100\n"
        "1 C > B S 1:1(0) win 100\n9 D > B S 1:1(0) win 100\n"
    ).frames
    late = [frames[i] for i in (0, 1, 4, 2, 3)]
    write(tmp_path / "late.pcap", late)
    files = [str(tmp_path / "late.pcap")]

    assert_same(in_parts(files, 64), in_one_pass(files))


def test_another_host_does_not_decide_whether_a_connection_lives_on(tmp_path: Path) -> None:
    """A SYN that met it is forgotten when its time is over, whether or not another segment has come by then."""
    text = (
        "A = 10.0.0.1:40000\nB = 10.0.0.2:80\nC = 10.0.0.3:40001\n"
        "0 A > B . 1000:1000(0) ack 5000 win 100\n1 A > B S 90000:90000(0) win 100\n"
        "{}201 A > B . 1000:1000(0) ack 5000 win 100\n"
    )
    for number, between in enumerate(("", "200 C > B S 1:1(0) win 100\n")):
        path = tmp_path / f"{number}.pcap"
        path.write_bytes(render(parse(text.format(between)).frames))
        whole = in_one_pass([str(path)])

        assert_same(in_parts([str(path)], 64), whole)
        assert len(whole[0]["connections"]) == 2 + number


def test_copies_are_counted_while_a_connection_is_remembered(tmp_path: Path) -> None:
    """Twenty are over when an absurd time comes; when they are forgotten one by one, their frames come again."""
    found = a_day.records(20, span_ns=10**9)
    absurd = found[-1:].copy()
    absurd["s"] += 7200
    (tmp_path / "again.pcap").write_bytes(a_day.file_of(np.concatenate((found, absurd, found))))
    files = [str(tmp_path / "again.pcap")]
    whole = in_one_pass(files)

    for parts in (2, 4, 8):
        assert_same(in_parts(files, parts), whole)
    assert whole[1]["connections"]["total"] == 41


@pytest.mark.parametrize("settings", [
    {"filter": "host 10.0.0.1"}, {"read_filter": "port 80"}, {"since": "+1s"},
    {"ignore_vlan": True},
    {"keep_duplicates": True}, {"profile": "freebsd"},
])  # fmt: skip
def test_settings_are_those_of_one_pass(settings: dict[str, object], tmp_path: Path) -> None:
    files = captures("reuse-isn-zero-becomes-one", tmp_path)

    assert_same(in_parts(files, 4, **settings), in_one_pass(files, **settings))


def test_a_capture_without_tcp_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "arp.pcap").write_bytes(build.pcap([build.Record(b"\xff" * 12 + b"\x08\x06" + bytes(28), 10**18)]))
    files = [str(tmp_path / "arp.pcap")]

    assert_same(in_parts(files, 8), in_one_pass(files))


def test_a_span_is_counted_from_the_first_frame_of_the_first_file(tmp_path: Path) -> None:
    """Another file steps back to before that: how soon this shows depends on how the files are read."""
    frames = healthy_traffic(5, 12)
    one, other = frames[::2], frames[1::2]
    other[-1] = replace(other[-1], time_ns=frames[0].time_ns - 3 * 10**9)
    write(tmp_path / "a.pcap", one)
    write(tmp_path / "b.pcap", other)
    files = [str(tmp_path / "a.pcap"), str(tmp_path / "b.pcap")]
    whole = in_one_pass(files, since="+5s")

    assert_same(in_parts(files, 4, since="+5s"), whole)
    assert 0 < len(whole[0]["connections"]) < len(in_one_pass(files)[0]["connections"])


def test_a_file_without_times_beside_others_is_refused(tmp_path: Path) -> None:
    """One pass reads it behind all others; alone it goes on from 0."""
    frames = healthy_traffic(3, 6)
    write(tmp_path / "a.pcap", frames[::2])
    simple = b"".join(build.simple_packet(render_frame(frame)) for frame in frames[1::2])
    (tmp_path / "b.pcapng").write_bytes(build.section() + build.interface() + simple)
    files = [str(tmp_path / "a.pcap"), str(tmp_path / "b.pcapng")]

    with pytest.raises(
        UsageError, match=r"b\.pcapng: no frame at its beginning has a time.*let one process read the files"
    ):
        in_parts(files, 4)
    assert_same(in_parts(files[1:], 4), in_one_pass(files[1:]))
