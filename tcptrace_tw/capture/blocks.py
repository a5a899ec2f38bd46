"""pcapng blocks as they are written: around a body, for a pcap file, and with comments among their options."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tcptrace_tw.capture import interfaces, pcap
from tcptrace_tw.errors import UsageError

COMMENT, END_OF_OPTIONS = 1, bytes(4)
COMMENT_MAX = 65_535
"""Bytes of a comment: its length is written in 16 bits."""

LINK_MAX = 65_535
FCS_LENGTH = 13
_FCS_KNOWN = 1 << 26

_AROUND = 32
"""Bytes of an Enhanced Packet Block without frame and options."""

_OPTION = {order: struct.Struct(f"{order}HH") for order in "<>"}


def block(order: str, kind: int, body: bytes) -> bytes:
    """A whole block; ``order`` as ``struct`` has it."""
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def option(order: str, code: int, value: bytes) -> bytes:
    """One option of a block."""
    return _OPTION[order].pack(code, len(value)) + value + bytes(-len(value) & 3)


def section_of(header: pcap.PcapHeader, link_word: int = 0) -> bytes:
    """A section with one interface, for the records of a pcap file.

    ``link_word`` is the last word of the file's header, which may tell the length of the frame check sequence.
    """
    if header.link > LINK_MAX:
        raise UsageError(f"link type {header.link} is too high for pcapng; is the header of the capture damaged?")
    order = order_of(header)
    options = option(order, interfaces.TSRESOL, bytes([9 if header.unit_ns == 1 else 6]))
    if link_word & _FCS_KNOWN:
        options += option(order, FCS_LENGTH, bytes([2 * (link_word >> 28)]))
    interface = struct.pack(f"{order}HHI", header.link, 0, header.snaplen) + options + END_OF_OPTIONS
    return block(order, interfaces.SECTION, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(
        order, interfaces.INTERFACE, interface
    )


def order_of(header: pcap.PcapHeader) -> str:
    """The byte order of a pcap file, as ``struct`` has it."""
    return ">" if header.is_big else "<"


class RecordPacker:
    """Records of a pcap file as Enhanced Packet Blocks; the frames themselves stay as they are."""

    def __init__(self, header: pcap.PcapHeader) -> None:
        order = order_of(header)
        self._header = header
        self._record = struct.Struct(f"{order}IIII")
        self._head, self._length = struct.Struct(f"{order}7I"), struct.Struct(f"{order}I")
        self._ticks_a_second = 1_000_000_000 // header.unit_ns

    def packet(self, data: memoryview | bytes, at: int, caplen: int, options: bytes = b"") -> bytes:
        """The frame of ``caplen`` bytes at ``at``, behind the header of its record."""
        header = self._header
        seconds, fraction, shorter, wirelen = self._record.unpack_from(data, at - header.record_len)
        if header.is_swapped:
            wirelen = shorter
        ticks = seconds * self._ticks_a_second + fraction
        pad = bytes(-caplen & 3)
        total = _AROUND + caplen + len(pad) + len(options)
        head = self._head.pack(interfaces.PACKET, total, 0, ticks >> 32, ticks & 0xFFFFFFFF, caplen, wirelen)
        return b"".join((head, data[at : at + caplen], pad, options, self._length.pack(total)))


def with_comments(order: str, options: bytes, comments: Sequence[bytes]) -> bytes:
    """The options of a block and more comments, behind those that it has; nothing that was there changes.

    Options that are not sound stay as they are behind the comments.
    """
    added = b"".join([option(order, COMMENT, comment[:COMMENT_MAX]) for comment in comments])
    if not options:
        return added + END_OF_OPTIONS
    end = _end_of(order, options)
    if end < 0:
        return added + options
    return options[:end] + added + (options[end:] or END_OF_OPTIONS)


def _end_of(order: str, options: bytes) -> int:
    """Where more options go: before the mark of their end; -1 where they are not sound."""
    at, head = 0, struct.Struct(f"{order}HH")
    while at + 4 <= len(options):
        code, length = head.unpack_from(options, at)
        if code == 0:
            return at
        at += 4 + (length + 3 & ~3)
    return at if at == len(options) else -1
