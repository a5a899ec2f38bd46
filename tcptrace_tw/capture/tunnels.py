"""Tunnels: from what an outer IP header carries to the network layer inside. Of outer and inner only the inner counts.

Inside a tunnel the scope begins anew. A VNI, a GRE key or a service id becomes part of it; a GTP-U TEID does not,
because it differs between the two directions of a connection.
"""

from tcptrace_tw.capture.byte_reader import Octets, u8, u16, u32
from tcptrace_tw.capture.links import BRIDGED, IPV4, IPV6, ip_version, peel_tags, ppp
from tcptrace_tw.capture.skip_reasons import UNKNOWN_INSIDE
from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.schema.scope import GENEVE_VNI, GRE_KEY, VXLAN_VNI, in_tunnel

NOT_A_TUNNEL = -3
"""Instead of an EtherType."""

IPV4_IN_IP, IPV6_IN_IP, UDP, GRE = 4, 41, 17, 47
VXLAN_PORT, VXLAN_LINUX_PORT, VXLAN_GPE_PORT, GENEVE_PORT, GTP_PORT, TEREDO_PORT, AYIYA_PORT = (
    4789, 8472, 4790, 6081, 2152, 3544, 5072,
)  # fmt: skip
PPTP, ERSPAN, ERSPAN_III, WCCP = 0x880B, 0x88BE, 0x22EB, 0x883E


@kernel
def enter_tunnel(data: Octets, at: int, end: int, protocol: int) -> tuple[int, int, int]:
    """EtherType, offset and scope of the network layer inside; ``NOT_A_TUNNEL`` first where there is none."""
    kind, scope = NOT_A_TUNNEL, 0
    if protocol in (IPV4_IN_IP, IPV6_IN_IP):
        kind, at = ip_version(data, at, end)
        kind = NOT_A_TUNNEL if kind == UNKNOWN_INSIDE or at + 20 > end else kind
    elif protocol == GRE:
        kind, at, scope = _gre(data, at, end)
    elif protocol == UDP and at + 8 + 8 <= end:
        kind, at, scope = _udp(data, at + 8, end, u16(data, at), u16(data, at + 2))
    if kind == NOT_A_TUNNEL:
        return kind, at, scope
    return peel_tags(data, at, end, kind, scope)


@kernel
def _gre(data: Octets, at: int, end: int) -> tuple[int, int, int]:
    """RFC 2784, RFC 2890 (key), RFC 2637 (PPTP), ERSPAN and WCCP."""
    if at + 4 > end:
        return NOT_A_TUNNEL, at, 0
    flags, kind = u16(data, at), u16(data, at + 2)
    if flags & 7 == 1 and kind == PPTP:
        size = 8 + (4 if flags & 0x1000 else 0) + (4 if flags & 0x0080 else 0)
        kind, at = ppp(data, at + size, end)
        return kind, at, 0
    if flags & 0x4007:  # source routes, or a version that is not known
        return NOT_A_TUNNEL, at, 0
    size = 4 + (4 if flags & 0x8000 else 0)
    scope = 0
    if flags & 0x2000:
        if at + size + 4 > end:
            return NOT_A_TUNNEL, at, 0
        scope = in_tunnel(GRE_KEY, u32(data, at + size))
        size += 4
    size += 4 if flags & 0x1000 else 0
    if kind == ERSPAN:
        return BRIDGED, at + size + (8 if flags & 0x1000 else 0), 0
    if kind == ERSPAN_III and at + size + 12 <= end:
        return BRIDGED, at + size + (20 if u8(data, at + size + 11) & 1 else 12), 0
    if kind == WCCP:
        redirect = 0 if at + size < end and u8(data, at + size) >> 4 == 4 else 4
        return IPV4, at + size + redirect, 0
    return kind, at + size, scope


@kernel
def _udp(data: Octets, at: int, end: int, sport: int, dport: int) -> tuple[int, int, int]:
    """By the well-known port, and only where the tunnel's own header is as it must be."""
    if dport in (VXLAN_PORT, VXLAN_LINUX_PORT, VXLAN_GPE_PORT):
        return _vxlan(data, at, dport)
    if dport == GENEVE_PORT:  # RFC 8926
        if u8(data, at) >> 6 != 0:
            return NOT_A_TUNNEL, at, 0
        size = 8 + (u8(data, at) & 0x3F) * 4
        return u16(data, at + 2), at + size, in_tunnel(GENEVE_VNI, u32(data, at + 4) >> 8)
    kind = NOT_A_TUNNEL
    if dport == GTP_PORT:
        kind, at = _gtp(data, at, end)
    elif dport == TEREDO_PORT or sport == TEREDO_PORT:
        kind, at = _teredo(data, at, end)
    elif dport == AYIYA_PORT or sport == AYIYA_PORT:
        size = 8 + (1 << (u8(data, at) >> 4)) + (u8(data, at + 1) >> 4) * 4
        kind = IPV6 if u8(data, at + 3) == IPV6_IN_IP else NOT_A_TUNNEL
        at += size
    return kind, at, 0


@kernel
def _vxlan(data: Octets, at: int, dport: int) -> tuple[int, int, int]:
    """RFC 7348, and the next-protocol field of VXLAN-GPE."""
    flags = u8(data, at)
    if not flags & 0x08:
        return NOT_A_TUNNEL, at, 0
    kind = BRIDGED
    if dport == VXLAN_GPE_PORT and flags & 0x04:
        following = u8(data, at + 3)
        kind = IPV4 if following == 1 else IPV6 if following == 2 else BRIDGED if following == 3 else NOT_A_TUNNEL
    return kind, at + 8, in_tunnel(VXLAN_VNI, u32(data, at + 4) >> 8)


@kernel
def _gtp(data: Octets, at: int, end: int) -> tuple[int, int]:
    """GTP-U (3GPP TS 29.281): user data in a T-PDU, behind optional fields and extension headers."""
    flags = u8(data, at)
    if flags >> 4 != 3 or u8(data, at + 1) != 255:
        return NOT_A_TUNNEL, at
    size = 12 if flags & 7 else 8
    more = flags & 4
    while more:
        if at + size > end or u8(data, at + size - 1) == 0:
            break
        if at + size + 4 > end or u8(data, at + size) == 0:
            return NOT_A_TUNNEL, at
        size += u8(data, at + size) * 4
    return ip_version(data, at + size, end)


@kernel
def _teredo(data: Octets, at: int, end: int) -> tuple[int, int]:
    """RFC 4380 5.1.1: authentication and origin may stand before the IPv6 header."""
    if u16(data, at) == 1:
        at += 13 + u8(data, at + 2) + u8(data, at + 3)
    if at + 8 <= end and u16(data, at) == 0:
        at += 8
    return (IPV6 if at < end and u8(data, at) >> 4 == 6 else NOT_A_TUNNEL), at
