"""A check from captures to a verdict: the policy is applied to the findings, rule by rule, as they come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.atomic import AtomicFile
from tcptrace_tw.capture.name import Name
from tcptrace_tw.checking import baseline
from tcptrace_tw.checking.plan import Plan
from tcptrace_tw.checking.waivers import Waiver
from tcptrace_tw.errors import printable
from tcptrace_tw.pipeline import Settings, Sink, Summary
from tcptrace_tw.report.checks.batches import batch_of
from tcptrace_tw.report.checks.checked import Batch, Checked, CheckedIncident, Entry, Group, arranged, worst_first
from tcptrace_tw.report.summary.incidents import Incidents
from tcptrace_tw.report.tables.stored import manifest_of, names_of, reading
from tcptrace_tw.report.words.codec import to_json
from tcptrace_tw.report.words.findings import kept
from tcptrace_tw.report.words.phrases import counted
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.rules.runner import chosen
from tcptrace_tw.schema.words import NOTICE, SEVERITY
from tcptrace_tw.storage import Place

Analyze = Callable[[Sequence[str], Settings, Sequence[Sink]], Summary]
"""``pipeline.analyze``, with whatever progress the caller shows."""


class Judge:
    """Takes findings, changes their severity and leaves out what the policy says, and keeps those that are shown."""

    tables: frozenset[str] = frozenset()

    def __init__(self, plan: Plan, today: date, several_files: bool = False) -> None:
        self.severities = np.zeros(len(SEVERITY.words), np.int64)
        self.ignored = 0
        self.batches: list[Batch] = []
        self.incidents = Incidents()
        self._plan = plan
        self._several_files = several_files
        self._waivers = [waiver for waiver in plan.waivers if not waiver.has_ended(today)]

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Rows are not wanted."""

    def findings(self, findings: RuleHits) -> None:
        """Take what one rule says about a chunk."""
        severity = self._plan.severity_of(findings.rule.id)
        if severity is not None:
            findings = findings._replace(severity=np.full_like(findings.severity, severity))
        if self._waivers_of(findings.rule.id):
            findings = kept(findings, ~self._waive(batch_of(findings, self._several_files)))
        marks, is_shown = self.incidents.add(findings), self._count(findings.severity)
        is_shown |= (marks >= 0) & (self._plan.least <= NOTICE)  # an incident tells of what is ordinary otherwise
        shown = kept(findings, is_shown)  # before anything is made of a million ordinary ones
        if shown.rows.size:
            self.batches.append(replace(batch_of(shown, self._several_files), mark=marks[is_shown]))

    def _waive(self, batch: Batch) -> NDArray[np.bool_]:
        """Mark what a waiver leaves out, and count it."""
        is_waived = np.zeros(batch.frame.size, np.bool_)
        for waiver in self._waivers_of(batch.rule):
            is_waived |= waiver.holds(batch)
        self.ignored += int(is_waived.sum())
        return is_waived

    def number(self) -> list[CheckedIncident]:
        """Number the incidents, and give each finding its own."""
        numbered = [(each.rule, each.connection_id, each.mark) for each in self.batches]
        pairs = zip(self.batches, numbered, strict=True)
        self.batches = [replace(batch, incident_id=self.incidents.numbers(*place)) for batch, place in pairs]
        return [CheckedIncident.of(told) for told in self.incidents.told(self._several_files)]

    def _count(self, severity: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Count by severity, and mark what is shown."""
        self.severities += np.bincount(severity, minlength=self.severities.size)
        return severity >= self._plan.least

    def _waivers_of(self, rule: str) -> list[Waiver]:
        return [waiver for waiver in self._waivers if not waiver.rules or rule.startswith(waiver.rules)]


@dataclass
class Judged:
    """The findings of a check in order, before it is known which of them are known."""

    captures: list[Name]
    files: list[Name]
    settings: dict[str, Any]
    entries: list[Entry]
    groups: list[Group]
    incidents: list[CheckedIncident]
    severities: dict[str, int]
    ignored: int

    @staticmethod
    def of(
        judge: Judge,
        captures: Sequence[str],
        files: Sequence[str],
        settings: dict[str, Any],
    ) -> "Judged":
        """What a judge has taken; of the incidents those with a finding that is shown."""
        incidents = judge.number()
        named, names = [Name(capture) for capture in captures], [Name(file) for file in files]
        entries, groups = arranged(judge.batches, names or named[:1])
        counts = zip(reversed(SEVERITY.words), judge.severities[::-1].tolist(), strict=True)
        severities = {word: count for word, count in counts if count}
        met = {number for batch in judge.batches for number in np.unique(batch.incident_id).tolist()}
        told = [each for each in incidents if each.incident_id in met]
        return Judged(named, names, settings, entries, groups, told, severities, judge.ignored)

    def verdict(self, plan: Plan) -> Checked:
        """Which findings are known, and which fail."""
        threshold = plan.threshold
        rules = tuple(rule.id for rule in chosen(plan.settings.select, plan.settings.ignore))
        stale: tuple[str, ...] = ()
        if plan.baseline is not None:
            stale = baseline.mark(self.groups, baseline.read(plan.baseline), rules, plan.least)
        for entry in self.entries:
            entry.fails = threshold is not None and entry.reaches(threshold) and not entry.is_known
        return Checked(
            captures=self.captures,
            files=self.files,
            settings=self.settings,
            fail_on="never" if threshold is None else threshold.text,
            entries=self.entries,
            groups=sorted(self.groups, key=worst_first),
            incidents=self.incidents,
            severities=self.severities,
            rules=rules,
            ignored=self.ignored,
            policy=None if plan.policy is None else printable(plan.policy),
            baseline=None if plan.baseline is None else printable(str(plan.baseline)),
            stale=stale,
        )


def check_captures(
    captures: Sequence[str], plan: Plan, analyze: Analyze, today: date, several_files: bool = False
) -> Judged:
    """Read the captures and judge what is found."""
    _see_to_baseline(plan)
    judge = Judge(plan, today, several_files)
    summary = analyze(captures, plan.settings, [judge])
    return Judged.of(judge, captures, [file.name for file in summary.capture.files], to_json(plan.settings))


def check_folder(folder: Place, plan: Plan, today: date, say: Callable[[str], None]) -> Judged:
    """Judge the findings of a folder that ``analyze`` wrote, with the profile that it was written with."""
    _see_to_baseline(plan)
    with reading(folder):
        return _folder_judged(folder, plan, today, say)


def _folder_judged(folder: Place, plan: Plan, today: date, say: Callable[[str], None]) -> Judged:
    from tcptrace_tw.report.tables.replay import replay_folder
    from tcptrace_tw.report.tables.written_rows import has_several_files  # who reads a capture needs no Arrow

    manifest = manifest_of(folder)
    for name in ("profile", "two_msl_s"):
        asked, written = getattr(plan.settings, name), manifest["settings"][name]
        if asked != getattr(Settings, name) and asked != written:
            say(f"{folder}: was analysed with {name} {written}; {asked} is ignored")
    judge, asked = Judge(plan, today, has_several_files(folder)), plan.settings
    replay_folder(folder, manifest["settings"], [judge], asked.select, asked.ignore, asked.thresholds)
    return Judged.of(judge, [str(folder)], names_of(manifest, "inputs"), manifest["settings"])


def learn(judged: Judged, plan: Plan, file: AtomicFile | None = None) -> str:
    """Write the baseline again, into ``file`` where it is open already, and say what changed in it."""
    assert plan.baseline is not None
    before = set(baseline.read(plan.baseline)) if plan.baseline.exists() else set()
    after = {group.fingerprint for group in judged.groups}
    with file or AtomicFile(plan.baseline) as opened:
        baseline.write(opened, judged.groups)
    known = counted(len(judged.entries), "finding")
    groups = counted(len(after), "group")
    return f"{plan.baseline}: {known} in {groups} known; {len(after - before)} new, {len(before - after)} gone"


def _see_to_baseline(plan: Plan) -> None:
    """A wrong baseline should be told before a long analysis, not after it."""
    if plan.baseline is not None and plan.baseline.exists():
        baseline.read(plan.baseline)
