"""Incidents: findings with one mechanism and the same parties are one story, and its cause tells it.

Findings are added up as they come, by rule and parties (``strands``). At the end strands become incidents, and a
finding that another one on the same connection explains goes to that one's incident.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.summary.digest import IncidentDigest, IncidentRule
from tcptrace_tw.report.summary.strands import (
    EXAMPLES,
    NOBODY,
    NUMBERS,
    Address,
    Example,
    Strand,
    Strands,
    mechanism_of,
)
from tcptrace_tw.report.summary.strands import alone as alone
from tcptrace_tw.report.words.codec import Time
from tcptrace_tw.report.words.findings import connection_ids, finding, kept, previous_connection_ids
from tcptrace_tw.report.words.messages import hedged, message, with_hedge
from tcptrace_tw.report.words.text import duration_text, endpoint_text, ip_text
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.mechanisms import BESIDE, CONSEQUENCES, PROOFS, REASONS, SEVERAL, SEVERAL_IF, About, Mechanism
from tcptrace_tw.rules.predicates import STALL_NS
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema import words as w

Ints = NDArray[np.int64]

FEW_CLIENTS = 4
"""More clients of one service with the same trouble are one story."""

MOST_TOLD = 100
"""The most incidents in a report; all have a row in the table."""

MOST_LINKED = 1 << 16
"""The most findings that are kept by connection, to see which one explains which."""

_CAUSES = frozenset(cause for causes in CONSEQUENCES.values() for cause in causes)


class Incidents:
    """Takes findings in any order; ``told`` gives the incidents, the worst first."""

    def __init__(self) -> None:
        self._strands = Strands()
        self._links: dict[str, list[tuple[Ints, Ints]]] = {}
        self._linked = 0
        self._last: tuple[RuleHits | None, Ints] = (None, np.zeros(0, np.int64))
        self._ranking: _Ranking | None = None

    def add(self, findings: RuleHits) -> Ints:
        """Take what one rule says; gives back a mark for each finding, of which ``numbers`` makes its incident.

        What is ordinary is no incident: -1. Several sinks may take the same findings in turn: they count once.
        """
        if self._last[0] is not findings:
            self._last = findings, self._added(findings)
            self._ranking = None
        return self._last[1]

    def _added(self, findings: RuleHits) -> Ints:
        counts = findings.severity >= w.NOTICE
        if findings.rule.id in BESIDE:
            counts |= BESIDE[findings.rule.id].when(findings.rows)
        marks = np.full(findings.rows.size, -1, np.int64)
        if counts.any():
            findings = kept(findings, counts)
            strands = self._strands.take(findings)
            marks[counts] = strands * 2 + self._link(findings, strands)
        return marks

    def _link(self, findings: RuleHits, strands: Ints) -> bool:
        """Remember the connections, where a finding may explain another one; whether they are remembered."""
        rule = findings.rule.id
        if (rule not in CONSEQUENCES and rule not in _CAUSES) or self._linked >= MOST_LINKED:
            return False
        self._links.setdefault(rule, []).append((connection_ids(findings), strands))
        if findings.rule.table == "moves":  # what is one connection explains what happens under either 4-tuple
            self._links[rule].append((previous_connection_ids(findings), strands))
        self._linked += strands.size
        return True

    def numbers(self, rule: str, connections: Ints, marks: Ints) -> Ints:
        """The incidents of findings of one rule, from their connections and marks; -1 where there is none."""
        return self.ranking.numbers(rule, connections, marks)

    @property
    def ranking(self) -> _Ranking:
        """What the findings that were taken so far make."""
        if self._ranking is None:
            self._ranking = _Ranking(self._strands, self._links)
        return self._ranking

    def told(self, several_files: bool = False) -> tuple[IncidentDigest, ...]:
        """The incidents as a report tells them; at most ``MOST_TOLD``."""
        return tuple(self.digests(several_files, MOST_TOLD))

    def digests(self, several_files: bool = False, most: int | None = None) -> Iterator[IncidentDigest]:
        """All of them, the worst first."""
        for number, each in enumerate(self.ranking.incidents[:most], 1):
            yield each.digest(number, several_files, EXAMPLES if number <= MOST_TOLD else 0)


class _Explained(NamedTuple):
    """Connections, rising, and the strand of what explains the findings of one rule on them."""

    connections: Ints
    strands: Ints

    def of(self, connections: Ints, otherwise: Ints) -> Ints:
        """The strand that findings on these connections belong to."""
        if not self.connections.size:
            return otherwise
        places = np.minimum(np.searchsorted(self.connections, connections), self.connections.size - 1)
        return np.where(self.connections[places] == connections, self.strands[places], otherwise)


class _Ranking:
    """Strands as incidents, the worst first."""

    def __init__(self, strands: Strands, links: dict[str, list[tuple[Ints, Ints]]]) -> None:
        self._links = links
        self._known: dict[str, _Explained] = {}
        found = strands.all()
        made, self._of_strand = _incidents_of(found)
        moved = np.zeros(len(found), np.int64)
        for (own, cause), count in self._moves().items():
            if self._of_strand[own] is not self._of_strand[cause]:
                moved[own] += count
                self._of_strand[cause].explain(found[own], count)
        for number, strand in enumerate(found):
            self._of_strand[number].strands.append(self._left(strand, int(moved[number])))
        self.incidents = sorted((each for each in made if each.lead is not None), key=lambda each: each.rank)
        ranks = {id(each): rank for rank, each in enumerate(self.incidents, 1)}
        self._ranks = np.array([ranks.get(id(each), -1) for each in self._of_strand] or [-1], np.int64)

    def numbers(self, rule: str, connections: Ints, marks: Ints) -> Ints:
        """The incidents of findings of one rule."""
        strands, is_linked = np.maximum(marks, 0) >> 1, marks & 1 == 1
        targets = np.where(is_linked, self._explained(rule).of(connections, strands), strands)
        return np.where(marks < 0, -1, self._ranks[targets])

    def _moves(self) -> dict[tuple[int, int], int]:
        """How many findings of one strand another one explains."""
        moves: dict[tuple[int, int], int] = {}
        for rule in CONSEQUENCES:
            for connections, strands in self._links.get(rule, ()):
                targets = self._explained(rule).of(connections, strands)
                is_moved = targets != strands
                pairs = np.stack((strands[is_moved], targets[is_moved]), 1)
                for (own, cause), count in zip(*_counted(pairs), strict=True):
                    moves[own, cause] = moves.get((own, cause), 0) + count
        return moves

    def _explained(self, rule: str) -> _Explained:
        """What explains this rule's findings, or again explains that."""
        if rule not in self._known:
            known: dict[int, int] = {}
            for cause in reversed(CONSEQUENCES.get(rule, ())):
                for connections, strands in self._links.get(cause, ()):
                    last = self._explained(cause).of(connections, strands)
                    known.update(zip(connections.tolist(), last.tolist(), strict=True))
            known.pop(-1, None)
            rows = np.array(sorted(known.items()), np.int64).reshape(-1, 2)
            self._known[rule] = _Explained(rows[:, 0], rows[:, 1])
        return self._known[rule]

    def _left(self, strand: Strand, moved: int) -> Strand:
        """The strand without what went elsewhere, also as an example."""
        if not moved:
            return strand
        explained = self._explained(strand.rule).connections
        stay = tuple(each for each in strand.examples if int(connection_ids(each.hit)[0]) not in explained)
        return strand._replace(moved=moved, examples=stay or strand.examples)


def _counted(pairs: Ints) -> tuple[list[list[int]], list[int]]:
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return found.tolist(), counts.tolist()


def _incidents_of(strands: Sequence[Strand]) -> tuple[list[_Incident], list[_Incident]]:
    """The incidents, still empty, and that of each strand: by mechanism, service, and client where there are few."""
    clients: dict[tuple[str, Address, int], set[Address]] = {}
    keys = [(mechanism_of(strand.rule).name, strand.server, strand.port) for strand in strands]
    for key, strand in zip(keys, strands, strict=True):
        clients.setdefault(key, set()).add(strand.client)
    found: dict[tuple[str, Address, int, Address, bool], _Incident] = {}
    of_strand = []
    for key, strand in zip(keys, strands, strict=True):
        client = NOBODY if len(clients[key]) > FEW_CLIENTS else strand.client
        of_strand.append(found.setdefault((*key, client, strand.is_by_server), _Incident(mechanism_of(strand.rule))))
    return list(found.values()), of_strand


class _Incident:
    """Strands of one mechanism and the same parties."""

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        self.strands: list[Strand] = []
        self.explained: dict[str, tuple[int, int]] = {}

    def explain(self, strand: Strand, count: int) -> None:
        """Take findings of another mechanism, which these cause."""
        before = self.explained.get(strand.rule, (0, 0))
        self.explained[strand.rule] = (before[0] + count, max(before[1], strand.grade[0]))

    @cached_property
    def lead(self) -> Strand | None:
        """The strand that tells the story: the worst, of equals the cause. None where others explain it all."""
        left = [strand for strand in self.strands if strand.left]
        place = self.mechanism.rules.index
        lead = min(
            left, key=lambda s: (-s.grade[0], place(s.rule), -s.grade[1], s.examples[0].finding_id), default=None
        )
        is_nothing = lead is not None and lead.rule in BESIDE and not BESIDE[lead.rule].is_told_alone
        return None if is_nothing else lead

    @property
    def rank(self) -> tuple[int, int, int, int, int, int]:
        """A sort key, the worst first: severity; what happened before what is about the capture; confidence; cost.

        A reader wants to know first what is certain, and of a capture with gaps what it shows in spite of them. So
        neither the earliest nor the capture's own properties, which hold from its first frame, come first. Of equally
        certain incidents, one that delayed a connection comes first.
        """
        lead = self.lead
        assert lead is not None
        severity, confidence = lead.grade
        is_last = self.mechanism.about is About.CAPTURE and not self.mechanism.is_told_first
        is_slow = max(strand.cost_most for strand in self.strands) >= STALL_NS
        return (-severity, is_last, -confidence, -is_slow, self._first, lead.examples[0].finding_id)

    @property
    def _first(self) -> int:
        return min((strand.first for strand in self.strands if strand.first != -1), default=-1)

    @property
    def _alike(self) -> list[Strand]:
        """The strands of the rule that tells the story."""
        lead = self.lead
        assert lead is not None
        return [strand for strand in self.strands if strand.rule == lead.rule and strand.left]

    @property
    def _examples(self) -> list[Example]:
        """The worst findings of the cause."""
        found = (each for strand in self._alike for each in strand.examples)
        return sorted(found, key=lambda each: each.order)[:EXAMPLES]

    def digest(self, number: int, several_files: bool, shown: int = EXAMPLES) -> IncidentDigest:
        """What is told of it, with at most so many examples."""
        lead = self.lead
        assert lead is not None
        examples, rule, alike = self._examples, RULES[NUMBERS[lead.rule]], self._alike
        severity, confidence = lead.grade
        last, rules = max(strand.last for strand in self.strands), tuple(self._rules())
        delay, most, known = self._delay()
        client, service = self._client(alike), self._service(lead)
        return IncidentDigest(
            incident_id=number,
            rule=rule.id,
            name=rule.name,
            mechanism=self.mechanism.name,
            title=self._title(rule.name, client, service),
            severity=w.SEVERITY.words[severity],
            confidence=w.CONFIDENCE.words[confidence],
            sentence=self._sentence(examples[0].hit, several_files, client, service),
            count=sum(strand.left for strand in alike),
            client=client,
            service=service,
            first_time=None if self._first == -1 else Time(self._first),
            last_time=None if last == -1 else Time(last),
            delay_ns=delay if known else None,
            worst_delay_ns=most if known else None,
            delays_known=known,
            connections=self._connections(),
            findings=sum(each.count for each in rules),
            rules=rules,
            remedy=rule.remedy_for(examples[0].hit.rows),
            examples=tuple(
                replace(finding(each.hit, 0, several_files), incident_id=number) for each in examples[:shown]
            ),
        )

    def _title(self, name: str, client: str, service: str) -> str:
        is_named = self.mechanism.name not in NUMBERS
        parties = " > ".join(filter(None, (client, service)))
        return ": ".join(filter(None, (self.mechanism.name if is_named else name, parties)))

    def _delay(self) -> tuple[int, int, int]:
        """In total, at worst, and for how many it is known: of the cause, or else of what came of it."""
        alike = self._alike
        costly = [*alike, *(strand for strand in self.strands if strand.rule in BESIDE and strand not in alike)]
        if not any(strand.cost_known for strand in costly):
            costly = self.strands
        most = max(strand.cost_most for strand in costly)
        return sum(strand.cost for strand in costly), most, sum(strand.cost_known for strand in costly)

    def _connections(self) -> int:
        """The connections of the rule that found the most."""
        by_rule: dict[str, int] = {}
        for strand in self.strands:
            if strand.left:
                by_rule[strand.rule] = by_rule.get(strand.rule, 0) + strand.concerned
        return max(by_rule.values())

    def _sentence(self, worst: RuleHits, several_files: bool, client: str, service: str) -> str:
        """What happened, what the other rules add, and the delay of several."""
        lead = self.lead
        assert lead is not None
        count, said = sum(strand.left for strand in self._alike), message(worst, 0, several_files)
        others = [other.rule for other in self.strands if other.rule != lead.rule]
        told = PROOFS if count == 1 else {**REASONS, **PROOFS}
        reasons = [told[pair] for other in others if (pair := (lead.rule, other)) in told]
        beside = dict.fromkeys(
            _clause(other, several_files) for other in self.strands if other.rule in BESIDE and other.rule != lead.rule
        )
        delay, most, known = self._delay()
        delayed = f"; {_delay(delay, most, known)}" if count > 1 and most else ""
        template = lead.template if count == 1 else self._template(lead)
        happened = said if count == 1 else self._several(lead, count, said, client, service)
        happened = with_hedge(template or lead.template, happened, lead.grade[1])
        parts = [happened, *reasons[:1]]
        parts = [*parts, *beside] if lead.grade[0] > w.NOTICE else [*beside, *parts]
        return "; ".join(parts) + delayed

    def _several(self, lead: Strand, count: int, said: str, client: str, service: str) -> str:
        """Several events: as the catalogue says."""
        template = self._template(lead)
        if not template:
            return f"{said}; {count:,} such findings"
        actors = {strand.actor for strand in self.strands if strand.rule == lead.rule}
        only = next(iter(actors)) if len(actors) == 1 else None
        is_server = lead.is_by_server if self.mechanism.is_by_side else only == lead.server
        actor = service if is_server else ip_text(*only) if only else "several hosts"
        return hedged(template, lead.grade[1]).format(
            count=f"{count:,}", client=client, service=service, actor=actor, peer=client if is_server else service
        )

    def _template(self, lead: Strand) -> str:
        """The sentence for several: that of the wording which the worst examples share, else that of the rule."""
        conditions = {RULES[NUMBERS[lead.rule]].condition_of(each.hit.rows) for each in self._examples}
        said = {SEVERAL_IF.get((lead.rule, condition), "") for condition in conditions}
        shared = said.pop() if len(said) == 1 else ""
        return shared or SEVERAL.get(lead.rule, "")

    def _client(self, strands: Sequence[Strand]) -> str:
        clients = {strand.only_client for strand in strands if strand.has_clients}
        if not clients:
            return ""
        only = next(iter(clients)) if len(clients) == 1 else None
        return ip_text(*only) if only else "several clients"

    def _service(self, lead: Strand) -> str:
        if lead.server == NOBODY:
            return "" if self.mechanism.about in (About.CAPTURE, About.CLIENT) else "several services"
        ip = ip_text(*lead.server)
        return endpoint_text(ip, lead.port) if lead.port > 0 else ip

    def _rules(self) -> Iterator[IncidentRule]:
        """The rules of the incident and how often each was found; the cause first."""
        counts: dict[str, tuple[int, int]] = {}
        for strand in sorted(self.strands, key=lambda s: self.mechanism.rules.index(s.rule)):
            if strand.left:
                before = counts.get(strand.rule, (0, 0))
                counts[strand.rule] = (before[0] + strand.left, max(before[1], strand.grade[0]))
        for rule, (count, severity) in (counts | self.explained).items():
            yield IncidentRule(rule, RULES[NUMBERS[rule]].name, w.SEVERITY.words[severity], count)


def _clause(strand: Strand, several_files: bool) -> str:
    """What a finding of severity info adds: its clause, or its own sentence."""
    return BESIDE[strand.rule].clause or message(strand.examples[0].hit, 0, several_files)


def _delay(cost: int, most: int, known: int) -> str:
    worst, total = duration_text(most), duration_text(cost)
    return f"delayed by {worst}" if known == 1 else f"delayed by {worst} at worst, {total} in total"
