"""Fixtures that went a little differently: a frame lost, sent twice, late, cut, or with a number changed; two in a row.

A fixture stands at a place where much is decided; what is decided beside that place, its variations show. They are
named after their fixtures and a number, as ``abort-linger0+half-close 3``, and are always the same for a name.
"""

from __future__ import annotations

import struct
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests import capture_bytes as cb
from tests import hiding
from tests.fuzz.cases import Case, pieces
from tests.scenario import parse, render

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
MOST_FRAMES = 60
US, MS, S = 10**3, 10**6, 10**9
PAUSES = (US, MS, 40 * MS, 200 * MS, 500 * MS, S, 3 * S, 10 * S, 20 * S, 60 * S, 120 * S, 3600 * S, 25 * 86_400 * S)
NEAR = (1, 1, 2, 500, 1460, 65_534, 65_535, 65_536, 65_537, 1 << 30, 1 << 31)
ETHERNET_HEAD = 14
FIN, SYN, RST = 1, 2, 4


class Place(NamedTuple):
    """Where the headers of a frame with TCP lie."""

    ip: int
    tcp: int
    is_ipv6: bool


@cache
def frames_of(fixture: str) -> tuple[cb.Record, ...]:
    """The first frames of a fixture; none where it has no Ethernet."""
    folder = FIXTURES / fixture
    captured = folder / "capture.pcap"
    if captured.exists():
        data = captured.read_bytes()
    else:
        scenario = parse((folder / "scenario.pkt").read_text())
        data = render(scenario.frames, scenario.link)
    capture = hiding.read(data)
    if capture.link != hiding.ETHERNET:
        return ()
    return tuple(cb.Record(each.data, each.time_ns, each.size) for each in capture.frames[:MOST_FRAMES])


@cache
def _settings(fixture: str) -> dict[str, object]:
    settings: dict[str, object] = tomllib.loads((FIXTURES / fixture / "expect.toml").read_text()).get("settings", {})
    return settings


def variation(name: str) -> Case:
    """The variation of this name: one fixture or several, and a number."""
    fixtures, _, number = name.partition(" ")
    random = Random(f"variations/{name}")
    pick = random.choice
    frames: list[cb.Record] = []
    for fixture in fixtures.split("+"):
        more = list(frames_of(fixture))
        if frames and more:
            later = frames[-1].time_ns - more[0].time_ns + pick(PAUSES) + pick((-1, 0, 0, 1))
            more = _at(more, later)
        frames += more
    for _ in range(pick((1, 1, 2, 3)) if frames else 0):
        pick(CHANGES)(random, frames)
    return Case(
        number=int(number),
        files=pieces(random, frames),
        settings={**_settings(fixtures.partition("+")[0]), "keep_duplicates": random.random() < 0.1},
        batch_size=pick((1, 2, 7, 64, 16384)),
        archive_from=pick((0, 0, 1, 4096)),
        linger_ns=pick((100 * MS, 0)),
        idle_after_ns=pick((1000 * MS, 0)),
        has_transitions=random.random() < 0.6,
        is_pcapng=random.random() < 0.1,
    )


def _at(frames: Sequence[cb.Record], later_ns: int) -> list[cb.Record]:
    return [each._replace(time_ns=max(0, each.time_ns + later_ns)) for each in frames]


def lose(random: Random, frames: list[cb.Record]) -> None:
    """Some frames in a row were not captured."""
    if len(frames) > 2:
        at = random.randrange(len(frames))
        del frames[at : at + random.choice((1, 1, 1, 2, 3))]


def lose_the_begin(random: Random, frames: list[cb.Record]) -> None:
    """The capture begins later, or ends earlier."""
    at = random.randrange(1, max(2, len(frames)))
    frames[:] = frames[at:] if random.random() < 0.6 else frames[:at]


def repeat(random: Random, frames: list[cb.Record]) -> None:
    """A frame comes again, at once or much later, once or often."""
    for _ in range(random.choice((1, 1, 2, 3, 5))):
        each = random.choice(frames)
        at = random.randrange(len(frames)) + 1
        frames.insert(at, each._replace(time_ns=frames[at - 1].time_ns + random.choice((0, US, MS, 21 * MS, 200 * MS))))


def swap(random: Random, frames: list[cb.Record]) -> None:
    """Two neighbours come the other way round."""
    at = random.randrange(max(1, len(frames) - 1))
    if at + 1 < len(frames):
        one, other = frames[at : at + 2]
        frames[at : at + 2] = [other._replace(time_ns=one.time_ns), one._replace(time_ns=other.time_ns)]


def wait(random: Random, frames: list[cb.Record]) -> None:
    """From a frame on everything is later, or comes at once."""
    at = random.randrange(len(frames))
    later = random.choice(PAUSES) + random.choice((-1, 0, 1))
    if random.random() < 0.3 and at:
        later = frames[at - 1].time_ns - frames[at].time_ns
    frames[at:] = _at(frames[at:], later)


def go_back(random: Random, frames: list[cb.Record]) -> None:
    """From a frame on the clock is behind."""
    at = random.randrange(len(frames))
    frames[at:] = _at(frames[at:], -random.choice(PAUSES))


def cut(random: Random, frames: list[cb.Record]) -> None:
    """Less of a frame was captured: within its options, or its text."""
    at = random.randrange(len(frames))
    place = _place(frames[at].frame)
    kept = (place.tcp if place else 34) + random.choice((20, 20, 24, 28, 32, 40, 60, 14))
    every = range(len(frames)) if random.random() < 0.2 else range(at, at + 1)
    for number in every:
        each = frames[number]
        wire = len(each.frame) if each.wirelen is None else each.wirelen
        frames[number] = cb.Record(each.frame[:kept], each.time_ns, wire)


def rename(random: Random, frames: list[cb.Record]) -> None:
    """From a frame on, or in one, an address or a port is another one."""
    at = random.randrange(len(frames))
    end = len(frames) if random.random() < 0.6 else at + 1
    is_port = random.random() < 0.5
    old: bytes | None = None
    new = bytes([random.choice((1, 2, 3, 77))]) if not is_port else struct.pack(">H", random.choice((80, 40000, 40001)))
    for number in range(at, end):
        place = _place(frames[number].frame)
        if not place:
            continue
        data = bytearray(frames[number].frame)
        spots = (
            (place.tcp, place.tcp + 2)
            if is_port
            else (place.tcp - 17, place.tcp - 1)
            if place.is_ipv6
            else (place.ip + 15, place.ip + 19)
        )
        for spot in spots:
            found = bytes(data[spot : spot + len(new)])
            old = found if old is None else old
            if found == old:
                data[spot : spot + len(new)] = new
        frames[number] = frames[number]._replace(frame=bytes(data))


def change_number(random: Random, frames: list[cb.Record]) -> None:
    """A sequence number, an ACK field or a window is another one, in one frame or from there on."""
    field, size = random.choice(((4, 4), (4, 4), (8, 4), (8, 4), (14, 2)))
    by = random.choice(NEAR) * random.choice((1, -1))
    to = random.choice((0, 1, 0xFFFF)) if size == 2 else None

    def change(data: bytearray, place: Place) -> None:
        at = place.tcp + field
        number = int.from_bytes(data[at : at + size], "big")
        data[at : at + size] = ((number + by if to is None else to) % (1 << 8 * size)).to_bytes(size, "big")

    _edit(random, frames, change)


def change_flags(random: Random, frames: list[cb.Record]) -> None:
    """One flag is set, or not."""
    bit = random.choice((1, 2, 4, 4, 8, 16, 16, 32))

    def change(data: bytearray, place: Place) -> None:
        data[place.tcp + 13] ^= bit

    _edit(random, frames, change, often=0.1)


def change_host(random: Random, frames: list[cb.Record]) -> None:
    """TTL or the identification of a frame is that of another host."""
    by = random.choice((1, -1, 2, -2, 5, 1023, 1024, 1025))

    def change(data: bytearray, place: Place) -> None:
        if place.is_ipv6 or abs(by) <= 5:
            at = place.ip + (7 if place.is_ipv6 else 8)
            data[at] = (data[at] + by) & 0xFF
        else:
            at = place.ip + 4
            data[at : at + 2] = ((int.from_bytes(data[at : at + 2], "big") + by) & 0xFFFF).to_bytes(2, "big")

    _edit(random, frames, change, often=0.2)


def change_timestamps(random: Random, frames: list[cb.Record]) -> None:
    """TSval or TSecr is another one, or the option is none, or damaged."""
    kind = random.random()
    which = random.choice((2, 2, 6))
    by = random.choice((1, -1, 10, -1000, 1 << 31, -(10**8), 10**8))

    def change(data: bytearray, place: Place) -> None:
        at = data.find(b"\x08\x0a", place.tcp + 20, place.tcp + 60)
        if at < 0 or at + 10 > len(data):
            if kind > 0.8 and len(data) > place.tcp + 22 and data[place.tcp + 12] >> 4 > 5:
                data[place.tcp + 21] = random.choice((0, 1, 200))
            return
        if kind < 0.6:
            number = int.from_bytes(data[at + which : at + which + 4], "big")
            data[at + which : at + which + 4] = ((number + by) & 0xFFFFFFFF).to_bytes(4, "big")
        elif kind < 0.8:
            data[at : at + 10] = b"\x01" * 10
        else:
            data[at + 1] = random.choice((0, 1, 9, 200))

    _edit(random, frames, change)


def _edit(
    random: Random, frames: list[cb.Record], change: Callable[[bytearray, Place], None], often: float = 0.4
) -> None:
    """Change one frame with TCP; ``often`` all of the same direction from there on."""
    at = random.randrange(len(frames))
    first = _place(frames[at].frame)
    is_all = random.random() < often
    for number in range(at, len(frames) if is_all else at + 1):
        each = frames[number]
        place = _place(each.frame)
        if not place or not first:
            continue
        if each.frame[place.tcp : place.tcp + 4] == frames[at].frame[first.tcp : first.tcp + 4]:
            data = bytearray(each.frame)
            change(data, place)
            frames[number] = each._replace(frame=bytes(data))


def _place(frame: bytes) -> Place | None:
    """Of a whole TCP header right behind IPv4 or IPv6, with one tag of a VLAN or none."""
    at = ETHERNET_HEAD
    kind = frame[12:14]
    if kind == b"\x81\x00":
        kind, at = frame[16:18], at + 4
    if kind == b"\x08\x00" and frame[at + 9 : at + 10] == b"\x06":
        tcp = at + (frame[at] & 15) * 4
    elif kind == b"\x86\xdd" and frame[at + 6 : at + 7] == b"\x06":
        tcp = at + 40
    else:
        return None
    return Place(at, tcp, kind == b"\x86\xdd") if len(frame) >= tcp + 20 else None


Change = Callable[[Random, list[cb.Record]], None]
CHANGES: tuple[Change, ...] = (
    lose, lose, lose, lose_the_begin, repeat, repeat, swap, swap, wait, wait, wait, go_back, cut, rename, rename,
    change_number, change_number, change_number, change_flags, change_flags, change_host, change_timestamps,
)  # fmt: skip
