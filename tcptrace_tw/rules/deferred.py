"""Findings that wait for the end of the capture, because what an endpoint does elsewhere decides how sure they are.

An endpoint that aborts five connections of a service and never closes one with FIN has the habit of it, unless one of
the aborts may have left data unread.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.endings import Endings
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.words import CONFIRMED

HABIT = 5
"""From this many aborts on, it is a pattern (docs/semantics.md: resets)."""

MOST_HELD = 1 << 16
"""At most this many findings wait; with one more, all are reported unchanged."""


class DeferredFindings:
    """Findings that wait, and the closes that decide about them."""

    def __init__(self, *, compiled: bool, seed: Seed) -> None:
        self._findings: list[RuleHits] = []
        self._size = 0
        self._endings = Endings(compiled=compiled, seed=seed)

    def see(self, table: str, rows: Any) -> None:
        """Note who closes with FIN."""
        if table == "connections":
            self._endings.see(rows)

    def keep(self, findings: RuleHits) -> None:
        """Let findings wait."""
        self._endings.abort(findings.rows)
        self._findings.append(findings)
        self._size += findings.rows.size

    def release(self) -> Iterator[RuleHits]:
        """All that waited, with the confidence that the habit gives them."""
        for findings in self._findings:
            is_habit = self._are_habits(findings.rows)
            yield findings._replace(confidence=np.where(is_habit, np.uint8(CONFIRMED), findings.confidence))
        self._findings, self._size = [], 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more should wait."""
        return self._size >= MOST_HELD

    def _are_habits(self, rows: Any) -> NDArray[np.bool_]:
        closes, aborts, unacked = self._endings.of(rows)
        return (aborts >= HABIT) & (closes == 0) & (unacked == 0)
