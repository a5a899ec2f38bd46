"""Incidents in tables, in Python and in checks: everywhere the same numbers, and every finding names its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import tcptrace_tw as tw
from tcptrace_tw.cli.app import app
from tcptrace_tw.report.summary.incidents import Incidents
from tcptrace_tw.report.tables import waiting
from tcptrace_tw.report.tables.sinks import ParquetSink
from tcptrace_tw.rules.mechanisms import CONSEQUENCES
from tcptrace_tw.schema import words as w
from tests.report_rows import findings, reuses
from tests.scenario import parse, render

FIXTURES = Path(__file__).parent.parent / "fixtures"
NAMES = ("nat-few-ports", "close-wait-leak", "syn-into-last-ack", "linger0-habit", "syn-retries", "tw-assassination")


def run(*words: str) -> Any:
    """A command that ends well or finds something."""
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code in (0, 1), done.output
    return done


def capture(name: str) -> str:
    return str(FIXTURES / f"kernel-{name}" / "capture.pcap")


def test_what_an_incident_tells_is_a_finding_whatever_its_severity(tmp_path: Path) -> None:
    """Report, check and tables agree there, too: an old segment that was dropped is what the capture is about."""
    scenario = parse((FIXTURES / "wandering-duplicate-same-isn" / "scenario.pkt").read_text())
    path = tmp_path / "capture.pcap"
    path.write_bytes(render(scenario.frames, scenario.link))
    (told,) = json.loads(run("report", str(path), "--json").stdout)["incidents"]
    (checked,) = json.loads(run("check", str(path), "--format", "json", "-q").stdout)["incidents"]
    trace = tw.analyze(str(path))

    assert checked["sentence"] == told["sentence"]
    assert (trace.findings.incident_id == 1).sum() == told["findings"] == checked["findings"]


@pytest.mark.parametrize("name", NAMES)
def test_report_tables_and_check_tell_the_same_incidents(name: str, tmp_path: Path) -> None:
    """One number, one sentence and one count, whoever tells them."""
    path = capture(name)
    told = json.loads(run("report", path, "--json").stdout)["incidents"]
    checked = json.loads(run("check", path, "--format", "json", "-q").stdout)
    run("analyze", path, "-o", str(tmp_path / "out"), "-q")
    stored = json.loads(run("check", str(tmp_path / "out"), "--format", "json", "-q").stdout)
    rows = pq.read_table(tmp_path / "out" / "incidents.parquet").to_pylist()
    found = pq.read_table(tmp_path / "out" / "findings.parquet").to_pylist()

    assert told
    names = ("incident_id", "title", "sentence", "severity", "confidence", "connections", "findings", "remedy")
    assert [[each[name] for name in names] for each in rows] == [[each[name] for name in names] for each in told]
    assert [(each["cause"], each["delay_ns"]) for each in rows] == [(each["rule"], each["delay_ns"]) for each in told]
    assert checked["incidents"] == [{key: each[key] for key in checked["incidents"][0]} for each in told]
    assert stored["incidents"] == checked["incidents"]
    for incident in told:
        number = incident["incident_id"]
        assert sum(each["incident_id"] == number for each in found) == incident["findings"]
        assert sum(each["incident_id"] == number for each in checked["findings"]) == incident["findings"]
        assert {each["incident_id"] for each in incident["examples"]} == {number}
    assert None not in {each["incident_id"] for each in found}


def test_the_check_says_its_incidents_in_one_line() -> None:
    one = run("check", capture("nat-few-ports")).stderr
    assert "tcptrace-tw: 1 incident: 7 SYNs from 198.19.19.1 to 198.19.19.20:5000 met TIME-WAIT" in one
    several = run("check", capture("linger0-habit"), capture("nat-few-ports")).stderr
    assert "incidents: error 1, notice " in several
    assert "; the worst: 7 SYNs" in several


def test_sarif_names_the_incident_of_a_result_and_of_each_location() -> None:
    (log,) = json.loads(run("check", capture("nat-few-ports"), "--format", "sarif", "-q").stdout)["runs"]

    assert [each["incident_id"] for each in log["properties"]["incidents"]] == [1]
    for result in log["results"]:
        assert result["properties"]["incidents"] == [1]
        for location in result["locations"]:
            assert location["properties"]["incident"] == 1
            assert all(isinstance(number, (int, str)) for number in location["properties"]["values"].values())
    gaps = [each["properties"]["values"]["gap_ns"] for result in log["results"] for each in result["locations"]]
    assert all(isinstance(gap, int) for gap in gaps)


def test_what_is_explained_twice_over_goes_to_the_last_cause() -> None:
    """HS002 is explained by SI002, and that by HS005: all three on one connection are one incident, none is lost."""
    assert {"SI002", "HS005"} <= {*CONSEQUENCES["HS002"]}
    rows = reuses(1)
    made = Incidents()
    for rule in ("HS002", "SI002", "HS005"):
        made.add(findings(rows, id=rule, severity=w.WARNING))
    (incident,) = made.told()

    assert incident.rule == "HS005"
    assert {rule.rule: rule.count for rule in incident.rules} == {"HS005": 1, "SI002": 1, "HS002": 1}
    assert incident.findings == 3


def test_causes_do_not_explain_each_other_in_a_circle() -> None:
    def ends(rule: str, seen: tuple[str, ...]) -> bool:
        return rule not in seen and all(ends(cause, (*seen, rule)) for cause in CONSEQUENCES.get(rule, ()))

    assert all(ends(rule, ()) for rule in CONSEQUENCES)


def test_findings_are_counted_once_whoever_takes_them() -> None:
    """Two sinks of one run take the same findings in turn."""
    made, hits = Incidents(), findings(reuses(2), severity=w.WARNING)
    first = made.add(hits)

    assert np.array_equal(made.add(hits), first)
    assert made.told()[0].count == 2


def _written(folder: Path, chunks: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    folder.mkdir()
    sink = ParquetSink(folder, incidents=Incidents())
    for chunk in chunks:
        sink.findings(chunk)
    names = sorted(path.name for path in folder.iterdir())
    sink.finish({})
    return pq.read_table(folder / "findings.parquet").to_pylist(), names


def test_findings_that_do_not_fit_into_memory_wait_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is the same, and the folder never has a file that is none of its tables."""
    chunks = []
    for number in range(6):
        rows = reuses(5)
        rows.connection_id = rows.attempt_id = np.arange(5) + 5 * number + 1
        which = {"id": "RU004", "severity": w.WARNING} if number % 2 else {}
        chunks.append(findings(rows, caveats=("cut",) if number > 3 else (), **which))
    whole, names = _written(tmp_path / "whole", chunks)
    monkeypatch.setattr(waiting, "MOST_BYTES", 2000)
    monkeypatch.setattr(waiting, "GROUP", 7)
    spilled, others = _written(tmp_path / "spilled", chunks)

    assert len(whole) == 30
    assert {each["incident_id"] for each in whole} == {1}
    assert spilled == whole
    assert others == names


def test_a_findings_incident_can_be_looked_up_in_python() -> None:
    trace = tw.analyze(capture("nat-few-ports"))
    joined = trace.findings.merge(trace.incidents, on="incident_id", suffixes=("", "_of_incident"))

    assert len(joined) == len(trace.findings) == 17
    assert trace.incidents.cause.tolist() == ["RU004"]
    assert trace.table("incidents").num_rows == 1
