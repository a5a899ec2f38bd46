"""Looks at the head of a file only: is it a capture, and when was its first frame recorded."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from tcptrace_tw.capture import compression, other_formats, pcap, pcapng
from tcptrace_tw.capture.compression import Broken
from tcptrace_tw.capture.frames import is_fit
from tcptrace_tw.capture.interfaces import (
    BIG,
    DESCRIPTION_MAX,
    INTERFACE,
    LITTLE,
    OLD_PACKET,
    PACKET,
    SECTION,
    clock,
    time_of,
)
from tcptrace_tw.capture.source import open_raw

LOOK_BYTES = 16 << 20
"""How far into a pcapng file its first packet is looked for; what comes before are names, comments and TLS keys."""


class Head(NamedTuple):
    """What the first bytes of a capture say."""

    format: str
    first_time: int | None
    """ns since 1970; None where there is no frame yet, or none that has a time."""


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
        if pcapng.is_pcapng(magic) and (order := _byte_order(start, 0)):
            return Head("pcapng", _pcapng_time(start, order))
        look = start.at(0, other_formats.LOOK_BYTES)
        if other_formats.is_snoop(look) or other_formats.is_erf(look):
            return Head("snoop" if other_formats.is_snoop(look) else "ERF", other_formats.first_time(look))
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
    return {BIG: ">", LITTLE: "<"}.get(start.at(offset + 8, 4), "")


def _pcapng_time(start: _Start, order: str) -> int | None:
    offset = 0
    interfaces = array("q")  # where each begins
    while offset < LOOK_BYTES and len(header := start.at(offset, 8)) == 8:
        kind, length = struct.unpack(order + "II", header)
        if kind == SECTION:
            order, interfaces = _byte_order(start, offset), array("q")
            if not order:
                return None
            length = struct.unpack(order + "I", header[4:])[0]
        elif kind == INTERFACE:
            interfaces.append(offset)
        elif kind in (PACKET, OLD_PACKET):
            return _packet_time(start, offset, kind, order, interfaces)
        if length < 12:
            return None
        offset += (length + 3) & ~3
    return None


def _packet_time(start: _Start, offset: int, kind: int, order: str, interfaces: Sequence[int]) -> int | None:
    body = start.at(offset + 8, 12)
    if len(body) < 12:
        return None
    interface, high, low = struct.unpack(order + ("III" if kind == PACKET else "HxxII"), body)
    if interface >= len(interfaces):
        return None
    at = interfaces[interface]
    (length,) = struct.unpack(order + "I", start.at(at + 4, 4))
    known = clock(start.at(at + 16, max(0, min(length - 20, DESCRIPTION_MAX))), order)
    time = time_of(high, low, *known)
    return time if is_fit(time) else 0
