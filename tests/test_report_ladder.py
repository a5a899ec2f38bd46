"""The ladder: segments, timers and notes in order of time, states where they change."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from tcptrace_tw.report.pages.ladder import (
    Head,
    Ladder,
    Note,
    Step,
    Style,
    Turn,
    flags_text,
    rungs_of,
    segment_text,
    stamp,
)
from tcptrace_tw.report.pages.ladder_page import draw
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema.words import STATE
from tests.report_pipeline import ladder

HEAD = Head(1, "192.0.2.1:40000", "198.51.100.7:80", "normal", "resp", "ShADFaf")
STEPS = ladder([], None, 1)[1]


def drawn(steps, turns=(), notes=(), width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    draw(console, Ladder(HEAD, steps, turns, notes), Style())
    return console.file.getvalue().splitlines()


def test_a_state_is_written_where_it_changes():
    rungs = rungs_of(HEAD, STEPS, [], Style())

    assert [rung.resp_state for rung in rungs] == [
        "LISTEN", "SYN-RECEIVED", "ESTABLISHED", "", "FIN-WAIT-1", "TIME-WAIT", "",
    ]  # fmt: skip


def test_numbers_are_relative_to_the_isns_unless_raw_ones_are_wanted():
    step = Step(0, 1, True, c.ACK | c.PSH, 101, 901, 80)

    assert segment_text(step, 100, 900) == "P. 1:81(80) ack 1"
    assert segment_text(step, 0, 0) == "P. 101:181(80) ack 901"


def test_relative_numbers_survive_the_wrap():
    step = Step(0, 1, True, c.ACK, 3, 1, 0)

    assert segment_text(step, 0xFFFFFFFE, 0) == ". 5 ack 1"


@pytest.mark.parametrize(
    ("flags", "text"), [(c.SYN, "S"), (c.SYN | c.ACK, "S."), (c.ACK, "."), (c.RST, "R"), (0, "none")]
)
def test_flags_are_written_as_tcpdump_writes_them(flags, text):
    assert text == flags_text(flags)


def test_a_timer_stands_between_the_segments():
    timer = Turn(STEPS[-1].time + 60_000_000_000, None, 1, "CLOSED", "timeout", "timer")
    lines = drawn(STEPS, [timer])

    assert "timeout" in lines[-1]
    assert lines[-1].endswith("CLOSED")


def test_without_segments_the_state_changes_are_shown():
    turn = Turn(STEPS[0].time, 2, 1, "SYN-RECEIVED", "SYN+ACK sent", "sent")

    assert "SYN+ACK sent" in drawn([], [turn])[-1]


def test_a_note_stands_under_the_last_segment_of_its_frame():
    lines = drawn(STEPS, notes=[Note(3, "warning", "RU004 tw-syn-challenged: it was challenged")])
    at = next(i for i, line in enumerate(lines) if "RU004" in line)

    assert " 3  " in lines[at - 1]


def test_a_copy_of_a_frame_changes_no_state():
    copy = Step(STEPS[0].time, 2, True, c.SYN, 100, 0, 0)
    rungs = rungs_of(HEAD, [STEPS[0], copy, *STEPS[1:]], [], Style())

    assert rungs[1].label.endswith("(copy)")
    assert (rungs[1].orig_state, rungs[2].orig_state) == ("", "ESTABLISHED")


@pytest.mark.parametrize("width", [80, 140])
def test_no_line_is_wider_than_the_terminal_or_ends_with_blanks(width):
    for line in drawn(STEPS, width=width):
        assert len(line) <= width
        assert line == line.rstrip()


@pytest.mark.parametrize(
    ("time_format", "text"),
    [("rel", "1.500000"), ("delta", "0.500000"), ("utc", "00:00:01.500000"), ("epoch", "1.500000000")],
)
def test_a_time_can_be_written_in_several_ways(time_format, text):
    assert text == stamp(1_500_000_000, 0, 1_000_000_000, time_format)


def long(size):
    """A handshake, a long quiet transfer, and a close."""
    quiet = [replace(STEPS[3], frame=10 + i, seq=101 + 10 * i, time=STEPS[3].time + i) for i in range(size)]
    return [*STEPS[:3], *quiet, *STEPS[4:]]


def test_the_quiet_middle_of_a_long_ladder_is_left_out_and_counted():
    lines = drawn(long(1000))

    assert len(lines) < 30
    assert sum("994 segments left out" in line for line in lines) == 1
    assert any("FIN-WAIT-1" in line for line in lines)


def test_a_noted_segment_is_never_left_out():
    lines = drawn(long(1000), notes=[Note(500, "warning", "PA001 paws-drop: it was dropped")])

    assert any("PA001" in line for line in lines)
    assert any(" 500  " in line for line in lines)
    assert sum("left out" in line for line in lines) == 2


def test_all_segments_can_be_drawn():
    ladder_ = Ladder(HEAD, long(1000))

    assert len(ladder_.rungs(Style(most=None))) == 1006


def test_arrows_stay_in_their_columns_with_raw_numbers_on_a_narrow_page():
    console = Console(file=io.StringIO(), width=80, color_system=None)
    high = [replace(step, seq=step.seq + 4_000_000_000, ack=step.ack + 3_000_000_000) for step in STEPS]
    draw(console, Ladder(HEAD, high), Style(is_relative=False))
    lines = console.file.getvalue().splitlines()

    assert max(map(len, lines)) <= 80
    assert len({line.rindex("▶") for line in lines if "▶" in line}) == 1


def test_segments_of_another_incarnation_stand_where_they_belong():
    late = [Step(STEPS[2].time, 99, False, c.ACK, 50, 60, 0, orig_state=1, resp_state=1)]
    before = [replace(late[0], time=STEPS[0].time - 1, frame=98)]
    after = [replace(late[0], time=STEPS[-1].time + 1, frame=97)]
    earlier = rungs_of(replace(HEAD, connection_id=2), STEPS, [], Style(), {1: [*before, *late, *after]})
    later = rungs_of(HEAD, STEPS, [], Style(), {2: [*late, *after]})

    assert [rung.frame for rung in earlier if rung.is_other] == [99, 97]
    assert [rung.frame for rung in later if rung.is_other] == [99]
    assert "(connection 2)" in next(rung.label for rung in later if rung.is_other)


def test_every_state_has_a_name():
    assert {step.resp_state for step in STEPS} <= set(range(len(STATE.words)))
