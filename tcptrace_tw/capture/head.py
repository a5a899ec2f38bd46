"""Looks at the head of a file only: is it a capture, and when was its first frame recorded."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import NamedTuple

from tcptrace_tw.capture import compression, pcap, rare
from tcptrace_tw.capture.compression import Broken
from tcptrace_tw.capture.source import open_raw

PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"

LOOK_BYTES = 16 << 20
"""How far into a pcapng file its first packet is looked for; what comes before are names, comments and TLS keys."""

_SECTION, _INTERFACE, _OLD_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 6
_TSRESOL, _TSOFFSET = 9, 14


class Head(NamedTuple):
    """What the first bytes of a capture say."""

    format: str
    first_time: int | None
    """ns since 1970; None where there is no frame yet, or none that has a time."""


LOOK_PACKED = 1 << 18
"""How much of a packed file tells by how much it grows."""


class _Piece:
    """The first bytes of a packed file, as if nothing came after them."""

    def __init__(self, data: bytes) -> None:
        self.position = 0
        self._data = data

    def read(self, size: int) -> bytes:
        """As ``source.Raw.read``."""
        piece = self._data[self.position : self.position + size]
        self.position += len(piece)
        return piece


def expected_size(path: str, enough: int) -> int:
    """How many bytes a local file will hold when it is unpacked, judged by its begin; at least ``enough`` is enough."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(LOOK_PACKED)
    codec = compression.sniff(start)
    if codec is None or size >= enough:
        return size
    unpacked = 0
    with suppress(Broken):
        for chunk in compression.unpack(_Piece(start), codec):
            unpacked += len(chunk)
            if unpacked >= enough:
                break
    return unpacked * size // len(start)


class _Start:
    """The first bytes of a file, unpacked only as far as they are wanted."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._data = bytearray()

    def at(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on; fewer at the end, and where the data is broken or cannot be read.

        Raises ``OSError`` only where there is nothing at all.
        """
        while len(self._data) < offset + size:
            try:
                self._data += next(self._chunks)
            except (StopIteration, Broken):
                break
            except OSError:
                if not self._data:
                    raise
                break
        return bytes(self._data[offset : offset + size])


def read_head(uri: str) -> Head | None:
    """The head of a capture, packed or not; None for what is none.

    Raises ``CaptureError`` where the file cannot be opened, ``OSError`` where it cannot be read.
    """
    with closing(open_raw(uri).raw) as raw:
        codec = compression.sniff(raw.peek(compression.MAGIC_BYTES))
        # Small steps: a thousand files are looked at, forty bytes each.
        chunks = compression.unpack(raw, codec, careful_from=0) if codec else iter(lambda: raw.read(4096), b"")
        start = _Start(chunks)
        magic = start.at(0, 4)
        if len(magic) == 4 and pcap.is_pcap(magic):
            return Head("pcap", _pcap_time(start))
        if magic == PCAPNG_MAGIC and (order := _byte_order(start, 0)):
            return Head("pcapng", _pcapng_time(start, order))
        look = start.at(0, rare.LOOK_BYTES)
        if rare.is_snoop(look) or rare.is_erf(look):
            return Head("snoop" if rare.is_snoop(look) else "ERF", rare.first_time(look))
    return None


def _pcap_time(start: _Start) -> int | None:
    header = start.at(0, pcap.HEADER_LEN)
    record = start.at(pcap.HEADER_LEN, 8)
    if len(record) < 8:
        return None
    h = pcap.parse_header(header)
    seconds, fraction = struct.unpack(">II" if h.is_big else "<II", record)
    return int(seconds) * 1_000_000_000 + int(fraction) * h.unit_ns


def _byte_order(start: _Start, offset: int) -> str:
    """How the section that begins at ``offset`` is written, as ``struct`` has it; nothing if it is no section."""
    return {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}.get(start.at(offset + 8, 4), "")


def _pcapng_time(start: _Start, order: str) -> int | None:
    offset = 0
    clocks: list[tuple[int, int]] = []
    while offset < LOOK_BYTES and len(header := start.at(offset, 8)) == 8:
        kind, length = struct.unpack(order + "II", header)
        if kind == _SECTION:
            order, clocks = _byte_order(start, offset), []
            if not order:
                return None
            length = struct.unpack(order + "I", header[4:])[0]
        elif kind == _INTERFACE:
            clocks.append(_clock(start.at(offset + 16, min(length, 1 << 16) - 20), order))
        elif kind in (_PACKET, _OLD_PACKET):
            return _packet_time(start.at(offset + 8, 12), kind, order, clocks)
        if length < 12:
            return None
        offset += (length + 3) & ~3
    return None


def _packet_time(body: bytes, kind: int, order: str, clocks: list[tuple[int, int]]) -> int | None:
    if len(body) < 12:
        return None
    interface, high, low = struct.unpack(order + ("III" if kind == _PACKET else "HxxII"), body)
    if interface >= len(clocks):
        return None
    ticks_per_s, offset_s = clocks[interface]
    return int(((high << 32 | low) * 1_000_000_000) // ticks_per_s + offset_s * 1_000_000_000)


def _clock(options: bytes, order: str) -> tuple[int, int]:
    """Ticks per second and offset in seconds of an interface: if_tsresol and if_tsoffset."""
    ticks_per_s, offset_s, at = 1_000_000, 0, 0
    while at + 4 <= len(options):
        code, length = struct.unpack(order + "HH", options[at : at + 4])
        value = options[at + 4 : at + 4 + length]
        if code == _TSRESOL and len(value) == 1:
            ticks_per_s = 1 << (value[0] & 127) if value[0] & 128 else 10 ** (value[0] & 127)
        elif code == _TSOFFSET and len(value) == 8:
            offset_s = struct.unpack(order + "q", value)[0]
        if code == 0:
            break
        at += 4 + ((length + 3) & ~3)
    return ticks_per_s, offset_s
