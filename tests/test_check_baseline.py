"""Known findings: what the file says, what it covers, and what is told when they do not come again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace_tw.checking import baseline
from tcptrace_tw.checking.check import learn
from tcptrace_tw.checking.plan import Plan
from tcptrace_tw.errors import UsageError
from tcptrace_tw.pipeline import Settings
from tcptrace_tw.schema import words as w
from tests.check_rows import ERROR, checked, judged, spread
from tests.report_rows import findings, reuses

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"


@pytest.fixture
def plan(tmp_path) -> Plan:
    """A plan whose baseline knows two notices of RU002 and an error of LA003."""
    plan = Plan(baseline=tmp_path / "known.json", fail_on="notice")
    learn(judged(plan=plan), plan)
    return plan


def test_what_is_known_does_not_fail(plan):
    found = checked(plan=plan)

    assert (found.failing, found.known, found.stale) == (0, 3, ())
    assert checked(plan=Plan(fail_on="notice")).failing == 3


def test_the_file_is_sorted_one_group_a_line_and_the_same_each_time(plan):
    text = plan.baseline.read_text()
    lines = text.splitlines()

    assert [line.split('"')[3] for line in lines if '"rule"' in line] == ["LA003", "RU002"]
    assert json.loads(text)["known"][1] == {
        "rule": "RU002",
        "name": "reuse-inside-2msl",
        "subject": "192.0.2.1 > 198.51.100.7:80",
        "fingerprint": checked().groups[1].fingerprint,
        "findings": {"notice:confirmed": 2},
    }
    learn(judged(findings(reuses(1), **ERROR), findings(), plan=plan), plan)
    assert plan.baseline.read_text() == text


def test_more_of_the_same_than_is_known_fails(plan):
    found = checked(findings(reuses(3)), findings(reuses(1), **ERROR), plan=plan)

    assert (found.failing, found.known) == (1, 3)
    assert [entry.is_known for entry in found.entries if entry.batch.rule == "RU002"] == [True, True, False]


def test_worse_of_the_same_than_is_known_fails(plan):
    found = checked(findings(reuses(1), severity=w.WARNING), plan=plan)

    assert (found.failing, found.known) == (1, 0)


def test_better_of_the_same_than_is_known_is_known(plan):
    assert checked(findings(reuses(1), **{**ERROR, "severity": w.WARNING}), plan=plan).failing == 0


def test_what_did_not_come_again_is_told_of_rules_that_were_looked_for(plan):
    assert checked(findings(reuses(0)), plan=plan).stale == (
        "LA003 192.0.2.1 > 198.51.100.7:80",
        "RU002 192.0.2.1 > 198.51.100.7:80",
    )
    assert checked(findings(reuses(1)), plan=plan).stale == (
        "LA003 192.0.2.1 > 198.51.100.7:80",
        "RU002 192.0.2.1 > 198.51.100.7:80 (1 fewer)",
    )
    narrow = Plan(baseline=plan.baseline, settings=Settings(select=("RU",)))
    assert checked(findings(), plan=narrow).stale == ()
    assert checked(findings(reuses(0)), plan=Plan(baseline=plan.baseline, show="error")).stale == (
        "LA003 192.0.2.1 > 198.51.100.7:80",
    )


def test_learning_says_what_changed(plan):
    assert learn(judged(findings(spread(2))), plan).endswith("2 findings in 2 groups known; 2 new, 2 gone")


EMPTY = {"rule": "", "name": "", "subject": "", "fingerprint": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"baseline_version": 2, "known": []}),
        json.dumps({"baseline_version": 1, "known": [{"rule": "x"}]}),
        json.dumps({"baseline_version": 1, "known": [{**EMPTY, "findings": {"x": 1}}]}),
        json.dumps({"baseline_version": 1, "known": [{**EMPTY, "findings": {"error:likely": 0}}]}),
    ],
)
def test_what_is_no_baseline_is_told(tmp_path, text):
    (tmp_path / "known.json").write_text(text)

    with pytest.raises(UsageError, match="--update-baseline"):
        baseline.read(tmp_path / "known.json")


@given(st.lists(st.integers(0, 15), max_size=6), st.lists(st.integers(0, 15), max_size=6))
def test_no_matching_of_known_and_found_covers_more(found, known):
    """The greedy match against all ways to give each finding a known one that is as bad."""
    rows = reuses(len(found))
    chunk = findings(rows)._replace(
        severity=np.array([rank // 4 for rank in found], np.uint8),
        confidence=np.array([rank % 4 for rank in found], np.uint8),
    )
    groups = judged(chunk, plan=Plan(show="info")).groups if found else []
    grades = {f"{w.SEVERITY.words[r // 4]}:{w.CONFIDENCE.words[r % 4]}": known.count(r) for r in known}
    for group in groups:
        entry = baseline.Known(group.rule, group.name, group.subject, group.fingerprint, grades)
        baseline.mark([group], {group.fingerprint: entry}, (), 0)

    assert sum(e.is_known for group in groups for e in group.entries) == most_covered(sorted(found), sorted(known))


def most_covered(found, known):
    if not found or not known:
        return 0
    without = most_covered(found[1:], known)
    usable = [rank for rank in known if rank >= found[0]]
    if not usable:
        return without
    rest = list(known)
    rest.remove(usable[0])
    return max(without, 1 + most_covered(found[1:], rest))


def test_the_command_learns_and_then_knows(tmp_path):
    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tcptrace_tw", "check", CAPTURE, "--fail-on", "warning", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)

    assert run("--update-baseline").returncode == 2
    assert run("--baseline", "known.json").returncode == 2
    first = run("--baseline", "known.json", "--update-baseline")
    assert (first.returncode, "2 findings in 2 groups known; 2 new, 0 gone" in first.stderr) == (0, True)
    again = run("--baseline", "known.json", "-o", "sarif=out.sarif", "-o", "gitlab=gl.json")
    assert (again.returncode, again.stdout.count(", known)\n")) == (0, 2)
    assert json.loads((tmp_path / "gl.json").read_text()) == []
    results = json.loads((tmp_path / "out.sarif").read_text())["runs"][0]["results"]
    assert {(r["baselineState"], r["suppressions"][0]["kind"]) for r in results} == {("unchanged", "external")}
    gone = run("--baseline", "known.json", "--filter", "port 9")
    assert gone.stderr.count("known.json: known, but not found this time: ") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gl.json", "known.json", "out.sarif"]
