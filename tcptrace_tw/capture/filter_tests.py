"""What the words of a filter mean: a test takes the ends of many segments or connections, and marks some of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.schema.scope import INNER_SHIFT, VLAN_MASK, VLAN_PRESENT

Mask = NDArray[np.bool_]
Test = Callable[["Ends"], Mask]


class Ends(NamedTuple):
    """What an expression looks at: one row per segment, or per connection with orig as the sender."""

    src_hi: NDArray[np.int64]
    src_lo: NDArray[np.int64]
    dst_hi: NDArray[np.int64]
    dst_lo: NDArray[np.int64]
    sport: NDArray[np.uint16]
    dport: NDArray[np.uint16]
    scope: NDArray[np.int64]
    connections: Any = None
    """What else is known of each connection, for words that are no words of pcap-filter."""

    def turned(self) -> Ends:
        """The same, seen from the other direction."""
        ends = (self.dst_hi, self.dst_lo, self.src_hi, self.src_lo, self.dport, self.sport)
        return Ends(*ends, self.scope, self.connections)

    def either_way(self, test: Test) -> Mask:
        """Where the test holds for one of the two directions."""
        return test(self) | test(self.turned())


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def everything(ends: Ends) -> Mask:
    """Keeps all."""
    return np.ones(ends.sport.size, np.bool_)


def chain(operands: Sequence[tuple[str, Test]]) -> Test:
    """Operands joined by the word before each, from left to right; that of the first one is nothing."""

    def test(ends: Ends) -> Mask:
        result = operands[0][1](ends)
        for operator, operand in operands[1:]:
            result = result & operand(ends) if operator == "and" else result | operand(ends)
        return result

    return test


def both(one: Test, other: Test) -> Test:
    """Where both hold."""
    return chain([("", one), ("and", other)])


def negated(operand: Test) -> Test:
    """Where it does not hold."""
    return lambda ends: ~operand(ends)


def _sided(side: str, src: Test, dst: Test) -> Test:
    """The test of the sender, of the receiver, of both, or where nothing is said of either."""
    if side in ("src", "dst"):
        return src if side == "src" else dst
    return chain([("", src), ("and" if " and " in side else "or", dst)])


def ports(side: str, low: int, high: int) -> Test:
    """Ports from ``low`` to ``high``, on the sides that are meant."""
    return _sided(
        side,
        lambda ends: (ends.sport >= low) & (ends.sport <= high),
        lambda ends: (ends.dport >= low) & (ends.dport <= high),
    )


def network(side: str, network: Network) -> Test:
    """Addresses of a network, on the sides that are meant."""
    base, bits = int(network.network_address), network.prefixlen
    if network.version == 4:
        base, bits = base | 0xFFFF << 32, bits + 96
    mask = ((1 << bits) - 1) << (128 - bits)
    (base_hi, base_lo), (mask_hi, mask_lo) = _halves(base), _halves(mask)
    return _sided(
        side,
        lambda ends: (ends.src_hi & mask_hi == base_hi) & (ends.src_lo & mask_lo == base_lo),
        lambda ends: (ends.dst_hi & mask_hi == base_hi) & (ends.dst_lo & mask_lo == base_lo),
    )


def _halves(number: int) -> tuple[np.int64, np.int64]:
    """128 bits as the two int64 of an address."""
    high, low = np.frombuffer(number.to_bytes(16, "big"), ">i8").astype(np.int64)
    return high, low


def family(protocol: str) -> Test:
    """``ip``, ``ip6`` or ``tcp``, which all are."""
    if protocol == "tcp":
        return everything
    if protocol == "ip6":
        return negated(family("ip"))
    return lambda ends: (ends.src_hi == 0) & (ends.src_lo >> 32 == 0xFFFF)


def vlan(number: int | None) -> Test:
    """In this VLAN, or in any where there is no number."""
    if number is None:
        return lambda ends: ends.scope & VLAN_PRESENT != 0
    wanted = number | VLAN_PRESENT
    tag = VLAN_MASK | VLAN_PRESENT
    return lambda ends: (ends.scope & tag == wanted) | (ends.scope >> INNER_SHIFT & tag == wanted)
