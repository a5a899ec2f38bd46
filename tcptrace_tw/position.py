"""How far a pass over captures is, for those who show it while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Position(NamedTuple):
    """How far a pass is."""

    bytes: int
    total: int | None
    """Bytes in all; None where that is not known, as for a pipe."""
    segments: int
    connections: int
    time_wait: int | None
    """Endpoints in TIME-WAIT at the time of the last segment; only counted where the total is not known."""


Progress = Callable[[Callable[[], Position]], None]
"""Called once, before the pass, with a function that gives the position to any thread at any time."""
