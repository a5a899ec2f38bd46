"""Segments that no TCP stack sends: their flags exclude each other, or their options do not fit the header."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcptrace_tw.schema.columns import ACK, FIN, MALFORMED, RST, SYN

CONTROL = SYN | FIN | RST


def damaged(flags: Any, options: Any) -> Any:
    """Where two of SYN, FIN and RST stand together, none of SYN, RST and ACK is set, or the options are malformed."""
    control = flags & CONTROL
    is_mixed = control & (control - 1) != 0
    return is_mixed | (flags & (SYN | RST | ACK) == 0) | (options & MALFORMED != 0)


class Damage:
    """Counts them as batches pass."""

    def __init__(self) -> None:
        self.count = 0
        self.frame = -1

    def see(self, batch: Any) -> None:
        """Take one batch."""
        places = np.flatnonzero(damaged(batch["flags"], batch["options"]))
        if places.size and self.frame < 0:
            self.frame = int(batch["frame"][places[0]])
        self.count += places.size
