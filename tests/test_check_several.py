"""Several captures in one check: rotated files are one capture, others several, and what was found is put together."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tcptrace_tw.capture.rotation import rotations
from tcptrace_tw.checking import several
from tcptrace_tw.cli.app import app
from tests.check_rows import judged

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """One capture in three files, and another one."""
    monkeypatch.chdir(tmp_path)
    whole = (FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap").read_bytes()
    (tmp_path / "ring-00.pcap").write_bytes(whole)
    (tmp_path / "ring-01.pcap").write_bytes(whole[:24])
    (tmp_path / "ring-10.pcap").write_bytes(whole[:24])
    shutil.copy(FIXTURES / "kernel-lost-last-ack" / "capture.pcap", tmp_path / "other.pcap")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["check", *arguments])


@pytest.mark.parametrize(
    ("names", "captures"),
    [
        (["x.pcap", "x.pcap1", "x.pcap2", "x.pcap10"], [["x.pcap", "x.pcap1", "x.pcap2", "x.pcap10"]]),
        (["x-20261121-041600.pcap", "x-20261121-041700.pcap"], [["x-20261121-041600.pcap", "x-20261121-041700.pcap"]]),
        (["x_00001_20261121041600.pcap", "x_00002_20261121041700.pcap.gz"],
         [["x_00001_20261121041600.pcap", "x_00002_20261121041700.pcap.gz"]]),
        (["a.pcap", "b.pcap"], [["a.pcap"], ["b.pcap"]]),
        (["client.pcap", "ring-0.pcap", "server.pcap", "ring-1.pcap"],
         [["client.pcap"], ["ring-0.pcap", "ring-1.pcap"], ["server.pcap"]]),
        (["run1/x.pcap", "run2/x.pcap"], [["run1/x.pcap"], ["run2/x.pcap"]]),
        (["x.pcap1", "x.pcapng2"], [["x.pcap1"], ["x.pcapng2"]]),
    ],
)  # fmt: skip
def test_files_that_differ_in_numbers_only_are_one_capture(names, captures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()

    assert rotations(names) == captures


def test_streams_and_addresses_are_captures_of_their_own():
    names = ["-", "https://host/x1.pcap", "https://host/x2.pcap", "/dev/null"]

    assert rotations(names) == [[name] for name in names]


def test_unrelated_captures_are_checked_by_themselves_and_that_is_said(desk):
    done = run("ring-00.pcap", "other.pcap")

    assert sorted(tuple(line.split(": ")[:2]) for line in done.stdout.splitlines()) == [
        ("other.pcap:8", "LA004 notice"),
        ("ring-00.pcap:18", "LA001 warning"),
        ("ring-00.pcap:8", "LA004 notice"),
    ]
    assert "2 files checked as 2 captures: " in done.stderr
    assert "--each and --together say otherwise" in done.stderr


def test_the_files_of_a_ring_are_one_capture(desk):
    ring = run("ring-00.pcap", "ring-01.pcap", "ring-10.pcap")

    assert ring.stderr.splitlines()[0].startswith("tcptrace-tw: 3 files checked as one capture")
    assert ring.stdout == run("ring-00.pcap").stdout.replace(" of file 0", "")


def test_a_directory_is_sorted_in_the_same_way(desk):
    done = run(".")

    assert "4 files checked as 2 captures: " in done.stderr
    assert "ring-00.pcap and 2 more" in done.stderr


@pytest.mark.parametrize(
    ("option", "said"), [("--each", "4 files checked as 4 captures"), ("--together", "4 files checked as one capture")]
)
def test_options_say_otherwise(desk, option, said):
    done = run(".", option)

    line = next(line for line in done.stderr.splitlines() if said in line)
    assert line.endswith(f"({option})")


def test_one_file_needs_no_words(desk):
    assert "checked as" not in run("other.pcap").stderr
    assert "checked as" not in run("ring-00.pcap", "other.pcap", "--quiet").stderr


def test_both_options_are_one_too_many(desk):
    done = run(".", "--each", "--together")

    assert (done.exit_code, done.stderr) == (2, "tcptrace-tw: check: give either --each or --together\n")


def test_the_threshold_holds_for_all_of_them(desk):
    assert run("other.pcap", "--fail-on", "warning").exit_code == 0
    assert run("other.pcap", "ring-00.pcap", "--fail-on", "warning").exit_code == 1


def test_findings_name_their_files(desk):
    found = json.loads(run("other.pcap", "ring-00.pcap", "-f", "json").stdout)

    assert sorted(found["files"]) == ["other.pcap", "ring-00.pcap"]
    assert len(found["findings"]) == 3
    for finding in found["findings"]:
        assert found["files"][finding["file"]] == finding["path"]
    alone = json.loads(run("other.pcap", "-f", "json").stdout)["findings"]
    assert [f["fingerprint"] for f in found["findings"] if f["path"] == "other.pcap"] == [alone[0]["fingerprint"]]


def test_a_command_to_look_names_the_capture_of_the_finding(desk):
    log = json.loads(run("other.pcap", "ring-00.pcap", "-f", "sarif").stdout)
    places = [place for result in log["runs"][0]["results"] for place in result["locations"]]

    assert len(places) == 3
    for place in places:
        name = place["physicalLocation"]["artifactLocation"]["uri"]
        assert f" show {name} --finding " in place["properties"]["look"]


def test_a_group_is_one_over_all_captures():
    """The same hosts in two captures are mended once: one group, one fingerprint, all its entries."""
    alone = judged()
    both = several.judged([["a.pcap"], ["b.pcap"]], ["a.pcap", "b.pcap"], lambda part: judged(files=part), print)

    assert [group.fingerprint for group in both.groups] == [group.fingerprint for group in alone.groups]
    assert [len(group.entries) for group in both.groups] == [2 * len(group.entries) for group in alone.groups]
    assert {word: count // 2 for word, count in both.severities.items()} == alone.severities
    assert [entry.place.split(":")[0] for entry in both.entries] == ["a.pcap"] * 3 + ["b.pcap"] * 3
    assert [entry.finding.file for entry in both.entries] == [0] * 3 + [1] * 3


def test_a_baseline_knows_findings_of_all_captures(desk):
    learnt = run("other.pcap", "ring-00.pcap", "--baseline", "known.json", "--update-baseline")
    again = run("other.pcap", "ring-00.pcap", "--baseline", "known.json", "--fail-on", "notice")

    assert learnt.exit_code == again.exit_code == 0
    assert again.stderr.splitlines()[-1].endswith("3 known")


def test_a_capture_that_cannot_be_read_does_not_hide_the_others(desk):
    """As in a set of files that are one capture: the others count, and the damage is said."""
    (desk / "cut.pcap").write_bytes((desk / "other.pcap").read_bytes()[:10])
    some, none = run("cut.pcap", "other.pcap"), run("cut.pcap", "--each")

    assert (some.exit_code, none.exit_code) == (0, 3)
    assert "other.pcap:8: LA004" in some.stdout
    assert sum("cut.pcap" in line for line in some.stderr.splitlines()) == 2
    assert run("missing.pcap", "other.pcap").exit_code == 3


def test_a_report_of_several_files_tells_check_that_they_are_one(desk):
    """A report reads what is named as one capture; its line to paste has to mean the same findings."""
    shutil.copy(FIXTURES / "kernel-nat-few-ports" / "capture.pcap", desk / "nat.pcap")
    page = CliRunner().invoke(app, ["report", "nat.pcap", "other.pcap"]).stdout
    line = next(line for line in page.splitlines() if line.startswith("  list all"))

    assert " --together" in line
    assert " RU004 " in run(*line.split("tcptrace-tw check ")[1].split()).stdout
    alone = CliRunner().invoke(app, ["report", "nat.pcap"]).stdout
    assert "list all" in alone and "--together" not in alone
