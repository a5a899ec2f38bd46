"""What is ordinary is counted, not written as a finding; ``--findings info`` brings it back, out of the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import tcptrace_tw as tw
from tcptrace_tw.cli.app import app
from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.tables import written_rows
from tcptrace_tw.report.tables.written_rows import records_of
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema import words as w
from tests.report_rows import blank, halves, record_batch

FIXTURES = Path(__file__).parent.parent / "fixtures"
CAPTURE = str(FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap")
KERNEL_TABLES = [table for table in c.TABLES if table not in (c.FINDINGS, c.INCIDENTS)]


def run(*words: str) -> Any:
    """A command that ends well or finds something."""
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code in (0, 1), done.output
    return done


def severities(folder: Path) -> set[str]:
    return set(pq.read_table(folder / "findings.parquet")["severity"].to_pylist())


def test_analyze_writes_what_is_worth_attention_and_more_when_asked(tmp_path: Path) -> None:
    for level, written in (
        ("", {"warning", "notice"}),
        ("warning", {"warning"}),
        ("info", {"warning", "notice", "info"}),
    ):
        target = tmp_path / f"out-{level}"
        run("analyze", CAPTURE, "-o", str(target), "-q", *(["--findings", level] if level else []))

        assert severities(target) == written
        counts = json.loads((target / "manifest.json").read_text())["report"]["findings"]
        assert sum(rule["count"] for rule in counts if rule["severity"] == "info") == 6


def test_a_report_counts_the_same_whatever_is_shown() -> None:
    usual, all_of_it = (
        json.loads(run("report", CAPTURE, "--json", *more).stdout) for more in ([], ["--findings", "info"])
    )
    counts = [
        [(rule["rule"], rule["count"], rule["severities"]) for rule in each["findings"]] for each in (usual, all_of_it)
    ]

    assert counts[0] == counts[1]
    assert usual["incidents"] == all_of_it["incidents"]
    assert {rule["severity"] for rule in usual["findings"] if not rule["examples"]} == {"info"}
    assert all(rule["examples"] for rule in all_of_it["findings"])


def test_a_report_of_a_folder_can_ask_for_more_than_was_written(tmp_path: Path) -> None:
    run("analyze", CAPTURE, "-o", str(tmp_path / "out"), "-q")
    fresh, stored = (
        json.loads(run("report", what, "--json", "--findings", "info").stdout)
        for what in (CAPTURE, str(tmp_path / "out"))
    )

    assert stored["findings"] == fresh["findings"]
    assert stored["incidents"] == fresh["incidents"]


def test_a_report_tells_nothing_below_the_severity() -> None:
    told = json.loads(
        run("report", str(FIXTURES / "kernel-linger0-habit" / "capture.pcap"), "--json", "--findings", "error").stdout
    )

    assert told["incidents"] == []
    assert told["findings"]


def test_check_knows_both_names_of_the_option() -> None:
    one, other = (run("check", CAPTURE, option, "info").stdout for option in ("--findings", "--show"))

    assert one == other
    assert " info: " in one
    assert CliRunner().invoke(app, ["check", CAPTURE, "--findings", "notices"]).exit_code == 2
    assert CliRunner().invoke(app, ["report", CAPTURE, "--findings", "notices"]).exit_code == 2


def test_a_policy_that_raises_what_is_ordinary_finds_it_in_a_folder(tmp_path: Path) -> None:
    run("analyze", CAPTURE, "-o", str(tmp_path / "out"), "-q")
    policy = tmp_path / "policy.toml"
    policy.write_text('severities.RU001 = "error"\n')
    done = run("check", str(tmp_path / "out"), "--config", str(policy))

    assert done.exit_code == 1
    assert "RU001 error: " in done.stdout


def test_python_can_ask_for_what_is_ordinary(tmp_path: Path) -> None:
    usual, all_of_it = tw.analyze(CAPTURE), tw.analyze(CAPTURE, findings="info")
    run("analyze", CAPTURE, "-o", str(tmp_path / "out"), "-q")
    loaded = tw.load(tmp_path / "out", findings="info")

    assert set(usual.findings.severity) == {"warning", "notice"}
    assert set(all_of_it.findings.severity) == {"warning", "notice", "info"}
    pd.testing.assert_frame_equal(loaded.findings, all_of_it.findings)
    pd.testing.assert_frame_equal(loaded.incidents, all_of_it.incidents)
    pd.testing.assert_frame_equal(tw.load(tmp_path / "out").findings, usual.findings)
    with pytest.raises(UsageError, match="--findings"):
        tw.analyze(CAPTURE, findings="all")


def test_a_ladder_has_ordinary_mechanisms_in_any_case(tmp_path: Path) -> None:
    """They explain what the segments do, and one connection has few."""
    run("analyze", CAPTURE, "-o", str(tmp_path / "out"), "-q")
    shown = run("show", CAPTURE, "--connection", "2").stdout

    assert "RU001" in shown
    assert run("show", str(tmp_path / "out"), "--connection", "2").stdout == shown
    for trace in (tw.analyze(CAPTURE), tw.analyze(CAPTURE, findings="info")):
        assert "RU001" in str(trace.connection(2).ladder)


ADDRESSES = st.sampled_from(["192.0.2.1", "255.255.255.255", "0.0.0.0", "::1", "2001:db8::ff"])


@st.composite
def rows_of_any_table(draw: Any) -> tuple[c.Table, Any, bool]:
    """Kernel rows with arbitrary content."""
    table, several = draw(st.sampled_from(KERNEL_TABLES)), draw(st.booleans())
    rows = blank(table, draw(st.integers(0, 4)))
    number = st.one_of(st.just(-1), st.integers(0, 2**30))
    for column in table.columns:
        for i in range(rows.size if column.fields and not column.name.startswith("history") else 0):
            if column.kind == "ip":
                rows[f"{column.name}_hi"][i], rows[f"{column.name}_lo"][i] = halves(draw(ADDRESSES))
            elif column.kind == "word":
                rows[column.name][i] = draw(st.integers(0, len(column.words.words) - 1))
            elif column.kind == "bool":
                rows[column.name][i] = draw(st.booleans())
            elif column.kind in ("u4", "u2", "u1"):
                rows[column.name][i] = draw(st.integers(0, 255))
            elif column.kind == "frame":
                rows[column.name][i] = draw(number) | (draw(st.integers(0, 3)) << c.FRAME_BITS if several else 0)
            else:
                rows[column.name][i] = draw(number)
    return table, rows, several


@given(rows_of_any_table())
def test_written_rows_can_be_read_by_rules_again(made: tuple[c.Table, Any, bool]) -> None:
    table, rows, several = made
    again = records_of(table, pa.Table.from_batches([record_batch(table, rows, several)]))

    for name in rows.dtype.names:
        if name != "vlan" and not name.startswith("history"):  # made of scope, and of no use to a rule
            assert again[name].tolist() == rows[name].tolist(), name


def test_the_rows_of_a_connection_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule folds neighbours: a row group that ends within a connection must not make two findings of one."""
    pieces = []
    for numbers in ([1, 1, 2], [2, 2], [2, 3], [], [4]):
        rows = blank(c.RESETS, len(numbers))
        rows.connection_id = numbers
        pieces.append(np.asarray(rows))
    found = [piece["connection_id"].tolist() for piece in written_rows._whole(iter(pieces))]

    assert found == [[1, 1], [2, 2, 2, 2], [3], [4]]
    assert [row for piece in found for row in piece] == [1, 1, 2, 2, 2, 2, 3, 4]


def test_every_table_is_an_attribute_that_dir_knows() -> None:
    for table in c.TABLES:
        assert table.name in dir(tw.Trace)
        assert (getattr(tw.Trace, table.name).__doc__ or "").startswith(f"One row per {table.row}")


def test_words_that_are_more_and_less_are_ordered() -> None:
    trace = tw.analyze(CAPTURE, findings="info")
    found = trace.findings

    assert (found.severity >= "notice").sum() == 2
    assert found.severity.cat.categories.tolist() == list(w.SEVERITY.words)
    assert found.confidence.max() == "confirmed"
    assert found.severity.tolist() == sorted(found.severity, key=w.SEVERITY.words.index, reverse=True)
    assert trace.incidents.severity.cat.ordered
    assert trace.connection(2).findings.severity.is_monotonic_decreasing


def test_a_connection_is_found_by_its_number() -> None:
    trace = tw.analyze(CAPTURE)

    assert trace.connections.loc[2, "connection_id"] == 2
    assert trace.connections.loc[2].close == "normal"
    assert len(trace.connections.merge(trace.time_wait, on="connection_id")) == len(trace.time_wait)


def test_a_connection_has_its_duration_and_handshake() -> None:
    found = tw.analyze(CAPTURE).connections

    assert found.duration_ns.tolist() == ((found.last_time - found.first_time) // pd.Timedelta(1, "ns")).tolist()
    known = found.established_time.notna() & (found.opened != "midstream")
    wanted = (found.established_time - found.first_time) // pd.Timedelta(1, "ns")
    assert found.handshake_ns[known].tolist() == wanted[known].tolist()
    assert found.handshake_ns[~known].isna().all()


def test_numbers_of_a_finding_are_columns() -> None:
    late = tw.analyze(CAPTURE).findings.set_index("rule").loc["LA001"]

    assert (
        late.delay_ns
        == json.loads(run("check", CAPTURE, "--select", "LA001", "-f", "ndjson").stdout)["values"]["cost_ns"]
    )
    assert late["count"] == 1
    details = json.loads(late.details)
    assert isinstance(details["gap_ns"], int)
    assert "cost_ns" not in details


def test_the_summary_has_a_short_repr() -> None:
    summary = tw.analyze(CAPTURE).summary

    assert (
        repr(summary) == "<Digest: 2 connections, peak 1 TIME-WAIT socket; 1 warning, 1 notice, 6 info in 1 incident>"
    )


def test_a_connection_is_told_by_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million connections only the rows of one are made for its story."""
    trace = tw.analyze(FIXTURES / "kernel-narrow-ports-client-closes" / "capture.pcap")
    made: list[int] = []

    def counted(table: Any, written: Any) -> Any:
        if table.name != "capture":
            made.append(written.num_rows)
        return records_of(table, written)

    monkeypatch.setattr(written_rows, "records_of", counted)

    assert trace.connection(600).story.findings
    assert 0 < sum(made) < 10 < len(trace.connections)
