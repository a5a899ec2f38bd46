"""From frames to segments: IPv4, IPv6 and TCP headers into the columns of the batch."""

from typing import Any

from tcptrace_tw.capture.links import HANDOVER, IPV4, IPV6, network_layer
from tcptrace_tw.capture.octets import i64, u8, u16, u32
from tcptrace_tw.capture.options import decode_options
from tcptrace_tw.capture.skips import (
    BROKEN_IPV4,
    BROKEN_IPV6,
    BROKEN_TCP,
    CUT_IP,
    CUT_TCP,
    IPV4_FRAGMENT,
    IPV6_FRAGMENT,
    PROTOCOL,
)
from tcptrace_tw.jit import kernel

SEGMENT = -1
"""Instead of a skip code: row ``n`` has been filled."""

TCP = 6
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6 = 0, 43, 44, 51, 60, 135, 139, 140
MAX_EXTENSIONS = 16
MAPPED = 0x0000FFFF00000000
"""The low word of an IPv4 address is this plus the address: ::ffff:a.b.c.d."""


@kernel
def decode_frames(data: Any, frames: Any, count: int, number: int, out: Any, n: int, skipped: Any, handed: Any) -> Any:
    """Decode the first ``count`` frames into the rows of ``out`` from ``n`` on.

    ``number`` is the frame number of the first of them. A frame that goes to ``slow`` gets a row all the same, and
    its index and row are noted in ``handed``. Returns the next free row and how many were handed over.
    """
    pending = 0
    for i in range(count):
        at = int(frames.at[i])
        end = at + int(frames.caplen[i])
        wire_end = at + int(frames.wirelen[i])
        kind, inner, scope = network_layer(data, at, end, int(frames.link[i]))
        code = decode_network(data, inner, end, wire_end, kind, scope, out, n)
        if code >= 0:
            skipped[code] += 1
            continue
        if code == HANDOVER:
            handed[pending, 0], handed[pending, 1] = i, n
            pending += 1
        out.frame[n] = number + i
        out.time[n] = int(frames.time[i])
        n += 1
    return n, pending


@kernel
def decode_network(
    data: Any, at: int, end: int, wire_end: int, kind: int, scope: int, out: Any, n: int
) -> int:
    """Decode the network layer at ``at`` into row ``n``; return ``SEGMENT``, ``HANDOVER`` or a skip code."""
    out.scope[n] = scope
    if kind == IPV4:
        return _ipv4(data, at, end, wire_end, out, n)
    if kind == IPV6:
        return _ipv6(data, at, end, wire_end, out, n)
    return kind


@kernel
def _ipv4(data: Any, at: int, end: int, wire_end: int, out: Any, n: int) -> int:
    if at + 20 > end:
        return CUT_IP
    first = u8(data, at)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20:
        return BROKEN_IPV4
    protocol = u8(data, at + 9)
    if protocol != TCP:
        return PROTOCOL + protocol
    if u16(data, at + 6) & 0x1FFF:
        return IPV4_FRAGMENT
    length = u16(data, at + 2)
    stop = at + length if length != 0 else wire_end  # 0: the sender left cutting it into segments to its hardware
    out.src_hi[n] = 0
    out.src_lo[n] = MAPPED + u32(data, at + 12)
    out.dst_hi[n] = 0
    out.dst_lo[n] = MAPPED + u32(data, at + 16)
    out.ip_id[n] = u16(data, at + 4)
    out.ttl[n] = u8(data, at + 8)
    return _tcp(data, at + header, end, stop, out, n)


@kernel
def _ipv6(data: Any, at: int, end: int, wire_end: int, out: Any, n: int) -> int:
    if at + 40 > end:
        return CUT_IP
    if u8(data, at) >> 4 != 6:
        return BROKEN_IPV6
    length = u16(data, at + 4)
    stop = at + 40 + length if length != 0 else wire_end  # 0: jumbogram, or cut into segments by hardware
    out.src_hi[n] = i64(data, at + 8)
    out.src_lo[n] = i64(data, at + 16)
    out.dst_hi[n] = i64(data, at + 24)
    out.dst_lo[n] = i64(data, at + 32)
    out.ip_id[n] = 0
    out.ttl[n] = u8(data, at + 7)
    protocol, inner = upper_layer(data, at + 40, end, u8(data, at + 6))
    if protocol == TCP:
        return _tcp(data, inner, end, stop, out, n)
    return PROTOCOL + protocol if protocol < PROTOCOL else protocol


@kernel
def upper_layer(data: Any, at: int, end: int, protocol: int) -> tuple[int, int]:
    """Pass over IPv6 extension headers (RFC 8200 4); a skip code in place of the protocol where that fails."""
    for _ in range(MAX_EXTENSIONS):
        if not is_extension(protocol):
            return protocol, at
        if at + 8 > end:
            return CUT_IP, at
        if protocol == FRAGMENT and u16(data, at + 2) & 0xFFF8:
            return IPV6_FRAGMENT, at
        size = 8 if protocol == FRAGMENT else (u8(data, at + 1) + 1) * 8
        if protocol == AUTHENTICATION:
            size = (u8(data, at + 1) + 2) * 4
        protocol = u8(data, at)
        at += size
    return BROKEN_IPV6, at


@kernel
def is_extension(protocol: int) -> bool:
    """Whether a next-header value is an extension header that can be passed over."""
    return (
        protocol == HOP_BY_HOP
        or protocol == ROUTING
        or protocol == FRAGMENT
        or protocol == DESTINATION
        or protocol == AUTHENTICATION
        or protocol == MOBILITY
        or protocol == HIP
        or protocol == SHIM6
    )


@kernel
def _tcp(data: Any, at: int, end: int, stop: int, out: Any, n: int) -> int:
    """RFC 9293 3.1; ``stop`` is where the IP length says that the segment ends."""
    if at + 20 > end:
        return CUT_TCP
    offset = u16(data, at + 12)
    payload = at + (offset >> 12) * 4
    if payload < at + 20 or payload > stop:
        return BROKEN_TCP
    out.sport[n] = u16(data, at)
    out.dport[n] = u16(data, at + 2)
    out.seq[n] = u32(data, at + 4)
    out.ack[n] = u32(data, at + 8)
    out.flags[n] = offset & 0x1FF
    out.window[n] = u16(data, at + 14)
    out.checksum[n] = u16(data, at + 16)
    out.payload_len[n] = stop - payload
    decode_options(data, at + 20, payload, end, out, n)
    return SEGMENT
