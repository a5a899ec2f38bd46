"""The commands over synthetic rows: what they print, what they write, how they end."""

import json
import re

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tcptrace_tw import load, pipeline
from tcptrace_tw.cli.app import app
from tcptrace_tw.cli.run import glob_for
from tcptrace_tw.rules import RULES
from tcptrace_tw.schema.columns import TABLES
from tests import report_pipeline


@pytest.fixture(autouse=True)
def synthetic_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline, "analyze", report_pipeline.analyze)
    monkeypatch.setattr(pipeline, "ladders", report_pipeline.ladders)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_report_prints_the_page():
    done = run("report", "lab.pcap")

    assert done.exit_code == 0
    assert "Connections  3" in done.stdout
    assert "RU002 reuse-inside-2msl" in done.stdout
    assert done.stderr == ""


def test_report_prints_one_json_object():
    found = json.loads(run("report", "lab.pcap", "--json").stdout)

    assert found["schema_version"] == 2
    assert found["connections"]["total"] == 3
    assert found["capture"]["first_time"] == "2023-11-14T22:13:20.000000000Z"


def test_a_damaged_capture_is_one_line_on_stderr_and_an_ordinary_end():
    done = run("report", "cut.pcap")

    assert done.exit_code == 0
    assert done.stderr == f"tcptrace-tw: cut.pcap: {report_pipeline.DAMAGE}\n"
    assert run("report", "cut.pcap", "--quiet").stderr == ""


@pytest.mark.parametrize("command", ["report", "check"])
def test_a_capture_that_cannot_be_read_is_one_line_and_exit_3(command):
    done = run(command, "missing.pcap")

    assert (done.exit_code, done.stderr) == (3, "tcptrace-tw: missing.pcap: no such file\n")
    assert done.stdout == ""


def test_analyze_that_fails_leaves_nothing(tmp_path):
    assert run("analyze", "missing.pcap", "-o", "out").exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_analyze_writes_tables_and_a_manifest(tmp_path):
    done = run("analyze", "lab.pcap", "-o", "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())

    assert done.exit_code == 0
    assert manifest["captures"] == ["lab.pcap"]
    assert manifest["inputs"][0]["frames"] == 26
    assert manifest["tables"]["connections"] == pq.read_table("out/connections.parquet").num_rows == 3


def test_a_folder_with_other_things_is_exit_2(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = run("analyze", "lab.pcap", "-o", ".")

    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert run("analyze", "lab.pcap", "-o", ".", "--force").exit_code == 0


def test_report_of_a_written_folder_says_the_same():
    run("analyze", "lab.pcap", "-o", "out")

    said = run("report", "lab.pcap").stdout
    for verb in ("show", "check"):
        said = said.replace(f"{verb} lab.pcap", f"{verb} out")

    assert run("report", "out").stdout == said
    assert "; no findings" in run("report", "out", "--ignore", "RU").stdout


@pytest.mark.parametrize(
    ("capture", "bar", "code"),
    [
        ("lab.pcap", "error:likely", 0),
        ("bad.pcap", "error:likely", 1),
        ("bad.pcap", "error:confirmed", 0),
        ("bad.pcap", "error", 1),
        ("lab.pcap", "notice:confirmed", 1),
        ("bad.pcap", "never", 0),
        ("bad.pcap", "fatal", 2),
        ("bad.pcap", "error:maybe", 2),
    ],
)
def test_check_fails_on_findings_at_or_above_the_bar(capture, bar, code):
    assert run("check", capture, "--fail-on", bar).exit_code == code


def test_check_prints_a_line_a_finding():
    lines = run("check", "bad.pcap").stdout.splitlines()

    assert lines[0].startswith("bad.pcap:9: RU002 notice: 192.0.2.1:40000 > 198.51.100.7:80 was reused")
    assert lines[1].endswith("(syn-reset-in-last-ack, likely)")
    assert len(run("check", "bad.pcap", "--show", "error").stdout.splitlines()) == 1


def test_show_draws_the_ladder():
    done = run("show", "lab.pcap", "--connection", "1")

    assert done.exit_code == 0
    assert "S. 0:0(0) ack 1" in done.stdout
    assert "timeout" in done.stdout
    assert "RU002" in done.stdout


def test_show_of_a_finding_is_its_connection():
    assert run("show", "lab.pcap", "--finding", "1202").stdout == run("show", "lab.pcap", "-c", "1").stdout


def test_show_of_a_written_folder_has_the_state_changes():
    run("analyze", "lab.pcap", "-o", "out")

    assert "FIN and ACK of FIN received" in run("show", "out", "-c", "1").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "lab.pcap"),
        ("show", "lab.pcap", "-c", "1", "-f", "1202"),
        ("show", "lab.pcap", "-c", "99"),
        ("show", "lab.pcap", "-f", "801"),
        ("show", "-", "-c", "1"),
        ("show", "lab.pcap", "-c", "1", "--time-format", "stardate"),
        ("report", "lab.pcap", "--two-msl", "-1"),
        ("report",),
        ("report", "lab.pcap", "--no-such-option"),
    ],
)
def test_wrong_use_is_exit_2_and_says_why(arguments):
    done = run(*arguments)

    assert done.exit_code == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_is_told_in_one_line_unless_debug_is_given(monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(pipeline, "analyze", broken)

    assert (run("report", "lab.pcap").exit_code, "a bug" in run("report", "lab.pcap").stderr) == (70, True)
    assert isinstance(run("report", "lab.pcap", "--debug").exception, ZeroDivisionError)


@pytest.mark.parametrize("width", ["80", "160"])
def test_the_catalogue_fits_the_page_and_has_every_rule(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    lines = run("rules").stdout.splitlines()

    assert max(map(len, lines)) <= int(width)
    assert [rule.id for rule in RULES] == [
        number for line in lines for number in re.findall(r"\b[A-Z]{2}\d{3}\b(?= )", line[:20])
    ]


def test_several_files_name_the_file_of_a_frame():
    assert run("check", "a.pcap", "b.pcap").stdout.startswith("a.pcap:9: RU002")
    assert "files" not in run("report", "lab.pcap").stdout
    assert "2 files" in run("report", "a.pcap", "b.pcap").stdout


def test_many_files_are_named_by_a_glob_that_means_just_them(tmp_path):
    names = [f"ring-{number}.pcap" for number in range(12)]
    for name in names:
        (tmp_path / name).touch()

    assert "tcptrace-tw show 'ring-*.pcap' --incident 1" in run("report", *names).stdout
    assert "tcptrace-tw show ring-0.pcap ring-1.pcap ring-2.pcap --incident 1" in run("report", *names[:3]).stdout
    assert glob_for(["a/x.pcap", "b/y.pcap", "c/z.pcap"]) == ["a/x.pcap", "b/y.pcap", "c/z.pcap"]
    assert glob_for(names[:2]) == names[:2]


def test_a_written_folder_loads_into_pandas():
    run("analyze", "lab.pcap", "-o", "out")
    trace = load("out")

    assert trace.table("connections").num_rows == len(trace.connections) == 3
    assert str(trace.connections.first_time.dtype) == "datetime64[ns, UTC]"
    assert str(trace.connections.rst_frame.dtype) == "Int64"
    assert str(trace.connections.close.dtype) == "category"
    assert json.loads(trace.findings.details[0])["gap_ns"] == 1_204_000_000
    assert trace.connection(1).findings.rule.tolist() == ["RU002"]
    for table in TABLES:
        assert getattr(trace, table.name) is trace.frame(table.name)
    with pytest.raises(KeyError, match="no such table"):
        trace.table("packets")
