"""Copies of a segment that the tap made are told from segments that were sent twice."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from tests import capture_bytes as build
from tests.scenario import Frame, parse, play_pcap
from tests.scenario.notation import Peer
from tests.scenario.play import library_or_skip
from tests.scenario.render import render_frame

CLIENT, SERVER = Peer("10.0.0.1", 40000), Peer("10.0.0.2", 80)
CHECKSUM_AT = 14 + 20 + 16
MS = 10**6


def data(number: int, time_ns: int, ip_id: int) -> Frame:
    (frame,) = parse("A = 10.0.0.1:40000\nB = 10.0.0.2:80\n0 A > B P. 1:101(100) ack 1 win 100").frames
    return replace(frame, seq=1 + 100 * number, time_ns=time_ns, ip_id=ip_id)


def routed(frame: Frame, lag_ns: int) -> tuple[bytes, int]:
    """The frame behind a router: its TTL is one less, and the hardware has filled in the checksum."""
    packet = bytearray(render_frame(replace(frame, ttl=frame.ttl - 1)))
    packet[CHECKSUM_AT : CHECKSUM_AT + 2] = struct.pack("!H", 0x1234)
    return bytes(packet), frame.time_ns + lag_ns


@pytest.mark.parametrize(("ip_id", "copies"), [(7, 1), (0, 0)])
def test_a_copy_behind_a_router_is_known_by_its_identification(ip_id: int, copies: int) -> None:
    """The checksum counts only where there is no identification."""
    frame = data(0, 0, ip_id)
    records = [build.Record(render_frame(frame), frame.time_ns), build.Record(*routed(frame, MS))]

    result = play_pcap(build.pcap(records, nano=True))

    assert result.tables["capture"][0].duplicates == copies


def test_a_shard_that_takes_more_places_finds_what_it_had() -> None:
    """More frames than a shard begins with places for, each again 1 ms later: what moves is found where it is then."""
    count, gap = 1_200, 1333
    times = [(n * gap, n) for n in range(count)] + [(n * gap + MS, n) for n in range(count)]
    frames = [data(n, time, 1 + n) for time, n in sorted(times)]

    result = play_pcap(build.pcap([build.Record(render_frame(frame), frame.time_ns) for frame in frames], nano=True))

    assert result.tables["capture"][0].duplicates >= count - 2


@pytest.mark.slow
def test_copies_that_come_behind_thousands_of_frames_are_found() -> None:
    """750,000 frames a second, and each again 5 ms later."""
    library_or_skip()
    count, gap = 8_000, 1333
    times = [(n * gap, n) for n in range(count)] + [(n * gap + 5 * MS, n) for n in range(count)]
    frames = [data(n, time, 1 + n % 65535) for time, n in sorted(times)]

    result = play_pcap(
        build.pcap([build.Record(render_frame(frame), frame.time_ns) for frame in frames], nano=True), compiled=True
    )

    assert result.tables["capture"][0].duplicates >= count * 0.999
