"""Incidents: findings with one mechanism and the same parties are one story, and its cause tells it.

Findings are added up as they come, by rule and parties; memory does not grow with the capture. At the end strands
become incidents, and a finding that another one on the same connection explains goes to that one's incident.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.summary.digest import IncidentDigest, IncidentRule
from tcptrace_tw.report.summary.grouping import Groups
from tcptrace_tw.report.words.codec import Time
from tcptrace_tw.report.words.findings import connection_ids, finding, finding_ids, kept, parties, times
from tcptrace_tw.report.words.text import duration_text, endpoint_text, ip_text
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.mechanisms import (
    BESIDE,
    CONSEQUENCES,
    MECHANISMS,
    REASONS,
    SEVERAL,
    SEVERAL_IF,
    About,
    Mechanism,
)
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema import words as w

Ints = NDArray[np.int64]
Address = tuple[int, int]

MOST = 1 << 14
"""At most so many strands: from half of it on they do not tell clients apart, from three quarters on not services."""

FEW_CLIENTS = 4
"""More clients of one service with the same trouble are one story."""

MOST_TOLD = 100
MOST_LINKED = 1 << 16
"""At most so many findings are kept by connection, to see which one explains which."""

EXAMPLES = 3
COSTS = ("cost_ns", "handshake_ns")
"""Values of a finding that say how long somebody had to wait."""

NUMBERS = {rule.id: number for number, rule in enumerate(RULES)}
_OF_RULE = {rule: mechanism for mechanism in MECHANISMS for rule in mechanism.rules}
_CAUSES = frozenset(cause for causes in CONSEQUENCES.values() for cause in causes)
_NOBODY: Address = (0, 0)


def mechanism_of(rule: str) -> Mechanism:
    """The mechanism that names the rule, or one of its own."""
    return _OF_RULE.get(rule) or Mechanism(rule, About.SERVICE, (rule,))


@dataclass
class _Strand:
    """Findings of one rule about the same parties."""

    rule: str
    server: Address
    port: int
    client: Address
    severities: list[int] = field(default_factory=lambda: [0] * len(w.SEVERITY.words))
    examples: list[tuple[int, int, RuleHits]] = field(default_factory=list)
    """Grade, number and the finding alone; the worst first."""
    first: int = -1
    last: int = -1
    cost: int = 0
    cost_most: int = 0
    cost_known: int = 0
    actors: list[Address] = field(default_factory=list)
    clients: list[Address] = field(default_factory=list)
    """The first two of each."""
    moved: int = 0
    """Findings that went to the incident of what explains them."""

    @property
    def count(self) -> int:
        return sum(self.severities)

    @property
    def grade(self) -> tuple[int, int]:
        """Severity and confidence of the worst finding."""
        return divmod(self.examples[0][0], len(w.CONFIDENCE.words))

    def lasts(self, first: int, last: int) -> None:
        self.first = first if self.first == -1 else min(self.first, first)
        self.last = max(self.last, last)


class Incidents:
    """Takes findings in any order; ``told`` gives the incidents, the worst first."""

    def __init__(self) -> None:
        self._groups = Groups(MOST)
        self._strands: list[_Strand] = []
        self._links: dict[str, list[tuple[Ints, Ints]]] = {}
        self._linked = 0

    def add(self, findings: RuleHits) -> None:
        """Take what one rule says; what is ordinary is no incident."""
        counts = findings.severity >= w.NOTICE
        if findings.rule.id in BESIDE:
            counts |= BESIDE[findings.rule.id].when(findings.rows)
        findings = kept(findings, counts)
        if not findings.rows.size:
            return
        strands = self._number(findings)
        grade = findings.severity.astype(np.int64) * len(w.CONFIDENCE.words) + findings.confidence
        ids = finding_ids(findings)
        order = np.lexsort((ids, -grade, strands))
        firsts = np.flatnonzero(np.concatenate(([True], np.diff(strands[order]) != 0)))
        for start, end in zip(firsts.tolist(), [*firsts[1:].tolist(), order.size], strict=True):
            places = order[start:end]
            self._extend(self._strands[int(strands[places[0]])], findings, places, grade, ids)
        self._link(findings, strands)

    def _number(self, findings: RuleHits) -> Ints:
        """The strand of each finding."""
        rule, about = findings.rule.id, mechanism_of(findings.rule.id).about
        server, port, client = parties(findings)
        size, used = findings.rows.size, len(self._groups.rows)
        nothing = np.zeros(size, np.int64)
        if about in (About.SERVICE, About.CAPTURE) or used > MOST // 2:
            client = (nothing, nothing)
        if about in (About.CLIENT, About.CAPTURE) or used > MOST // 4 * 3:
            server, port = (nothing, nothing), nothing
        number = np.full(size, NUMBERS[rule], np.int64)
        strands = self._groups.number([number, *server, port, *client])
        for row in self._groups.rows[len(self._strands) :]:
            self._strands.append(_Strand(RULES[row[0]].id, (row[1], row[2]), row[3], (row[4], row[5])))
        return strands

    def _extend(self, strand: _Strand, findings: RuleHits, places: Ints, grade: Ints, ids: Ints) -> None:
        for severity, count in enumerate(np.bincount(findings.severity[places]).tolist()):
            strand.severities[severity] += count
        when = times(findings)[places]
        when = when[when != -1]
        if when.size:
            strand.lasts(int(when.min()), int(when.max()))
        for name in COSTS:
            if name in findings.rule.values:
                cost = findings.rows[name][places]
                known = cost[cost != -1]
                strand.cost += int(known.sum())
                strand.cost_most = max(strand.cost_most, int(known.max(initial=0)))
                strand.cost_known += known.size
        names: Any = findings.rows.dtype.names
        if "ip_hi" in names:
            _note(strand.actors, findings.rows["ip_hi"][places], findings.rows["ip_lo"][places])
        client = parties(findings)[2]
        _note(strand.clients, client[0][places], client[1][places])
        for place in places[:EXAMPLES].tolist():
            strand.examples.append((int(grade[place]), int(ids[place]), alone(findings, place)))
        strand.examples.sort(key=lambda each: (-each[0], each[1]))
        del strand.examples[EXAMPLES:]

    def _link(self, findings: RuleHits, strands: Ints) -> None:
        rule = findings.rule.id
        if (rule in CONSEQUENCES or rule in _CAUSES) and self._linked < MOST_LINKED:
            self._links.setdefault(rule, []).append((connection_ids(findings), strands))
            self._linked += strands.size

    def told(self, several_files: bool = False) -> tuple[IncidentDigest, ...]:
        """The incidents: the worst first, of equals the earliest; at most ``MOST_TOLD``."""
        made = [each for each in self._incidents(self._moves()) if each.lead is not None]
        made.sort(key=_Incident.rank)
        return tuple(each.digest(number, several_files) for number, each in enumerate(made[:MOST_TOLD], 1))

    def _moves(self) -> dict[int, dict[int, int]]:
        """By strand how many of its findings go to which other strand."""
        moves: dict[int, dict[int, int]] = {}
        for strand in self._strands:
            strand.moved = 0
        for rule, causes in CONSEQUENCES.items():
            if rule not in self._links:
                continue
            known: dict[int, int] = {}
            for cause in reversed(causes):
                for connections, strands in self._links.get(cause, ()):
                    known.update(zip(connections.tolist(), strands.tolist(), strict=True))
            for connections, strands in self._links[rule]:
                for connection, strand in zip(connections.tolist(), strands.tolist(), strict=True):
                    if connection in known:
                        moved = moves.setdefault(strand, {})
                        moved[known[connection]] = moved.get(known[connection], 0) + 1
                        self._strands[strand].moved += 1
        return moves

    def _incidents(self, moves: dict[int, dict[int, int]]) -> Iterator[_Incident]:
        crowded = self._crowded()
        found: dict[tuple[str, Address, int, Address], _Incident] = {}
        of_strand: dict[int, _Incident] = {}
        for number, strand in enumerate(self._strands):
            mechanism = mechanism_of(strand.rule)
            many = (mechanism.name, strand.server, strand.port) in crowded
            key = (mechanism.name, strand.server, strand.port, _NOBODY if many else strand.client)
            of_strand[number] = found.setdefault(key, _Incident(mechanism))
            of_strand[number].strands.append(strand)
        for number, moved in moves.items():
            for cause, count in moved.items():
                if of_strand[cause] is not of_strand[number]:
                    of_strand[cause].explain(self._strands[number], count)
                else:
                    self._strands[number].moved -= count
        yield from found.values()

    def _crowded(self) -> set[tuple[str, Address, int]]:
        """Mechanisms and services with more than a few clients."""
        clients: dict[tuple[str, Address, int], set[Address]] = {}
        for strand in self._strands:
            clients.setdefault((mechanism_of(strand.rule).name, strand.server, strand.port), set()).add(strand.client)
        return {key for key, found in clients.items() if len(found) > FEW_CLIENTS}


class _Incident:
    """Strands of one mechanism and the same parties."""

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        self.strands: list[_Strand] = []
        self.explained: dict[str, tuple[int, int]] = {}

    def explain(self, strand: _Strand, count: int) -> None:
        """Take findings of another mechanism, which these cause."""
        before = self.explained.get(strand.rule, (0, 0))
        self.explained[strand.rule] = (before[0] + count, max(before[1], strand.grade[0]))

    @property
    def lead(self) -> _Strand | None:
        """The strand that tells the story: the worst, of equals the cause. None where others explain it all."""
        left = [strand for strand in self.strands if strand.count > strand.moved]
        place = self.mechanism.rules.index
        lead = min(left, key=lambda s: (-s.grade[0], place(s.rule), -s.grade[1], s.examples[0][1]), default=None)
        is_nothing = lead is not None and lead.rule in BESIDE and not BESIDE[lead.rule].is_told_alone
        return None if is_nothing else lead

    def rank(self) -> tuple[int, int, int, int, int]:
        """A sort key: what is about the capture comes behind what happened in it."""
        lead = self.lead
        assert lead is not None
        severity, confidence = lead.grade
        is_last = self.mechanism.about is About.CAPTURE and not self.mechanism.is_told_first
        return (-severity, is_last, -confidence, self._first, lead.examples[0][1])

    @property
    def _first(self) -> int:
        return min((strand.first for strand in self.strands if strand.first != -1), default=-1)

    def digest(self, number: int, several_files: bool) -> IncidentDigest:
        """What is told of it."""
        lead = self.lead
        assert lead is not None
        alike = [strand for strand in self.strands if strand.rule == lead.rule and strand.count > strand.moved]
        count = sum(strand.count - strand.moved for strand in alike)
        examples = sorted((each for strand in alike for each in strand.examples), key=lambda each: (-each[0], each[1]))
        costly = [*alike, *(strand for strand in self.strands if strand.rule in BESIDE and strand not in alike)]
        if not any(strand.cost_known for strand in costly):
            costly = self.strands
        known = sum(strand.cost_known for strand in costly)
        client, service = self._client(alike), self._service(lead)
        rule = RULES[NUMBERS[lead.rule]]
        reasons = [other.rule for other in self.strands if (lead.rule, other.rule) in REASONS]
        told = [finding(each[2], 0, several_files) for each in examples[:EXAMPLES]]
        severity, confidence = lead.grade
        last = max(strand.last for strand in self.strands)
        cost, most = sum(strand.cost for strand in costly), max(strand.cost_most for strand in costly)
        others = [other.rule for other in self.strands if other.rule != lead.rule]
        beside = dict.fromkeys(BESIDE[rule].clause for rule in others if rule in BESIDE)
        conditions = {RULES[NUMBERS[lead.rule]].condition_of(each[2].rows) for each in examples[:EXAMPLES]}
        text = SEVERAL_IF.get((lead.rule, conditions.pop())) if len(conditions) == 1 else None
        text = text or SEVERAL.get(lead.rule) or f"{told[0].message}; {{count}} such findings"
        happened = told[0].message if count == 1 else self._sentence(lead, text, count, reasons, client, service)
        parts = [happened, *beside] if severity > w.NOTICE else [*beside, happened]
        delayed = f"; {_delay(cost, most, known)}" if count > 1 and most else ""
        return IncidentDigest(
            number, lead.rule, rule.name, self.mechanism.name, w.SEVERITY.words[severity],
            w.CONFIDENCE.words[confidence], "; ".join(parts) + delayed, count, client, service,
            None if self._first == -1 else Time(self._first), None if last == -1 else Time(last),
            cost if known else None, most if known else None, known,
            tuple(self._rules()), rule.remedy_for(examples[0][2].rows), tuple(told),
        )  # fmt: skip

    def _sentence(
        self, lead: _Strand, template: str, count: int, reasons: Sequence[str], client: str, service: str
    ) -> str:
        """Several events: as the catalogue says."""
        actors = {actor for strand in self.strands if strand.rule == lead.rule for actor in strand.actors}
        is_server = actors == {lead.server}
        actor = service if is_server else ip_text(*next(iter(actors))) if len(actors) == 1 else "several hosts"
        text = template.format(
            count=f"{count:,}", client=client, service=service, actor=actor, peer=client if is_server else service
        )
        return f"{text}; {REASONS[lead.rule, reasons[0]]}" if reasons else text

    def _client(self, strands: Sequence[_Strand]) -> str:
        clients = {client for strand in strands for client in strand.clients}
        if not clients:
            return ""
        if len(clients) == 1:
            return ip_text(*next(iter(clients)))
        return "several clients"

    def _service(self, lead: _Strand) -> str:
        if lead.server == _NOBODY:
            return "" if self.mechanism.about in (About.CAPTURE, About.CLIENT) else "several services"
        ip = ip_text(*lead.server)
        return endpoint_text(ip, lead.port) if lead.port > 0 else ip

    def _rules(self) -> Iterator[IncidentRule]:
        """The rules of the incident and how often each was found; the cause first."""
        counts: dict[str, tuple[int, int]] = {}
        for strand in sorted(self.strands, key=lambda s: self.mechanism.rules.index(s.rule)):
            if strand.count > strand.moved:
                before = counts.get(strand.rule, (0, 0))
                counts[strand.rule] = (before[0] + strand.count - strand.moved, max(before[1], strand.grade[0]))
        for rule, (count, severity) in (counts | self.explained).items():
            yield IncidentRule(rule, RULES[NUMBERS[rule]].name, w.SEVERITY.words[severity], count)


def alone(findings: RuleHits, place: int) -> RuleHits:
    """One finding, with a row of its own."""
    keep = slice(place, place + 1)
    return RuleHits(
        findings.rule, findings.rows[keep].copy(), findings.severity[keep].copy(), findings.confidence[keep].copy(),
        findings.count[keep].copy(), findings.caveats,
    )  # fmt: skip


def _note(known: list[Address], hi: Ints, lo: Ints) -> None:
    """Add what is new of the first address and the first other one."""
    other = np.flatnonzero((hi != hi[0]) | (lo != lo[0]))[:1].tolist()
    for place in (0, *other):
        address = int(hi[place]), int(lo[place])
        if len(known) < 2 and address != _NOBODY and address not in known:
            known.append(address)


def _delay(cost: int, most: int, known: int) -> str:
    worst, total = duration_text(most), duration_text(cost)
    return f"delayed by {worst}" if known == 1 else f"delayed by {worst} at worst, {total} in total"
