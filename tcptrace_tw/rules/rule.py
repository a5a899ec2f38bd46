"""What a rule is, and what it says: one record, one predicate over the rows of one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.schema.observed import THINGS

Rows = Any
"""Kernel rows of one table, a ``np.recarray``: ``rows.gap_ns`` is a column."""

Mask = NDArray[np.bool_]


class Grade(NamedTuple):
    """One row of a grading table: where ``when`` holds, the finding gets this severity and confidence."""

    when: Callable[[Rows], Mask]
    severity: int
    confidence: int
    note: str = ""


class Advice(NamedTuple):
    """A remedy for the rows where ``when`` holds, and the condition in words."""

    when: Callable[[Rows], Mask]
    condition: str
    remedy: str


class Wording(NamedTuple):
    """The sentence for the rows where ``when`` holds, and what they have in common in words."""

    when: Callable[[Rows], Mask]
    condition: str
    message: str


@dataclass(frozen=True)
class Rule:
    """One entry of the catalogue.

    ``predicate(rows)`` selects the rows of ``table`` that the rule states something about. ``grades`` are
    tried in order, the first that holds decides; the last one holds always. ``message`` names columns in
    braces: ``{ip}:{port}``, ``{gap_ns}`` (printed as seconds), ``{holder}`` (printed as a word), counts with their
    noun (``{spans:span}``), and in brackets what is left out where it is not known; ``report/words/messages.py``
    has the whole notation. ``frames`` and ``values`` are columns too.
    """

    id: str
    name: str
    severity: int
    summary: str
    table: str
    predicate: Callable[[Rows], Mask]
    grades: tuple[Grade, ...]
    message: str
    frames: tuple[str, ...]
    values: tuple[str, ...]
    set_when: tuple[str, ...]
    not_set_when: tuple[str, ...]
    rfc: tuple[str, ...]
    remedy: str
    example: str
    counter: str = ""
    """The nstat counter of the host that confirms it; empty where there is none."""
    rival: str = ""
    """What else could explain the same picture; empty where nothing could."""
    time: str = "time"
    """The column that says when it began."""
    end_time: str = ""
    """The column that says when it ended; empty where it is a moment."""
    key: str = "connection_id"
    """Rows with the same value are one finding."""
    needs: tuple[int, ...] = ()
    """What must be observable of a connection (``schema.observed``): where it was hidden, nothing is said of it."""
    is_shown_by_one_side: bool = False
    """The segments of one endpoint prove it: a capture of one direction takes nothing from it."""
    wordings: tuple[Wording, ...] = ()
    """Sentences for special cases, the first that holds; elsewhere ``message``."""
    advice: tuple[Advice, ...] = ()
    """Remedies for special cases, the first that holds; elsewhere ``remedy``."""
    is_held: bool = False
    """Its findings wait for the end of the capture: what the endpoint does elsewhere decides how sure they are."""

    def remedy_for(self, rows: Rows) -> str:
        """What to do about the first of these rows."""
        return next((each.remedy for each in self.advice if each.when(rows)[0]), self.remedy)

    def messages_for(self, rows: Rows) -> list[tuple[str, Mask]]:
        """The sentences, and the rows that each of them is said of; every row has one."""
        left = np.ones(rows.size, np.bool_)
        said = []
        for each in self.wordings:
            told = left & each.when(rows)
            if told.any():
                said.append((each.message, told))
                left = left & ~told
        return [*said, (self.message, left)] if left.any() or not said else said

    def condition_of(self, rows: Rows) -> str:
        """Which wording the first of these rows has; nothing where it has the usual one."""
        return next((each.condition for each in self.wordings if each.when(rows)[0]), "")

    @property
    def needs_in_words(self) -> tuple[str, ...]:
        """What must be observable, in plain words."""
        return tuple(thing.meaning for i, thing in enumerate(THINGS) if 1 << i in self.needs)


def is_observed(rows: Rows, *needs: int) -> Mask:
    """Whether all of these could be seen of the connection (``schema.observed``)."""
    bits = sum(needs)
    return np.asarray((rows.observed & bits) == bits)


def always(rows: Rows) -> Mask:
    """The last row of a grading table."""
    return np.ones(rows.size, np.bool_)


class Case(NamedTuple):
    """One row of a decision table: where ``when`` holds, and no row before it, this is the verdict.

    ``example`` is a fixture in which the row decides, ``nearly`` one that has such rows and in which it does not.
    """

    when: Callable[[Rows], Mask]
    verdict: int
    why: str
    example: str
    nearly: str


def decided(table: tuple[Case, ...], rows: Rows) -> NDArray[np.uint8]:
    """The verdict of the first case that holds, for each row; the last one holds always."""
    codes = np.empty(rows.size, np.uint8)
    for case in reversed(table):
        codes[case.when(rows)] = case.verdict
    return codes


class Derived(NamedTuple):
    """A column that a decision table fills: ``decide(rows)`` gives the codes of its words."""

    table: str
    column: str
    decide: Callable[[Rows], NDArray[np.uint8]]


class RuleHits(NamedTuple):
    """What one rule says about one chunk of rows: at most one finding per connection.

    ``rows`` are the selected records, one per finding; ``severity`` and ``confidence`` are codes of
    ``words``; ``count`` says how many rows of the connection were folded into the finding; ``caveats`` are
    sentences that hold for all of them.
    """

    rule: Rule
    rows: Rows
    severity: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    count: NDArray[np.int64]  # type: ignore[assignment]
    caveats: tuple[str, ...] = ()
