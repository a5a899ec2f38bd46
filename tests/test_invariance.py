"""What must not matter does not: numbers, clocks, addresses, copies of frames, batches, neighbours, files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw import one_pass
from tests import capture_bytes as build
from tests.generate import conversations_on_one_tuple, healthy_traffic, merged
from tests.scenario import Frame, Peer, Result, parse, play_frames, play_pcap, render
from tests.scenario.render import render_frame

FIXTURES = Path(__file__).parent.parent / "fixtures"
MODULUS = 1 << 32
HEALTHY = 10_000

Statement = tuple[str, str, str, tuple[int, ...]]


@cache
def scenario(name: str) -> list[Frame]:
    return parse((FIXTURES / name / "scenario.pkt").read_text()).frames


ALL = sorted(path.parent.name for path in FIXTURES.glob("*/scenario.pkt"))
NAMES = ALL if "TCPTRACE_TW_EVERYTHING" in os.environ else ALL[::4]
"""With TCPTRACE_TW_EVERYTHING in the environment all scenarios, else some."""
MOST_REPEATED = 100
"""Scenarios of thousands of connections take too long to be played again and again."""


def repeated(name: str) -> int:
    return sum(map(int, re.findall(r"^repeat (\d+)", (FIXTURES / name / "scenario.pkt").read_text(), re.MULTILINE)))


NAMES = [name for name in NAMES if repeated(name) <= MOST_REPEATED]


def statements(result: Result, frame_of: Callable[[int], int] = lambda frame: frame) -> Counter[Statement]:
    """What the tool says about the traffic; remarks about the capture (CP) set aside."""
    return Counter(
        (f.rule, f.severity, f.confidence, tuple(sorted({frame_of(frame) for frame in f.frames})))
        for f in result.findings
        if not f.rule.startswith("CP")
    )


@cache
def plain(name: str) -> Counter[Statement]:
    return statements(play_frames(scenario(name)))


def shifted(frames: Iterable[Frame], isn: int, clock: int, time_ns: int) -> list[Frame]:
    """The same traffic with other sequence numbers and timestamps per host, at another time."""

    def by(host: Peer, step: int) -> int:
        return step * (1 + sum(host.ip.encode()) % 7)

    def shift(frame: Frame) -> Frame:
        mine, theirs = by(frame.src, isn), by(frame.dst, isn)
        is_refusal = frame.flags & 4 and frame.flags & 16 and frame.seq == 0
        ts = frame.options.ts
        if ts:
            echo = (ts[1] + by(frame.dst, clock)) % MODULUS if ts[1] else 0
            ts = ((ts[0] + by(frame.src, clock)) % MODULUS, echo)
        sack = tuple(((left + theirs) % MODULUS, (right + theirs) % MODULUS) for left, right in frame.options.sack)
        return replace(
            frame,
            time_ns=frame.time_ns + time_ns,
            seq=0 if is_refusal else (frame.seq + mine) % MODULUS,
            ack=(frame.ack + theirs) % MODULUS if frame.flags & 16 else 0,
            options=frame.options._replace(ts=ts, sack=sack),
        )

    return [shift(frame) for frame in frames]


def readdressed(frames: Iterable[Frame], address: Callable[[str], str]) -> list[Frame]:
    """The same traffic between other hosts."""
    return [
        replace(
            frame, src=frame.src._replace(ip=address(frame.src.ip)), dst=frame.dst._replace(ip=address(frame.dst.ip))
        )
        for frame in frames
    ]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "reuse-isn-zero-becomes-one"])
def test_numbers_clocks_and_time_do_not_matter(name: str) -> None:
    """Sequence numbers and timestamps are compared modulo 2**32 (RFC 9293 3.4, RFC 7323 5.2)."""
    frames = scenario(name)
    first = frames[0]
    to_wrap = MODULUS - 60 - first.seq
    moved = shifted(frames, to_wrap, 4_294_960_000, 86_400 * 10**9)

    assert statements(play_frames(moved)) == plain(name)


@pytest.mark.parametrize("name", NAMES)
def test_addresses_do_not_matter(name: str) -> None:
    """With the addresses exchanged, the tuple's canonical order turns around."""
    frames = scenario(name)
    order = sorted({peer.ip for frame in frames for peer in (frame.src, frame.dst)})
    swapped = readdressed(frames, dict(zip(order, reversed(order), strict=True)).__getitem__)

    assert statements(play_frames(swapped)) == plain(name)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "duplicated-frames"])
def test_copies_of_frames_do_not_matter(name: str) -> None:
    """Every frame captured twice, as at a mirror port: the same findings on the first copies."""
    twice = [
        copy
        for frame in scenario(name)
        for copy in (
            (frame, replace(frame, time_ns=frame.time_ns + 3000, ttl=frame.ttl - 1)) if frame.ip_id else (frame,)
        )
    ]
    firsts = [place for place, frame in enumerate(twice, start=1) if not place > 1 or not _is_copy(twice, place)]
    number = {place: count for count, place in enumerate(firsts, start=1)}

    assert statements(play_frames(twice), lambda frame: number.get(frame, number.get(frame - 1, -1))) == plain(name)


def _is_copy(frames: list[Frame], place: int) -> bool:
    this, before = frames[place - 1], frames[place - 2]
    return before == replace(this, time_ns=this.time_ns - 3000, ttl=this.ttl + 1)


@pytest.mark.parametrize("name", NAMES)
def test_batches_and_neighbours_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of three segments, and the same traffic between other hosts in between: everything is said twice."""
    frames = scenario(name)
    others = readdressed(
        frames, lambda ip: ip.replace("2001:db8:", "2001:db9:") if ":" in ip else "77." + ip.split(".", 1)[1]
    )
    both = [frame for pair in zip(frames, others, strict=True) for frame in pair]
    monkeypatch.setattr(one_pass, "BATCH_SIZE", 3)
    said = statements(play_frames(both), lambda frame: (frame + 1) // 2)

    assert said == plain(name) + plain(name)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_any_batch_size_gives_the_same_tables(seed: int, batch_size: int) -> None:
    """Rows do not know where a batch ended."""
    frames = merged(conversations_on_one_tuple(seed, 2, is_lossy=True))
    whole = play_frames(frames)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_pass, "BATCH_SIZE", batch_size)
        pieces = play_frames(frames)

    assert {name: sorted(map(str, rows)) for name, rows in pieces.tables.items()} == {
        name: sorted(map(str, rows)) for name, rows in whole.tables.items()
    }
    assert statements(pieces) == statements(whole)


@pytest.mark.parametrize("name", NAMES)
def test_a_split_capture_gives_the_same_findings(name: str, tmp_path: Path) -> None:
    """A rotated capture is one capture: the state goes on from file to file."""
    frames = scenario(name)
    if any(later.time_ns < earlier.time_ns for earlier, later in pairwise(frames)):
        pytest.skip("the files would be put in order, which the capture was not")
    for cut in {len(frames) // 3, len(frames) - 2} - {0, -1}:
        (tmp_path / "a.pcap").write_bytes(render(frames[:cut]))
        (tmp_path / "b.pcap").write_bytes(render(frames[cut:]))

        parts = statements(play_pcap(tmp_path))
        assert Counter(statement[:3] for statement in parts.elements()) == Counter(
            statement[:3] for statement in plain(name).elements()
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_format_of_the_file_does_not_matter(name: str) -> None:
    """The same frames as pcapng, with nanoseconds."""
    blocks = [build.section(), build.interface(tsresol=9)]
    for frame in scenario(name):
        packet = render_frame(frame)
        blocks.append(build.packet(packet[: frame.cut], frame.time_ns, wirelen=len(packet)))

    assert statements(play_pcap(b"".join(blocks))) == plain(name)


@pytest.mark.slow
def test_healthy_traffic_gives_no_warning() -> None:
    """Ten thousand random conversations with losses, reordering and half-closes: no warning, no error."""
    result = play_frames(healthy_traffic(20261121, HEALTHY), compiled=True)

    alarms = [f for f in result.findings if f.severity in ("warning", "error") and f.confidence != "refuted"]
    assert Counter(f.rule for f in alarms) == {}
    assert len(result.connections) >= HEALTHY * 0.99
