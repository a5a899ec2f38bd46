"""Strands: findings of one rule about the same parties, added up as they come, in memory that has a bound.

What a strand knows stands in columns, a row a strand; only its few worst findings are kept themselves. So a chunk
costs some sorting, however many strands it has, and a finding that is no worse than those kept is only counted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.summary.grouping import Groups, group
from tcptrace_tw.report.words.findings import delays, finding_ids, parties, times
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.mechanisms import MECHANISMS, SEVERAL, About, Mechanism
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.columns import CAPTURE

Ints = NDArray[np.int64]
Halves = tuple[Ints, Ints]
Address = tuple[int, int]

MOST = 1 << 14
"""The most strands: from half of it on they do not tell clients apart, from three quarters on not services."""

EXAMPLES = 3
NOBODY: Address = (0, 0)

NUMBERS = {rule.id: number for number, rule in enumerate(RULES)}
_OF_RULE = {rule: mechanism for mechanism in MECHANISMS for rule in mechanism.rules}

_CONCERNED = {
    "PA008": "ignored", "PE001": "connections", "PE002": "connections", "PE003": "connections", "PE004": "connections",
    "SI001": "unanswered", "SI003": "half_open", "SI005": "refused", "SI006": "drops", "SI007": "resets",
    "SI014": "connections", "SI015": "connections", "TW002": "closed_by_server", "TW012": "left_in_close_wait",
}  # fmt: skip
"""Rules whose finding is about more than one connection, and the column that counts them."""

_UNKNOWN, _ONE, _SEVERAL = range(3)
_NEVER = np.iinfo(np.int64).max


def mechanism_of(rule: str) -> Mechanism:
    """The mechanism that names the rule, or one of its own."""
    return _OF_RULE.get(rule) or Mechanism(rule, About.SERVICE, (rule,), is_by_side="{actor}" in SEVERAL.get(rule, ""))


class Example(NamedTuple):
    """A finding that is kept: the highest grade is the worst, of equals the longest delay, then the lowest number."""

    grade: int
    delay_ns: int
    finding_id: int
    hit: RuleHits

    @property
    def order(self) -> tuple[int, int, int]:
        """A sort key, the worst first."""
        return -self.grade, -self.delay_ns, self.finding_id


class Strand(NamedTuple):
    """All that is known of one strand when the findings are over."""

    rule: str
    server: Address
    port: int
    client: Address
    is_by_server: bool
    """Whether the server did it; where that makes another story."""
    total: int
    moved: int
    """Findings that went to the incident of what explains them."""
    first: int
    last: int
    cost: int
    cost_most: int
    cost_known: int
    concerned: int
    """Connections that its findings are about."""
    actor: Address | None
    """Who did it, if it was always the same."""
    only_client: Address | None
    """The client of all its findings; None where there are several, or none is known."""
    has_clients: bool
    examples: tuple[Example, ...]

    @property
    def grade(self) -> tuple[int, int]:
        """Severity and confidence of the worst finding."""
        return divmod(self.examples[0].grade, len(w.CONFIDENCE.words))

    @property
    def template(self) -> str:
        """The sentence of the worst finding, not yet filled in."""
        hit = self.examples[0].hit
        return hit.rule.messages_for(hit.rows)[0][0]

    @property
    def left(self) -> int:
        """Findings that stay with its own incident."""
        return self.total - self.moved


class _Party:
    """For each strand an address, and whether others were seen, too."""

    def __init__(self, size: int) -> None:
        self.seen = np.zeros(size, np.uint8)
        self.hi, self.lo = np.zeros(size, np.int64), np.zeros(size, np.int64)

    def see(self, strands: Ints, hi: Ints, lo: Ints) -> None:
        """Addresses of findings of these strands; those that nobody knows do not count."""
        is_known = (hi != 0) | (lo != 0)
        if not is_known.all():
            strands, hi, lo = strands[is_known], hi[is_known], lo[is_known]
        new = np.flatnonzero(self.seen[strands] == _UNKNOWN)[::-1]  # of several the first one is written last
        self.hi[strands[new]], self.lo[strands[new]] = hi[new], lo[new]
        self.seen[strands[new]] = _ONE
        is_other = (hi != self.hi[strands]) | (lo != self.lo[strands])
        self.seen[strands[is_other]] = _SEVERAL

    def only(self, strand: int) -> Address | None:
        """The one address of a strand."""
        return (int(self.hi[strand]), int(self.lo[strand])) if self.seen[strand] == _ONE else None


class Strands:
    """Takes findings in any order, chunk by chunk."""

    def __init__(self) -> None:
        self._groups = Groups(MOST)
        size = MOST + 1
        self._count, self.moved = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._first, self._last = np.full(size, _NEVER), np.full(size, -1, np.int64)
        self._costs = np.zeros((size, 2), np.int64)  # upper and lower halves: a clock that jumped may cost a century
        self._cost_most, self._cost_known = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._concerned = np.zeros(size, np.int64)
        self._actors, self._clients = _Party(size), _Party(size)
        self._bar = np.full((size, 3), -2, np.int64)  # of the last example, once there are enough
        self._examples: dict[int, list[Example]] = {}

    def __len__(self) -> int:
        return len(self._groups.rows)

    def take(self, findings: RuleHits) -> Ints:
        """Add up what one rule says; gives back the strand of each finding."""
        server, port, client = parties(findings)
        is_by_server = _is_by_server(findings, server, port)
        strands = self._number(NUMBERS[findings.rule.id] * 2 + is_by_server, findings.rule.id, server, port, client)
        order = np.argsort(strands, kind="stable")
        own = strands[order]
        starts = np.flatnonzero(np.concatenate(([True], own[1:] != own[:-1])))
        which = own[starts]
        self._count[which] += np.diff(np.append(starts, own.size))
        self._add_times(which, starts, times(findings)[order])
        self._add_costs(which, starts, delays(findings)[order])
        self._concerned[which] += np.add.reduceat(_concerned(findings)[order], starts)
        names: Any = findings.rows.dtype.names
        if "ip_hi" in names:
            self._actors.see(strands, findings.rows["ip_hi"], findings.rows["ip_lo"])
        self._clients.see(strands, *client)
        self._keep_worst(findings, strands)
        return strands

    def _number(self, number: Ints, rule: str, server: Halves, port: Ints, client: Halves) -> Ints:
        """The strand of each finding; with many strands, or for many new ones, parties are not told apart."""
        nothing = np.zeros(port.size, np.int64)
        about = mechanism_of(rule).about
        if about in (About.CLIENT, About.CAPTURE):
            server, port = (nothing, nothing), nothing
        if about in (About.SERVICE, About.CAPTURE) or not self._fits(MOST // 2, [*server, port, *client]):
            client = (nothing, nothing)
        if not self._fits(MOST // 4 * 3, [*server, port, *client]):
            server, port, client = (nothing, nothing), nothing, (nothing, nothing)
        return self._groups.number([number, *server, port, *client])

    def _fits(self, least: int, columns: list[Ints]) -> bool:
        """Whether there are no more strands than ``least``, and room for all these, and one more of each rule."""
        room = MOST - 2 * len(RULES) - len(self)
        return len(self) <= least and (columns[0].size <= room or group(columns)[1].size <= room)

    def _add_times(self, which: Ints, starts: Ints, when: Ints) -> None:
        earliest = np.minimum.reduceat(np.where(when == -1, _NEVER, when), starts)
        self._first[which] = np.minimum(self._first[which], earliest)
        self._last[which] = np.maximum(self._last[which], np.maximum.reduceat(when, starts))

    def _add_costs(self, which: Ints, starts: Ints, cost: Ints) -> None:
        is_known = cost != -1
        if not is_known.any():
            return
        known = np.where(is_known, cost, 0)
        for half, values in enumerate((known >> 32, known & 0xFFFFFFFF)):
            self._costs[which, half] += np.add.reduceat(values, starts)
        self._cost_most[which] = np.maximum(self._cost_most[which], np.maximum.reduceat(known, starts))
        self._cost_known[which] += np.add.reduceat(is_known.astype(np.int64), starts)

    def _keep_worst(self, findings: RuleHits, strands: Ints) -> None:
        """Only what is worse than the last example of its strand is looked at one by one."""
        grade = findings.severity.astype(np.int64) * len(w.CONFIDENCE.words) + findings.confidence
        ids, delay = finding_ids(findings), delays(findings)
        bar, most, last = self._bar[strands].T
        worse = np.flatnonzero((grade > bar) | (grade == bar) & ((delay > most) | (delay == most) & (ids < last)))
        if not worse.size:
            return
        worse = worse[np.lexsort((ids[worse], -delay[worse], -grade[worse], strands[worse]))]
        own = strands[worse]
        before = np.full(own.size, -1)
        before[EXAMPLES:] = own[:-EXAMPLES]
        for place in worse[own != before].tolist():
            example = Example(int(grade[place]), int(delay[place]), int(ids[place]), alone(findings, place))
            self._keep(int(strands[place]), example)

    def _keep(self, strand: int, example: Example) -> None:
        kept = self._examples.setdefault(strand, [])
        kept.append(example)
        kept.sort(key=lambda each: each.order)
        del kept[EXAMPLES:]
        if len(kept) == EXAMPLES:
            self._bar[strand] = kept[-1][:3]

    def all(self) -> list[Strand]:
        """Every strand, by number."""
        return [self._strand(number, row) for number, row in enumerate(self._groups.rows)]

    def _strand(self, number: int, row: tuple[int, ...]) -> Strand:
        first, (upper, lower) = int(self._first[number]), self._costs[number].tolist()
        return Strand(
            RULES[row[0] >> 1].id, (row[1], row[2]), row[3], (row[4], row[5]), bool(row[0] & 1),
            int(self._count[number]), int(self.moved[number]),
            -1 if first == _NEVER else first, int(self._last[number]),
            (upper << 32) + lower, int(self._cost_most[number]), int(self._cost_known[number]),
            int(self._concerned[number]), self._actors.only(number), self._clients.only(number),
            bool(self._clients.seen[number]), tuple(self._examples[number]),
        )  # fmt: skip


def alone(findings: RuleHits, place: int) -> RuleHits:
    """One finding, with a row of its own."""
    keep = slice(place, place + 1)
    return RuleHits(
        findings.rule, findings.rows[keep].copy(), findings.severity[keep].copy(), findings.confidence[keep].copy(),
        findings.count[keep].copy(), findings.caveats,
    )  # fmt: skip


def _is_by_server(findings: RuleHits, server: Halves, port: Ints) -> Ints:
    """1 where the server did what is found, and that is another story than what a client does."""
    if not mechanism_of(findings.rule.id).is_by_side:
        return np.zeros(port.size, np.int64)
    rows = findings.rows
    is_server = (rows["ip_hi"] == server[0]) & (rows["ip_lo"] == server[1]) & (rows["port"] == port)
    return np.asarray(is_server, np.int64)


def _concerned(findings: RuleHits) -> Ints:
    """How many connections each finding is about."""
    name = _CONCERNED.get(findings.rule.id)
    if name is not None:
        counted: Ints = findings.rows[name].astype(np.int64)
        return counted
    return np.full(findings.rows.size, int(findings.rule.table != CAPTURE.name), np.int64)
