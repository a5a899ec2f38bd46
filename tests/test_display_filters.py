"""What a finding says to paste into Wireshark, pasted into tshark: its frames are among those that it shows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tcptrace_tw import pipeline
from tcptrace_tw.report.words.findings import finding
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.rule import RuleHits
from tests.scenario import parse, render
from tests.scenario.play import engine, why_unfit
from tests.test_fixtures import FIXTURES, expectation

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


class Chunks:
    """A sink that keeps the findings of one rule as they come."""

    tables: frozenset[str] = frozenset()

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.chunks: list[RuleHits] = []

    def rows(self, table: str, rows: Any) -> None:
        """Not wanted."""

    def findings(self, findings: RuleHits) -> None:
        """Keep them, if they are the rule's."""
        if findings.rule.id == self.rule:
            self.chunks.append(findings)


def shown(path: Path, display_filter: str) -> set[int]:
    command = ["tshark", "-n", "-r", str(path), "-Y", display_filter, "-T", "fields", "-e", "frame.number"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{display_filter}: {done.stderr}"
    return {int(line) for line in done.stdout.split()}


def capture_of(name: str, folder: Path) -> Path:
    if (FIXTURES / name / "capture.pcap").exists():
        return FIXTURES / name / "capture.pcap"
    scenario = parse((FIXTURES / name / "scenario.pkt").read_text())
    path = folder / "scenario.pcap"
    path.write_bytes(render(scenario.frames, scenario.link))
    return path


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_display_filter_shows_the_frames_of_the_finding(rule: Any, tmp_path: Path) -> None:
    """In the rule's own example, both as of one file and as of several; a finding without frames shows something."""
    path = capture_of(rule.example, tmp_path)
    sink = Chunks(rule.id)
    with engine(compiled=not why_unfit()):
        pipeline.analyze([str(path)], pipeline.Settings(**expectation(rule.example).get("settings", {})), [sink])
    said = {
        (one.display_filter, one.frames)
        for chunk in sink.chunks
        for several in (False, True)
        for one in [finding(chunk, 0, several)]
    }

    assert said
    for display_filter, frames in said:
        found = shown(path, display_filter)
        assert found
        assert set(frames) <= found
