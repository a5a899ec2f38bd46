"""Zeek's history letters and conn_state."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw.schema import zeek
from tests.generate import healthy_conversation
from tests.naive.history import history as naive_history
from tests.naive.tracker import track
from tests.scenario import Frame, play, play_frames

LETTERS = zeek.HISTORY_LETTERS + zeek.HISTORY_LETTERS.lower().replace("^", "")


@given(st.text(st.sampled_from(LETTERS), max_size=24))
def test_a_history_survives_its_two_columns(history):
    assert history == zeek.unpack(*zeek.pack(history))


@pytest.mark.parametrize(
    ("history", "word"),
    [
        ("S", "S0"),
        ("Sa", "S0"),
        ("Sr", "REJ"),
        ("Sh", "S1"),
        ("ShADad", "S1"),
        ("ShADadFf", "SF"),
        ("ShAF", "S2"),
        ("ShAf", "S3"),
        ("ShADR", "RSTO"),
        ("ShADr", "RSTR"),
        ("SR", "RSTOS0"),
        ("hr", "RSTRH"),
        ("SF", "SH"),
        ("hf", "SHR"),
        ("Dd", "OTH"),
        ("DdFf", "SF"),
        ("Saw", "S0"),
        ("^hAR", "RSTO"),
        ("", "OTH"),
    ],
)
def test_conn_state_follows_zeeks_table(history, word):
    assert word == zeek.conn_state(history)


HEAD = """
    A = 10.0.0.1:40000
    B = 10.0.0.2:80
"""
HANDSHAKE = f"""{HEAD}
    +0  A > B  S  100:100(0)
    +0  A < B  S. 500:500(0) ack 101
    +0  A > B  .  101:101(0) ack 501
"""


def history(text: str) -> str:
    """The history of the only incarnation of a scenario."""
    return _history(play(text).connections[0])


def _history(row) -> str:
    return zeek.unpack(row.history_lo, row.history_hi)


@pytest.mark.parametrize(("times", "letters"), [(1, "T"), (9, "T"), (10, "TT"), (99, "TT"), (100, "TTT")])
def test_repeated_text_is_written_at_every_power_of_ten(times, letters):
    again = "+0.2  A > B  P. 101:111(10) ack 501\n" * times

    assert history(f"{HANDSHAKE}+0  A > B  P. 101:111(10) ack 501\n{again}") == f"ShAD{letters}"


@pytest.mark.parametrize(("times", "letters"), [(1, "w"), (10, "ww")])
def test_a_zero_window_is_written_at_every_power_of_ten(times, letters):
    closed = "+0.2  A < B  .  501:501(0) ack 111 win 0\n" * times

    assert history(f"{HANDSHAKE}+0  A > B  P. 101:111(10) ack 501\n{closed}") == f"ShADa{letters}"


@pytest.mark.parametrize(
    ("what", "expected", "rest"),
    [
        ("text behind a hole that comes late", "ShADT", """
            +0  A > B  P. 111:121(10) ack 501
            +0  A > B  P. 101:111(10) ack 501
            """),
        ("part of the text is new", "ShAD", """
            +0  A > B  P. 101:111(10) ack 501
            +0  A > B  P. 101:116(15) ack 501
            """),
        ("text that was acknowledged before the tap showed it", "ShAaD", """
            +0  A < B  .  501:501(0) ack 111
            +0  A > B  P. 101:111(10) ack 501
            """),
        ("a FIN again", "ShAF", """
            +0    A > B  F. 101:101(0) ack 501
            +0.2  A > B  F. 101:101(0) ack 501
            """),
        ("a FIN with text again", "ShAFT", """
            +0    A > B  FP. 101:111(10) ack 501
            +0.2  A > B  FP. 101:111(10) ack 501
            """),
        ("zero window of a RST", "ShAR", "+0  A > B  R. 101:101(0) ack 501 win 0"),
        ("zero window behind the peer's FIN", "ShAFa", """
            +0  A > B  F. 101:101(0) ack 501
            +0  A < B  .  501:501(0) ack 102 win 0
            """),
        ("zero window behind the own FIN", "ShAaFW", """
            +0  A < B  .  501:501(0) ack 101
            +0  A > B  F. 101:101(0) ack 501
            +0  A > B  .  102:102(0) ack 501 win 0
            """),
        ("zero window behind the own RST", "ShARd", """
            +0  A > B  R. 101:101(0) ack 501
            +0  A > B  .  101:101(0) ack 501 win 0
            +0  A < B  P. 501:511(10) ack 101
            """),
    ],
    ids=lambda value: value.replace(" ", "-") if " " in value and "\n" not in value else "",
)  # fmt: skip
def test_letters_of_trouble_follow_zeek(what, expected, rest):
    assert history(HANDSHAKE + rest) == expected


@pytest.mark.parametrize(
    ("expected", "first"),
    [
        ("^h", "A < B  S. 500:500(0) ack 101"),
        ("^d", "A < B  P. 501:511(10) ack 101"),
        ("D", "A > B  P. 101:111(10) ack 501"),
    ],
)
def test_a_first_segment_of_resp_is_marked(expected, first):
    """The SYN was not captured: the SYN+ACK or the ports say which side is orig."""
    assert history(f"{HEAD} +0 {first}") == expected


def _with_windows(frames: list[Frame], seed: int) -> list[Frame]:
    """Here and there a window that has closed."""
    return [replace(frame, window=0) if (seed >> place % 29) % 5 == 0 else frame for place, frame in enumerate(frames)]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1))
def test_the_twin_writes_the_same_history(seed):
    """Random conversations with losses and closed windows, letter by letter."""
    frames = _with_windows(healthy_conversation(seed).frames, seed)
    result, twin = play_frames(frames), track(frames)

    for row, life in zip(result.connections, twin.incarnations, strict=True):
        expected = naive_history(life.segments, life.orig.key)
        assert _history(row) == expected[: 2 * zeek.LETTERS_PER_COLUMN]
