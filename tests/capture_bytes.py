"""Frames and capture files as bytes, built layer by layer for the tests of ``capture``."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.capture.window import Stream
from tcptrace_tw.schema.segments import SEGMENT

LATER = ("print", "slot", "direction", "sender_state", "receiver_state", "side", "connection_id", "room")
"""Fields of a segment that are filled in behind the reader."""

FIELDS = tuple(name for name in SEGMENT.names or () if name not in LATER)

ETHERNET, SLL, SLL2, NULL, LOOP, RAW = 1, 113, 276, 0, 108, 101
TIMESTAMPS = b"\x01\x01\x08\x0a" + struct.pack("!II", 1000, 2000)


class Bytes:
    """A stream over bytes in memory, as ``source`` has it, that gives at most ``step`` bytes at a time."""

    compression = ""
    path = None
    is_live = False

    def __init__(self, data: bytes, *, step: int = 1 << 30, damage: str | None = None) -> None:
        self.name = "test.pcap"
        self.size: int | None = len(data)
        self.position = 0
        self.damage = damage
        self._data = data
        self._step = step

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), self._step, len(self._data) - self.position)
        buffer[:count] = self._data[self.position : self.position + count]
        self.position += count
        return count


class Read(NamedTuple):
    """Everything a reader gave."""

    rows: list[dict[str, object]]
    facts: FileFacts


def read(data: bytes, *, compiled: bool = False, step: int = 1 << 30, **settings: int) -> Read:
    """All segments of a file as dicts in the form of ``tests.naive.decode``."""
    return read_stream(Bytes(data, step=step), compiled=compiled, **settings)


def read_stream(stream: Stream, *, compiled: bool = False, **settings: int) -> Read:
    """The same, of a stream."""
    reader = Reader(stream, compiled=compiled, **settings)
    rows: list[dict[str, object]] = []
    for batch in reader.batches():
        rows += [as_row({name: segment[name] for name in FIELDS}) for segment in batch]
    return Read(rows, reader.facts)


def as_row(values: dict[str, object]) -> dict[str, object]:
    row = {name: int(value) for name, value in values.items()}  # type: ignore[call-overload]
    for name in ("src", "dst"):
        row[name] = (row.pop(f"{name}_hi"), row.pop(f"{name}_lo"))
    return row


def ethernet(payload: bytes, kind: int = 0x0800) -> bytes:
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02" + struct.pack("!H", kind) + payload


def vlan(payload: bytes, number: int, kind: int = 0x0800) -> bytes:
    return struct.pack("!HH", number, kind) + payload


def ipv4(
    payload: bytes,
    *,
    src: str = "10.0.0.1",
    dst: str = "10.0.0.2",
    protocol: int = 6,
    options: bytes = b"",
    length: int | None = None,
    fragment: int = 0,
    ip_id: int = 7,
    ttl: int = 64,
) -> bytes:
    size = 20 + len(options)
    length = size + len(payload) if length is None else length
    addresses = bytes(map(int, f"{src}.{dst}".split(".")))
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, length, ip_id, fragment, ttl, protocol, 0)
    return head + addresses + options + payload


def ipv6(
    payload: bytes,
    *,
    src: bytes = b"\xfe\x80" + bytes(13) + b"\x01",
    dst: bytes = b"\x20\x01" + bytes(13) + b"\x02",
    protocol: int = 6,
    length: int | None = None,
    ttl: int = 64,
) -> bytes:
    length = len(payload) if length is None else length
    return struct.pack("!IHBB", 6 << 28, length, protocol, ttl) + src + dst + payload


def tcp(
    payload: bytes = b"",
    *,
    sport: int = 40000,
    dport: int = 80,
    seq: int = 1,
    ack: int = 2,
    flags: int = 0x10,
    window: int = 500,
    options: bytes = b"",
    header: int | None = None,
) -> bytes:
    options += bytes(-len(options) % 4)
    header = (20 + len(options)) // 4 if header is None else header
    return struct.pack("!HHIIHHHH", sport, dport, seq, ack, header << 12 | flags, window, 9, 0) + options + payload


def udp(payload: bytes, dport: int, sport: int = 55555) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


class Record(NamedTuple):
    """One record of a pcap file."""

    frame: bytes
    time_ns: int = 0
    wirelen: int | None = None


def pcap(
    frames: Iterable[bytes | Record],
    *,
    link: int = ETHERNET,
    order: str = "<",
    nano: bool = False,
    snaplen: int = 65535,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = struct.pack(f"{order}IHHiIII", magic, *version, 0, 0, snaplen, link)
    for frame in frames:
        record = frame if isinstance(frame, Record) else Record(frame)
        seconds, ns = divmod(record.time_ns, 10**9)
        wirelen = len(record.frame) if record.wirelen is None else record.wirelen
        out += struct.pack(f"{order}IIII", seconds, ns if nano else ns // 1000, len(record.frame), wirelen)
        out += record.frame
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    link: int = ETHERNET, *, order: str = "<", snaplen: int = 0, tsresol: int | None = None, offset_s: int | None = None
) -> bytes:
    body = struct.pack(f"{order}HHI", link, 0, snaplen)
    if tsresol is not None:
        body += option(9, bytes([tsresol]), order)
    if offset_s is not None:
        body += option(14, struct.pack(f"{order}q", offset_s), order)
    return block(1, body + option(0, b"", order), order)


def packet(frame: bytes, ticks: int = 0, *, which: int = 0, wirelen: int | None = None, order: str = "<") -> bytes:
    wirelen = len(frame) if wirelen is None else wirelen
    head = struct.pack(f"{order}IIIII", which, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), wirelen)
    return block(6, head + frame, order)


def old_packet(frame: bytes, ticks: int = 0, *, which: int = 0, order: str = "<") -> bytes:
    head = struct.pack(f"{order}HHIIII", which, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(2, head + frame, order)


def simple_packet(frame: bytes, *, wirelen: int | None = None, order: str = "<") -> bytes:
    return block(3, struct.pack(f"{order}I", len(frame) if wirelen is None else wirelen) + frame, order)


def statistics(which: int, dropped: int, order: str = "<") -> bytes:
    return block(
        5, struct.pack(f"{order}III", which, 0, 0) + option(5, struct.pack(f"{order}Q", dropped), order), order
    )


def snoop(records: Iterable[Record]) -> bytes:
    """RFC 1761; a frame is lost before every tenth."""
    data = b"snoop\0\0\0" + struct.pack(">II", 2, 4)
    for number, (frame, time_ns, *_) in enumerate(records):
        pad = bytes(-len(frame) % 4)
        head = (len(frame), len(frame), 24 + len(frame) + len(pad), number // 10)
        data += struct.pack(">IIIIII", *head, time_ns // 10**9, time_ns % 10**9 // 1000) + frame + pad
    return data


def erf(records: Iterable[Record], kind: int = 2, extensions: int = 0) -> bytes:
    """Endace's records, with one frame lost before each."""
    data = b""
    for frame, time_ns, *_ in records:
        fraction = -(-(time_ns % 10**9 << 32) // 10**9)
        extra = b"".join(bytes([0x80 if i + 1 < extensions else 0]) + bytes(7) for i in range(extensions))
        kinds = kind | (0x80 if extensions else 0)
        size = 16 + len(extra) + 2 + len(frame)
        data += struct.pack("<II", fraction, time_ns // 10**9) + struct.pack(">BBHHH", kinds, 4, size, 1, len(frame))
        data += extra + bytes(2) + frame
    return data
