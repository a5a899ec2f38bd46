"""Zeek's history letters and conn_state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace_tw.spec import zeek

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
        ("", "OTH"),
    ],
)
def test_conn_state_follows_zeeks_table(history, word):
    assert word == zeek.conn_state(history)
