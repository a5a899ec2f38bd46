"""What a capture hides is not taken for absent: no warning or error that the whole capture does not give.

Each fixture is captured again in other ways: with a filter on SYN, FIN and RST, with short snap lengths, in one
direction, from a later frame on, with frames lost, with every frame twice, twice in one file, and as pcapng.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tcptrace_tw import pipeline
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.rules import RULES
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.columns import BY_NAME
from tests import hiding
from tests.scenario import count_frames
from tests.scenario.play import engine, library_or_skip

FIXTURES = Path(__file__).parent.parent / "fixtures"
NAMES = sorted(path.parent.name for path in FIXTURES.glob("*/expect.toml"))
MOST_FRAMES = 3000
"""Fixtures of tens of thousands of frames are about ports; they take too long to be captured again and again."""

SEED = new_seed()

EVERYTHING = "TCPTRACE_TW_EVERYTHING" in os.environ
"""Whether every fixture is looked at, which takes many minutes; without it these tests look at some."""

_STATE = "the opening or the FIN of the previous connection is hidden: that it lived is shown, in which state is not"
NEAR: dict[tuple[str, str], str] = {
    **{(rule, "RU011"): _STATE for rule in ("LA001", "LA002", "LA003", "RU004", "RU005", "RU006", "PA004")},
    ("LA003", "RU006"): _STATE,
    ("PA008", "SI001"): "the timestamps are hidden that told why the SYNs were ignored; that they were is shown",
    ("SI001", "SI001"): "the answers on another port are hidden that made it look like a stranger's probe",
    ("SI014", "SI001"): "the ICMP error is hidden that told why nothing came back",
    ("RU004", "TW005"): "the SYN is hidden to which the RST belongs that ended TIME-WAIT",
    ("RU004", "TW006"): "the RST is hidden that ended TIME-WAIT between two SYNs",
}
"""Rule of the whole capture, and the rule that says nearly the same, with less confidence, of the one that hides."""

UNSEEN = frozenset({"RU004", "RU005", "RU006", "RU011", "LA001", "LA002", "LA003", "PA004"})
"""RU013 may stand for these, however sure: the earlier connection is hidden, and the answer proves it."""

Grades = dict[str, tuple[int, int]]
"""By rule the worst severity, and the highest confidence of that severity."""


class _Worst:
    """A sink that keeps the worst finding of each rule."""

    tables: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.grades: Grades = {}

    def rows(self, table: str, rows: Any) -> None:
        """Rows are not wanted."""

    def findings(self, findings: Any) -> None:
        """Keep the worst."""
        for severity, confidence in zip(findings.severity.tolist(), findings.confidence.tolist(), strict=True):
            before = self.grades.get(findings.rule.id, (0, 0))
            self.grades[findings.rule.id] = max(before, (severity, confidence))


@cache
def settings_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((FIXTURES / name / "expect.toml").read_text()).get("settings", {})
    return found


@cache
def capture_of(name: str) -> hiding.Capture:
    """The frames of a fixture, recorded or written."""
    recorded = FIXTURES / name / "capture.pcap"
    if recorded.exists():
        return hiding.read(recorded.read_bytes())
    return hiding.of_scenario((FIXTURES / name / "scenario.pkt").read_text())


def said(data: bytes, name: str, folder: Path) -> Grades:
    """What the tool says about the bytes of a capture."""
    path = folder / "capture.pcap"
    path.write_bytes(data)
    sink = _Worst()
    with engine(compiled=True):
        pipeline.analyze([str(path)], pipeline.Settings(**settings_of(name)), [sink], seed=SEED)
    return sink.grades


def invented(whole: Grades, hidden: Grades) -> Iterator[str]:
    """Warnings and errors of the capture that hides, which the whole one does not give."""
    for rule, (severity, confidence) in hidden.items():
        if severity < w.WARNING or whole.get(rule, (0, 0))[0] >= w.WARNING:
            continue
        is_near = any(
            (loud, rule) in NEAR and confidence < w.CONFIRMED for loud, (worst, _) in whole.items() if worst >= w.NOTICE
        )
        is_unseen = rule == "RU013" and not UNSEEN.isdisjoint(whole)
        if not is_near and not is_unseen:
            yield f"{rule} {w.SEVERITY.words[severity]}, {w.CONFIDENCE.words[confidence]}"


def problems(name: str, ways: Iterator[hiding.Way], folder: Path) -> list[str]:
    """What is invented in each way of hiding."""
    capture = capture_of(name)
    whole = said(hiding.write(capture), name, folder)
    return [
        f"{way.name}: {problem}"
        for way in ways
        if way.frames
        for problem in invented(whole, said(hiding.write(hiding.Capture(capture.link, way.frames)), name, folder))
    ]


def needs_no_more_than_it_takes(name: str) -> None:
    """Skip what would take too long."""
    library_or_skip()
    recorded = (FIXTURES / name / "capture.pcap").exists()
    frames = len(capture_of(name).frames) if recorded else count_frames((FIXTURES / name / "scenario.pkt").read_text())
    if frames > MOST_FRAMES:
        pytest.skip("too many frames to be captured again and again")


@pytest.mark.parametrize("name", NAMES if EVERYTHING else NAMES[::6])
def test_a_capture_that_hides_something_gives_no_warning_of_its_own(name: str, tmp_path: Path) -> None:
    needs_no_more_than_it_takes(name)

    few = hiding.ways(capture_of(name), most_starts=2, lengths=(54,), percents=(15,))
    found = problems(name, few, tmp_path)

    assert not found, "\n".join(["", *found])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES if EVERYTHING else NAMES[::24])
def test_wherever_a_capture_starts_it_gives_no_warning_of_its_own(name: str, tmp_path: Path) -> None:
    """From every frame on, in files of up to 200 frames; with more snap lengths, and fewer frames lost."""
    needs_no_more_than_it_takes(name)
    capture = capture_of(name)
    most = 200 if len(capture.frames) <= 200 else 10

    found = problems(name, hiding.ways(capture, most_starts=most), tmp_path)

    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize("name", NAMES if EVERYTHING else NAMES[1::8])
def test_as_pcapng_the_same_is_said(name: str, tmp_path: Path) -> None:
    needs_no_more_than_it_takes(name)
    capture = capture_of(name)

    assert said(hiding.write_pcapng(capture), name, tmp_path) == said(hiding.write(capture), name, tmp_path)


def test_only_rules_over_connections_name_what_must_be_observable() -> None:
    """Rows about many connections have no column for it."""
    for rule in RULES:
        if rule.needs:
            assert "observed" in (BY_NAME[rule.table].dtype.names or ()), rule.id


def test_what_is_near_is_named_by_rules_that_exist() -> None:
    known = {rule.id for rule in RULES}

    assert {rule for pair in NEAR for rule in pair} <= known
