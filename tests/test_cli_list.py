"""``list``: connections as a table that fits the page, as NDJSON and CSV; ``show`` and ``export`` take its filters."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import dpkt
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tcptrace_tw.cli import filters
from tcptrace_tw.cli.app import app
from tcptrace_tw.cli.commands import COMMANDS
from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.pages import connection_list
from tcptrace_tw.report.summary import listing
from tcptrace_tw.report.summary.listing import SORTS, Listing
from tcptrace_tw.schema import words as w
from tcptrace_tw.selection import Selection
from tests import report_rows
from tests.report_rows import START

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"
PORTS = FIXTURES / "kernel-narrow-ports-client-closes" / "capture.pcap"
LAST_ACK = FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap"


def run(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


def records(*arguments: object) -> list[dict]:
    done = run("list", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line_of_json_has_the_names_and_values_of_the_tables():
    first, second = records(LAST_ACK)

    assert first["connection_id"] == 1
    assert (first["orig_ip"], first["orig_port"], first["resp_port"]) == ("198.18.10.10", 40000, 5000)
    assert (first["opened"], first["close"], first["active_closer"]) == ("handshake", "normal", "orig")
    assert first["longest_silence_ns"] is None
    assert (first["findings"], second["findings"]) == (["LA004"], ["LA001"])


def test_csv_has_the_same_values():
    rows = list(csv.DictReader(io.StringIO(run("list", LAST_ACK, "--csv").stdout)))

    assert [row["connection_id"] for row in rows] == ["1", "2"]
    assert [row["findings"] for row in rows] == ["LA004", "LA001"]
    assert rows[0]["longest_silence_ns"] == ""
    assert int(rows[0]["duration_ns"]) == records(LAST_ACK)[0]["duration_ns"]


def test_a_pipe_gets_one_line_a_connection_and_all_of_them():
    lines = run("list", PORTS).stdout.splitlines()

    assert lines[0].split()[:2] == ["#", "UTC"]
    assert len(lines) == 1 + 1100
    assert lines[1].split()[0] == "1"


def test_a_folder_that_analyze_wrote_gives_the_same_list(tmp_path):
    assert run("analyze", PORTS, "-o", tmp_path / "out", "-q").exit_code == 0

    for said in ("port 41014", "finding RU", "closed by client and not port 41014"):
        assert records(tmp_path / "out", said) == records(PORTS, said) != []


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_limit_keeps_the_first_of_the_whole_order(monkeypatch, sort, is_reversed):
    """However many rows may wait: the best ten are those of all."""
    monkeypatch.setattr(listing, "_WAITING", 50)
    rng = np.random.default_rng(3)
    rows = report_rows.connections(400)
    rows.last_time = rows.first_time + rng.integers(0, 1000, 400)
    rows.orig_payload_bytes, rows.silence_ns = rng.integers(0, 50, 400), rng.integers(-1, 9, 400)

    def listed(limit):
        made = Listing(sort=sort, limit=limit, is_reversed=is_reversed)
        for at in rng.permutation(40):
            made.rows("connections", np.asarray(rows[at * 10 : at * 10 + 10]))
        made.add(np.arange(20, 60), "RU004", np.full(40, w.WARNING))
        made.add(np.array([30, 30, 33]), "LA001", np.full(3, w.NOTICE))
        return made.result()

    every, some = listed(0), listed(10)

    assert some.rows["connection_id"].tolist() == every.rows["connection_id"][:10].tolist()
    assert (some.matched, some.total, some.left_out) == (400, 400, 390)


def test_orders_put_the_most_first():
    rows = report_rows.connections(3)
    rows.last_time = rows.first_time + np.array([5, 7, 6])
    rows.orig_payload_bytes, rows.survived_ns = [1, 2, 3], [9, -1, 4]

    def order(sort):
        made = Listing(sort=sort)
        made.rows("connections", np.asarray(rows))
        made.add(np.array([2, 2, 3]), "RU004", np.array([w.NOTICE, w.NOTICE, w.WARNING]))
        return made.result().rows["connection_id"].tolist()

    assert {sort: order(sort) for sort in SORTS} == {
        "number": [1, 2, 3],
        "duration": [2, 3, 1],
        "bytes": [3, 2, 1],
        "silence": [1, 3, 2],
        "findings": [3, 2, 1],
    }


def test_ordinary_findings_are_listed_only_where_the_filter_asks_for_them():
    def found(selection):
        made = Listing(selection)
        made.rows("connections", np.asarray(report_rows.connections(3)))
        made.add(np.array([1, 2]), "TW001", np.full(2, w.INFO))
        made.add(np.array([2]), "RU004", np.full(1, w.WARNING))
        listed = made.result()
        return dict(
            zip(listed.rows["connection_id"].tolist(), listed.hits.of(listed.rows["connection_id"]), strict=True)
        )

    assert found(None) == {1: [], 2: ["RU004"], 3: []}
    assert found(Selection("finding TW001", with_findings=True)) == {1: ["TW001"], 2: ["RU004", "TW001"]}
    assert found(Selection("finding warning", with_findings=True)) == {2: ["RU004"]}
    assert found(Selection("not finding info", with_findings=True)) == {3: []}


def drawn(width: int, time_format: str = "utc", size: int = 3) -> list[str]:
    rows = report_rows.connections(size)
    report_rows.put_ip(rows[:1], "orig_ip", "2001:db8:2b:1::10")
    rows.survived_ns[1] = 5_000_000_000
    made = Listing()
    made.rows("connections", np.asarray(rows))
    made.add(np.array([1, 1, 2]), "RU004", np.full(3, w.WARNING))
    page = io.StringIO()
    console = Console(file=page, width=width, force_terminal=True, color_system=None, highlight=False)
    connection_list.draw(made.result(), console, time_format)
    return page.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("time_format", connection_list.TIME_FORMATS)
def test_a_table_fits_the_page_and_says_all(width, time_format):
    lines = drawn(width, time_format)

    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for said in (
        "[2001:db8:2b:1::10]:40000 → 198.51.100.7:80",
        "normal",
        "server",
        "20.0 ms",
        "2.1 kB",
        "5.0 s",
        "RU004",
    ):
        assert said in text
    assert len(lines) == 4 if width == 140 else len(lines) > 4


def test_the_times_of_a_list_are_those_that_were_asked_for(monkeypatch):
    monkeypatch.setenv("TZ", "Etc/GMT-3")
    import time

    time.tzset()
    try:
        clocks = [line.split()[1] for line in drawn(140)[:2]]
        done = CliRunner().invoke(app, ["list", str(LAST_ACK), "--time-format", "local"])
    finally:
        monkeypatch.undo()
        time.tzset()

    assert clocks == ["UTC", "22:13:20.000"]
    assert drawn(140, "epoch")[1].split()[1] == f"{START // 10**9}.000000000"
    assert [line.split()[3] for line in drawn(140, "rel")[:2]] == ["s", "→"]
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["+03:00", "07:45:24.462", "07:45:25.943"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("list", PORTS, "port 9"), 0, "no connection matches 'port 9'; the capture has 1,100 connections"),
        (("list", PORTS, "prot", "9"), 2, "filter: prot: did you mean port?"),
        (("list", PORTS, "--sort", "siz"), 2, "--sort siz: "),
        (("list", PORTS, "--limit", "-1"), 2, "--limit -1: give 0 or more"),
        (("list", PORTS, "--json", "--csv"), 2, "either --json or --csv"),
        (("list", PORTS, "--time-format", "utcc"), 2, "did you mean utc?"),
        (("list", PORTS, "port 9", "--filter", "port 8"), 2, "give one of them"),
        (("list", PORTS, "missing.pcap"), 3, "missing.pcap: there is no such file"),
        (("show", PORTS, "port 9"), 2, "no connection matches 'port 9'"),
        (("show", PORTS), 2, "tcptrace-tw list lists the connections"),
        (("show", "-", "port 9"), 2, "stdin cannot be read twice"),
        (("export", PORTS, "port 9", "-o", "/dev/null"), 2, "no connection matches 'port 9'"),
        (("report", PORTS, "--filter", "port 9"), 0, "no connection matches --filter 'port 9'; the capture has 1,100"),
        (("report", PORTS, "--read-filter", "port 9"), 0, "--read-filter 'port 9' matches none of 6,611 TCP segments"),
        (("report", PORTS, "--read-filter", "state CLOSED"), 2, "about connections, not about segments; use --filter"),
    ],
)
def test_what_cannot_be_listed_is_said_with_the_exit_code_of_the_contract(arguments, code, said):
    done = run(*arguments)

    assert done.exit_code == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--since", "--until", "--read-filter"])
def test_a_written_folder_refuses_what_works_on_captures_only(option, tmp_path):
    run("analyze", LAST_ACK, "-o", tmp_path / "out", "-q")
    done = run("list", tmp_path / "out", option, "tcp" if option == "--read-filter" else "+1s")

    assert done.exit_code == 2
    assert f"{option} works on captures" in done.stderr


def test_show_draws_one_match_and_lists_several():
    one = run("show", LAST_ACK, "finding LA001")
    several = run("show", PORTS, "port", "41014")

    assert one.stdout.splitlines()[1].startswith("Connection 2  198.18.10.10:40000")
    assert [line.split()[0] for line in several.stdout.splitlines()[1:3]] == ["1", "70"]
    assert several.stdout.splitlines()[-1].endswith("--connection 1")


def test_show_takes_a_bare_number():
    assert run("show", LAST_ACK, "2").stdout == run("show", LAST_ACK, "--connection", "2").stdout != ""


def test_show_of_more_matches_than_it_lists_says_how_to_list_them():
    lines = run("show", PORTS, "host 198.18.22.10").stdout.splitlines()

    assert len(lines) == 1 + 30 + 3
    assert lines[-3] == "30 of 1,100 connections"
    assert lines[-1].split("  ")[-1].strip().endswith("'host 198.18.22.10' --limit 0")


def test_export_copies_every_match(tmp_path):
    done = run("export", PORTS, "port 41014", "-o", tmp_path / "one.pcap")

    assert done.stderr.endswith("114 frames of 19 connections\n")
    with (tmp_path / "one.pcap").open("rb") as file:
        ports = {dpkt.ethernet.Ethernet(frame).data.data.sport for _, frame in dpkt.pcap.Reader(file)}
    assert ports == {41014, 5000}


def test_a_pipe_can_be_listed():
    command = [sys.executable, "-m", "tcptrace_tw", "list", "-", "port 41014"]
    done = subprocess.run(command, input=PORTS.read_bytes(), capture_output=True, check=True)

    assert done.stdout.decode() == run("list", PORTS, "port 41014").stdout


@pytest.mark.parametrize(
    ("words", "captures", "said"),
    [
        (["a.pcap", "host 10.0.0.1 and port 1"], ["a.pcap"], "host 10.0.0.1 and port 1"),
        (["a.pcap", "host", "10.0.0.1", "and", "port", "1"], ["a.pcap"], "host 10.0.0.1 and port 1"),
        (["a.pcap", "b.pcap", "10.0.0.1"], ["a.pcap", "b.pcap"], "10.0.0.1"),
        (["a.pcap", "10.0.0.0/8 or port 1"], ["a.pcap"], "10.0.0.0/8 or port 1"),
        (["a.pcap", "!(port 80)"], ["a.pcap"], "!(port 80)"),
        (["a.pcap", "hots 10.0.0.1"], ["a.pcap"], "hots 10.0.0.1"),
        (["a.pcap", "2001:db8::1"], ["a.pcap"], "2001:db8::1"),
        (["a.pcap", "b.pcap"], ["a.pcap", "b.pcap"], ""),
        (["ring-*.pcap", "-"], ["ring-*.pcap", "-"], ""),
        (["a.pcap", "some/where"], ["a.pcap", "some/where"], ""),
        (["a.pcap", "s3://bucket/key"], ["a.pcap", "s3://bucket/key"], ""),
        (["port"], ["port"], ""),
        (None, [], ""),
    ],
)
def test_a_filter_is_told_from_captures_quoted_or_not(words, captures, said):
    assert filters.split(words) == (captures, said)


def test_a_file_called_like_a_word_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "host").touch()

    assert filters.split(["a.pcap", "host"]) == (["a.pcap", "host"], "")


def test_two_filters_are_one_too_many():
    with pytest.raises(UsageError, match="is given as well"):
        filters.split(["a.pcap", "port 1"], "port 2")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_help_shows_a_type_of_python(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    said = run(command, "--help").stdout

    assert not {"TEXT", "INTEGER", "FLOAT", "BOOLEAN", "PATH", "None", "str", "int"} & set(said.split())
