"""Findings that wait for the end of the capture, because what an endpoint does elsewhere decides how sure they are.

An endpoint that aborts five connections of a service and never closes one with FIN has the habit of SO_LINGER 0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.rules.rule import Findings
from tcptrace_tw.spec.words import CONFIRMED, RESP

HABIT = 5
"""So many aborts make a habit (semantics: 7.3)."""

MOST_HELD = 1 << 16
"""So many findings wait at the most; with one more, all are told as they stand."""

Key = tuple[int, int, int, int]
"""Address (two halves) of an endpoint, the port of the service, and the side."""


class Held:
    """Findings that wait, and the closes that decide about them."""

    def __init__(self) -> None:
        self._findings: list[Findings] = []
        self._size = 0
        self._closes: set[Key] = set()
        self._aborts: dict[Key, int] = {}

    def see(self, table: str, rows: Any) -> None:
        """Note who closes with FIN."""
        if table == "connections":
            for side, name in enumerate(("orig", "resp")):
                closed = rows[rows[f"{name}_fin_frame"] >= 0]
                if len(self._closes) < MOST_HELD and closed.size:
                    self._closes.update(
                        _distinct(closed[f"{name}_ip_hi"], closed[f"{name}_ip_lo"], closed["resp_port"], side)
                    )

    def keep(self, findings: Findings) -> None:
        """Let findings wait."""
        for key in _keys(findings.rows):
            self._aborts[key] = self._aborts.get(key, 0) + 1
        self._findings.append(findings)
        self._size += findings.rows.size

    def release(self) -> Iterator[Findings]:
        """All that waited, with the confidence that the habit gives them."""
        for findings in self._findings:
            habit = [self._is_habit(key) for key in _keys(findings.rows)]
            confidence = np.where(habit, np.uint8(CONFIRMED), findings.confidence)
            yield findings._replace(confidence=confidence)
        self._findings, self._size = [], 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more should wait."""
        return self._size >= MOST_HELD

    def _is_habit(self, key: Key) -> bool:
        return self._aborts[key] >= HABIT and key not in self._closes


def _keys(rows: Any) -> Iterator[Key]:
    service = np.where(rows.endpoint == RESP, rows.port, rows.peer_port)
    return zip(rows.ip_hi.tolist(), rows.ip_lo.tolist(), service.tolist(), rows.endpoint.tolist(), strict=True)


def _distinct(hi: NDArray[np.int64], lo: NDArray[np.int64], port: NDArray[np.uint16], side: int) -> Iterator[Key]:
    """The distinct endpoints of a chunk."""
    mixed = (hi * 31 + lo) * 65599 + port
    _, first = np.unique(mixed, return_index=True)
    return ((int(hi[i]), int(lo[i]), int(port[i]), side) for i in first.tolist())
