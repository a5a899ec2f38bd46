"""Frames to a classic pcap file: nanosecond times, Ethernet or raw IP, right lengths and checksums."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from functools import lru_cache

from tests.scenario.notation import Frame, Options

LINK_TYPES = {"ethernet": 1, "raw": 101}
_NANOSECOND_MAGIC = 0xA1B23C4D
_MAC_A, _MAC_B = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
_TEXT = bytes(range(32, 127))


def render(frames: Iterable[Frame], link: str = "ethernet") -> bytes:
    """The capture file of some frames, in the order given."""
    parts = [struct.pack("<IHHiIII", _NANOSECOND_MAGIC, 2, 4, 0, 0, 262144, LINK_TYPES[link])]
    for frame in frames:
        packet = render_frame(frame, link)
        captured = packet if frame.cut is None else packet[: frame.cut]
        seconds, nanoseconds = divmod(frame.time_ns, 10**9)
        parts.append(struct.pack("<IIII", seconds, nanoseconds, len(captured), len(packet)))
        parts.append(captured)
    return b"".join(parts)


def render_frame(frame: Frame, link: str = "ethernet") -> bytes:
    """The bytes of one frame on the wire."""
    packet = _ip_packet(frame)
    if link == "raw":
        return packet
    ethertype = 0x86DD if frame.src.is_ipv6 else 0x0800
    macs = _MAC_B + _MAC_A if (frame.src.ip, frame.src.port) < (frame.dst.ip, frame.dst.port) else _MAC_A + _MAC_B
    tag = b"" if frame.vlan is None else struct.pack(">HH", 0x8100, frame.vlan)
    return macs + tag + struct.pack(">H", ethertype) + packet


def _ip_packet(frame: Frame) -> bytes:
    source, target = _packed(frame.src.ip), _packed(frame.dst.ip)
    segment = _tcp_segment(frame, source, target)
    if frame.src.is_ipv6:
        return struct.pack(">IHBB", 6 << 28, len(segment), 6, frame.ttl) + source + target + segment
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), frame.ip_id, 0x4000, frame.ttl, 6, 0)
    total = _checksum(header + source + target)
    return header[:10] + struct.pack(">H", total) + source + target + segment


@lru_cache
def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _tcp_segment(frame: Frame, source: bytes, target: bytes) -> bytes:
    options = _encode(frame.options)
    offset = (5 + len(options) // 4) << 4
    header = struct.pack(
        ">HHIIBBHHH", frame.src.port, frame.dst.port, frame.seq, frame.ack, offset, frame.flags, frame.window, 0, 0
    )
    segment = header + options + payload(frame.seq, frame.payload_len)
    pseudo = source + target + struct.pack(">IHBB", len(segment), 0, 0, 6)
    return segment[:16] + struct.pack(">H", _checksum(pseudo + segment)) + segment[18:]


def payload(seq: int, length: int) -> bytes:
    """Bytes that depend on their sequence number, so that a retransmission carries what was sent before."""
    first = seq % len(_TEXT)
    return (_TEXT * (length // len(_TEXT) + 2))[first : first + length]


def _encode(options: Options) -> bytes:
    parts = []
    if options.mss is not None:
        parts.append(struct.pack(">BBH", 2, 4, options.mss))
    if options.sack_ok:
        parts.append(b"\x04\x02" if options.ts else b"\x01\x01\x04\x02")
    if options.ts is not None:
        parts.append((b"" if options.sack_ok else b"\x01\x01") + struct.pack(">BBII", 8, 10, *options.ts))
    if options.wscale is not None:
        parts.append(struct.pack(">BBBB", 1, 3, 3, options.wscale))
    if options.sack:
        edges = b"".join(struct.pack(">II", *block) for block in options.sack)
        parts.append(struct.pack(">BBBB", 1, 1, 5, 2 + len(edges)) + edges)
    if options.cookie is not None:
        parts.append(struct.pack(">BB", 34, 2 + len(options.cookie)) + options.cookie)
    encoded = b"".join(parts)
    return encoded + b"\x01" * (-len(encoded) % 4)


def _checksum(data: bytes) -> int:
    """RFC 1071: the sum of 16-bit words, whose carries come back, is the number that they make, modulo 2**16 - 1."""
    total = int.from_bytes(data + b"\0" * (len(data) % 2), "big")
    return ~(total % 0xFFFF or (0xFFFF if total else 0)) & 0xFFFF
