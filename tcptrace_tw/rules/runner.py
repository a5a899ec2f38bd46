"""Where rows become findings: every chunk of rows passes each rule of its table once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import as_records
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.protocol.profiles import Profile
from tcptrace_tw.rules import DERIVED, RULES
from tcptrace_tw.rules.caveats import NO_CAVEATS, capped
from tcptrace_tw.rules.deferred import DeferredFindings
from tcptrace_tw.rules.rule import Rule, RuleHits, is_observed
from tcptrace_tw.schema.columns import Table

Threshold = tuple[str, str, int | None, int | None]


class RuleRunner:
    """The selected rules, applied to rows as they come.

    ``select`` and ``ignore`` are rule ids or prefixes, as ``Settings`` has checked them.
    ``thresholds`` are rule, column, and the least and the most of it that a row must have; None is no bound.
    """

    def __init__(
        self,
        select: Sequence[str],
        ignore: Sequence[str],
        profile: Profile,
        thresholds: Sequence[Threshold] = (),
        *,
        compiled: bool,
        seed: Seed,
    ) -> None:
        self._rules = tuple(bounded(rule, thresholds) for rule in chosen(select, ignore))
        self._profile = profile
        self._deferred = DeferredFindings(compiled=compiled, seed=seed)
        self.caveats = NO_CAVEATS
        """What is known about the capture so far; the pipeline keeps it up to date."""

    def classify(self, table: Table, rows: NDArray[Any]) -> NDArray[Any]:
        """Fill the columns that a decision table derives from the others."""
        return classified(table, rows)

    def evaluate(self, table: Table, rows: NDArray[Any]) -> Iterator[RuleHits]:
        """What the rules of this table say about these rows."""
        records = as_records(rows)
        self._deferred.see(table.name, records)
        for rule in self._rules:
            if rule.table == table.name:
                found = apply(rule, records)
                if found is None:
                    continue
                if self._deferred.takes(found):
                    self._deferred.keep(found)
                    if self._deferred.is_full:
                        yield from (capped(each, self.caveats) for each in self._deferred.release())
                else:
                    yield capped(found, self.caveats)

    def close(self) -> Iterator[RuleHits]:
        """What only the whole capture shows."""
        for found in self._deferred.release():
            yield capped(found, self.caveats)


def classified(table: Table, rows: NDArray[Any]) -> NDArray[Any]:
    """The rows, with the columns filled in that a decision table derives from the others."""
    for derived in DERIVED:
        if derived.table == table.name:
            rows[derived.column] = derived.decide(as_records(rows))
    return rows


def chosen(select: Sequence[str], ignore: Sequence[str]) -> Iterable[Rule]:
    """The rules that ``select`` names, or all, without those that ``ignore`` names."""
    for rule in RULES:
        if (not select or rule.id.startswith(tuple(select))) and not rule.id.startswith(tuple(ignore)):
            yield rule


def bounded(rule: Rule, thresholds: Sequence[Threshold]) -> Rule:
    """The rule, of the rows within its thresholds only; a row whose number is not known stays."""
    own = [threshold[1:] for threshold in thresholds if threshold[0] == rule.id]
    if not own:
        return rule

    def predicate(rows: Any) -> NDArray[np.bool_]:
        mask = rule.predicate(rows)
        for column, least, most in own:
            numbers = rows[column].astype(np.int64)
            is_within = np.ones(rows.size, np.bool_)
            if least is not None:
                is_within &= numbers >= least
            if most is not None:
                is_within &= numbers <= most
            if column.endswith("_ns"):
                is_within |= numbers == -1
            mask = mask & is_within
        return mask

    return replace(rule, predicate=predicate)


def apply(rule: Rule, rows: Any) -> RuleHits | None:
    """One rule on one chunk: the first row of each connection stands for all of them; None where nothing is found."""
    mask = rule.predicate(rows)
    if not mask.any():
        return None
    if rule.needs:
        mask = mask & is_observed(rows, *rule.needs)
        if not mask.any():
            return None
    hits = rows if mask.all() else rows[mask]
    severity, confidence = grade(rule, hits)
    key = np.ascontiguousarray(hits[rule.key])
    # The rows of a connection leave together, so equal keys are neighbours.
    is_new = key[1:] != key[:-1]
    if is_new.all():
        return RuleHits(rule, hits, severity, confidence, np.ones(key.size, np.int64))
    first = np.flatnonzero(np.concatenate(([True], is_new)))
    count = np.diff(np.append(first, key.size))
    # Of equals the earliest stands for all.
    worst = np.lexsort(
        (
            hits[rule.frames[-1]] if rule.frames else key,
            hits[rule.time],
            -confidence.astype(np.int8),
            -severity.astype(np.int8),
            np.repeat(np.arange(first.size), count),
        )
    )
    lead = worst[first]
    return RuleHits(rule, hits[lead], severity[lead], confidence[lead], count)


def grade(rule: Rule, rows: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Severity and confidence by the rule's grading table: first match wins."""
    severity = np.zeros(rows.size, np.uint8)
    confidence = np.zeros(rows.size, np.uint8)
    for step in reversed(rule.grades):
        hit = step.when(rows)
        np.copyto(severity, step.severity, where=hit)
        np.copyto(confidence, step.confidence, where=hit)
    return severity, confidence
