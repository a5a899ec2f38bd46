"""Link types that are rare: each frame is looked at in Python, by dpkt where dpkt is right, up to the network layer.

Every function takes a frame and an offset and returns the EtherType (or a skip code) and the offset behind it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tcptrace_tw.capture.byte_reader import u16, u32
from tcptrace_tw.capture.links import IPV4, IPV6, KERNEL_LINKS, NO_LINK, ip_version, network_layer, ppp
from tcptrace_tw.capture.skip_reasons import (
    CUT_LINK,
    ENCRYPTED,
    FRAGMENT_OF_LINK,
    NO_DATA,
    UNKNOWN_INSIDE,
    UNKNOWN_LINK,
)

Peeled = tuple[int, int]

LLC = 0
"""As an EtherType: ``links.peel_tags`` goes on with 802.2."""

_BAD = (IndexError, struct.error)


def is_known(link: int) -> bool:
    """Whether frames of this link type can be read, here or in the kernel."""
    return link in KERNEL_LINKS or link in _LINKS


def known(link: int) -> int:
    """The link type, or ``NO_LINK`` where nobody here knows it."""
    return link if is_known(link) else NO_LINK


def peel(link: int, frame: bytes) -> Peeled:
    """EtherType and offset of the network layer of a frame; a skip code first where there is none."""
    try:
        return _LINKS[link](frame, 0)
    except _BAD:
        return CUT_LINK, 0


def _ppp(frame: bytes, at: int) -> Peeled:
    return ppp(frame, at, len(frame))


def _ppp_with_direction(frame: bytes, at: int) -> Peeled:
    return ppp(frame, at + 1, len(frame))


def _cisco_hdlc(frame: bytes, at: int) -> Peeled:
    return u16(frame, at + 2), at + 4


def _frame_relay(frame: bytes, at: int) -> Peeled:
    """RFC 2427: address of two to four bytes, UI, NLPID; Cisco puts an EtherType there."""
    while not frame[at] & 1:
        at += 1
    at += 1
    if frame[at] != 3:
        return u16(frame, at), at + 2
    at += 2 if frame[at + 1] == 0 else 1
    nlpid = frame[at]
    if nlpid == 0x80:
        return u16(frame, at + 4), at + 6
    kinds = {0xCC: IPV4, 0x8E: IPV6}
    return kinds.get(nlpid, UNKNOWN_INSIDE), at + 1


def _fddi(frame: bytes, at: int) -> Peeled:
    return (LLC, at + 13) if frame[at] & 0xF0 == 0x50 else (NO_DATA, at)


def _token_ring(frame: bytes, at: int) -> Peeled:
    if frame[at + 1] & 0xC0 != 0x40:
        return NO_DATA, at
    route = frame[at + 14] & 0x1F if frame[at + 8] & 0x80 else 0
    return LLC, at + 14 + route


def _arcnet(frame: bytes, at: int) -> Peeled:
    return _arcnet_type(frame, at + 2)


def _arcnet_linux(frame: bytes, at: int) -> Peeled:
    return _arcnet_type(frame, at + 4)


def _arcnet_type(frame: bytes, at: int) -> Peeled:
    """RFC 1051 (types 240, 241) and RFC 1201 (212 to 214), which may split a packet."""
    kinds = {240: IPV4, 241: 0x0806, 212: IPV4, 213: 0x0806, 214: 0x8035}
    kind = kinds.get(frame[at], UNKNOWN_INSIDE)
    if frame[at] in (240, 241):
        return kind, at + 1
    if frame[at + 1] == 0xFF:  # exception packet: the header comes again
        at += 4
    return (FRAGMENT_OF_LINK if frame[at + 1] > 1 else kind), at + 4


def _atm(frame: bytes, at: int) -> Peeled:
    return LLC, at


def _sun_atm(frame: bytes, at: int) -> Peeled:
    return LLC, at + 4


def _fibre_channel(frame: bytes, at: int) -> Peeled:
    return LLC, at + 16


def _firewire(frame: bytes, at: int) -> Peeled:
    return u16(frame, at + 16), at + 18


def _openbsd_enc(frame: bytes, at: int) -> Peeled:
    return ip_version(frame, at + 12, len(frame))


def _pflog(frame: bytes, at: int) -> Peeled:
    return ip_version(frame, at + (frame[at] + 3 & ~3), len(frame))


def _nflog(frame: bytes, at: int) -> Peeled:
    """Type-length-value items in the byte order of the machine that captured; type 9 is the packet."""
    at += 4
    order = "<" if frame[at + 1] == 0 else ">"  # the first item is short
    while at + 4 <= len(frame):
        size, kind = struct.unpack_from(f"{order}HH", frame, at)
        if kind & 0x7FFF == 9:
            return ip_version(frame, at + 4, len(frame))
        if size < 4:
            break
        at += size + 3 & ~3
    return UNKNOWN_INSIDE, at


def _distributed_switch(frame: bytes, at: int) -> Peeled:
    return u16(frame, at + 16), at + 18


def _distributed_switch_ethertype(frame: bytes, at: int) -> Peeled:
    return u16(frame, at + 20), at + 22


def _ppi(frame: bytes, at: int) -> Peeled:
    size, link = struct.unpack_from("<HI", frame, at + 2)
    return _inner(link, frame, at + size)


def _pktap(frame: bytes, at: int) -> Peeled:
    size, _, link = struct.unpack_from("<III", frame, at)
    return _inner(link, frame, at + size)


def _inner(link: int, frame: bytes, at: int) -> Peeled:
    if at > len(frame):
        return CUT_LINK, at
    if link in KERNEL_LINKS:
        kind, at, _ = network_layer(frame, at, len(frame), link)
        return kind, at
    if link not in _LINKS or link in _WRAPPERS:
        return UNKNOWN_LINK, at
    return _LINKS[link](frame, at)


def _radiotap(frame: bytes, at: int) -> Peeled:
    (size,) = struct.unpack_from("<H", frame, at + 2)
    return _wifi(frame, at + size)


def _prism(frame: bytes, at: int) -> Peeled:
    return _avs(frame, at) if u32(frame, at) >> 12 == 0x80211 else _wifi(frame, at + 144)


def _avs(frame: bytes, at: int) -> Peeled:
    return _wifi(frame, at + u32(frame, at + 4))


def _wifi(frame: bytes, at: int) -> Peeled:
    """802.11: data frames that are not encrypted carry 802.2."""
    kind, flags = frame[at], frame[at + 1]
    if kind & 0x0F != 0x08 or kind & 0x40:
        return NO_DATA, at
    if flags & 0x40:
        return ENCRYPTED, at
    import dpkt  # 50 ms that hardly any capture needs

    try:
        data = dpkt.ieee80211.IEEE80211(frame[at:]).data
    except (dpkt.Error, *_BAD):
        return CUT_LINK, at
    return LLC, len(frame) - len(data)


_WRAPPERS = frozenset((192, 258, 149))

_LINKS: dict[int, Callable[[bytes, int], Peeled]] = {
    6: _token_ring,
    7: _arcnet,
    9: _ppp,
    10: _fddi,
    50: _ppp,
    100: _atm,
    104: _cisco_hdlc,
    105: _wifi,
    107: _frame_relay,
    109: _openbsd_enc,
    117: _pflog,
    119: _prism,
    122: _fibre_channel,
    123: _sun_atm,
    127: _radiotap,
    129: _arcnet_linux,
    138: _firewire,
    149: _pktap,
    163: _avs,
    166: _ppp_with_direction,
    192: _ppi,
    204: _ppp_with_direction,
    239: _nflog,
    258: _pktap,
    284: _distributed_switch,
    285: _distributed_switch_ethertype,
}
