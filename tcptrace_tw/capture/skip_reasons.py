"""Why a frame is not a TCP segment of the analysis: one code per reason, and the words that people read.

A code is an EtherType (below 0x10000), an IP protocol (``PROTOCOL`` plus its number) or one of the reasons below.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PROTOCOL = 0x10000
REASON = PROTOCOL + 0x100

IPV4_FRAGMENT, IPV6_FRAGMENT, BROKEN_IPV4, BROKEN_IPV6, BROKEN_TCP = (REASON + i for i in range(5))
CUT_LINK, CUT_IP, CUT_TCP, UNKNOWN_LINK, UNKNOWN_INSIDE = (REASON + 5 + i for i in range(5))
NO_DATA, ENCRYPTED, FRAGMENT_OF_LINK = (REASON + 10 + i for i in range(3))
CODES = REASON + 13

_REASONS = (
    "IPv4 fragment",
    "IPv6 fragment",
    "broken IPv4 header",
    "broken IPv6 header",
    "broken TCP header",
    "link header cut by the snap length",
    "IP header cut by the snap length",
    "TCP header cut by the snap length",
    "link type not known",
    "network layer not known",
    "management or control frame",
    "encrypted frame",
    "link layer fragment",
)
_PROTOCOLS = {
    1: "ICMP", 2: "IGMP", 4: "IPv4 in IP", 17: "UDP", 33: "DCCP", 41: "IPv6 in IP", 46: "RSVP", 47: "GRE", 50: "ESP",
    51: "AH", 58: "ICMPv6", 59: "IPv6 without payload", 88: "EIGRP", 89: "OSPF", 103: "PIM", 108: "IPComp",
    112: "VRRP", 115: "L2TP", 132: "SCTP", 136: "UDP-Lite",
}  # fmt: skip
_ETHERTYPES = {
    0x0806: "ARP", 0x8035: "RARP", 0x8137: "IPX", 0x809B: "AppleTalk", 0x8809: "LACP and other slow protocols",
    0x880B: "PPP control", 0x8863: "PPPoE discovery", 0x888E: "EAPOL", 0x88CC: "LLDP", 0x88E5: "MACsec",
    0x88F7: "PTP", 0x9000: "loopback test",
}  # fmt: skip


def name_of(code: int) -> str:
    """The words for a skip code."""
    if code >= REASON:
        return _REASONS[code - REASON]
    if code >= PROTOCOL:
        return _PROTOCOLS.get(code - PROTOCOL, f"IP protocol {code - PROTOCOL}")
    if code < 0x600:
        return "LLC"
    return _ETHERTYPES.get(code, f"EtherType 0x{code:04x}")


def count_by_name(skipped: NDArray[Any], unknown_links: str = "") -> dict[str, int]:
    """Counts per code to counts per reason, largest first; ``unknown_links`` names what nobody here can read."""
    counts: dict[str, int] = {}
    for code in np.flatnonzero(skipped):
        name = f"link type not known: {unknown_links}" if code == UNKNOWN_LINK else name_of(int(code))
        counts[name] = counts.get(name, 0) + int(skipped[code])
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
