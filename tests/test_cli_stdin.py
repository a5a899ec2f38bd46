"""What comes through stdin can be kept, and a report of it offers that instead of commands that cannot be run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CAPTURE = Path(__file__).parent.parent / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"


def run(*arguments, data=None, cwd=None, **variables):
    environment = {**os.environ, "PYTHONPATH": str(CAPTURE.parents[2]), "COLUMNS": "200", **variables}
    command = [sys.executable, "-m", "tcptrace_tw", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, cwd=cwd, env=environment, check=False)


def looks(done):
    return [line.split(maxsplit=1)[1] for line in done.stdout.decode().splitlines() if line.startswith("  look")]


def test_a_report_of_a_stream_offers_to_keep_it():
    assert looks(run("report", "-", data=CAPTURE.read_bytes())) == [
        "a stream cannot be read twice: report - --save FILE keeps it, for show and list"
    ]


def test_a_stream_that_is_kept_can_be_looked_at(tmp_path):
    done = run("report", "-", "--save", "kept.pcap", data=CAPTURE.read_bytes(), cwd=tmp_path)

    assert (tmp_path / "kept.pcap").read_bytes() == CAPTURE.read_bytes()
    assert looks(done) == ["tcptrace-tw show kept.pcap --incident 1"]
    assert run(*looks(done)[0].split()[1:], cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", [("list",), ("check",), ("analyze", "-o", "out"), ("report", "--json")])
def test_every_command_that_reads_a_stream_can_keep_it(command, tmp_path):
    done = run(*command, "-", "--save", "kept.pcap", data=CAPTURE.read_bytes(), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kept.pcap").read_bytes() == CAPTURE.read_bytes()


def test_what_lies_behind_damage_is_kept_as_well(tmp_path):
    data = CAPTURE.read_bytes()[:500] + b"\xff" * 300_000
    done = run("report", "-", "--save", "kept.pcap", data=data, cwd=tmp_path)

    assert b"were kept" in done.stderr
    assert (tmp_path / "kept.pcap").read_bytes() == data


def test_a_stream_that_is_no_capture_is_not_kept(tmp_path):
    done = run("report", "-", "--save", "kept.pcap", data=b"no capture at all", cwd=tmp_path)

    assert done.returncode == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("report", CAPTURE, "--save", "x.pcap"),
            "--save x.pcap: keeps what comes through stdin; name - as the capture",
        ),
        (("report", "-", "--save", "x", "--html", "x"), "is the same file as --save x"),
        (("list", "-", "--save", "no/such/folder"), "cannot be written: there is no folder no/such"),
    ],
)
def test_what_cannot_be_kept_is_wrong_use(arguments, said, tmp_path):
    done = run(*arguments, data=CAPTURE.read_bytes(), cwd=tmp_path)

    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_the_times_of_a_report_are_local_where_that_is_asked_for():
    said = run("report", CAPTURE, "--time-format", "local", TZ="Asia/Tokyo").stdout.decode()

    assert "2026-11-21 13:45:24.462 +09:00" in said
    assert "peak 1 at 13:45:24" in said
    assert "04:45" not in said
    assert b"2026-11-21 04:45:24.462 UTC" in run("report", CAPTURE, TZ="Asia/Tokyo").stdout


def test_a_wrong_time_format_is_mended():
    done = run("report", CAPTURE, "--time-format", "locl")

    assert (done.returncode, done.stderr) == (
        2,
        b"tcptrace-tw: --time-format locl: did you mean local? write one of utc, local\n",
    )


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("trace.pcap",), "report trace.pcap"),
        (("ring.pcap17",), "report ring.pcap17"),
        ((str(CAPTURE), "--json"), f"report {CAPTURE} --json"),
        (("-",), "report FILE"),
        (("my trace.pcapng",), "report 'my trace.pcapng'"),
    ],
)
def test_a_capture_instead_of_a_command_is_understood(arguments, meant):
    done = run(*arguments)

    assert done.returncode == 2
    assert f": is not a command; did you mean tcptrace-tw {meant}" in done.stderr.decode()


@pytest.mark.parametrize(("family", "ids"), [("RU", "RU"), ("la", "LA"), ("RU00", "RU00")])
def test_a_family_of_rules_is_listed(family, ids):
    from tcptrace_tw.rules import RULES

    said = run("rules", family).stdout.decode()

    for rule in RULES:
        assert (f" {rule.id} {rule.name}\n" in said or f" {rule.id}  {rule.name} " in said) == rule.id.startswith(ids)


def test_a_rule_alone_is_explained_and_a_wrong_family_is_mended():
    assert run("rules", "LA001").stdout.startswith(b"LA001 syn-hits-last-ack")
    assert b"RX: no such rule; write one of TW, RU, PA" in run("rules", "RX").stderr


def test_the_states_at_a_moment_are_told_in_local_time_as_well():
    done = run("show", CAPTURE, "1", "--at", "+0.5s", "--time-format", "local", TZ="Asia/Tokyo")

    assert b"at 2026-11-21 13:45:24.962 +09:00" in done.stdout
    assert b"at 2026-11-21T04:45:24.962" in run("show", CAPTURE, "1", "--at", "+0.5s").stdout
