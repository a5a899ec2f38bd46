"""``scope``: what keeps equal addresses apart, in one int64 that is never negative.

Bits 0-11 outer VLAN id, bit 12 present; bits 13-24 inner VLAN id, bit 25 present; bits 26-57 id of the tunnel,
bits 58-61 kind of the tunnel. A VLAN id of 0 is only a priority and leaves no trace.
"""

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.marks import inlined

VLAN_PRESENT = 1 << 12
VLAN_MASK = VLAN_PRESENT - 1
INNER_SHIFT = 13
TUNNEL_SHIFT = 26
TUNNEL_MASK = 0xFFFFFFFF
KIND_SHIFT = 58

VXLAN_VNI, GENEVE_VNI, GRE_KEY, SERVICE_ID = 1, 2, 3, 4
TUNNELS = ("", "VXLAN", "GENEVE", "GRE", "802.1ah")
"""Names of the kinds of tunnels that have an id."""


@inlined
def add_vlan(scope: int, vlan: int) -> int:
    """The scope behind one more VLAN tag: the first is the outer one, the next the inner one, more are left out."""
    if vlan == 0 or scope & (VLAN_PRESENT << INNER_SHIFT):
        return scope
    if scope & VLAN_PRESENT:
        return scope | ((vlan | VLAN_PRESENT) << INNER_SHIFT)
    return scope | vlan | VLAN_PRESENT


@inlined
def in_tunnel(kind: int, number: int) -> int:
    """The scope at the entrance of a tunnel."""
    return (kind << KIND_SHIFT) | (number << TUNNEL_SHIFT)


def vlan_of(scope: int) -> int | None:
    """The outer VLAN id; None where the frame had no tag."""
    return scope & VLAN_MASK if scope & VLAN_PRESENT else None


def inner_vlan_of(scope: int) -> int | None:
    """The inner VLAN id; None where the frame had less than two tags."""
    return vlan_of(scope >> INNER_SHIFT)


def tunnel_of(scope: int) -> tuple[str, int] | None:
    """Kind of tunnel and its id; None outside of tunnels and where a tunnel has no id."""
    kind = scope >> KIND_SHIFT
    return (TUNNELS[kind], (scope >> TUNNEL_SHIFT) & TUNNEL_MASK) if kind else None


def vlans_of(scope: NDArray[np.int64]) -> NDArray[np.int64]:
    """The outer VLAN id of each scope; -1 where the frame had no tag."""
    return np.where(scope & VLAN_PRESENT, scope & VLAN_MASK, -1)


def scope_text(scope: int) -> str:
    """The scope in words, as in ``VLAN 7, VXLAN 4096``; empty for no scope."""
    parts = []
    if (tunnel := tunnel_of(scope)) is not None:
        parts.append(f"{tunnel[0]} {tunnel[1]}")
    if (vlan := vlan_of(scope)) is not None:
        inner = inner_vlan_of(scope)
        parts.append(f"VLAN {vlan}" if inner is None else f"VLAN {vlan}.{inner}")
    return ", ".join(parts)
