"""Links between 4-tuples in long captures: what is not remembered is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.measure import moves
from tcptrace_tw.measure.measurements import Measurements
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
