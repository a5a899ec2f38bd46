"""What one segment can cause at the most, and how many segments the room left is enough for.

Compiled kernels write without a look at the length of an array. So each array that a segment can make longer has a row
in ``RESERVATIONS``: the register that counts what is used, the register that holds its room, and the most that one
segment adds. A kernel asks ``segments_with_room`` how many segments it may take before it asks again; the tracker makes
room for one segment at the least. ``tests/test_reservations.py`` holds the table against the worst that a search found.

How many incarnations a segment touches follows from the steps in ``segments_arrive``:

- ``forget_finished`` looks twice at the first of each queue, at the oldest of the archive and at the oldest attempt:
  it lets go of six incarnations at the most, two of them restored from the archive, or restores two that stay;
- the segment's own incarnation may have to be restored from the archive: one more;
- whatever is archived is first restored beside itself, to see whether it is an attempt: one more, for a moment;
- ``incarnation_of`` opens one, and lets go of at most two: an attempt and the incarnation before it.

The end of the capture restores one incarnation at a time and lets it go, which is less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.tcp.store.records import (
    ANOMALIES_ROOM,
    ANOMALIES_USED,
    CONNS_ROOM,
    CONNS_USED,
    NEVER,
    OUT_ANOMALIES,
    OUT_ANOMALIES_ROOM,
    OUT_CONNECTIONS,
    OUT_CONNECTIONS_ROOM,
    OUT_RESETS,
    OUT_RESETS_ROOM,
    OUT_REUSES,
    OUT_REUSES_ROOM,
    OUT_STALE,
    OUT_STALE_ROOM,
    OUT_TIME_WAIT,
    OUT_TIME_WAIT_ROOM,
    OUT_TRANSITIONS,
    OUT_TRANSITIONS_ROOM,
    PENDING,
    RELEASED,
    RELEASED_ROOM,
    RESETS_ROOM,
    RESETS_USED,
    REUSES_ROOM,
    REUSES_USED,
    SPANS_ROOM,
    SPANS_USED,
    STALES_ROOM,
    STALES_USED,
)

BLOCK = 1 << 15
"""Units of 16 bits in a block of the archive. Its first word is the block that follows, or -1."""

FULL_EIGHTHS = 6
"""How many eighths of the places in the index of attempts may be taken."""

RESTORED = 3
"""Incarnations that come back from the archive: two whose time has come, and that of the segment."""

LET_GO = 6
"""Incarnations that are let go: four whose time has come, and two of the segment's own 4-tuple."""

ATTEMPTS_LET_GO = 2
"""Attempts whose time has come."""

ARCHIVED_OR_LET_GO = 7
"""Slots that are released: of two that idle, two of the archive, two that cool, and that of the segment."""

TOUCHED = 3
"""Incarnations that the segment itself moves: its own, the one before it, and a new one."""

ENDPOINTS = 2

MOST_RESET_ROWS = 32
"""Rows of RSTs that one incarnation may fill; the rest are only counted in the last of them."""

MOST_STALE_ROWS = 256
"""Rows of stale segments that one incarnation may fill; the rest are only counted."""

MOVES = 16
"""State changes of one endpoint by one segment: each step of 3.10.7.4 moves it at most twice."""


class Reservation(NamedTuple):
    """One array: ``used`` and ``room`` are registers, ``most`` is what one segment adds to ``used`` at the most."""

    array: str
    used: int
    room: int
    most: int


RESERVATIONS = (
    Reservation("conns", CONNS_USED, CONNS_ROOM, RESTORED + 2),
    Reservation("spans", SPANS_USED, SPANS_ROOM, ENDPOINTS * (RESTORED + TOUCHED)),
    Reservation("reuses", REUSES_USED, REUSES_ROOM, 1),
    Reservation("stales", STALES_USED, STALES_ROOM, 1),
    Reservation("resets", RESETS_USED, RESETS_ROOM, 1),
    # What the end of an incarnation adds is written at once, so the next one that is let go takes the same records.
    Reservation("anomalies", ANOMALIES_USED, ANOMALIES_ROOM, ENDPOINTS * (TOUCHED + 1)),
    # Of the two of the segment's own 4-tuple only one releases it.
    Reservation("released", RELEASED, RELEASED_ROOM, ARCHIVED_OR_LET_GO),
    Reservation("out_connections", OUT_CONNECTIONS, OUT_CONNECTIONS_ROOM, LET_GO + ATTEMPTS_LET_GO),
    Reservation(
        "out_transitions",
        OUT_TRANSITIONS,
        OUT_TRANSITIONS_ROOM,
        # The receipts that wait, the timer, and one receipt that takes the place of another.
        LET_GO * ENDPOINTS * (PENDING + 2) + TOUCHED * ENDPOINTS * MOVES,
    ),
    Reservation("out_time_wait", OUT_TIME_WAIT, OUT_TIME_WAIT_ROOM, LET_GO * ENDPOINTS),
    Reservation("out_reuses", OUT_REUSES, OUT_REUSES_ROOM, LET_GO),
    Reservation("out_stale", OUT_STALE, OUT_STALE_ROOM, LET_GO * MOST_STALE_ROWS),
    Reservation("out_resets", OUT_RESETS, OUT_RESETS_ROOM, LET_GO * MOST_RESET_ROWS),
    Reservation("out_anomalies", OUT_ANOMALIES, OUT_ANOMALIES_ROOM, LET_GO * ENDPOINTS),
)
"""Arrays of the tcp room that grow with the segments. Places in the archive are asked for where they are taken.

``tcbs`` and ``causes`` have two records for each of ``conns``; ``newest`` has one for each slot of the flow table.
"""


def _segments_with_room() -> Callable[[Any], Any]:
    """A kernel with the registers and figures of the table spelt out, so that it divides by constants."""
    lines = [
        "def segments_with_room(counters):",
        '    """How many segments the room of every array is enough for."""',
        f"    least = {NEVER}",
        *(f"    least = min(least, (counters[{r.room}] - counters[{r.used}]) // {r.most})" for r in RESERVATIONS),
        "    return least",
    ]
    scope: dict[str, Any] = {"np": np}
    exec(compile("\n".join(lines), __file__, "exec"), scope)
    function: Callable[[Any], Any] = scope["segments_with_room"]
    function.__module__ = __name__
    return kernel(function)


segments_with_room = _segments_with_room()
