"""The sentence of a finding: ``{ip}:{port} was reused {gap_ns} after ...`` filled in from its row.

``findings_arrow`` fills in whole columns the same way.
"""

from functools import lru_cache
from string import Formatter
from typing import NamedTuple

from tcptrace_tw.report.text import row_of, value_text
from tcptrace_tw.rules.rule import Findings
from tcptrace_tw.spec.columns import BY_NAME

COUNT = "count"
"""``{count}`` is no column: how many rows the finding was folded from."""


class Part(NamedTuple):
    """A literal, and the column whose value follows it ("" at the end of a template)."""

    literal: str
    column: str
    is_address: bool
    """Whether ``:{port}`` follows, so that an IPv6 address needs brackets."""


@lru_cache(maxsize=256)
def parse(template: str) -> tuple[Part, ...]:
    """The parts of a message template."""
    pieces = list(Formatter().parse(template))
    following = [*(piece[0] for piece in pieces), ""][1:]
    return tuple(
        Part(literal, column or "", (column or "").endswith("ip") and after.startswith(":"))
        for (literal, column, _, _), after in zip(pieces, following, strict=True)
    )


def message(findings: Findings, index: int, several_files: bool = False) -> str:
    """The sentence of one finding."""
    table, row = BY_NAME[findings.rule.table], row_of(findings.rows, index)
    text = ""
    for part in parse(findings.rule.message):
        text += part.literal
        if part.column == COUNT:
            text += str(int(findings.count[index]))
        elif part.column:
            value = value_text(table, part.column, row, several_files)
            text += f"[{value}]" if part.is_address and ":" in value else value
    return text
