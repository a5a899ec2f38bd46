"""What the mutations start from: shipped captures, and files built to reach every reader and decoder."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tests import capture_bytes as cb

ROOT = Path(__file__).parents[2]
SEED_BYTES_MAX = 24_000


def load(folder: Path | None = None) -> list[bytes]:
    """All seeds, in an order that does not change; ``folder`` adds captures of one's own."""
    shipped = sorted((ROOT / "fixtures").glob("*/*.pcap*"))
    own = sorted(p for p in folder.rglob("*") if p.is_file()) if folder else []
    files = [path for path in [*shipped, *own] if path.stat().st_size <= SEED_BYTES_MAX]
    return [*built(), *(path.read_bytes() for path in files)]


def built() -> Iterator[bytes]:
    """Every file format, byte order, link type and tunnel that has a builder."""
    talk = list(conversation())
    for order in "<>":
        for nano in (False, True):
            yield cb.pcap(talk, order=order, nano=nano)
        yield pcapng(talk, order)
    yield pcapng(talk, "<") + pcapng(talk, ">")
    yield cb.snoop(talk)
    yield cb.erf(talk, extensions=1)
    for link, head in _HEADS.items():
        yield cb.pcap([cb.Record(head + record.frame[14:], record.time_ns) for record in talk], link=link)
    yield cb.pcap([tunnelled(record.frame[14:], i) for i, record in enumerate(talk * 3)])
    yield cb.pcap([cb.ethernet(cb.ipv6(extended(record.frame[34:]), protocol=0), 0x86DD) for record in talk])


_HEADS = {
    cb.RAW: b"",
    cb.NULL: struct.pack("<I", 2),
    cb.LOOP: struct.pack(">I", 2),
    cb.SLL: struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 0x0800),
    cb.SLL2: struct.pack(">HHIHBB8s", 0x0800, 0, 1, 1, 0, 6, bytes(8)),
    9: b"\xff\x03\x00\x21",
    105: b"\x08\0" + bytes(22) + b"\xaa\xaa\x03\0\0\0\x08\0",
    127: struct.pack("<BBHI", 0, 0, 8, 0) + b"\x08\0" + bytes(22) + b"\xaa\xaa\x03\0\0\0\x08\0",
}


def conversation() -> Iterator[cb.Record]:
    """Two incarnations of one tuple, with options, data, a close from each side and a reset."""
    time_ns = 1_700_000_000_000_000_000
    for isn in (1000, 900_000):
        client, server = isn, 0xFFFFFFF0
        steps = [
            (0, 0x02, 0), (1, 0x12, 0), (0, 0x10, 0), (0, 0x18, 100), (1, 0x10, 0), (1, 0x18, 300),
            (0, 0x11, 0), (1, 0x10, 0), (1, 0x11, 0), (0, 0x10, 0), (1, 0x04, 0),
        ]  # fmt: skip
        for side, flags, length in steps:
            seq, ack = (client, server) if side == 0 else (server, client)
            ports = (40000, 80) if side == 0 else (80, 40000)
            options = cb.TIMESTAMPS if flags != 0x04 else b""
            if flags & 2:
                options = b"\x02\x04\x05\xb4\x04\x02" + cb.TIMESTAMPS[2:] + b"\x01\x03\x03\x07"
            segment = cb.tcp(
                bytes(length), sport=ports[0], dport=ports[1], seq=seq, ack=ack, flags=flags, options=options
            )
            hosts = ("10.0.0.1", "10.0.0.2") if side == 0 else ("10.0.0.2", "10.0.0.1")
            yield cb.Record(cb.ethernet(cb.ipv4(segment, src=hosts[0], dst=hosts[1])), time_ns)
            step = length + bool(flags & 3)
            client, server = (client + step, server) if side == 0 else (client, (server + step) & 0xFFFFFFFF)
            time_ns += 1_000_000


def pcapng(talk: list[cb.Record], order: str) -> bytes:
    """All kinds of packet blocks, two interfaces with their own clocks, statistics, and a block nobody knows."""
    data = cb.section(order) + cb.interface(order=order) + cb.interface(order=order, tsresol=9, offset_s=1, snaplen=96)
    data += cb.block(0x0BAD, b"what is this", order) + cb.block(4, bytes(8), order)
    for i, record in enumerate(talk):
        if i % 4 == 3:
            data += cb.simple_packet(record.frame, order=order)
        elif i % 4 == 2:
            data += cb.old_packet(record.frame, record.time_ns // 1000, order=order)
        else:
            ticks = record.time_ns if i % 2 else record.time_ns // 1000
            data += cb.packet(record.frame, ticks, which=i % 2, order=order)
    return data + cb.statistics(0, 12, order)


def tunnelled(ip: bytes, i: int) -> bytes:
    """An IP packet in one of the tunnels."""
    inner = b"\x02" * 12 + b"\x08\0" + ip
    wrapped = [
        lambda: cb.ethernet(cb.vlan(cb.vlan(ip, 9, 0x0800), 7, 0x8100), 0x88A8),
        lambda: cb.ethernet(struct.pack(">II", 16 << 12, 17 << 12 | 1 << 8) + ip, 0x8847),
        lambda: cb.ethernet(struct.pack(">BBHHH", 0x11, 0, 1, len(ip) + 2, 0x21) + ip, 0x8864),
        lambda: cb.ethernet(cb.ipv4(cb.udp(struct.pack(">II", 8 << 24, 42 << 8) + inner, 4789), protocol=17)),
        lambda: cb.ethernet(cb.ipv4(cb.udp(struct.pack(">HHI", 0, 0x6558, 42 << 8) + inner, 6081), protocol=17)),
        lambda: cb.ethernet(cb.ipv4(struct.pack(">HHI", 0x2000, 0x0800, 5) + ip, protocol=47)),
        lambda: cb.ethernet(cb.ipv4(ip, protocol=4)),
        lambda: cb.ethernet(cb.ipv6(ip, protocol=4), 0x86DD),
        lambda: cb.ethernet(cb.ipv4(cb.udp(struct.pack(">BBHI", 0x30, 255, len(ip), 1) + ip, 2152), protocol=17)),
    ]
    return wrapped[i % len(wrapped)]()


def extended(segment: bytes) -> bytes:
    """A segment behind IPv6 extension headers: hop by hop, routing, destination options."""
    return b"\x2b\0" + bytes(6) + b"\x3c\0" + bytes(6) + b"\x06\0" + bytes(6) + segment
