"""Connections for a list: those that a filter means, in the order that is asked for, as columns and never one by one.

Where a limit is given, only the best rows so far are kept while the capture passes. Of a filter or an order that
depends on findings the rows wait until the end, 113 bytes each, because a finding may come after its connection.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.errors import UsageError, hint
from tcptrace_tw.report.words.findings import connection_ids, previous_connection_ids
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.columns import CONNECTIONS
from tcptrace_tw.schema.words import NOTICE
from tcptrace_tw.selection import Selection, Wanted

Ints = NDArray[np.int64]

_NAMES = ("connection_id", "first_time", "last_time", "orig_ip_hi", "orig_ip_lo", "resp_ip_hi", "resp_ip_lo", "scope",
          "orig_payload_bytes", "resp_payload_bytes", "survived_ns", "silence_ns", "orig_segments", "resp_segments",
          "orig_port", "resp_port", "opened", "close", "active_closer", "orig_state", "resp_state")  # fmt: skip

ROW = np.dtype([(name, CONNECTIONS.dtype[name]) for name in _NAMES])
"""What a list keeps of a row of ``connections``."""

_WAITING = 1 << 16
"""The most rows that wait; then all but the best are dropped."""


def longest_silence(rows: NDArray[Any]) -> Ints:
    """The longest silence of both ends in ns; -1 where there was none of a second or longer."""
    longest: Ints = np.maximum(rows["survived_ns"], rows["silence_ns"])
    return longest


def duration(rows: NDArray[Any]) -> Ints:
    """From the first segment to the last, in ns."""
    lasted: Ints = rows["last_time"] - rows["first_time"]
    return lasted


def payload(rows: NDArray[Any]) -> Ints:
    """Payload bytes of both directions."""
    carried: Ints = rows["orig_payload_bytes"] + rows["resp_payload_bytes"]
    return carried


_MOST_FIRST: dict[str, Callable[[NDArray[Any]], Ints]] = {
    "duration": duration,
    "bytes": payload,
    "silence": longest_silence,
}
SORTS = {
    "number": "in the order of their first segments",
    "duration": "the longest first",
    "bytes": "most payload first",
    "silence": "the longest silence first",
    "findings": "the most severe findings first",
}
"""Each order and what it means."""


def known_sort(word: str) -> str:
    """One of ``SORTS``; ``UsageError`` with a suggestion."""
    if word not in SORTS:
        raise UsageError(f"--sort {word}: {hint(word, SORTS)}")
    return word


class Hits:
    """Findings by connection: three columns that grow."""

    def __init__(self) -> None:
        self._chunks: list[tuple[Ints, Ints, Ints]] = []
        self._columns: tuple[Ints, Ints, Ints] | None = None

    def add(self, connections: Ints, rule: int | Ints, severity: NDArray[Any]) -> None:
        """Take findings of some connections; ``rule`` is the place in ``RULES``."""
        if connections.size:
            rules = np.broadcast_to(np.asarray(rule, np.int64), connections.shape)
            self._chunks.append((connections, rules, severity.astype(np.int64)))
            self._columns = None

    @property
    def columns(self) -> tuple[Ints, Ints, Ints]:
        """Connection, rule and severity of each, by connection, the worst first."""
        if self._columns is None:
            nothing = np.zeros(0, np.int64)
            parts = zip(*self._chunks, strict=True) if self._chunks else [(nothing,)] * 3
            connections, rules, severities = (np.concatenate(part) for part in parts)
            order = np.lexsort((rules, -severities, connections))
            self._columns = connections[order], rules[order], severities[order]
        return self._columns

    def have(self, wanted: Wanted, connections: Ints) -> NDArray[np.bool_]:
        """Which of these connections have such a finding."""
        found, rules, severities = self.columns
        meant = np.array([rule.id.startswith(wanted.rules) for rule in RULES])
        keep = meant[rules] & (severities >= wanted.severity)
        mask: NDArray[np.bool_] = np.isin(connections, found[keep])
        return mask

    def of(self, connections: Ints) -> list[list[str]]:
        """The rules that found something about each of these connections, each rule once, the worst first."""
        found, rules, _ = self.columns
        begin, end = np.searchsorted(found, connections), np.searchsorted(found, connections + 1)
        named: list[list[str]] = [[] for _ in range(connections.size)]
        for place in np.flatnonzero(end > begin).tolist():
            named[place] = list(dict.fromkeys(RULES[rule].id for rule in rules[begin[place] : end[place]].tolist()))
        return named

    def weights(self, connections: Ints) -> tuple[Ints, Ints]:
        """The worst severity of each connection (-1: no finding), and how many it has."""
        found, _, severities = self.columns
        begin, end = np.searchsorted(found, connections), np.searchsorted(found, connections + 1)
        worst = np.full(connections.size, -1)
        some = end > begin
        worst[some] = severities[begin[some]]
        return worst, end - begin


@dataclass
class Listed:
    """Connections in order, and what was found about them."""

    rows: NDArray[Any]
    hits: Hits
    matched: int
    """How many connections the filter means; ``rows`` may be fewer."""
    total: int
    """How many there are in all."""

    @property
    def left_out(self) -> int:
        """How many of those that are meant are not in ``rows``."""
        return self.matched - len(self.rows)


class Listing:
    """A sink that keeps the connections of a list. ``limit`` 0 keeps all of them."""

    tables = frozenset({"connections"})

    def __init__(
        self,
        selection: Selection | None = None,
        sort: str = "number",
        limit: int = 0,
        *,
        is_reversed: bool = False,
        least: int = NOTICE,
    ) -> None:
        self._selection = selection
        self._sort = known_sort(sort)
        self._limit = limit
        self._is_reversed = is_reversed
        self._least = least
        self._waits = sort == "findings" or bool(selection and selection.wanted)
        self._chunks: list[NDArray[Any]] = []
        self._waiting = 0
        self._matched = self._total = 0
        self._hits = Hits()
        self._places = {rule.id: place for place, rule in enumerate(RULES)}

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Take finished rows of ``connections``, or what ``ROW`` has of them."""
        self._total += rows.size
        if self._selection is not None and not self._selection.wanted:
            rows = rows[self._selection.keeps(rows)]
        self._matched += rows.size
        kept = np.zeros(rows.size, ROW)
        for name in _NAMES:
            kept[name] = rows[name]
        self._chunks.append(kept)
        self._waiting += kept.size
        if self._limit and not self._waits and self._waiting > _WAITING + self._limit:
            self._chunks = [self._best(np.concatenate(self._chunks))]
            self._waiting = self._chunks[0].size

    def findings(self, findings: RuleHits) -> None:
        """Take what one rule says."""
        own, met = connection_ids(findings), previous_connection_ids(findings)
        self.add(np.where(own > 0, own, met), findings.rule.id, findings.severity)

    def add(self, connections: Ints, rule: str, severity: NDArray[Any]) -> None:
        """Take findings of one rule: those that are shown, and those that the filter asks for."""
        wanted = self._selection.wanted if self._selection is not None else ()
        is_asked_for = any(each.rules and rule.startswith(each.rules) for each in wanted)
        least = 0 if is_asked_for else min([self._least, *(each.severity for each in wanted if not each.rules)])
        keep = (severity >= least) & (connections > 0)
        if rule in self._places:
            self._hits.add(connections[keep], self._places[rule], severity[keep])

    def result(self) -> Listed:
        """The list, once all rows have come."""
        rows = np.concatenate([np.zeros(0, ROW), *self._chunks])
        if self._selection is not None and self._selection.wanted:
            rows = rows[self._selection.keeps(rows, self._hits.have)]
            self._matched = rows.size
        return Listed(self._best(rows), self._hits, self._matched, self._total)

    def _best(self, rows: NDArray[Any]) -> NDArray[Any]:
        order = np.lexsort(self._keys(rows))
        if self._is_reversed:
            order = order[::-1]
        return rows[order[: self._limit or None]]

    def _keys(self, rows: NDArray[Any]) -> tuple[Ints, ...]:
        """The last one counts most."""
        numbers = rows["connection_id"]
        if self._sort in _MOST_FIRST:
            return numbers, -_MOST_FIRST[self._sort](rows)
        if self._sort == "findings":
            worst, count = self._hits.weights(numbers)
            return numbers, -count, -worst
        return (numbers,)
