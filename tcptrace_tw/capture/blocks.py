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


def block(order: str, kind: int, body: bytes) -> bytes:
    """A whole block; ``order`` as ``struct`` has it."""
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def option(order: str, code: int, value: bytes) -> bytes:
    """One option of a block."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


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


def packet_of(record: bytes, header: pcap.PcapHeader, options: bytes = b"") -> bytes:
    """A pcap record as an Enhanced Packet Block; the frame itself stays as it is."""
    order = order_of(header)
    seconds, fraction, caplen, wirelen = struct.unpack_from(f"{order}IIII", record)
    if header.is_swapped:
        caplen, wirelen = wirelen, caplen
    ticks = seconds * (1_000_000_000 // header.unit_ns) + fraction
    body = struct.pack(f"{order}IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, caplen, wirelen)
    body += record[header.record_len :]
    return block(order, interfaces.PACKET, body + bytes(-len(body) % 4) + options)


def with_comments(order: str, options: bytes, comments: Sequence[bytes]) -> bytes:
    """The options of a block and more comments, behind those that it has; nothing that was there changes.

    Options that are not sound stay as they are behind the comments.
    """
    added = b"".join(option(order, COMMENT, comment[:COMMENT_MAX]) for comment in comments)
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
