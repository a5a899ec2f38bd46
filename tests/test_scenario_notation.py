"""The notation of scenarios: what it says, what it refuses, and that rendering is right on the wire."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.generate import healthy_conversation
from tests.scenario import ScenarioError, parse, render, write

HEAD = "A = 10.0.0.1:40000\nB = 10.0.0.2:80\n"


def test_write_is_the_inverse_of_parse() -> None:
    """Every number survives the way to text and back."""
    for seed in range(20):
        frames = healthy_conversation(seed).frames

        assert parse(write(frames)).frames == frames


def test_times_count_from_the_start_or_from_the_frame_before() -> None:
    frames = parse(HEAD + "start 5\n1.5 A > B S 1:1(0)\n+0.25 A > B S 1:1(0)\n-1 A > B S 1:1(0)\n").frames

    assert [frame.time_ns for frame in frames] == [6_500_000_000, 6_750_000_000, 5_750_000_000]


def test_a_block_is_repeated_from_other_ports() -> None:
    frames = parse(HEAD + "repeat 3 every 0.5 A\n+0.1 A > B S 1:1(0) <TS 10 0>\nend\n").frames

    assert [frame.src.port for frame in frames] == [40000, 40001, 40002]
    assert [frame.options.ts for frame in frames] == [(10, 0), (510, 0), (1010, 0)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("+0 A > C S 1:1(0)", "endpoint C has no address"),
        ("+0 A > B P. 1:5(5) ack 1", "1 and 5 bytes end at 6, not at 5"),
        ("+0 A > B . 1:1(0)", "belong together"),
        ("+0 A > B S 1:1(0) <speed 3>", "option 'speed 3' is not known"),
        ("+0 A > B S 1:1(0) wind 7", "wind 7 is not understood"),
        ("hello", "neither an endpoint"),
        ("+0 dup 4", "number of an earlier frame"),
        ("C = 10.0.0:1", "an address reads"),
    ],
)
def test_a_wrong_line_is_named(line: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=f"^line 3: .*{words}"):
        parse(HEAD + line)


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="tcpdump is not installed")
def test_tcpdump_finds_every_checksum_right(tmp_path: Path) -> None:
    path = tmp_path / "scenario.pcap"
    path.write_bytes(render(healthy_conversation(4).frames))

    text = subprocess.run(["tcpdump", "-nvvr", path], capture_output=True, text=True, check=True).stdout
    assert "(correct)" in text
    assert "incorrect" not in text
    assert "bad" not in text
