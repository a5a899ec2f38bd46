"""Ways in which a capture hides what happened: filters, snap lengths, taps of one direction, late starts, loss, copies.

A capture is a list of frames; each way makes another list of it. Nothing here knows the tool.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import NamedTuple

from tests.scenario import parse, render

FIN, SYN, RST = 1, 2, 4
ETHERNET, RAW, COOKED, COOKED_2 = 1, 101, 113, 276
NS = 10**9


class Seen(NamedTuple):
    """One frame of a capture: when, what of it was captured, and how long it was on the wire."""

    time_ns: int
    data: bytes
    size: int


class Capture(NamedTuple):
    """The frames of a capture and their link type."""

    link: int
    frames: list[Seen]


class Way(NamedTuple):
    """One way of hiding: its name, and the frames that it leaves."""

    name: str
    frames: list[Seen]


def read(data: bytes) -> Capture:
    """The frames of a pcap or pcapng file."""
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        return _read_pcapng(data)
    unit = {b"\x4d\x3c\xb2\xa1": 1, b"\xd4\xc3\xb2\xa1": 1000}[data[:4]]
    frames, at = [], 24
    while at < len(data):
        seconds, rest, kept, size = struct.unpack_from("<IIII", data, at)
        frames.append(Seen(seconds * NS + rest * unit, data[at + 16 : at + 16 + kept], size))
        at += 16 + kept
    return Capture(int.from_bytes(data[20:22], "little"), frames)


def _read_pcapng(data: bytes) -> Capture:
    """One section with one interface, as the lab writes it."""
    link, unit, frames, at = ETHERNET, 1000, [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind == 1:
            link = int.from_bytes(data[at + 8 : at + 10], "little")
            unit = _unit(data[at + 16 : at + length - 4])
        elif kind == 6:
            _, high, low, kept, size = struct.unpack_from("<IIIII", data, at + 8)
            frames.append(Seen((high << 32 | low) * unit, data[at + 28 : at + 28 + kept], size))
        at += length
    return Capture(link, frames)


def _unit(options: bytes) -> int:
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from("<HH", options, at)
        if code == 9:
            return int(NS // 10 ** options[at + 4])
        at += 4 + -(-length // 4) * 4
    return 1000


def write(capture: Capture) -> bytes:
    """The frames as a pcap file."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, capture.link)]
    for frame in capture.frames:
        seconds, rest = divmod(frame.time_ns, NS)
        parts += [struct.pack("<IIII", seconds, rest, len(frame.data), frame.size), frame.data]
    return b"".join(parts)


def write_pcapng(capture: Capture) -> bytes:
    """The frames as a pcapng file."""
    parts = [
        struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28),
        struct.pack("<IIHHIHHB3xII", 1, 32, capture.link, 0, 262144, 9, 1, 9, 0, 32),
    ]
    for frame in capture.frames:
        padded = frame.data + bytes(-len(frame.data) % 4)
        length = 32 + len(padded)
        head = struct.pack(
            "<IIIIIII", 6, length, 0, frame.time_ns >> 32, frame.time_ns & 0xFFFFFFFF, len(frame.data), frame.size
        )
        parts += [head, padded, struct.pack("<I", length)]
    return b"".join(parts)


class Header(NamedTuple):
    """What a filter looks at."""

    source: bytes
    target: bytes
    flags: int
    ends: int
    """Where the TCP header ends in the frame."""


def header(link: int, data: bytes) -> Header:
    """Source, target and flags of a TCP segment, whatever carries it."""
    at = {ETHERNET: 14, RAW: 0, COOKED: 16, COOKED_2: 20}[link]
    while link == ETHERNET and data[at - 2 : at] == b"\x81\x00":
        at += 4
    size, length = (4, (data[at] & 15) * 4) if data[at] >> 4 == 4 else (16, 40)
    addresses = at + length - 2 * size if size == 16 else at + 12
    tcp = at + length
    source = data[addresses : addresses + size] + data[tcp : tcp + 2]
    target = data[addresses + size : addresses + 2 * size] + data[tcp + 2 : tcp + 4]
    return Header(source, target, data[tcp + 13], tcp + (data[tcp + 12] >> 4) * 4)


def control_only(capture: Capture) -> list[Seen]:
    """``tcpdump 'tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0'``."""
    return [frame for frame in capture.frames if header(capture.link, frame.data).flags & (SYN | FIN | RST)]


def snapped(capture: Capture, length: int) -> list[Seen]:
    """``tcpdump -s``."""
    return [frame._replace(data=frame.data[:length]) for frame in capture.frames]


def one_direction(capture: Capture, *, turned: bool) -> list[Seen]:
    """A tap that sees only what the first sender's side sends, or only what comes back."""
    heads = [header(capture.link, frame.data) for frame in capture.frames]
    sides: dict[frozenset[bytes], bytes] = {}
    for head in heads:
        sides.setdefault(frozenset((head.source, head.target)), head.source)
    return [
        frame
        for frame, head in zip(capture.frames, heads, strict=True)
        if (sides[frozenset((head.source, head.target))] == head.source) is not turned
    ]


def with_loss(capture: Capture, percent: int, seed: int) -> list[Seen]:
    """A tap that loses frames."""
    draw = random.Random(seed)
    return [frame for frame in capture.frames if draw.random() * 100 >= percent]


def twice(capture: Capture) -> list[Seen]:
    """Every frame again right after itself, as ``-i any`` and mirror ports record it."""
    return [copy for frame in capture.frames for copy in (frame, frame._replace(time_ns=frame.time_ns + 1000))]


def starts(capture: Capture, most: int) -> Iterator[int]:
    """Where a capture may start late: at every frame, in longer ones at ``most`` places."""
    size = len(capture.frames)
    if size - 1 <= most:
        yield from range(1, size)
    else:
        yield from sorted({size * step // (most + 1) for step in range(1, most + 1)} - {0})


def late_starts(capture: Capture, most: int) -> Iterator[Way]:
    """The capture, begun later."""
    for start in starts(capture, most):
        yield Way(f"from-{start + 1}", capture.frames[start:])


def ways(
    capture: Capture,
    seeds: int = 1,
    most_starts: int = 10,
    lengths: tuple[int, ...] = (54, 68),
    percents: tuple[int, ...] = (5, 15),
) -> Iterator[Way]:
    """All ways of hiding that leave fewer frames, or less of them, or the same ones twice."""
    yield Way("control-only", control_only(capture))
    for length in lengths:
        yield Way(f"snap-{length}", snapped(capture, length))
    for turned in (False, True):
        yield Way(f"one-way-{'back' if turned else 'there'}", one_direction(capture, turned=turned))
    for percent in percents:
        for seed in range(seeds):
            yield Way(f"loss-{percent}-{seed}", with_loss(capture, percent, seed))
    yield Way("twice", twice(capture))
    yield Way("joined", capture.frames + capture.frames)
    yield from late_starts(capture, most_starts)


def of_scenario(text: str) -> Capture:
    """The frames of a scenario."""
    scenario = parse(text)
    return read(render(scenario.frames, scenario.link))
