"""``python -m tests.said [FIXTURE ...]``: write ``said.txt`` of the fixtures, all that the tool says about each.

Every finding with its sentence, values and remedy, every incident, every column of every table, and where the rules
that the fixture is about decide (``rule_borders``). A test compares it (``test_fixtures.py``), so that whoever changes
a sentence or a decision sees in the diff what it changes.
"""

from __future__ import annotations

import base64
import difflib
import sys
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from tcptrace_tw.report.summary.incidents import Incidents
from tcptrace_tw.report.words.findings import Finding, finding
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.rule import Rule
from tests import rule_borders
from tests.rule_borders import BORDERS_OF
from tests.scenario import Result

FIXTURES = Path(__file__).parent.parent / "fixtures"
TOLD = 4
"""Findings of one rule that are written in full; of those after them there is one digest."""

MOST_DIFFERENCES = 12
COLUMNS_OF = "columns of "
BY_ID = {rule.id: rule for rule in RULES}


def lines(name: str, got: Result, tables: Container[str] | None = None, *, has_borders: bool = True) -> list[str]:
    """All that is said of a fixture, a line for each thing; ``tables``: only the columns of these."""
    caveats = list(dict.fromkeys(caveat for hits in got.hits for caveat in hits.caveats))
    return [
        *(f"caveat {number}: {text}" for number, text in enumerate(caveats, 1)),
        *_findings(got, caveats),
        *_incidents(got),
        *(
            _digest(table, got)
            for table in got.tables
            if (tables is None or table in tables) and got.tables.records(table).size
        ),
        *(rule_borders.lines(name, got.records) if has_borders else ()),
    ]


def problems(
    name: str, got: Result, tables: Container[str] | None = None, *, has_borders: bool = True
) -> Iterator[str]:
    """Where it is something else than what the file of the fixture has."""
    path = FIXTURES / name / "said.txt"
    kept = path.read_text().splitlines() if path.exists() else []
    before = [line for line in kept if tables is None or not line.startswith(COLUMNS_OF) or _table(line) in tables]
    before = [line for line in before if has_borders or not line.startswith(BORDERS_OF)]
    now = lines(name, got, tables, has_borders=has_borders)
    if before == now:
        return
    differences = [line for line in difflib.unified_diff(before, now, n=0, lineterm="") if line[:2] not in ("--", "++")]
    yield from (_clearer(line, before, got) for line in differences[:MOST_DIFFERENCES] if not line.startswith("@"))
    yield f"if that is meant: python -m tests.said {name}, or without a name for all fixtures"


def _findings(got: Result, caveats: list[str]) -> Iterator[str]:
    """By rule, in the order in which the rows came."""
    said: dict[str, list[tuple[str, ...]]] = {}
    for hits in got.hits:
        for place in range(hits.rows.size):
            remedy = _remedy(hits.rule, hits.rows[place : place + 1])
            said.setdefault(hits.rule.id, []).append(tuple(_finding(finding(hits, place), remedy, caveats)))
    for rule in sorted(said):
        for each in said[rule][:TOLD]:
            yield from each
        more = said[rule][TOLD:]
        if more:
            yield f"{rule}: and {len(more)} more {short(crc32(repr(more).encode()))}"


def _finding(told: Finding, remedy: str, caveats: list[str]) -> Iterator[str]:
    frames = " ".join(str(frame) for frame in told.frames)
    known = " ".join(str(caveats.index(caveat) + 1) for caveat in told.caveats)
    yield f"{told.rule} {told.name}: {told.severity}, {told.confidence}, {told.endpoints}, frames {frames or 'none'}"
    yield f"  {told.message}"
    values = {**told.values, "count": told.count, "delay_ns": told.delay_ns, "silence_ns": told.silence_ns}
    yield f"  {told.finding_id} at {int(told.time)} in {told.frame}: {_pairs(values)}"
    yield from (f"  {label} {text}" for label, text in (("remedy", remedy), ("caveats", known)) if text)


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _remedy(rule: Rule, rows: Any) -> str:
    """In which case the rule gives it; the text stands in the pages of the rules. Nothing for the usual one."""
    remedy = rule.remedy_for(rows)
    return next((advice.condition for advice in rule.advice if advice.remedy == remedy), "")


def _incidents(got: Result) -> Iterator[str]:
    incidents = Incidents()
    for hits in got.hits:
        incidents.add(hits)
    for each in incidents.told():
        rules = _pairs({rule.rule: f"{rule.severity} {rule.count}" for rule in each.rules})
        case = next((a.condition for a in BY_ID[each.rule].advice if a.remedy == each.remedy), "")
        yield f"incident {each.incident_id}: {each.title}: {each.severity}, {each.confidence}, {rules}"
        yield f"  {each.sentence}"
        times = f"from {each.first_time and int(each.first_time)} to {each.last_time and int(each.last_time)}"
        delays = f"delay {each.delay_ns}, {each.worst_delay_ns} at worst, known of {each.delays_known}"
        yield f"  {each.count} on {each.connections} connections, {times}, {delays}" + (
            f", remedy {case}" if case else ""
        )


def _digest(table: str, got: Result) -> str:
    """Three characters for each column, in the order of the table's record."""
    records = got.tables.records(table)
    names = records.dtype.names or ()
    columns = "".join(short(crc32(records[name].astype("<i8").tobytes())) for name in names) if records.size else ""
    return f"{COLUMNS_OF}{table}: {records.size} {columns}".rstrip()


def short(digest: int) -> str:
    """Three characters for it."""
    return base64.b64encode((digest & 0xFFFFFF).to_bytes(3, "big")).decode()[:3]


def _table(line: str) -> str:
    return line.removeprefix(COLUMNS_OF).partition(":")[0]


def _clearer(line: str, before: list[str], got: Result) -> str:
    """A difference of digests with the names of the columns, and what they hold now."""
    table = _table(line[1:])
    if not line.startswith(f"+{COLUMNS_OF}"):
        return line
    records = got.tables.records(table)
    old = next((kept for kept in before if kept.startswith(f"{COLUMNS_OF}{table}:")), "").split()
    new = line.split()
    if len(old) != len(new) or len(old[-1]) != len(new[-1]) or old[-2:-1] != new[-2:-1]:
        return line
    names = (name for i, name in enumerate(records.dtype.names or ()) if old[-1][3 * i :][:3] != new[-1][3 * i :][:3])
    return f"+{COLUMNS_OF}{table}: " + ", ".join(f"{name} is now {records[name][:5].tolist()}" for name in names)


def write(names: list[str], play: Callable[[str], Result], say: Callable[[str], object] = print) -> None:
    """The files of these fixtures."""
    changed = 0
    for name in names:
        path, text = FIXTURES / name / "said.txt", "\n".join(lines(name, play(name))) + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed += 1
    say(f"{changed} of {len(names)} files are new or changed")


if __name__ == "__main__":
    from tests import test_fixtures

    write(sys.argv[1:] or test_fixtures.NAMES, test_fixtures.played)
