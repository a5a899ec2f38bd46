"""Findings of rows that are looked at early, and how long each must last before it is certain.

A row of a connection that goes on may still change. What was seen stays seen, so most findings only have to outlast the
segments that are under way. Where a finding rests on something that did not come, that has to stay away for longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import as_records
from tcptrace_tw.rules import DERIVED
from tcptrace_tw.rules.caveats import Caveats, capped
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.rules.runner import Threshold, apply, bounded, chosen
from tcptrace_tw.schema.columns import Table
from tcptrace_tw.schema.words import OUTCOME_UNKNOWN

SETTLES_NS = 400_000_000
"""The time after the last segment of its connection at which a finding is certain."""

WAITS_NS = 3_000_000_000
"""The same where it says that something did not come: the first retransmission of a SYN or of data comes sooner."""

ABSENCE = ("RU005", "LA002", "LA007", "SI002", "SI004", "HS005")
"""Rules about what did not come."""


class EarlyRules:
    """The selected rules, applied to rows at any time; nothing waits for the end of the capture."""

    def __init__(
        self,
        select: Sequence[str],
        ignore: Sequence[str],
        thresholds: Sequence[Threshold] = (),
        obey: Callable[[RuleHits], RuleHits] | None = None,
    ) -> None:
        """``obey``: what a policy leaves of the findings."""
        self._rules = tuple(bounded(rule, thresholds) for rule in chosen(select, ignore))
        self._obey = obey

    def evaluate(self, table: Table, rows: NDArray[Any], known: Caveats) -> Iterator[RuleHits]:
        """What the rules of this table say about these rows, whose derived columns are filled in."""
        records = as_records(rows)
        for derived in DERIVED:
            if derived.table == table.name:
                rows[derived.column] = derived.decide(records)
        for rule in self._rules:
            found = apply(rule, records) if rule.table == table.name else None
            if found is None:
                continue
            left = capped(found, known) if self._obey is None else self._obey(capped(found, known))
            if left.rows.size:
                yield left


def settling_ns(findings: RuleHits) -> NDArray[np.int64]:
    """How long each finding must last before it is certain."""
    waits = np.full(findings.rows.size, findings.rule.id in ABSENCE)
    if findings.rule.table == "reuses":
        waits |= findings.rows["outcome"] == OUTCOME_UNKNOWN
    return np.where(waits, WAITS_NS, SETTLES_NS)
