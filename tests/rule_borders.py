"""Where each rule, and each row of a decision table, decides: the lines of ``said.txt`` that begin with "borders of".

The rows are those of a fixture in which the rule fires, or nearly does. One column of a row is changed at a time, over
all of its range, and what is said of the row changes at certain values: these are found exactly, and written down.
They prove nothing alone: that a border is right is said in ``expect.toml`` of the fixtures, in ``test_rule_numbers.py``
and in docs/semantics.md. But no border can move by 1 without a diff.

The fixtures are the examples and near misses of a rule; those in which it gives another grade, sentence or remedy stand
in ``tests/rule_borders.txt``, which ``python -m tests.rule_borders`` writes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.rules import DERIVED, RULES
from tcptrace_tw.rules.decisions import connect_suspects, reset_causes, stale_segments, syn_answers
from tcptrace_tw.rules.rule import Case, Rule, is_observed
from tcptrace_tw.rules.runner import grade
from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY

FIXTURES = Path(__file__).parent.parent / "fixtures"
BY_ID = {rule.id: rule for rule in RULES}
FILE = Path(__file__).parent / "rule_borders.txt"
BORDERS_OF = "borders of "

MOST_ROWS = 3
"""Of each answer, in a fixture."""

MOST_PIECES, MOST_TOLD = 7, 2
"""What has more borders, and rows after these, have a digest."""

DECISIONS: dict[str, tuple[Case, ...]] = {
    "resets.verdict": reset_causes.RESET,
    "stale_segments.verdict": stale_segments.STALE_SEGMENT,
    "reuses.verdict": syn_answers.SYN_ANSWER,
    "reuses.outcome": syn_answers.OUTCOME,
    "connects.suspect": connect_suspects.SUSPECT,
}

MOST = 1 << 61
"""Greater numbers have no room for sums and differences."""

IDENTITIES = ("connection_id", "silent_connection_id", "tuple_id")
"""Rows that are made of one row are of different connections: they say nothing together."""

Rows = Any
Codes = NDArray[np.int64]


class Question(NamedTuple):
    """What is asked of rows: ``answer`` gives a code for each, of which ``words`` makes words."""

    name: str
    table: str
    answer: Callable[[Rows], Codes]
    words: Callable[[int], str]


class Reads:
    """Stands for rows, and notes which columns are read."""

    def __init__(self, rows: Rows, columns: set[str]) -> None:
        self._rows, self._columns = rows, columns

    def __getattr__(self, name: str) -> Any:
        if name in self._rows.dtype.names:
            self._columns.add(name)
        return getattr(self._rows, name)

    def __getitem__(self, name: Any) -> Any:
        if isinstance(name, str):
            self._columns.add(name)
            return self._rows[name]
        return Reads(self._rows[name], self._columns)


@cache
def questions() -> dict[str, tuple[Question, ...]]:
    """By fixture: the rules of which it is the example or a near miss, and the same of rows of decision tables."""
    found: dict[str, list[Question]] = {}
    for path in FIXTURES.glob("*/expect.toml"):
        rule = BY_ID.get(tomllib.loads(path.read_text()).get("near_miss_of", ""))
        if rule:
            found.setdefault(path.parent.name, []).append(_of_rule(rule))
    for rule in RULES:
        for fixture in (rule.example, *_more().get(rule.id, ())):
            found.setdefault(fixture, []).append(_of_rule(rule))
    for name, cases in DECISIONS.items():
        for number, case in enumerate(cases[:-1]):
            asked = Question(f"{name} {number}", name.partition(".")[0], _holds(case), _yes_or_no)
            for fixture in (case.example, case.nearly):
                found.setdefault(fixture, []).append(asked)
    return {fixture: tuple(dict.fromkeys(asked)) for fixture, asked in found.items()}


def _more() -> dict[str, list[str]]:
    """For a rule, other fixtures in which it says something else."""
    lines = (line.split() for line in FILE.read_text().splitlines() if not line.startswith("#"))
    return {rule: fixtures for rule, *fixtures in lines}


def _of_rule(rule: Rule) -> Question:
    return Question(rule.id, rule.table, _answer_of(rule), _graded)


def _yes_or_no(code: int) -> str:
    return "yes" if code else "no"


@cache
def _holds(case: Case) -> Callable[[Rows], Codes]:
    return lambda rows: np.asarray(case.when(rows)).astype(np.int64)


@cache
def _answer_of(rule: Rule) -> Callable[[Rows], Codes]:
    """Severity, confidence, sentence and remedy of each row; -1 where the rule does not fire."""

    def answer(rows: Rows) -> Codes:
        for each in DERIVED:
            if each.table == rule.table and not isinstance(rows, Reads):
                rows[each.column] = each.decide(rows)
        fires = np.array(rule.predicate(rows))
        if rule.needs:
            fires &= is_observed(rows, *rule.needs)
        severity, confidence = grade(rule, rows)
        sentences = [each.message for each in rule.wordings] + [rule.message]
        codes = severity.astype(np.int64) * 1000 + confidence.astype(np.int64) * 100
        for message, told in rule.messages_for(rows):
            codes[told] += 10 * sentences.index(message)
        remedy = np.full(rows.size, len(rule.advice))
        for place in reversed(range(len(rule.advice))):
            remedy[rule.advice[place].when(rows)] = place
        return np.where(fires, codes + remedy, -1)

    return answer


def _graded(code: int) -> str:
    """In words: the numbers are those of the sentence and of the remedy."""
    if code < 0:
        return "no"
    return f"{SEVERITY.words[code // 1000]} {CONFIDENCE.words[code // 100 % 10]} {code // 10 % 10}{code % 10}"


def lines(fixture: str, records: Callable[[str], Rows]) -> Iterator[str]:
    """The borders of each column that a question reads; ``records``: the rows of a table, in this fixture."""
    for asked in questions().get(fixture, ()):
        rows = records(asked.table)
        if not rows.size:
            continue
        codes = asked.answer(_copies(rows))
        base = np.concatenate([rows[codes == code][:MOST_ROWS] for code in np.unique(codes)]).view(np.recarray)
        columns = sorted(_read(asked, base))
        for name, told in zip(columns, _borders(asked, base, columns), strict=True):
            told = list(dict.fromkeys(each for each in told if each))
            more = [f"and {_digest(told[MOST_TOLD:])}"] if told[MOST_TOLD:] else []
            if told:
                yield f"{BORDERS_OF}{asked.name}: {name}: " + "; ".join(told[:MOST_TOLD] + more)


def _digest(what: object) -> str:
    return f"{crc32(repr(what).encode()) & 0xFFFFFF:06x}"


def _copies(rows: Rows) -> Rows:
    """Rows of different connections."""
    rows = np.array(rows).view(np.recarray)
    for name in IDENTITIES:
        if name in rows.dtype.names:
            rows[name] = np.arange(rows.size)
    return rows


def _read(asked: Question, base: Rows) -> set[str]:
    """The columns that are read, for the decision tables too."""
    columns: set[str] = set()
    reads: Any = Reads(_copies(base), columns)
    asked.answer(reads)
    for each in DERIVED:
        if each.table == asked.table and each.column in columns:
            columns.remove(each.column)
            each.decide(reads)
    return columns - set(IDENTITIES)


def _borders(asked: Question, base: Rows, columns: list[str]) -> Iterator[list[str]]:
    """Of each column, for each row: what is said at the least value, and from which values on something else."""
    grids = [_grid(base, name) for name in columns]
    rows = np.concatenate([np.repeat(np.arange(base.size), grid.shape[1]) for grid in grids])
    places = np.concatenate([np.full(grid.size, place) for place, grid in enumerate(grids)])
    values = np.concatenate([grid.ravel() for grid in grids])
    codes = _asked(asked, base, columns, rows, places, values)
    at = np.flatnonzero((codes[1:] != codes[:-1]) & (rows[1:] == rows[:-1]) & (places[1:] == places[:-1]))
    low, high = values[at].copy(), values[at + 1].copy()
    below, above = codes[at], codes[at + 1].copy()
    while (apart := (high - low).astype(np.uint64) > 1).any():
        middle = low + ((high - low).astype(np.uint64) // 2).astype(np.int64)
        now = _asked(asked, base, columns, rows[at], places[at], middle)
        low, high = np.where(apart & (now == below), middle, low), np.where(apart & (now != below), middle, high)
        above = np.where(apart & (now != below), now, above)
    for place in range(len(columns)):
        told = []
        for row in range(base.size):
            mine = np.flatnonzero((places[at] == place) & (rows[at] == row))
            first = codes[np.flatnonzero((places == place) & (rows == row))[0]]
            told.append(_told(asked, first, high[mine], above[mine]))
        yield told


def _told(asked: Question, first: int, values: Codes, codes: Codes) -> str:
    if not values.size:
        return ""
    if values.size > MOST_PIECES:
        return f"{values.size} borders {_digest((values.tolist(), codes.tolist()))}"
    pieces = [f"{value} {asked.words(code)}" for value, code in zip(values.tolist(), codes.tolist(), strict=True)]
    return ", ".join([asked.words(int(first)), *pieces])


def _asked(asked: Question, base: Rows, columns: list[str], rows: Codes, places: Codes, values: Codes) -> Codes:
    """The answers for copies of rows with one value changed in each."""
    varied = base[rows]
    for place, name in enumerate(columns):
        mine = places == place
        varied[name][mine] = values[mine].astype(varied.dtype[name])
    with np.errstate(divide="ignore", invalid="ignore"):  # shares of nothing
        return asked.answer(_copies(varied))


def _grid(base: Rows, name: str) -> Codes:
    """Values from the least to the greatest, for each row, and those of its other columns, each with its neighbours."""
    kind = base.dtype[name]
    if kind.kind not in "iu":
        return np.tile(np.array([0, 1]), (base.size, 1))
    least, most = max(np.iinfo(kind).min, -MOST), min(np.iinfo(kind).max, MOST)
    if kind.itemsize == 1:
        return np.tile(np.arange(least, most + 1), (base.size, 1))
    steps = [0, most] + [1 << power for power in range(61)] + [3 << power for power in range(60)]
    fixed = np.array(sorted({each for step in steps for each in (step - 1, step, -step) if least <= each <= most}))
    same = [other for other in base.dtype.names if base.dtype[other].kind in "iu" and base.dtype[other].itemsize > 1]
    others = np.stack([base[other].astype(np.int64) for other in same], axis=1)
    near = np.clip(np.concatenate([others - 1, others, others + 1], axis=1), least, most)
    return np.sort(np.concatenate([np.tile(fixed, (base.size, 1)), near], axis=1), axis=1)


def missing(records: Callable[[str, str], Rows]) -> Iterator[str]:
    """Of each rule the fixtures in which it says what it says in no example or near miss, and in none before them."""
    names = sorted(path.parent.name for path in FIXTURES.glob("*/expect.toml"))
    for rule in RULES:
        asked = _of_rule(rule)
        known: set[int] = set()
        fixtures = []
        for name in sorted(names, key=lambda name: asked not in questions().get(name, ())):
            rows = records(name, asked.table)
            codes = set(asked.answer(_copies(rows)).tolist()) if rows.size else set()
            if codes - known and asked not in questions().get(name, ()):
                fixtures.append(name)
            known |= codes
        if fixtures:
            yield " ".join([rule.id, *fixtures])


def main() -> None:
    """Write the file."""
    from tests import test_fixtures

    FILE.write_text("")
    questions.cache_clear()
    play = cache(test_fixtures.played)
    lines = list(missing(lambda name, table: play(name).records(table)))
    FILE.write_text("\n".join(["# fixtures in which a rule says something else than in its example", *lines]) + "\n")


if __name__ == "__main__":
    main()
