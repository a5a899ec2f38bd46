"""Every folder of fixtures/ with an ``expect.toml`` is a test: what the tool must say, and what it must not."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest

from tcptrace_tw.rules import RULES
from tests import said
from tests.scenario import Result, parse, play_pcap, render
from tests.scenario.play import why_unfit

FIXTURES = Path(__file__).parent.parent / "fixtures"
NAMES = sorted(path.parent.name for path in FIXTURES.glob("*/expect.toml"))
LARGE = 400_000
"""Bytes of a capture: some 5,000 segments."""
KNOWN = {rule.id for rule in RULES}


@cache
def expectation(name: str) -> dict[str, Any]:
    return tomllib.loads((FIXTURES / name / "expect.toml").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_tool_says_what_the_fixture_expects(name: str) -> None:
    """Histories, TIME-WAIT spans and findings: all that is expected, and nothing from notice up besides."""
    expected = expectation(name)
    got = _play(FIXTURES / name, expected.get("settings", {}), compiled=is_large(name) and not why_unfit())

    found = [
        *([] if is_large(name) else _compiled(FIXTURES / name, expected.get("settings", {}), got)),
        *problems(expected, got),
        *said.problems(name, got),
    ]
    assert not found, "\n".join(["", *found])


def problems(expected: dict[str, Any], got: Result) -> Iterator[str]:
    """Where what the tool says is not what a fixture expects."""
    yield from _connections(expected, got)
    yield from _spans(expected, got)
    yield from of_rules(expected, got)


def of_rules(expected: dict[str, Any], got: Result) -> Iterator[str]:
    """The same of what rules and their decision tables say."""
    yield from _rows(expected, got)
    yield from _findings(expected, got)
    yield from _forbidden(expected, got)


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_says_what_it_is(name: str) -> None:
    """A fixture has a page with its purpose, origin and licence."""
    text = (FIXTURES / name / "README.md").read_text()

    assert text.startswith(f"# {name}\n")
    assert "Origin:" in text
    assert "icence" in text


def _play(folder: Path, settings: dict[str, Any], *, compiled: bool) -> Result:
    captured = folder / "capture.pcap"
    return play_pcap(captured if captured.exists() else rendered(folder.name), compiled=compiled, **settings)


def played(name: str) -> Result:
    """A fixture with its settings, by the fastest kernels that there are."""
    return _play(FIXTURES / name, expectation(name).get("settings", {}), compiled=not why_unfit())


@lru_cache(1)
def rendered(name: str) -> bytes:
    scenario = parse((FIXTURES / name / "scenario.pkt").read_text())
    return render(scenario.frames, scenario.link)


def is_large(name: str) -> bool:
    """Too many segments for the interpreted kernels: the compiled ones play it, alone."""
    folder = FIXTURES / name
    captured = folder / "capture.pcap"
    return (captured.stat().st_size if captured.exists() else len(rendered(name))) > LARGE


def _compiled(folder: Path, settings: dict[str, Any], interpreted: Result) -> Iterator[str]:
    """The compiled kernels, if there are any, say the same as the interpreted ones."""
    if why_unfit():
        return
    compiled = _play(folder, settings, compiled=True)
    for name in interpreted.tables.differing(compiled.tables):
        yield f"{name}: the compiled kernels have other rows"
    if interpreted.findings != compiled.findings:
        yield "the compiled kernels have other findings"


def _connections(expected: dict[str, Any], got: Result) -> Iterator[str]:
    """Both histories, the active closer and the way it ended; only where the fixture lists its connections."""
    if not expected.get("connection"):
        return
    rows = []
    for row in got.connections:
        rows.append(dict(row))
        for end in ("orig", "resp"):
            rows[-1][f"{end}_history"] = got.history(row.connection_id, end)
            rows[-1][f"{end}_frames"] = [change.frame for change in got.valid_transitions(row.connection_id, end)]
    yield from _compare("connection", expected.get("connection", []), rows)


def _spans(expected: dict[str, Any], got: Result) -> Iterator[str]:
    spans = sorted(got.time_wait, key=lambda row: (row.connection_id, row.holder))
    rows = [{**span, "connection": span.connection_id} for span in spans]
    yield from _compare("time_wait", expected.get("time_wait", []), rows)


def _compare(kind: str, entries: list[dict[str, Any]], rows: list[dict[str, Any]]) -> Iterator[str]:
    if entries and len(entries) != len(rows):
        yield f"{kind}: {len(entries)} expected, there are {len(rows)}"
    for number, (entry, row) in enumerate(zip(entries, rows, strict=False), start=1):
        for key, value in entry.items():
            if row[key] != value:
                yield f"{kind} {number}: {key} is {row[key]}, expected {value}"


def _rows(expected: dict[str, Any], got: Result) -> Iterator[str]:
    """Rows of any table: one with all of these values is there; a null is spelt ``"null"``."""
    for entry in expected.get("row", []):
        wanted = {key: None if value == "null" else value for key, value in entry.items() if key != "table"}
        rows = got.tables[entry["table"]]
        if not any(all(row[key] == value for key, value in wanted.items()) for row in rows):
            yield f"row: expected {entry}, there is {[{key: row[key] for key in wanted} for row in rows]}"


def _findings(expected: dict[str, Any], got: Result) -> Iterator[str]:
    """Everything from notice up, and what the fixture wants to know besides; nothing else."""
    entries = expected.get("finding", [])
    families, ignored, only = (tuple(expected.get(key, ())) for key in ("families", "ignore", "only"))
    said = [
        finding
        for finding in got.findings
        if not finding.rule.startswith(ignored)
        and finding.confidence != "refuted"
        and (finding.rule.startswith(only) if only else True)
        and (finding.severity != "info" or finding.rule.startswith(families or only))
    ]
    counted = Counter(finding.rule for finding in said)
    wanted: Counter[str] = Counter()
    for entry in entries:
        wanted[entry["rule"]] += entry.get("count", 1)
    if counted != wanted:
        yield f"findings: too many {dict(counted - wanted)}, missing {dict(wanted - counted)}"
    for entry in entries:
        same = [finding for finding in said if finding.rule == entry["rule"]]
        if same and not any(_matches(finding, entry) for finding in same):
            yield f"finding: expected {entry}, there is {[_short(finding) for finding in same]}"


def _matches(finding: Any, entry: dict[str, Any]) -> bool:
    if not set(entry.get("frames", ())) <= set(finding.frames):
        return False
    if "connection" in entry and finding.get("connection_id") != entry["connection"]:
        return False
    if entry.get("says", "") not in finding.message or entry.get("says_not", "\n") in finding.message:
        return False
    return all(finding[key] == entry[key] for key in ("severity", "confidence") if key in entry)


def _short(finding: Any) -> dict[str, Any]:
    return {key: finding.get(key) for key in ("rule", "severity", "confidence", "connection_id", "frames")}


def _forbidden(expected: dict[str, Any], got: Result) -> Iterator[str]:
    """A near miss does not fire its rule; clean traffic gives no warning and no error."""
    forbidden = {*expected.get("forbid", ()), expected.get("near_miss_of")}
    for finding in got.findings:
        if {finding.rule, f"{finding.rule}:{finding.severity}"} & forbidden:
            yield f"forbidden: {_short(finding)}"
        if expected.get("clean") and finding.severity in ("warning", "error"):
            yield f"not clean: {_short(finding)}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_a_fixture_that_fires(rule: Any) -> None:
    """The example of a rule is a fixture, and it expects the rule."""
    assert rule.example in NAMES
    assert rule.id in {entry["rule"] for entry in expectation(rule.example).get("finding", ())}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_a_near_miss(rule: Any) -> None:
    """There is a case that nearly fires the rule and must not."""
    assert rule.id in {expectation(name).get("near_miss_of") for name in NAMES}


def test_fixtures_name_only_known_rules() -> None:
    """What a fixture expects can be found: its rules stand in the catalogue."""
    for name in NAMES:
        expected = expectation(name)
        near = expected.get("near_miss_of")
        rules = {entry["rule"] for entry in expected.get("finding", ())} | ({near} if near else set())

        assert rules <= KNOWN, name
