"""Connections that were taken for two, because their two directions were captured with different VLAN tags.

By design the VLAN is part of the tuple; a mirror port that tags by direction makes a one-way half of each direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tcptrace_tw.keyed_hash import as_bytes

MOST_WAITING = 1 << 14
"""So many halves are remembered; those that were first are let go."""

MOST_SEEN = 1 << 18
"""After so many halves there is no need to count any more."""

Half = bytes
"""Sender and receiver: addresses and ports."""


class VlanSplits:
    """Fed with one-way rows of ``connections``.

    ``count``: halves that found their other; ``frame``: the first of them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.frame = -1
        self._seen = 0
        self._waiting: dict[Half, tuple[int, int]] = {}

    def wants(self, *, is_scoped: bool) -> bool:
        """Whether rows could say something; ``is_scoped``: whether any of them is in a VLAN or tunnel."""
        return self._seen <= MOST_SEEN and (is_scoped or bool(self._waiting))

    def see(self, lone: Any) -> None:
        """Take finished rows of connections with one direction."""
        self._seen += lone.size
        for half, opposite, scope, frame in _vlan_splits(lone):
            other = self._waiting.get(opposite)
            if other is not None and other[0] != scope:
                del self._waiting[opposite]
                self.count += 1
                later = max(frame, other[1])
                self.frame = later if self.frame < 0 else min(self.frame, later)
            else:
                self._remember(half, scope, frame)

    def _remember(self, half: Half, scope: int, frame: int) -> None:
        if len(self._waiting) == MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[half] = scope, frame


def _vlan_splits(rows: Any) -> Iterator[tuple[Half, Half, int, int]]:
    """Each one-way row: its half and the opposite one, its scope and first frame."""
    orig, resp = (
        np.stack([rows[f"{side}_{name}"].astype(np.int64) for name in ("ip_hi", "ip_lo", "port")], 1)
        for side in ("orig", "resp")
    )
    is_from_orig = (rows.orig_segments > 0)[:, None]
    sender, receiver = np.where(is_from_orig, orig, resp), np.where(is_from_orig, resp, orig)
    halves, opposites = (as_bytes(np.hstack(ends)) for ends in ((sender, receiver), (receiver, sender)))
    yield from zip(halves, opposites, rows.scope.tolist(), rows.first_frame.tolist(), strict=True)
