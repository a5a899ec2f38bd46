"""Connections that were taken for two, because their two directions were captured with different VLAN tags.

By design the VLAN is part of the tuple; a mirror port that tags by direction makes a one-way half of each direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

MOST_WAITING = 1 << 14
"""So many halves are remembered; those that were first are let go."""

MOST_SEEN = 1 << 18
"""After so many halves there is no need to count any more."""

Half = tuple[int, ...]


class Halves:
    """Fed with one-way rows of ``connections``.

    ``count``: halves that found their other; ``frame``: the first of them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.frame = -1
        self._seen = 0
        self._waiting: dict[Half, int] = {}

    def wants(self, *, is_scoped: bool) -> bool:
        """Whether rows could say something; ``is_scoped``: whether any of them is in a VLAN or tunnel."""
        return self._seen <= MOST_SEEN and (is_scoped or bool(self._waiting))

    def see(self, lone: Any) -> None:
        """Take finished rows of connections with one direction."""
        self._seen += lone.size
        for sender, receiver, scope, frame in _halves(lone):
            other = self._waiting.get((*receiver, *sender))
            if other is not None and other != scope:
                del self._waiting[(*receiver, *sender)]
                self.count += 1
                self.frame = frame if self.frame < 0 else self.frame
            else:
                self._remember((*sender, *receiver), scope)

    def _remember(self, half: Half, scope: int) -> None:
        if len(self._waiting) == MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[half] = scope


def _halves(rows: Any) -> Iterator[tuple[Half, Half, int, int]]:
    """Sender, receiver, scope and first frame of each one-way row."""
    sides = [
        np.stack([rows[f"{side}_{name}"].astype(np.int64) for name in ("ip_hi", "ip_lo", "port")], 1).tolist()
        for side in ("orig", "resp")
    ]
    from_orig = (rows.orig_segments > 0).tolist()
    for orig, resp, is_orig, scope, frame in zip(
        *sides, from_orig, rows.scope.tolist(), rows.first_frame.tolist(), strict=True
    ):
        sender, receiver = (orig, resp) if is_orig else (resp, orig)
        yield tuple(sender), tuple(receiver), scope, frame
