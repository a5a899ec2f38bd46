"""Incidents while they grow: said when a second finding joins the first, and again with ten times as many."""

from __future__ import annotations

from collections.abc import Iterator

from tcptrace_tw.report.summary.digest import IncidentDigest
from tcptrace_tw.report.summary.incidents import Incidents
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema import words as w

EVERY_NS = 1_000_000_000
"""Incidents are looked at so often at the most."""

FIRST, TIMES = 2, 10


class Stories:
    """Takes the findings that are said; ``grown`` gives the incidents that are worth a line."""

    def __init__(self) -> None:
        self._incidents = Incidents()
        self._told: dict[tuple[str, str, str, str], tuple[int, int]] = {}
        """By mechanism, rule and parties: how many findings it had when it was said, and how severe it was."""
        self._is_changed = False
        self._next = 0

    def add(self, findings: RuleHits) -> None:
        """Take a finding that was not said before."""
        self._incidents.add(findings)
        self._is_changed = True

    def grown(self, now: int) -> Iterator[IncidentDigest]:
        """Incidents that are new, ten times as large as before, or more severe."""
        if not self._is_changed or now < self._next:
            return
        self._is_changed, self._next = False, now + EVERY_NS
        for incident in self._incidents.told():
            key = incident.mechanism, incident.rule, incident.client, incident.service
            count, severity = incident.count, w.SEVERITY.code(incident.severity)
            before, severity_before = self._told.get(key, (0, severity))
            if count >= max(FIRST, TIMES * before) or severity > severity_before:
                self._told[key] = count, severity
                yield incident

    def all(self) -> tuple[IncidentDigest, ...]:
        """All incidents, the worst first."""
        return self._incidents.told()
