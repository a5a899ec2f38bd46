"""Findings that do not count for their hosts, ports or rules: ``[[ignore_for]]`` of a policy."""

import ipaddress
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.checks.checked import Batch

Mask = NDArray[np.bool_]
VlanSplits = tuple[int, int]

_V4_BITS = 96
"""IPv4 stands in the rows as ``::ffff:a.b.c.d``."""


@dataclass(frozen=True)
class Network:
    """Addresses that agree with ``base`` where ``mask`` has ones, each as two int64 halves."""

    base: VlanSplits
    mask: VlanSplits

    @staticmethod
    def parse(text: str) -> "Network":
        """``192.0.2.7``, ``10.0.0.0/8``, ``2001:db8::/32``; ``ValueError`` for anything else."""
        found = ipaddress.ip_network(text, strict=False)
        bits, base = found.prefixlen, int(found.network_address)
        if found.version == 4:
            bits, base = bits + _V4_BITS, base | 0xFFFF << 32
        return Network(_vlan_splits(base), _vlan_splits((1 << 128) - (1 << 128 - bits)))

    def holds(self, hi: NDArray[np.int64], lo: NDArray[np.int64]) -> Mask:
        """Which addresses lie in it."""
        inside: Mask = (hi & self.mask[0] == self.base[0]) & (lo & self.mask[1] == self.base[1])
        return inside


@dataclass(frozen=True)
class Waiver:
    """One entry: it holds for findings that fit all of what it names, as long as ``until`` has not passed."""

    number: int
    networks: tuple[Network, ...] = ()
    ports: tuple[range, ...] = ()
    rules: tuple[str, ...] = ()
    reason: str = ""
    until: date | None = None

    def has_ended(self, today: date) -> bool:
        """Whether its last day has passed."""
        return self.until is not None and today > self.until

    def holds(self, batch: Batch) -> Mask:
        """The findings that it leaves out."""
        if self.rules and not batch.rule.startswith(self.rules):
            return np.zeros(batch.frame.size, np.bool_)
        return self._names_host(batch) & self._names_port(batch)

    def _names_host(self, batch: Batch) -> Mask:
        subject = batch.subject
        sides = ((subject.ip_hi, subject.ip_lo), (subject.peer_hi, subject.peer_lo))[: batch.addresses]
        named = np.full(batch.frame.size, not self.networks)
        for network in self.networks:
            for hi, lo in sides:
                named |= network.holds(hi, lo)
        return named

    def _names_port(self, batch: Batch) -> Mask:
        named = np.full(batch.frame.size, not self.ports)
        for ports in self.ports:
            for column in (batch.subject.port, batch.subject.peer_port):
                named |= (column >= ports.start) & (column < ports.stop)
        return named


def _vlan_splits(number: int) -> VlanSplits:
    raw = number.to_bytes(16, "big")
    return int.from_bytes(raw[:8], "big", signed=True), int.from_bytes(raw[8:], "big", signed=True)
