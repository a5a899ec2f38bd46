"""Silences by service: which of them connections survived, and which they did not (docs/semantics.md: silence)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.tallies import LATEST, Tallies
from tcptrace_tw.measure.traits import SILENT as SILENT_FOR_A_WHILE
from tcptrace_tw.protocol.timeouts import FIN_THEN, NOT_KNOWN, RST_NEXT, RST_THEN, SILENT, at, largest_between
from tcptrace_tw.schema.columns import IDLES, Table
from tcptrace_tw.schema.words import (
    RESP,
    SILENCE_ANSWERED_BY_RESET,
    SILENCE_FIN,
    SILENCE_RESET,
    SILENCE_UNANSWERED,
)

MOST_SILENT = 1 << 16

LEAST_DROP_NS = 20_000_000_000
"""No device forgets a connection sooner; what ends after less is the doing of a program."""

FIELDS = (
    *("drops", "shortest_drop", "longest_drop", "resets", "shortest_reset", "longest_reset"),
    *("closes", "shortest_close", "longest_close", "longest_survived", "first_time", "last_time", "first_id"),
    "first_frame",
)


class Idles:
    """Fed with rows of ``connections``; gives one row of ``idles`` for each service with silences."""

    def __init__(self, *, compiled: bool, seed: Seed) -> None:
        self._services = Tallies(MOST_SILENT, FIELDS, compiled=compiled, seed=seed)
        self._least: dict[int, tuple[int, int, int, int]] = {}

    @property
    def refused(self) -> int:
        """How many rows are not in the sums, for want of room."""
        return self._services.keys.refused

    def see(self, rows: Any, traits: NDArray[np.uint8]) -> None:
        """Take finished rows of ``connections``."""
        places = np.flatnonzero(traits & SILENT_FOR_A_WHILE)
        if not places.size:
            return
        rows = rows[places]
        numbers = self._services.numbers(rows.resp_ip_hi, rows.resp_ip_lo, rows.resp_port)
        self._services.take(
            numbers, longest_survived=rows.survived_ns, first_time=rows.first_time, last_time=rows.last_time,
            first_id=rows.connection_id, first_frame=rows.last_frame,
        )  # fmt: skip
        by_server = rows.silence_by == RESP
        is_long = rows.silence_ns >= LEAST_DROP_NS
        # A server that repeats its SYN+ACK and never says more has not completed the handshake: nothing was idle.
        is_open = (rows.synack_retries == 0) | (rows.resp_payload_bytes > 0)
        dropped = (rows.silence_end == SILENCE_ANSWERED_BY_RESET) | (rows.silence_end == SILENCE_UNANSWERED)
        self._take("drop", rows, numbers, dropped & is_long & is_open)
        is_reset = (rows.silence_end == SILENCE_RESET) & is_long
        self._take("reset", rows, numbers, is_reset & (by_server | _is_timer(rows.silence_ns)))
        self._take("close", rows, numbers, (rows.silence_end == SILENCE_FIN) & by_server)

    def _take(self, kind: str, rows: Any, numbers: NDArray[np.int64], mask: NDArray[np.bool_]) -> None:
        rows, numbers = rows[mask], numbers[mask]
        silence = rows.silence_ns
        self._services.take(numbers, **{f"{kind}s": 1, f"shortest_{kind}": silence, f"longest_{kind}": silence})
        rank = {"drop": 0, "reset": 1, "close": 2}[kind]
        for place in range(rows.size) if kind != "close" else ():
            self._note_least(int(numbers[place]), rank, rows[place])

    def _note_least(self, number: int, rank: int, row: Any) -> None:
        """Remember the connection that ended after the shortest silence: of drops before resets."""
        by_reset = int(row.silence_end == SILENCE_ANSWERED_BY_RESET)
        mine = (rank, int(row.silence_ns), int(row.connection_id), int(row.last_frame) << 1 | by_reset)
        if number >= 0 and mine < self._least.get(number, (3, 0, 0, 0)):
            self._least[number] = mine

    def close(self) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture."""
        services = self._services
        rows: Any = np.zeros(len(services), IDLES.dtype).view(np.recarray)
        for word, name in enumerate(("ip_hi", "ip_lo", "port")):
            rows[name] = services.keys.column(word)
        for name, of in (("connection_id", "first_id"), ("time", "first_time"), ("end_time", "last_time"),
                         ("frame", "first_frame"), ("survived_ns", "longest_survived")):  # fmt: skip
            rows[name] = services[of]
        for kind in ("drop", "reset", "close"):
            rows[f"{kind}s"] = services[f"{kind}s"]
            rows[f"longest_{kind}_ns"] = services[f"longest_{kind}"]
            shortest = services[f"shortest_{kind}"]
            rows[f"shortest_{kind}_ns"] = np.where(shortest == LATEST, -1, shortest)
            rows[f"{kind}_timeout"] = NOT_KNOWN
        for number, (_, _, connection, frame) in self._least.items():
            rows.connection_id[number], rows.frame[number] = connection, frame >> 1
            rows.is_answered_by_reset[number] = frame & 1 if rows.drops[number] else 0
        for row in rows:
            _name_timeouts(row)
        if rows.size:
            yield IDLES, rows


def _is_timer(silence_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a silence is as long as a known timeout of a device, which resets both ends."""
    return np.array([at(int(ns), RST_THEN) != NOT_KNOWN for ns in silence_ns], np.bool_)


def _name_timeouts(row: Any) -> None:
    """The known timeouts that fit what was seen at a service."""
    if row.drops:
        shows = RST_NEXT if row.is_answered_by_reset else SILENT
        row.drop_timeout = largest_between(int(row.survived_ns), int(row.shortest_drop_ns), shows)
    if row.resets:
        row.reset_timeout = at(int(row.shortest_reset_ns), RST_THEN)
    if row.closes:
        row.close_timeout = at(int(row.shortest_close_ns), FIN_THEN)
