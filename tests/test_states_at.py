"""Who was in which state when: stays, the picture at a time, counts per second, and the ladder say the same."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

import tcptrace_tw as tw
from tcptrace_tw.report.notebook.states import NO_SOCKET
from tcptrace_tw.report.notebook.trace import Trace
from tcptrace_tw.report.pages.ladder import Style
from tests.scenario import count_frames, parse, render

FIXTURES = Path(__file__).parent.parent / "fixtures"
NAMES = sorted(path.parent.name for path in FIXTURES.glob("*/expect.toml"))
LARGE = 100
"""Frames of a fixture that is looked at; the larger ones are many connections of one kind."""


def analysed(name: str, folder: Path) -> Trace | None:
    capture = FIXTURES / name / "capture.pcap"
    if not capture.exists():
        text = (FIXTURES / name / "scenario.pkt").read_text()
        if count_frames(text) > LARGE:
            return None
        scenario = parse(text)
        capture = folder / "capture.pcap"
        capture.write_bytes(render(scenario.frames, scenario.link))
    trace = tw.analyze(str(capture))
    is_settled = trace.summary.capture.frames <= LARGE and not trace.frame("capture").backward_ns.gt(0).any()
    return trace if is_settled else None


@pytest.mark.parametrize("name", NAMES if "TCPTRACE_TW_EVERYTHING" in os.environ else NAMES[::10])
def test_the_ladder_and_the_tables_tell_the_same_states(name: str, tmp_path: Path) -> None:
    """Each segment of a ladder stands beside the states that the stays have when it has passed.

    Beside a SYN it may be the state in which an earlier connection met it.
    """
    trace = analysed(name, tmp_path)
    if trace is None:
        pytest.skip("more frames than a ladder shows, or the clock of the capture was set back")
    wrong, before = [], "(connection "
    for number in trace.connections.connection_id.tolist():
        connection = trace.connection(number)
        sides = {turn["endpoint"] for turn in connection.story.lasting}
        lines = connection.ladder.ladder.rungs(Style(most=None))
        drawn = {"orig": "", "resp": ""}
        for line, following in zip(lines, [*lines[1:], None], strict=True):
            for side in drawn:
                drawn[side] = getattr(line, f"{side}_state") or drawn[side]
            then = dict(zip(drawn, connection.story.states_at(line.time), strict=True))
            is_settled = following is None or following.time > line.time
            if is_settled and any(drawn[side] != then[side] for side in sides if before not in drawn[side]):
                wrong.append((number, line.frame, dict(drawn), then))
    assert not wrong


def test_stays_follow_one_another_without_a_gap(tmp_path: Path) -> None:
    trace = analysed("kernel-active-close-client", tmp_path)
    assert trace is not None

    for _, stays in trace.states.groupby(["connection_id", "endpoint"], observed=True):
        assert stays.until.iloc[:-1].tolist() == stays.since.iloc[1:].tolist()
        assert pd.isna(stays.until.iloc[-1])


def test_what_was_retracted_is_no_stay(tmp_path: Path) -> None:
    """TIME-WAIT outlived 2MSL of the profile: it was one stay of 150 s, and no timer ended it."""
    trace = analysed("tw-syn-challenged-after-two-msl", tmp_path)
    assert trace is not None
    assert "retraction" in set(trace.transitions.event)

    waits = trace.states[trace.states.state == "TIME-WAIT"]

    assert len(waits) == 1
    assert (waits.until - waits.since).iloc[0] > pd.Timedelta(149, "s")


def test_sockets_per_second_are_the_states_at_the_end_of_each_second(tmp_path: Path) -> None:
    trace = analysed("kernel-active-close-server", tmp_path)
    assert trace is not None

    counts = trace.sockets_per_second()

    assert not set(counts.columns) & set(NO_SOCKET)
    for second in counts.index[:: max(1, len(counts) // 20)]:
        then = trace.states_at(second + pd.Timedelta(1, "s") - pd.Timedelta(1, "ns"))
        expected = then.state.value_counts()
        assert counts.loc[second].to_dict() == {state: int(expected.get(state, 0)) for state in counts.columns}


def test_a_time_without_an_offset_is_in_utc(tmp_path: Path) -> None:
    trace = analysed("kernel-active-close-client", tmp_path)
    assert trace is not None
    start = trace.time_wait.start[0]

    naive = trace.states_at(str(start.tz_localize(None)))

    assert naive.equals(trace.states_at(start))
    assert "TIME-WAIT" in naive.state.tolist()
