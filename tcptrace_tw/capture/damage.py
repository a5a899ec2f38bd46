"""Segments that no TCP stack sends: their flags exclude each other, or their options do not fit the header."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tcptrace_tw.schema.columns import ACK, FIN, MALFORMED, RST, SYN

CONTROL = SYN | FIN | RST


def are_impossible(flags: Any) -> Any:
    """Where two of SYN, FIN and RST stand together, or none of SYN, RST and ACK is set."""
    control = flags & CONTROL
    return (control & (control - 1) != 0) | (flags & (SYN | RST | ACK) == 0)


@dataclass
class Damage:
    """Counts them as batches pass."""

    count: int = 0
    impossible: int = 0
    frame: int = -1

    def figures(self) -> dict[str, int]:
        """Columns of the ``capture`` table."""
        return {"damaged_segments": self.count, "impossible_flags": self.impossible, "damaged_frame": self.frame}

    @classmethod
    def added(cls, several: Iterable[Self]) -> Self:
        """What several files have together."""
        found = list(several)
        frame = min((each.frame for each in found if each.frame >= 0), default=-1)
        return cls(sum(each.count for each in found), sum(each.impossible for each in found), frame)

    def see(self, batch: Any) -> None:
        """Take one batch."""
        is_impossible = are_impossible(batch["flags"])
        places = np.flatnonzero(is_impossible | (batch["options"] & MALFORMED != 0))
        if places.size:
            frame = int(batch["frame"][places].min())
            self.frame = frame if self.frame < 0 else min(self.frame, frame)
            self.count += places.size
            self.impossible += int(np.count_nonzero(is_impossible))
