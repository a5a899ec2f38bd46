"""What shows late lowers what was found early: a grade is that of the whole capture, however it is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcptrace_tw import one_pass
from tcptrace_tw.rules import deferred
from tcptrace_tw.tcp import tracker
from tests.cluster_runs import in_one_pass, in_parts
from tests.scenario import parse, render
from tests.scenario.play import play_pcap

FIXTURES = Path(__file__).parent.parent / "fixtures"
APART_NS = 600_000_000_000
REASON = "the tap reorders frames"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the first connections leave long before the last segments are read."""
    monkeypatch.setattr(one_pass, "BATCH_SIZE", 8)
    monkeypatch.setattr(tracker, "LINGER_NS", 0)
    monkeypatch.setattr(tracker.Tracker, "_is_half_full", lambda _: True)


def capture(*names: str) -> bytes:
    """These scenarios, each ten minutes behind the one before."""
    frames: list[Any] = []
    for number, name in enumerate(names):
        frames += [
            replace(frame, time_ns=frame.time_ns + number * APART_NS)
            for frame in parse((FIXTURES / name / "scenario.pkt").read_text()).frames
        ]
    return render(frames)


def late_found(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Confidence and caveats of what LAST-ACK did to the SYN."""
    found = [finding for finding in play_pcap(data).findings if finding.rule == "LA001"]
    assert len(found) == 1
    return found[0].confidence, tuple(found[0].caveats)


def test_a_tap_that_reorders_late_lowers_what_was_found_early() -> None:
    assert late_found(capture("syn-hits-last-ack")) == ("confirmed", ())
    assert late_found(capture("syn-hits-last-ack", "tap-reordering")) == ("likely", (REASON,))


def test_with_no_room_to_wait_a_grade_is_that_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "MOST_HELD", 1)

    assert late_found(capture("syn-hits-last-ack", "tap-reordering")) == ("confirmed", ())


def test_parts_say_the_same(tmp_path: Path) -> None:
    """But for ordinary mechanisms, which do not wait: one pass gives them what is known when their rows leave."""
    path = tmp_path / "late.pcap"
    path.write_bytes(capture("syn-hits-last-ack", "tap-reordering"))
    one, other = (
        tables["findings"] for tables, _ in (in_parts([str(path)], 8, findings="notice"),
                                             in_one_pass([str(path)], findings="notice"))
    )  # fmt: skip

    assert one == other
    assert REASON in "".join(one)
