"""Findings that wait for the end of the capture, because what is seen elsewhere decides how sure they are.

That the capture shows one direction only, that its clock was set, or that its tap reorders frames may show when the rows
of a finding have long left: so findings from ``notice`` on wait, and get the caveats of the whole capture. Ordinary
mechanisms do not wait. They are many, nobody acts on them, and their caveats are those known when their rows leave.

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
from tcptrace_tw.schema.words import CONFIRMED, NOTICE

HABIT = 5
"""From this many aborts on, it is a pattern (docs/semantics.md: resets)."""

MOST_HELD = 1 << 16
"""The most findings that wait; then all are reported with what is known by then, and the next ones wait."""


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

    def takes(self, findings: RuleHits) -> bool:
        """Whether these findings must wait."""
        return findings.rule.is_held or bool((findings.severity >= NOTICE).any())

    def keep(self, findings: RuleHits) -> None:
        """Let findings wait."""
        if findings.rule.is_held:
            self._endings.abort(findings.rows)
        own = findings.rows.copy()  # a view would hold the memory of all rows of its chunk
        self._findings.append(findings._replace(rows=own))
        self._size += findings.rows.size

    def release(self) -> Iterator[RuleHits]:
        """All that waited; aborts have the confidence that the habit gives them."""
        for findings in self._findings:
            if not findings.rule.is_held:
                yield findings
                continue
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
