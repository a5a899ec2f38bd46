"""Incidents while they grow: said when a second finding joins the first, and again with ten times as many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tcptrace_tw.report.summary.digest import IncidentDigest
from tcptrace_tw.report.summary.incidents import Incidents
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema import words as w

EVERY_NS = 1_000_000_000
"""The shortest time between two looks at incidents."""

FIRST, TIMES = 2, 10


class Stories:
    """Takes the findings that are said; ``grown`` gives the incidents that are worth a line."""

    def __init__(self) -> None:
        self._incidents = Incidents()
        self._told: dict[tuple[str, str, str, str], tuple[int, int]] = {}
        """By mechanism, rule and parties: how many findings it had when it was said, and how severe it was."""
        self._new: dict[tuple[str, tuple[str, ...]], list[RuleHits]] = {}
        """Findings that are not added yet, by rule and caveats."""
        self._next = 0

    def add(self, findings: RuleHits) -> None:
        """Take a finding that was not said before."""
        self._new.setdefault((findings.rule.id, findings.caveats), []).append(findings)

    def grown(self, now: int) -> Iterator[IncidentDigest]:
        """Incidents that are new, ten times as large as before, or more severe."""
        if not self._new or now < self._next:
            return
        self._next = now + EVERY_NS
        for several in self._new.values():
            self._incidents.add(_together(several))
        self._new = {}
        for incident in self._incidents.told():
            key = incident.mechanism, incident.rule, incident.client, incident.service
            count, severity = incident.count, w.SEVERITY.code(incident.severity)
            before, severity_before = self._told.get(key, (0, severity))
            if count >= max(FIRST, TIMES * before) or severity > severity_before:
                self._told[key] = count, severity
                yield incident


def _together(several: list[RuleHits]) -> RuleHits:
    """Findings of one rule as one chunk: to add a chunk takes no longer than to add one finding."""
    first = several[0]
    if len(several) == 1:
        return first
    rows = np.concatenate([each.rows for each in several]).view(np.recarray)
    parts = zip(*((each.severity, each.confidence, each.count) for each in several), strict=True)
    severity, confidence, count = (np.concatenate(part) for part in parts)
    return RuleHits(first.rule, rows, severity, confidence, count, first.caveats)
