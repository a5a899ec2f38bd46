"""Findings as they become certain: said once, again where one turns out worse, and withdrawn where it was wrong.

A finding of a connection that goes on is certain when it has lasted for as long as its rule asks (``rules.early``). A
finding about many connections is said when it shows, and again only where it had been gone for some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.summary.incidents import alone
from tcptrace_tw.report.words.findings import RULES_PER_CONNECTION, Finding, finding, finding_ids
from tcptrace_tw.rules.early import settling_ns
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema import words as w

GONE_NS = 300_000_000_000
"""A finding about many connections is reported again after it has been absent for this time."""

MOST_SHOWN = 1 << 14
"""More kinds of that than these are forgotten when they are gone."""


class Said(NamedTuple):
    """A finding that is certain."""

    finding: Finding
    hits: RuleHits
    """The same as a row alone."""
    is_worse: bool = False
    """Whether it was said before, with a lower grade."""


class Withdrawn(NamedTuple):
    """A finding that was said and does not hold any more."""

    finding_id: int
    rule: str


@dataclass(slots=True)
class _Known:
    """What is known of a finding of one connection."""

    rule: str
    rank: int
    since: int
    waits: int
    hits: RuleHits | None
    """None once it was said."""
    said: int = -1
    """The grade with which it was said."""


class Announcer:
    """Takes findings of connections and of many together; ``certain`` gives what is to be said now."""

    def __init__(self, least: int) -> None:
        """``least``: the least severity that is said."""
        self._least = least
        self._known: dict[int, _Known] = {}
        self._of_connection: dict[int, set[int]] = {}
        self._unsaid: set[int] = set()
        self._leaving: list[int] = []
        self._ready: list[Said | Withdrawn] = []
        self._shown: dict[tuple[str, str], tuple[int, int]] = {}
        """Of what many connections show: the grade with which it was said, and when it was last seen."""

    def look(self, findings: list[RuleHits], connections: Any, now: int) -> None:
        """Take what is found of connections that may go on; ``connections`` are all their rows."""
        last = dict(zip(connections["connection_id"].tolist(), connections["last_time"].tolist(), strict=True))
        present: set[int] = set()
        for number, rank, waits, hits, place in self._each(findings):
            present.add(number)
            self._note(number, rank, waits, min(now, last.get(number // RULES_PER_CONNECTION, now)), hits, place)
        for connection in last.keys() & self._of_connection.keys():
            for number in self._of_connection[connection] - present:
                self._vanish(number)

    def finished(self, findings: list[RuleHits], connections: NDArray[np.int64]) -> None:
        """Take what is found of connections that are over; it is certain."""
        present: set[int] = set()
        for number, rank, _, hits, place in self._each(findings):
            present.add(number)
            self._note(number, rank, 0, 0, hits, place)
        for connection in self._of_connection.keys() & set(connections.tolist()):
            for number in self._of_connection[connection] - present:
                self._vanish(number)
            self._leaving += self._of_connection.pop(connection)

    def overview(self, findings: list[RuleHits], now: int) -> None:
        """Take what many connections show."""
        for _, rank, _, hits, place in self._each(findings):
            told = finding(hits, place)
            key = told.rule, told.endpoints
            before, seen = self._shown.get(key, (-1, now))
            before = -1 if now - seen > GONE_NS else before
            if rank > before:
                self._ready.append(Said(told, alone(hits, place), is_worse=before >= 0))
            self._shown[key] = max(rank, before), now
        if len(self._shown) > MOST_SHOWN:
            self._shown = {key: kept for key, kept in self._shown.items() if now - kept[1] <= GONE_NS}

    def certain(self, now: int) -> Iterator[Said | Withdrawn]:
        """What is to be said now; ``now`` is capture time."""
        ready, self._ready = self._ready, []
        for number in sorted(self._unsaid):
            known = self._known[number]
            if now < known.since + known.waits or known.hits is None:
                continue
            ready.append(Said(finding(known.hits, 0), known.hits, is_worse=known.said >= 0))
            known.said, known.hits = known.rank, None
            self._unsaid.discard(number)
        for number in self._leaving:
            self._known.pop(number, None)
        self._leaving = []
        ready.sort(key=_time_of)
        yield from ready

    def _each(self, findings: list[RuleHits]) -> Iterator[tuple[int, int, int, RuleHits, int]]:
        """Number, grade, wait and place of each finding that is severe enough."""
        for hits in findings:
            places = np.flatnonzero(hits.severity >= self._least)
            if places.size:
                numbers, waits = finding_ids(hits)[places].tolist(), settling_ns(hits)[places].tolist()
                ranks = (hits.severity.astype(np.int64) * len(w.CONFIDENCE.words) + hits.confidence)[places].tolist()
                for number, rank, wait, place in zip(numbers, ranks, waits, places.tolist(), strict=True):
                    yield number, rank, wait, hits, place

    def _note(self, number: int, rank: int, waits: int, since: int, hits: RuleHits, place: int) -> None:
        """Keep a finding until it is certain, unless it was said with this grade or a higher one."""
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = _Known(hits.rule.id, rank, since, waits, None)
            self._of_connection.setdefault(number // RULES_PER_CONNECTION, set()).add(number)
        if rank <= known.said:
            self._unsaid.discard(number)
            return
        if (rank, waits) != (known.rank, known.waits) or number not in self._unsaid:
            known.rank, known.waits, known.since = rank, waits, since
        known.hits = alone(hits, place)
        self._unsaid.add(number)

    def _vanish(self, number: int) -> None:
        """It is not found any more, though its connection is."""
        known = self._known.pop(number)
        if known.said >= 0:
            self._ready.append(Withdrawn(number, known.rule))
        self._unsaid.discard(number)
        self._of_connection[number // RULES_PER_CONNECTION].discard(number)


def _time_of(said: Said | Withdrawn) -> int:
    return said.finding.time if isinstance(said, Said) else 0
