"""Links between 4-tuples in long captures: of the connections that were opened the latest ones are remembered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.measure import moves
from tcptrace_tw.measure.measurements import Measurements
from tcptrace_tw.measure.moves import Moves
from tcptrace_tw.measure.traits import note_traits
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema import words as w
from tests.report_rows import blank

START, SECOND = 1_700_000_000_000_000_000, 1_000_000_000
KEPT = 16


def connects(count: int) -> Any:
    """Connects, one a second, each with an ISN, a port and a timestamp of its own; all are answered."""
    rows: Any = blank(c.CONNECTIONS, count)
    rows.connection_id = np.arange(1, count + 1)
    rows.opened, rows.orig_syn_has_ts, rows.close = w.OPENED_HANDSHAKE, 1, w.CLOSE_NORMAL
    rows.orig_ip_lo, rows.resp_ip_lo, rows.resp_port = 1, 2, 443
    rows.orig_isn = 1000 * np.arange(1, count + 1)
    rows.orig_port = 10_000 + np.arange(count)
    rows.orig_syn_tsval = 1000 * np.arange(count)
    rows.first_time = rows.last_time = rows.established_time = START + SECOND * np.arange(count)
    rows.first_frame = rows.last_frame = rows.orig_syn_frame = np.arange(1, count + 1)
    rows.rst_frame = -1
    return rows


def retry(rows: Any, place: int) -> None:
    """The connect at ``place`` is the one before, which came to nothing, from another port."""
    rows.orig_isn[place] = rows.orig_isn[place - 1]
    rows.established_time[place - 1], rows.close[place - 1] = -1, w.CLOSE_UNANSWERED


def moved(rows: Any, *, at_once: int) -> list[int]:
    """The connections that are linked to an earlier one, when so many rows come at once."""
    measured = Moves()
    for begin in range(0, rows.size, at_once):
        part = rows[begin : begin + at_once]
        traits = np.zeros(part.size, np.uint8)
        note_traits(part, traits)
        measured.see(part, traits)
    return [number for _, found in measured.close() for number in found["connection_id"].tolist()]


@pytest.mark.parametrize("at_once", [1, 7, KEPT, KEPT + 1, 1000])
def test_a_retry_is_seen_wherever_it_comes(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each, also where both connects are still remembered when they are looked at again."""
    rows = connects(10 * KEPT)
    places = [1, KEPT - 1, KEPT, KEPT + 1, 3 * KEPT // 2, 5 * KEPT, 10 * KEPT - 1]
    for place in places:
        retry(rows, place)
    monkeypatch.setattr(moves, "MOST_KEPT", KEPT)

    assert moved(rows, at_once=at_once) == [place + 1 for place in places]


def test_so_many_are_linked_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come first, however many come."""
    rows = connects(20 * KEPT)
    rows.orig_isn, rows.established_time, rows.close = 7, -1, w.CLOSE_UNANSWERED
    monkeypatch.setattr(moves, "MOST_KEPT", KEPT)

    found = moved(rows, at_once=5)
    assert 0 < len(found) <= KEPT
    assert found == sorted(set(found))


def test_rows_that_are_not_compared_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = connects(KEPT + 3)
    rows.close, rows.orig_segments, rows.resp_segments = w.CLOSE_OPEN, 1, 1
    monkeypatch.setattr(moves, "MOST_KEPT", KEPT)
    measured = Measurements(compiled=False, wants_seconds=False, seed=new_seed())
    measured.see("connections", rows[:KEPT])
    assert not list(measured.remarks())
    measured.see("connections", rows[KEPT:])

    assert list(measured.remarks()) == [
        "more than 65,536 connections that nobody ended, or that began before the capture: 3 rows of those beyond that"
        " are not compared with others"
    ]
