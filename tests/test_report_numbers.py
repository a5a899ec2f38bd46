"""Any number that a column can hold is written somehow: no writer of a time or of a curve fails."""

import re

import numpy as np
import pytest

from tcptrace_tw.report.pages.ladder import TIME_FORMATS, stamp
from tcptrace_tw.report.summary.occupancy import Occupancy
from tcptrace_tw.report.tables.arrow_text import durations, times
from tcptrace_tw.report.words import phrases
from tcptrace_tw.report.words.codec import parse_time
from tcptrace_tw.report.words.text import duration_text, time_text
from tcptrace_tw.schema.columns import TIME_WAIT
from tcptrace_tw.schema.words import ORIG

EXTREMES = [-(2**63), -(2**63) + 1, -(10**18), -(10**9), -2, -1, 0, 1, 46 * 10**17, 2**62, 2**63 - 2, 2**63 - 1]


@pytest.mark.parametrize("ns", EXTREMES)
def test_any_time_can_be_written(ns):
    """Each writer says something for it, and all of them the same."""
    text = time_text(ns)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", text)
    assert parse_time(text) == ns
    assert times(np.array([ns], np.int64)).to_pylist() == [None if ns == -1 else text]
    assert durations(np.array([ns], np.int64)).to_pylist() == [None if ns == -1 else duration_text(ns)]
    assert phrases.moment(ns).startswith(text[:10])
    assert phrases.clock(ns) == text[11:19]
    assert phrases.span(ns)
    for form in TIME_FORMATS:
        assert stamp(ns, 0, 0, form)
        assert stamp(ns, EXTREMES[0], EXTREMES[-1], form)


@pytest.mark.parametrize("until", [None, 0, 2**63 - 1])
def test_spans_at_any_time_have_a_curve_and_pools(until):
    """Times that no reader lets through: no pool takes the spans of another, and nothing fails."""
    rows = np.zeros(len(EXTREMES), TIME_WAIT.dtype)
    rows["start"] = rows["end"] = EXTREMES
    rows["peer_port"] = np.arange(rows.size) % 3
    rows["holder"] = ORIG
    occupancy = Occupancy()
    occupancy.add(rows)
    curve = occupancy.curve(until)
    pools = occupancy.pools(curve=curve)

    assert sum(curve.open) > 0
    assert len(curve.open) <= 120
    assert {len(pool.open) for pool in pools} == {len(curve.open)}
    assert sorted(pool.spans for pool in pools) == [4, 4, 4]
    assert all(pool.peak > 0 for pool in pools)
