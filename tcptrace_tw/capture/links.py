"""From the first byte of a frame to the network layer: link headers, VLAN tags, MPLS labels, PPPoE, LLC."""

from tcptrace_tw.capture.byte_reader import Octets, u8, u16, u32
from tcptrace_tw.capture.skip_reasons import CUT_LINK, UNKNOWN_INSIDE, UNKNOWN_LINK
from tcptrace_tw.kernels.marks import inlined, kernel
from tcptrace_tw.schema.scope import SERVICE_ID, VLAN_MASK, add_vlan, in_tunnel
from tcptrace_tw.schema.scope import vlan_of as vlan_of
from tcptrace_tw.schema.scope import vlans_of as vlans_of

HANDOVER = -2
"""Instead of an EtherType: only ``slow`` knows this link type."""

# https://www.tcpdump.org/linktypes.html
NULL, ETHERNET, RAW_BSD, RAW_OPENBSD, RAW, LOOP, SLL, IPV4_LINK, IPV6_LINK, SLL2 = (
    0, 1, 12, 14, 101, 108, 113, 228, 229, 276,
)  # fmt: skip

NAMES = {
    0: "BSD loopback", 1: "Ethernet", 3: "AX.25", 6: "Token Ring", 7: "ARCNET", 8: "SLIP", 9: "PPP", 10: "FDDI",
    12: "raw IP", 14: "raw IP", 50: "PPP over serial", 51: "PPPoE", 100: "ATM (RFC 1483)", 101: "raw IP",
    104: "Cisco HDLC", 105: "802.11", 107: "Frame Relay", 108: "OpenBSD loopback", 109: "OpenBSD encapsulation",
    113: "Linux cooked v1", 117: "OpenBSD pflog", 119: "802.11 with Prism header", 122: "IP over Fibre Channel",
    123: "SunATM",
    127: "802.11 with radiotap header", 129: "ARCNET (Linux)", 138: "IP over FireWire",
    147: "user 0", 149: "PKTAP (user 2)", 163: "802.11 with AVS header",
    166: "PPP with direction (pppd)", 192: "PPI", 195: "802.15.4", 204: "PPP with direction", 228: "raw IPv4",
    229: "raw IPv6", 230: "802.15.4 without FCS", 231: "D-Bus", 239: "NFLOG", 242: "IP over InfiniBand",
    249: "USB", 253: "Netlink", 258: "PKTAP", 276: "Linux cooked v2",
    284: "Marvell DSA", 285: "Marvell EDSA",
}  # fmt: skip

# https://www.iana.org/assignments/ieee-802-numbers
IPV4, IPV6 = 0x0800, 0x86DD
VLAN, SERVICE_VLAN, OLD_QINQ, E_TAG, VN_TAG = 0x8100, 0x88A8, 0x9100, 0x893F, 0x8926
MPLS, MPLS_MULTICAST, PPPOE, BRIDGED, BACKBONE, FABRIC_PATH = 0x8847, 0x8848, 0x8864, 0x6558, 0x88E7, 0x8903
CISCO_METADATA = 0x8909
PPP_ADDRESS_CONTROL, PPP_IPV4, PPP_IPV6, PPP_MPLS, PPP_MPLS_MULTICAST = 0xFF03, 0x0021, 0x0057, 0x0281, 0x0283
HDLC_UNICAST, HDLC_BROADCAST = 0x0F00, 0x8F00
SNAP = 0xAAAA03
PPP_CONTROL = 0x880B

MAX_TAGS = 12


KERNEL_LINKS = frozenset((NULL, ETHERNET, RAW_BSD, RAW_OPENBSD, RAW, LOOP, SLL, IPV4_LINK, IPV6_LINK, SLL2))
NO_LINK = -1
"""Instead of a link type that nobody here knows."""


def link_name(link: int) -> str:
    """What people call a link type."""
    return NAMES.get(link, f"link type {link}")


def link_number(link: int) -> str:
    """The same behind the words "link type"."""
    return NAMES.get(link, str(link))


@inlined
def network_layer(data: Octets, at: int, end: int, link: int) -> tuple[int, int, int]:
    """EtherType, offset of the network layer, and scope; or a skip code or ``HANDOVER`` in place of the EtherType."""
    kind, at = _link_header(data, at, end, link)
    if kind in (IPV4, IPV6):
        return kind, at, 0
    return peel_tags(data, at, end, kind, 0)


@inlined
def _link_header(data: Octets, at: int, end: int, link: int) -> tuple[int, int]:
    if link == ETHERNET:
        return ethernet(data, at, end)
    if link == SLL:
        return (u16(data, at + 14), at + 16) if at + 16 <= end else (CUT_LINK, at)
    if link == SLL2:
        return (u16(data, at), at + 20) if at + 20 <= end else (CUT_LINK, at)
    if link in (NULL, LOOP):
        return _address_family(data, at, end)
    if link in (RAW, RAW_BSD, RAW_OPENBSD, IPV4_LINK, IPV6_LINK):
        return ip_version(data, at, end)
    return (UNKNOWN_LINK if link == NO_LINK else HANDOVER), at


@inlined
def ethernet(data: Octets, at: int, end: int) -> tuple[int, int]:
    """Pass over an Ethernet header."""
    return (u16(data, at + 12), at + 14) if at + 14 <= end else (CUT_LINK, at)


@inlined
def ip_version(data: Octets, at: int, end: int) -> tuple[int, int]:
    """Tell IPv4 from IPv6 by the first half byte."""
    if at >= end:
        return CUT_LINK, at
    version = u8(data, at) >> 4
    if version == 4:
        return IPV4, at
    return (IPV6, at) if version == 6 else (UNKNOWN_INSIDE, at)


@inlined
def _address_family(data: Octets, at: int, end: int) -> tuple[int, int]:
    """BSD loopback: the address family in the byte order of the machine that captured, which is not recorded."""
    if at + 4 > end:
        return CUT_LINK, at
    family = u8(data, at) + u8(data, at + 3)  # one of them is 0
    if family == 2:
        return IPV4, at + 4
    if family == 24 or family == 28 or family == 30 or family == 10:
        return IPV6, at + 4
    return UNKNOWN_INSIDE, at


@kernel
def peel_tags(data: Octets, at: int, end: int, kind: int, scope: int) -> tuple[int, int, int]:
    """Pass over what may stand between link and network layer."""
    for _ in range(MAX_TAGS):
        if kind in (IPV4, IPV6):
            break
        if kind in (VLAN, SERVICE_VLAN, OLD_QINQ):
            if at + 4 > end:
                return CUT_LINK, at, scope
            scope = add_vlan(scope, u16(data, at) & VLAN_MASK)
            kind, at = u16(data, at + 2), at + 4
        elif kind in (MPLS, MPLS_MULTICAST):
            kind, at = _labels(data, at, end)
        elif kind == PPPOE:
            kind, at = _pppoe(data, at, end)
        elif kind == BRIDGED:
            kind, at = ethernet(data, at, end)
        elif kind == BACKBONE:  # 802.1ah: service id, then a whole Ethernet frame
            scope = in_tunnel(SERVICE_ID, u32(data, at) & 0xFFFFFF) if at + 4 <= end else scope
            kind, at = ethernet(data, at + 4, end)
        elif kind == FABRIC_PATH:
            kind, at = ethernet(data, at + 2, end)
        elif kind in (E_TAG, VN_TAG):
            size = 8 if kind == E_TAG else 6
            if at + size > end:
                return CUT_LINK, at, scope
            kind, at = u16(data, at + size - 2), at + size
        elif kind == CISCO_METADATA:
            kind, at = _cisco_metadata(data, at, end)
        elif 0 <= kind < 0x600:
            kind, next_at = _llc(data, at, end, kind)
            if next_at == at:
                break
            at = next_at
        else:
            break
    return kind, at, scope


@kernel
def _labels(data: Octets, at: int, end: int) -> tuple[int, int]:
    """MPLS: labels up to the bottom of the stack; what follows is told by its first half byte (RFC 4928)."""
    is_bottom = False
    while not is_bottom:
        if at + 4 > end:
            return CUT_LINK, at
        is_bottom = (u32(data, at) & 0x100) != 0
        at += 4
    if at < end and u8(data, at) >> 4 == 0:  # pseudowire control word, then Ethernet (RFC 4448)
        return BRIDGED, at + 4
    return ip_version(data, at, end)


@kernel
def _cisco_metadata(data: Octets, at: int, end: int) -> tuple[int, int]:
    """Cisco CMD (TrustSec): version, number of options, options of 4 bytes with the security group tag, EtherType."""
    if at + 2 > end:
        return CUT_LINK, at
    at += 2 + 4 * u8(data, at + 1)
    return (u16(data, at), at + 2) if at + 2 <= end else (CUT_LINK, at)


@kernel
def _pppoe(data: Octets, at: int, end: int) -> tuple[int, int]:
    """PPPoE session, then PPP (RFC 2516)."""
    return ppp(data, at + 6, end)


@kernel
def ppp(data: Octets, at: int, end: int) -> tuple[int, int]:
    """Address and control, if they are there, and the protocol, which may be compressed to one byte (RFC 1661 6.5).

    Cisco HDLC has another address, and an EtherType in place of the protocol; captures call both PPP.
    """
    if at + 4 <= end and u16(data, at) in (HDLC_UNICAST, HDLC_BROADCAST):
        return u16(data, at + 2), at + 4
    if at + 2 <= end and u16(data, at) == PPP_ADDRESS_CONTROL:
        at += 2
    if at + 2 > end:
        return CUT_LINK, at
    is_short = (u8(data, at) & 1) != 0
    protocol = u8(data, at) if is_short else u16(data, at)
    at += 1 if is_short else 2
    if protocol == PPP_IPV4:
        return IPV4, at
    if protocol == PPP_MPLS or protocol == PPP_MPLS_MULTICAST:
        return MPLS, at
    return (IPV6, at) if protocol == PPP_IPV6 else (PPP_CONTROL, at)


@kernel
def _llc(data: Octets, at: int, end: int, kind: int) -> tuple[int, int]:
    """802.2: SNAP names an EtherType; anything else stays what it is."""
    if at + 8 <= end and u8(data, at) * 65536 + u16(data, at + 1) == SNAP:
        return u16(data, at + 6), at + 8
    return kind, at
