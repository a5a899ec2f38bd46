"""ICMP errors that quote a TCP segment (RFC 792, RFC 4443): who could not deliver which segment, and why.

Such a frame is rare and is read in Python; the kernel only tells which frames may be one (``quotes_segment``).
"""

from __future__ import annotations

from typing import NamedTuple

from tcptrace_tw.capture.byte_reader import Octets, i64, u8, u16, u32
from tcptrace_tw.capture.links import IPV4, IPV6, network_layer
from tcptrace_tw.kernels.marks import inlined
from tcptrace_tw.schema.words import (
    ICMP_HOST_UNREACHABLE,
    ICMP_NO_ROUTE,
    ICMP_OTHER,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROHIBITED,
    ICMP_TIME_EXCEEDED,
    ICMP_TOO_BIG,
)

TCP, ICMP, ICMPV6 = 6, 1, 58

UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM = 3, 11, 12
UNREACHABLE_V6, TOO_BIG_V6, TIME_EXCEEDED_V6, PARAMETER_PROBLEM_V6 = 1, 2, 3, 4

MAPPED = 0x0000FFFF00000000

MOST_QUOTES = 1 << 16
"""So many errors of a run are kept; what comes later is not told."""

V4_CODES = {
    0: ICMP_NO_ROUTE, 1: ICMP_HOST_UNREACHABLE, 2: ICMP_PORT_UNREACHABLE, 3: ICMP_PORT_UNREACHABLE, 4: ICMP_TOO_BIG,
    6: ICMP_NO_ROUTE, 7: ICMP_HOST_UNREACHABLE, 9: ICMP_PROHIBITED, 10: ICMP_PROHIBITED, 11: ICMP_NO_ROUTE,
    12: ICMP_HOST_UNREACHABLE, 13: ICMP_PROHIBITED,
}  # fmt: skip
"""The codes of "destination unreachable" (RFC 792, RFC 1812 5.2.7.1)."""

V6_CODES = {
    0: ICMP_NO_ROUTE, 1: ICMP_PROHIBITED, 3: ICMP_HOST_UNREACHABLE, 4: ICMP_PORT_UNREACHABLE, 5: ICMP_PROHIBITED,
    6: ICMP_PROHIBITED,
}  # fmt: skip
"""The same of RFC 4443 3.1."""


class Quote(NamedTuple):
    """An ICMP error: when, from whom, what it says, and the head of the segment that it quotes."""

    time: int
    frame: int
    router: tuple[int, int]
    error: int
    mtu: int
    src: tuple[int, int]
    sport: int
    dst: tuple[int, int]
    dport: int
    seq: int


@inlined
def quotes_segment(data: Octets, ip: int, end: int, kind: int) -> bool:
    """Whether a packet may be an ICMP error, from what its headers say at fixed places."""
    if kind == IPV4 and ip + 28 <= end and u8(data, ip + 9) == ICMP:
        icmp = ip + (u8(data, ip) & 15) * 4
        return icmp < end and u8(data, icmp) in (UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM)
    if kind == IPV6 and ip + 48 <= end and u8(data, ip + 6) == ICMPV6:
        return 1 <= u8(data, ip + 40) <= PARAMETER_PROBLEM_V6
    return False


def read_quote(data: Octets, at: int, end: int, link: int, time: int, frame: int) -> Quote | None:
    """The error in the frame at ``at``; None where it quotes no TCP segment, or too little of it."""
    kind, ip, _ = network_layer(data, at, end, link)
    if kind == IPV4:
        icmp = ip + (u8(data, ip) & 15) * 4
        if icmp + 8 > end:
            return None
        error, mtu = _v4_error(data, icmp)
        router: tuple[int, int] = (0, MAPPED + u32(data, ip + 12))
    elif kind == IPV6:
        icmp = ip + 40
        if icmp + 8 > end:
            return None
        error, mtu = _v6_error(data, icmp)
        router = (i64(data, ip + 8), i64(data, ip + 16))
    else:
        return None
    quoted = _quoted(data, icmp + 8, end)
    if quoted is None:
        return None
    src, dst, tcp = quoted
    return Quote(time, frame, router, error, mtu, src, u16(data, tcp), dst, u16(data, tcp + 2), u32(data, tcp + 4))


def _v4_error(data: Octets, icmp: int) -> tuple[int, int]:
    what, code = u8(data, icmp), u8(data, icmp + 1)
    if what == TIME_EXCEEDED:
        return ICMP_TIME_EXCEEDED, 0
    if what != UNREACHABLE:
        return ICMP_OTHER, 0
    error = V4_CODES.get(code, ICMP_OTHER)
    return error, u16(data, icmp + 6) if error == ICMP_TOO_BIG else 0


def _v6_error(data: Octets, icmp: int) -> tuple[int, int]:
    what, code = u8(data, icmp), u8(data, icmp + 1)
    if what == TOO_BIG_V6:
        return ICMP_TOO_BIG, min(u32(data, icmp + 4), 0xFFFF)
    if what == TIME_EXCEEDED_V6:
        return ICMP_TIME_EXCEEDED, 0
    return (V6_CODES.get(code, ICMP_OTHER) if what == UNREACHABLE_V6 else ICMP_OTHER), 0


def _quoted(data: Octets, ip: int, end: int) -> tuple[tuple[int, int], tuple[int, int], int] | None:
    """Source, destination and the offset of the TCP header of the quoted packet; the ports and SEG.SEQ are there."""
    if ip + 20 > end:
        return None
    if u8(data, ip) >> 4 == 4:
        tcp = ip + (u8(data, ip) & 15) * 4
        if u8(data, ip + 9) != TCP or tcp + 8 > end or u16(data, ip + 6) & 0x1FFF:
            return None
        return (0, MAPPED + u32(data, ip + 12)), (0, MAPPED + u32(data, ip + 16)), tcp
    if u8(data, ip) >> 4 == 6 and ip + 48 <= end and u8(data, ip + 6) == TCP:
        return (i64(data, ip + 8), i64(data, ip + 16)), (i64(data, ip + 24), i64(data, ip + 32)), ip + 40
    return None
