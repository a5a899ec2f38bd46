"""Rows to a digest: the sink of ``report`` adds up what passes and keeps a few examples of each rule."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture.facts import CaptureFacts
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.report.summary.digest import (
    CaptureDigest,
    ConnectionsDigest,
    Digest,
    FileDigest,
    IncidentDigest,
    PolicyDigest,
    RuleDigest,
    TimeWaitDigest,
)
from tcptrace_tw.report.summary.incidents import Incidents
from tcptrace_tw.report.summary.occupancy import Occupancy
from tcptrace_tw.report.summary.port_usage import uses
from tcptrace_tw.report.summary.totals import (
    CLOSE,
    CLOSER,
    OPENED,
    PAYLOAD,
    RETRANSMITS,
    SEGMENTS,
    Totals,
    named_counts,
)
from tcptrace_tw.report.words.codec import Time, to_json
from tcptrace_tw.report.words.findings import Finding, connection_ids, delays, finding, finding_ids, times
from tcptrace_tw.report.words.text import ip_text
from tcptrace_tw.rules.rule import Rule, RuleHits
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.columns import PORTS
from tcptrace_tw.schema.words import NOTICE
from tcptrace_tw.version import __version__

_EXAMPLES = 3
_PORT_USES = 5
_MOST_OUTLIVED = 20


class Run(Protocol):
    """What is known when a run is over: ``pipeline.Summary``."""

    capture: CaptureFacts
    engine: str
    caveats: list[str]
    policy: PolicyDigest | None

    @property
    def settings(self) -> Any:
        """A dataclass: ``pipeline.Settings``."""


class SummarySink:
    """Adds up connections, TIME-WAIT and findings; its memory does not grow with the capture."""

    tables = frozenset({"connections", "time_wait", "ports"})

    def __init__(self, several_files: bool = False, least: int = NOTICE) -> None:
        """Of findings below the severity ``least`` only the number is told."""
        self.several_files, self.least = several_files, least
        self._ports = np.zeros(0, PORTS.dtype)
        self._totals = Totals()
        self.time_wait = TimeWaitDigest()
        self._occupancy = Occupancy()
        self._rules: dict[str, _Tally] = {}
        self.incidents = Incidents()

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Take finished rows of one table."""
        if table == "connections":
            self._totals.add(rows)
        elif table == "time_wait":
            self._count_time_wait(rows)
        elif table == "ports":
            self._ports = np.concatenate((self._ports, np.asarray(rows)))

    def findings(self, findings: RuleHits) -> None:
        """Take what one rule says."""
        if findings.rows.size:
            tally = self._rules.setdefault(findings.rule.id, _Tally(findings.rule, self.least))
            tally.add(findings, self.incidents.add(findings), self.several_files)

    def digest(self, run: Run) -> Digest:
        """The whole report."""
        self.time_wait.spans, self.time_wait.restarts = self._occupancy.spans, self._occupancy.restarts
        self.time_wait.end_reason = named_counts(self._occupancy.reasons, w.END_REASON)
        self.time_wait.curve = self._occupancy.curve(run.capture.last_time)
        self.time_wait.pool_count = self._occupancy.pool_count
        self.time_wait.pools = tuple(self._occupancy.pools(curve=self.time_wait.curve))
        assumed = profile(run.settings.profile, run.settings.two_msl_s)
        self.time_wait.ports = uses(self._ports, self.time_wait.pools, assumed.two_msl_ns / 1e9, _PORT_USES)
        return Digest(
            tool_version=__version__,
            settings=to_json(run.settings),
            engine=run.engine,
            capture=capture_digest(run.capture),
            connections=_connections(self._totals),
            time_wait=self.time_wait,
            incidents=self.told_incidents(),
            findings=self.told_rules(),
            caveats=tuple(run.caveats),
            policy=run.policy,
        )

    def told_incidents(self) -> tuple[IncidentDigest, ...]:
        """The incidents that are severe enough."""
        told = self.incidents.told(self.several_files)
        if self.least <= NOTICE:  # some tell of what is ordinary, too
            return told
        return tuple(each for each in told if w.SEVERITY.code(each.severity) >= self.least)

    def told_rules(self) -> tuple[RuleDigest, ...]:
        """What was found, the worst first."""
        return tuple(sorted((tally.digest(self.incidents) for tally in self._rules.values()), key=worst_first))

    def _count_time_wait(self, rows: NDArray[Any]) -> None:
        longest = self.time_wait.outlived
        for row in rows[rows["shown_ns"] >= rows["two_msl_ns"]][:_MOST_OUTLIVED]:
            address = ip_text(int(row["ip_hi"]), int(row["ip_lo"]))
            if address in longest or len(longest) < _MOST_OUTLIVED:
                longest[address] = max(longest.get(address, 0), int(row["shown_ns"]))
        self._occupancy.add(rows)


class _Tally:
    """The findings of one rule so far."""

    def __init__(self, rule: Rule, least: int) -> None:
        self.rule, self._least = rule, least
        self.grades = np.zeros((len(w.SEVERITY.words), len(w.CONFIDENCE.words)), np.int64)
        self.first = self.last = -1
        self.examples: list[tuple[int, Finding, NDArray[np.int64]]] = []
        """Grade, finding, and its connection and mark for the incidents."""
        self.cost = self.cost_most = self.cost_known = 0

    def add(self, findings: RuleHits, marks: NDArray[np.int64], several_files: bool) -> None:
        grade = findings.severity.astype(np.int64) * self.grades.shape[1] + findings.confidence
        self.grades += np.bincount(grade, minlength=self.grades.size).reshape(self.grades.shape)
        when = times(findings)
        known = when[when != -1]
        if known.size:
            self.first = int(known.min()) if self.first == -1 else min(self.first, int(known.min()))
            self.last = max(self.last, int(known.max()))
        self._count_cost(delays(findings))
        self._keep_best(findings, grade, marks, several_files)

    def _count_cost(self, cost: NDArray[np.int64]) -> None:
        known = cost[cost != -1]
        self.cost += _total(known)
        self.cost_most = max(self.cost_most, int(known.max(initial=0)))
        self.cost_known += known.size

    def _keep_best(
        self, findings: RuleHits, grade: NDArray[np.int64], marks: NDArray[np.int64], several_files: bool
    ) -> None:
        """The worst and surest ones, of these the first ones; what is only counted has none."""
        if int(grade.max()) // self.grades.shape[1] < self._least:
            return
        if len(self.examples) == _EXAMPLES and grade.max() < self.examples[-1][0]:
            return
        ids = finding_ids(findings)
        places = np.arange(ids.size)
        if len(self.examples) == _EXAMPLES:
            last_grade, last, _ = self.examples[-1]
            places = np.flatnonzero((grade > last_grade) | (grade == last_grade) & (ids <= last.finding_id))
        for i in places[_best(ids[places], grade[places])].tolist():
            place = np.array([connection_ids(findings)[i], marks[i]])
            self.examples.append((int(grade[i]), finding(findings, i, several_files), place))
            self.examples.sort(key=_order)
            del self.examples[_EXAMPLES:]

    def _examples(self, incidents: Incidents) -> Iterator[Finding]:
        shown = w.SEVERITY.words[self._least :]
        for _, example, place in self.examples:
            if example.severity not in shown:
                continue
            (number,) = incidents.numbers(self.rule.id, place[:1], place[1:]).tolist()
            yield dataclasses.replace(example, incident_id=None if number == -1 else number)

    def digest(self, incidents: Incidents) -> RuleDigest:
        by_severity, by_confidence = self.grades.sum(axis=1), self.grades.sum(axis=0)
        worst = int(np.flatnonzero(by_severity)[-1])
        surest = int(np.flatnonzero(self.grades[worst])[-1])
        return RuleDigest(
            self.rule.id,
            self.rule.name,
            self.rule.summary,
            self.rule.remedy,
            w.SEVERITY.words[worst],
            w.CONFIDENCE.words[surest],
            int(by_severity.sum()),
            named_counts(by_severity, w.SEVERITY),
            named_counts(by_confidence, w.CONFIDENCE),
            None if self.first == -1 else Time(self.first),
            None if self.last == -1 else Time(self.last),
            tuple(self._examples(incidents)),
            self.cost if self.cost_known else None,
            self.cost_most if self.cost_known else None,
            self.cost_known,
        )


def _connections(totals: Totals) -> ConnectionsDigest:
    return ConnectionsDigest(
        total=totals.total,
        opened=totals.counts(OPENED, w.OPENED),
        close=totals.counts(CLOSE, w.CLOSE),
        active_closer=totals.counts(CLOSER, w.ACTIVE_CLOSER),
        segments=totals.sum(SEGMENTS),
        payload_bytes=totals.sum(PAYLOAD),
        retransmits=totals.sum(RETRANSMITS),
    )


def capture_digest(facts: CaptureFacts) -> CaptureDigest:
    """What the capture is."""
    names = [field.name for field in dataclasses.fields(FileDigest)]
    files = tuple(FileDigest(**{name: getattr(f, name) for name in names}) for f in facts.files)
    first, last = facts.first_time, facts.last_time
    return CaptureDigest(
        facts.frames,
        facts.tcp_segments,
        None if first is None else Time(first),
        None if last is None else Time(last),
        facts.skipped,
        tuple(facts.remarks),
        files,
    )


def worst_first(rule: RuleDigest) -> tuple[int, int, int, str]:
    """A sort key: severity, then confidence, then count."""
    return (-w.SEVERITY.code(rule.severity), -w.CONFIDENCE.code(rule.confidence), -rule.count, rule.rule)


def _total(values: NDArray[np.int64]) -> int:
    """The exact sum, which may be no int64: where a clock jumped, one wait may last a hundred years."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def _order(example: tuple[int, Finding, Any]) -> tuple[int, int]:
    """A sort key: the grade, then the number of the finding."""
    return (-example[0], example[1].finding_id)


def _best(ids: NDArray[np.int64], grade: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of the best findings, best first."""
    most = min(_EXAMPLES, grade.size)
    if not most:
        return np.zeros(0, np.int64)
    bar = np.partition(grade, -most)[-most]
    highest = np.flatnonzero(grade >= bar)
    return highest[np.lexsort((ids[highest], -grade[highest]))[:_EXAMPLES]]
