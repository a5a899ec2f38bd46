"""Every folder of fixtures/ with an ``expect.toml`` is a test: what the tool must say about it, and what it must not."""

from __future__ import annotations

import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tcptrace_tw.rules import RULES
from tests.scenario import Result, parse, play_pcap, render

FIXTURES = Path(__file__).parent.parent / "fixtures"
NAMES = sorted(path.parent.name for path in FIXTURES.glob("*/expect.toml"))
SEVERITIES = ("info", "notice", "warning", "error")
KNOWN = {rule.id for rule in RULES}


@cache
def expectation(name: str) -> dict[str, Any]:
    return tomllib.loads((FIXTURES / name / "expect.toml").read_text())


@cache
def result(name: str) -> Result:
    folder = FIXTURES / name
    settings = expectation(name).get("settings", {})
    if (folder / "capture.pcap").exists():
        return play_pcap(folder / "capture.pcap", **settings)
    scenario = parse((folder / "scenario.pkt").read_text())
    return play_pcap(render(scenario.frames, scenario.link), **settings)


def wanted(name: str, kind: str) -> list[Any]:
    """The entries of one kind, or a skip where the fixture says nothing about it."""
    entries: list[Any] = expectation(name).get(kind, [])
    if not entries:
        pytest.skip(f"says nothing about {kind}")
    return entries


@pytest.mark.parametrize("name", NAMES)
def test_the_connections_are_the_expected_ones(name: str) -> None:
    """Both histories, the active closer and the way it ended (RFC 9293 3.3.2)."""
    got = result(name)

    said = []
    for entry, row in zip(wanted(name, "connection"), got.connections, strict=True):
        row = dict(row)
        for endpoint in ("orig", "resp"):
            row[f"{endpoint}_history"] = got.history(row["connection_id"], endpoint)
        said.append({key: row[key] for key in entry})
    assert said == wanted(name, "connection")


@pytest.mark.parametrize("name", NAMES)
def test_the_time_wait_spans_are_the_expected_ones(name: str) -> None:
    """Holder, start, restarts and end (RFC 9293 3.10.7.4)."""
    entries = wanted(name, "time_wait")
    spans = sorted(result(name).time_wait, key=lambda row: (row.connection_id, row.holder))

    said = [
        {key: span["connection_id" if key == "connection" else key] for key in entry}
        for entry, span in zip(entries, spans, strict=True)
    ]
    assert said == entries


@pytest.mark.parametrize("name", NAMES)
def test_the_findings_are_the_expected_ones(name: str) -> None:
    """Everything from notice up, and what the fixture wants to know besides; nothing else."""
    expected = expectation(name)
    entries = [entry for entry in expected.get("finding", []) if entry["rule"] in KNOWN]
    families = tuple(expected.get("families", ()))
    ignored = tuple(expected.get("ignore", ()))
    said = [
        finding
        for finding in result(name).findings
        if not finding.rule.startswith(ignored or ("-",))
        and finding.confidence != "refuted"
        and (finding.severity != "info" or finding.rule.startswith(families or ("-",)))
    ]

    assert Counter(finding.rule for finding in said) == Counter(entry["rule"] for entry in entries)
    for entry in entries:
        assert any(_matches(finding, entry) for finding in said if finding.rule == entry["rule"]), (
            f"no finding is {entry}; there is {[_short(finding) for finding in said if finding.rule == entry['rule']]}"
        )


def _matches(finding: Any, entry: dict[str, Any]) -> bool:
    if not set(entry.get("frames", ())) <= set(finding.frames):
        return False
    if "connection" in entry and finding.get("connection_id") != entry["connection"]:
        return False
    return all(finding[key] == entry[key] for key in ("severity", "confidence") if key in entry)


def _short(finding: Any) -> dict[str, Any]:
    return {key: finding.get(key) for key in ("rule", "severity", "confidence", "connection_id", "frames")}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_forbidden_is_not_said(name: str) -> None:
    """A near miss does not fire its rule; clean traffic gives no warning and no error."""
    expected = expectation(name)
    forbidden = [*expected.get("forbid", ()), *filter(None, [expected.get("near_miss_of")])]
    for finding in result(name).findings:
        assert finding.rule not in forbidden, f"{_short(finding)} is the near miss"
        if expected.get("clean"):
            assert finding.severity in ("info", "notice"), f"{_short(finding)} on clean traffic"


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_says_what_it_is(name: str) -> None:
    """A fixture has a page with its purpose, origin and licence."""
    text = (FIXTURES / name / "README.md").read_text()

    assert text.startswith(f"# {name}\n")
    assert "Origin:" in text
    assert "icence" in text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_a_fixture_that_fires(rule: Any) -> None:
    """The example of a rule is a fixture, and it expects the rule."""
    assert rule.example in NAMES
    assert rule.id in {entry["rule"] for entry in expectation(rule.example).get("finding", ())}


def test_fixtures_name_only_known_rules() -> None:
    """What a fixture expects can be found: its rules stand in the catalogue."""
    named = {entry["rule"]: name for name in NAMES for entry in expectation(name).get("finding", ())}

    assert {rule: name for rule, name in named.items() if rule not in KNOWN} == {}
