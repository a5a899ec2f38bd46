"""From frames to segments: IPv4, IPv6 and TCP headers into the columns of the batch."""

from typing import Any

import numpy as np

from tcptrace_tw.capture.byte_reader import INDEX, OCTETS_KIND, Octets, i64, u8, u16, u32
from tcptrace_tw.capture.damage import is_damaged
from tcptrace_tw.capture.frames import FRAMES_KIND, TOTALS_KIND, survey
from tcptrace_tw.capture.icmp import quotes_segment
from tcptrace_tw.capture.links import HANDOVER, IPV4, IPV6, network_layer, peel_tags
from tcptrace_tw.capture.options import decode_options
from tcptrace_tw.capture.skip_reasons import (
    BROKEN_IPV4,
    BROKEN_IPV6,
    BROKEN_TCP,
    CUT_IP,
    CUT_TCP,
    IPV4_FRAGMENT,
    IPV6_FRAGMENT,
    PROTOCOL,
    REASON,
)
from tcptrace_tw.capture.tunnels import NOT_A_TUNNEL, enter_tunnel
from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.kernels.marks import entry, inlined, kernel
from tcptrace_tw.schema.columns import TRUNCATED
from tcptrace_tw.schema.segments import BATCH_KIND

SEGMENT = -1
"""Instead of a skip code: row ``n`` has been filled."""

TCP = 6
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6 = 0, 43, 44, 51, 60, 135, 139, 140
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6)
MAX_EXTENSIONS = 16
MAX_TUNNELS = 8
MAPPED = 0x0000FFFF00000000
"""The low word of an IPv4 address is this plus the address: ::ffff:a.b.c.d."""


@entry(
    OCTETS_KIND, FRAMES_KIND, INTEGER, INTEGER, BATCH_KIND, INTEGER, Array(np.int64), Array(np.int64, ndim=2),
    TOTALS_KIND,
)  # fmt: skip
def decode_frames(
    data: Octets, found: Any, count: int, number: int, batch: Any, n: int, skipped: Any, handed: Any, totals: Any
) -> Any:
    """Decode the first ``count`` frames of ``found[0]`` into the rows of ``batch`` from ``n`` on.

    ``number`` is the frame number of the first of them. A frame that goes to ``slow`` gets a row all the same, and
    its index and row are noted in ``handed``; from the end of ``handed`` on, those are noted that may be ICMP errors.
    Returns the next free row, how many were handed over, and how many may be errors.
    """
    frames = found[0]
    survey(frames, count, totals)
    pending, truncated, damaged, errors = 0, 0, 0, 0
    for i in range(count):
        out = batch[n & INDEX]
        at = int(frames.at[i])
        end = at + int(frames.caplen[i])
        kind, ip, scope = network_layer(data, at, end, int(frames.link[i]))
        if kind == HANDOVER:
            handed[pending, 0], handed[pending, 1] = i, n
            pending += 1
        else:
            code = _decode(data, ip, end, at + int(frames.wirelen[i]), kind, scope, out)
            if code != SEGMENT:
                skipped[code] += 1
                if PROTOCOL < code < REASON and quotes_segment(data, ip, end, kind):
                    errors += 1
                    handed[handed.shape[0] - errors, 0] = i
                continue
            truncated += int(out.options) & TRUNCATED
            damaged += 1 if is_damaged(int(out["flags"]), int(out.options)) else 0
        out.frame = number + i
        out.time = int(frames.time[i])
        n += 1
    totals[0].truncated_options += truncated // TRUNCATED
    totals[0].damaged += damaged
    return n, pending, errors


@kernel
def decode_one(data: Octets, at: int, end: int, wire_end: int, kind: int, scope: int, out: Any) -> int:
    """Decode one frame from its network layer on into ``out``; return ``SEGMENT`` or a skip code."""
    kind, at, scope = peel_tags(data, at, end, kind, scope)
    return _decode(data, at, end, wire_end, kind, scope, out)


@inlined
def _decode(data: Octets, ip: int, end: int, wire_end: int, kind: int, scope: int, out: Any) -> int:
    code, tcp, stop = transport_layer(data, ip, end, wire_end, kind)
    if PROTOCOL <= code < REASON:
        code, kind, ip, tcp, stop, scope = _through_tunnels(data, tcp, end, wire_end, code, scope)
    if code == SEGMENT:
        _store_addresses(data, ip, kind, scope, out)
        _store_segment(data, tcp, stop, end, out)
    return code


@kernel
def _through_tunnels(
    data: Octets, at: int, end: int, wire_end: int, code: int, scope: int
) -> tuple[int, int, int, int, int, int]:
    """Go on inside what IP carries at ``at``: code, EtherType, offsets of IP and TCP, end of the segment, scope."""
    kind, ip, stop = IPV4, at, at
    for _ in range(MAX_TUNNELS):
        inner, ip, inner_scope = enter_tunnel(data, at, end, code - PROTOCOL)
        if inner == NOT_A_TUNNEL:
            break
        kind, scope = inner, inner_scope
        code, at, stop = transport_layer(data, ip, end, wire_end, kind)
        if not PROTOCOL <= code < REASON:
            break
    return code, kind, ip, at, stop, scope


@inlined
def transport_layer(data: Octets, at: int, end: int, wire_end: int, kind: int) -> tuple[int, int, int]:
    """``SEGMENT``, where the TCP header begins and where the segment ends; or ``HANDOVER`` or a skip code first."""
    if kind == IPV4:
        code, tcp, stop = _ipv4(data, at, end, wire_end)
    elif kind == IPV6:
        code, tcp, stop = _ipv6(data, at, end, wire_end)
    else:
        return kind, at, at
    if code != SEGMENT:
        return code, tcp, stop
    if tcp + 20 > stop:
        return BROKEN_TCP, tcp, stop
    if tcp + 20 > end:
        return CUT_TCP, tcp, stop
    header = (u8(data, tcp + 12) >> 4) * 4
    if header < 20 or tcp + header > stop:
        return BROKEN_TCP, tcp, stop
    return SEGMENT, tcp, stop


@inlined
def _ipv4(data: Octets, at: int, end: int, wire_end: int) -> tuple[int, int, int]:
    if at + 20 > end:
        return CUT_IP, at, at
    first = u8(data, at)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20:
        return BROKEN_IPV4, at, at
    protocol, inner = u8(data, at + 9), at + header
    fragment = u16(data, at + 6)
    if fragment & 0x1FFF:  # the first fragment has the ports; the others have nothing to look into
        return IPV4_FRAGMENT if protocol == TCP else PROTOCOL + protocol, end, at
    if protocol == AUTHENTICATION:
        protocol, inner = upper_layer(data, inner, end, protocol)
    length = u16(data, at + 2)
    stop = at + length if length != 0 else wire_end  # 0: the sender left cutting it into segments to its hardware
    if fragment & 0x2000 and protocol == TCP and inner + 20 > stop:
        return IPV4_FRAGMENT, end, at
    return _code_of(protocol), inner, stop


@inlined
def _code_of(protocol: int) -> int:
    if protocol == TCP:
        return SEGMENT
    return PROTOCOL + protocol if protocol < PROTOCOL else protocol


@kernel
def _ipv6(data: Octets, at: int, end: int, wire_end: int) -> tuple[int, int, int]:
    if at + 40 > end:
        return CUT_IP, at, at
    if u8(data, at) >> 4 != 6:
        return BROKEN_IPV6, at, at
    length = u16(data, at + 4)
    stop = at + 40 + length if length != 0 else wire_end  # 0: jumbogram, or cut into segments by hardware
    protocol, inner = upper_layer(data, at + 40, end, u8(data, at + 6))
    return _code_of(protocol), inner, stop


@kernel
def upper_layer(data: Octets, at: int, end: int, protocol: int) -> tuple[int, int]:
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
def _store_addresses(data: Octets, at: int, kind: int, scope: int, out: Any) -> None:
    """Fill the columns that come from the IP header at ``at``."""
    out.scope = scope
    if kind == IPV4:
        out.src_hi = 0
        out.src_lo = MAPPED + u32(data, at + 12)
        out.dst_hi = 0
        out.dst_lo = MAPPED + u32(data, at + 16)
        out.ip_id = u16(data, at + 4)
        out.ttl = u8(data, at + 8)
    else:
        out.src_hi = i64(data, at + 8)
        out.src_lo = i64(data, at + 16)
        out.dst_hi = i64(data, at + 24)
        out.dst_lo = i64(data, at + 32)
        out.ip_id = 0
        out.ttl = u8(data, at + 7)


@inlined
def _store_segment(data: Octets, at: int, stop: int, end: int, out: Any) -> None:
    """Fill the columns that come from the TCP header at ``at`` (RFC 9293 3.1)."""
    offset = u16(data, at + 12)
    payload = at + (offset >> 12) * 4
    bits, tsval, tsecr, sack_start, sack_end, mss, wscale = decode_options(data, at + 20, payload, end)
    out.sport = u16(data, at)
    out.dport = u16(data, at + 2)
    out.seq = u32(data, at + 4)
    out.ack = u32(data, at + 8)
    out.flags = offset & 0x1FF
    out.window = u16(data, at + 14)
    out.checksum = u16(data, at + 16)
    out.payload_len = stop - payload
    out.options = bits
    out.tsval = tsval
    out.tsecr = tsecr
    out.sack_start = sack_start
    out.sack_end = sack_end
    out.mss = mss
    out.wscale = wscale
