"""A policy between the rules and the sinks: every command, and Python, get the findings that ``check`` gets."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.checking.plan import Plan
from tcptrace_tw.pipeline import Sink
from tcptrace_tw.report.checks.batches import batch_of
from tcptrace_tw.report.summary.digest import PolicyDigest
from tcptrace_tw.report.words.findings import kept
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.words import NOTICE


class Applied:
    """A sink in front of other sinks: changes severities and leaves findings out, as the policy says, and counts both.

    Findings that are ordinary before and after are not counted: reports do not show them one by one.
    """

    def __init__(self, plan: Plan, sinks: Sequence[Sink], today: date) -> None:
        self.tables: frozenset[str] = frozenset().union(*(sink.tables for sink in sinks))
        self._plan = plan
        self._sinks = sinks
        self._waivers = [waiver for waiver in plan.waivers if not waiver.has_ended(today)]
        self._suppressed = self._changed = 0

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Rows stay as they are."""
        for sink in self._sinks:
            if table in sink.tables:
                sink.rows(table, rows)

    def findings(self, findings: RuleHits) -> None:
        """What the policy leaves of what one rule says."""
        findings = self.left(findings)
        if findings.rows.size:
            for sink in self._sinks:
                sink.findings(findings)

    def left(self, findings: RuleHits) -> RuleHits:
        """The same with the policy's severities, without what it suppresses."""
        return self._kept(self._graded(findings))

    def digest(self) -> PolicyDigest:
        """What the policy did."""
        return PolicyDigest(self._plan.policy or "", self._suppressed, self._changed, self._plan.sets)

    def _graded(self, findings: RuleHits) -> RuleHits:
        severity = self._plan.severity_of(findings.rule.id)
        if severity is None:
            return findings
        is_other = (findings.severity != severity) & (np.maximum(findings.severity, severity) >= NOTICE)
        self._changed += int(is_other.sum())
        return findings._replace(severity=np.full_like(findings.severity, severity))

    def _kept(self, findings: RuleHits) -> RuleHits:
        waivers = [each for each in self._waivers if not each.rules or findings.rule.id.startswith(each.rules)]
        if not waivers or not findings.rows.size:
            return findings
        batch = batch_of(findings)
        held = np.zeros(findings.rows.size, np.bool_)
        for waiver in waivers:
            held |= waiver.holds(batch)
        self._suppressed += int((held & (findings.severity >= NOTICE)).sum())
        return kept(findings, ~held)
