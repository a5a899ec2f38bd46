"""A check of a folder that ``analyze`` wrote says what a check of the capture says, whatever the rules are about."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tcptrace_tw import pipeline
from tcptrace_tw.checking.check import check_captures, check_folder
from tcptrace_tw.checking.plan import Plan
from tcptrace_tw.cli.app import app
from tcptrace_tw.pipeline import Settings
from tcptrace_tw.report.checks.formats import writer
from tests.report_pipeline import analyze as synthetic

FIXTURES = Path(__file__).parent.parent / "fixtures"
TODAY = date(2026, 11, 21)
CASES = {
    "addresses of sources": ["narrow-ports-client-closes"],
    "servers": ["close-wait-leak"],
    "clients without ports": ["nat-few-ports"],
    "the capture": ["one-direction"],
    "IPv6": ["ipv6"],
    "resets": ["rst-in-each-closing-state"],
    "stale segments": ["paws-stale-acks"],
    "two files": ["linger0-habit", "half-close"],
}


def said(judged, plan) -> tuple[list[dict], list[str]]:
    checked = judged.verdict(plan)
    lines = [json.loads(line) for line in "".join(writer("ndjson")(checked)).splitlines()]
    return lines, [f"{group.fingerprint} {group.subject} {len(group.entries)}" for group in checked.groups]


@pytest.mark.parametrize("names", CASES.values(), ids=CASES)
def test_a_written_folder_is_judged_as_the_capture_is(names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [f"{number}.pcap" for number in range(len(names))]
    for file, name in zip(files, names, strict=True):
        shutil.copy(FIXTURES / f"kernel-{name}" / "capture.pcap", file)
    assert CliRunner().invoke(app, ["analyze", *files, "-o", "out", "-q"]).exit_code == 0
    plan = Plan(show="info")
    fresh = check_captures(files, plan, pipeline.analyze, TODAY, len(files) > 1)
    stored = check_folder(Path("out"), plan, TODAY, print)

    assert said(fresh, plan)[0]
    assert said(fresh, plan) == said(stored, plan)
    assert fresh.severities == stored.severities


def test_a_folder_keeps_its_profile_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "analyze", synthetic)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["analyze", "lab.pcap", "-o", "out", "-q"]).exit_code == 0
    told = []
    check_folder(Path("out"), Plan(settings=Settings(profile="rfc")), TODAY, told.append)

    assert told == ["out: was analysed with profile linux; rfc is ignored"]
