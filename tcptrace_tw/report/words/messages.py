"""The sentence of a finding: ``{ip}:{port} was reused {gap_ns} after ...`` filled in from its row.

The notation of ``Rule.message``, read here and nowhere else:

==================  =================================================================================
``{gap_ns}``        the value: a span with its unit, an address, a word as prose
``{spans:span}``    a count: ``1 span``, ``2 spans``; the plural may follow: ``{copies:copy|copies}``
``{retries:time}``  ``once``, ``twice``, ``3 times``
``{isn_delta:#}``   the size of a number, without its sign
``{step_ms:ms}``    milliseconds, as a span
``[, twice {a}]``   left out where a column in it is null, no, or the number 0
``{opened:?}``      prints nothing, but decides about its brackets
``{answer:=rst}``   prints nothing; the brackets stay where the word is this one
``{?}``             the hedge before what is inferred: ``probably`` or ``perhaps``, nothing where it is confirmed
==================  =================================================================================

``findings_arrow`` fills in whole columns the same way.
"""

import re
from functools import lru_cache
from string import Formatter
from typing import NamedTuple

import numpy as np

from tcptrace_tw.report.words.phrases import counted
from tcptrace_tw.report.words.text import Row, duration_text, is_null, row_of, value_text
from tcptrace_tw.rules.rule import Mask, RuleHits
from tcptrace_tw.schema.columns import BY_NAME, Column, Table
from tcptrace_tw.schema.words import CONFIDENCE, CONFIRMED, LIKELY, PREDICTED

COUNT = "count"
"""``{count}`` is no column: how many rows the finding was folded from."""


HEDGE = "{?}"
"""Stands before what is inferred, so that what was seen is said without a doubt."""

_HEDGES = {PREDICTED: "perhaps ", LIKELY: "probably "}


class Part(NamedTuple):
    """A literal, and the column whose value follows it ("" at the end of a clause)."""

    literal: str
    column: str
    spec: str
    is_address: bool
    """Whether ``:{port}`` follows, so that an IPv6 address needs brackets."""

    @property
    def is_silent(self) -> bool:
        """Whether it only decides about its clause."""
        return self.spec == "?" or self.spec.startswith("=")

    @property
    def is_plain(self) -> bool:
        """Whether the value is said as it is."""
        return not self.spec


class Clause(NamedTuple):
    """What is said, or left out, as a whole."""

    parts: tuple[Part, ...]
    is_optional: bool


@lru_cache(maxsize=256)
def parse(template: str) -> tuple[Clause, ...]:
    """The clauses of a message template."""
    pieces = re.split(r"\[([^\]]*)\]", template)
    return tuple(Clause(_parts(text), bool(number % 2)) for number, text in enumerate(pieces) if text)


def _parts(text: str) -> tuple[Part, ...]:
    pieces = list(Formatter().parse(text))
    following = [*(piece[0] for piece in pieces), ""][1:]
    return tuple(
        Part(literal, column or "", spec or "", (column or "").endswith("ip") and after.startswith(":"))
        for (literal, column, spec, _), after in zip(pieces, following, strict=True)
    )


def is_zero_absent(column: Column) -> bool:
    """Whether 0 in this column says that there is nothing: counts and flags, not ids and moments."""
    return column.kind in ("bool", "i4", "i8", "u1", "u2", "u4")


def number_text(spec: str, number: int) -> str:
    """A number as ``spec`` asks for it."""
    if spec == "#":
        return f"{abs(number):,}"
    if spec == "ms":
        return duration_text(number * 1_000_000)
    return counted(number, *spec.split("|"))


def hedged(template: str, confidence: int) -> str:
    """The template with the word that says how sure its conclusion is."""
    return template.replace(HEDGE, _HEDGES.get(confidence, ""))


def with_hedge(template: str, text: str, confidence: int) -> str:
    """``text``, made of ``template``, with the confidence behind it where the template has no place for a hedge."""
    if confidence == CONFIRMED or HEDGE in template:
        return text
    return f"{text} ({CONFIDENCE.words[confidence]})"


def templates(findings: RuleHits) -> list[tuple[str, Mask]]:
    """The sentences with their hedges, and the findings that each of them is said of."""
    said = []
    for template, told in findings.rule.messages_for(findings.rows):
        if HEDGE not in template:
            said.append((template, told))
            continue
        for code in np.unique(findings.confidence[told]).tolist():
            said.append((hedged(template, code), told & (findings.confidence == code)))
    return said


def message(findings: RuleHits, index: int, several_files: bool = False) -> str:
    """The sentence of one finding."""
    table, row = BY_NAME[findings.rule.table], row_of(findings.rows, index)
    row[COUNT] = int(findings.count[index])
    template, _ = findings.rule.messages_for(findings.rows[index : index + 1])[0]
    text = ""
    for clause in parse(hedged(template, int(findings.confidence[index]))):
        if not clause.is_optional or all(_is_told(table, part, row) for part in clause.parts if part.column):
            text += "".join(part.literal + _text(table, part, row, several_files) for part in clause.parts)
    return text


def _is_told(table: Table, part: Part, row: Row) -> bool:
    if part.column == COUNT or part.column.endswith("ip"):
        return True
    column, value = table.column(part.column), row[part.column]
    if part.spec.startswith("="):
        assert column.words is not None
        return value == column.words.code(part.spec[1:])
    return not is_null(column, value) and (value != 0 or not is_zero_absent(column))


def _text(table: Table, part: Part, row: Row, several_files: bool) -> str:
    if not part.column or part.is_silent:
        return ""
    if not part.is_plain:
        return number_text(part.spec, row[part.column])
    if part.column == COUNT:
        return str(row[COUNT])
    value = value_text(table, part.column, row, several_files)
    return f"[{value}]" if part.is_address and ":" in value else value
