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
from tcptrace_tw.jit import inlined, kernel

SEGMENT = -1
"""Instead of a skip code: row ``n`` has been filled."""

TCP = 6
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6 = 0, 43, 44, 51, 60, 135, 139, 140
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6)
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
        kind, ip, scope = network_layer(data, at, end, int(frames.link[i]))
        code, tcp, stop = transport_layer(data, ip, end, at + int(frames.wirelen[i]), kind)
        if code >= 0:
            skipped[code] += 1
            continue
        if code == HANDOVER:
            handed[pending, 0], handed[pending, 1] = i, n
            pending += 1
        else:
            # All stores are here: a column bundle that is handed to a function costs more than the function.
            src_hi, src_lo, dst_hi, dst_lo, ttl, ip_id = addresses(data, ip, kind)
            offset = u16(data, tcp + 12)
            payload = tcp + (offset >> 12) * 4
            bits, tsval, tsecr, sack_start, sack_end, mss, wscale = decode_options(data, tcp + 20, payload, end)
            out.src_hi[n], out.src_lo[n] = src_hi, src_lo
            out.dst_hi[n], out.dst_lo[n] = dst_hi, dst_lo
            out.scope[n] = scope
            out.ttl[n] = ttl
            out.ip_id[n] = ip_id
            out.sport[n] = u16(data, tcp)
            out.dport[n] = u16(data, tcp + 2)
            out.seq[n] = u32(data, tcp + 4)
            out.ack[n] = u32(data, tcp + 8)
            out.flags[n] = offset & 0x1FF
            out.window[n] = u16(data, tcp + 14)
            out.checksum[n] = u16(data, tcp + 16)
            out.payload_len[n] = stop - payload
            out.options[n] = bits
            out.tsval[n], out.tsecr[n] = tsval, tsecr
            out.sack_start[n], out.sack_end[n] = sack_start, sack_end
            out.mss[n] = mss
            out.wscale[n] = wscale
        out.frame[n] = number + i
        out.time[n] = int(frames.time[i])
        n += 1
    return n, pending


@inlined
def transport_layer(data: Any, at: int, end: int, wire_end: int, kind: int) -> tuple[int, int, int]:
    """``SEGMENT``, where the TCP header begins and where the segment ends; or ``HANDOVER`` or a skip code first."""
    if kind == IPV4:
        code, tcp, stop = _ipv4(data, at, end, wire_end)
    elif kind == IPV6:
        code, tcp, stop = _ipv6(data, at, end, wire_end)
    else:
        return kind, at, at
    if code != SEGMENT:
        return code, tcp, stop
    if tcp + 20 > end:
        return CUT_TCP, tcp, stop
    header = (u8(data, tcp + 12) >> 4) * 4
    if header < 20 or tcp + header > stop:
        return BROKEN_TCP, tcp, stop
    return SEGMENT, tcp, stop


@inlined
def _ipv4(data: Any, at: int, end: int, wire_end: int) -> tuple[int, int, int]:
    if at + 20 > end:
        return CUT_IP, at, at
    first = u8(data, at)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20:
        return BROKEN_IPV4, at, at
    protocol = u8(data, at + 9)
    if protocol != TCP:
        return PROTOCOL + protocol, at + header, at
    if u16(data, at + 6) & 0x1FFF:
        return IPV4_FRAGMENT, at, at
    length = u16(data, at + 2)
    stop = at + length if length != 0 else wire_end  # 0: the sender left cutting it into segments to its hardware
    return SEGMENT, at + header, stop


@kernel
def _ipv6(data: Any, at: int, end: int, wire_end: int) -> tuple[int, int, int]:
    if at + 40 > end:
        return CUT_IP, at, at
    if u8(data, at) >> 4 != 6:
        return BROKEN_IPV6, at, at
    length = u16(data, at + 4)
    stop = at + 40 + length if length != 0 else wire_end  # 0: jumbogram, or cut into segments by hardware
    protocol, inner = upper_layer(data, at + 40, end, u8(data, at + 6))
    if protocol == TCP:
        return SEGMENT, inner, stop
    return PROTOCOL + protocol if protocol < PROTOCOL else protocol, inner, stop


@kernel
def upper_layer(data: Any, at: int, end: int, protocol: int) -> tuple[int, int]:
    """Pass over IPv6 extension headers (RFC 8200 4); a skip code in place of the protocol where that fails."""
    for _ in range(MAX_EXTENSIONS):
        if protocol not in EXTENSIONS:
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


@inlined
def addresses(data: Any, at: int, kind: int) -> tuple[int, int, int, int, int, int]:
    """Source and destination (two words each), TTL and identification of the IP header at ``at``."""
    if kind == IPV4:
        return 0, MAPPED + u32(data, at + 12), 0, MAPPED + u32(data, at + 16), u8(data, at + 8), u16(data, at + 4)
    return i64(data, at + 8), i64(data, at + 16), i64(data, at + 24), i64(data, at + 32), u8(data, at + 7), 0
