"""Steps are counted as a plain loop counts them, whatever the times, and are as many as the limit lets them be."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw.report.summary import steps
from tcptrace_tw.report.summary.steps import Steps

INT64 = np.iinfo(np.int64)
TIMES = st.integers(INT64.min, INT64.max) | st.integers(0, 40) | st.integers(10**18, 10**18 + 5000)
CHUNKS = st.lists(st.lists(st.tuples(st.integers(0, 3) | st.integers(0, 1 << 20), TIMES), max_size=12), max_size=8)


@pytest.mark.parametrize("limit", [3, 20, 1 << 18])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(CHUNKS)
def test_every_step_is_counted_in_its_bin(monkeypatch, limit, chunks):
    monkeypatch.setattr(steps, "LIMIT", limit)
    found = Steps()
    for chunk in chunks:
        pairs = np.array(chunk, np.int64).reshape(-1, 2)
        found.add(pairs[:, 0].copy(), pairs[:, 1].copy())
    shift = found.settle()
    counted = Counter((pool, time >> shift) for chunk in chunks for pool, time in chunk)

    assert list(zip(found.pools.tolist(), found.bins.tolist(), strict=True)) == sorted(counted)
    assert found.counts.tolist() == [counted[key] for key in sorted(counted)]
    assert found.bins.size <= limit or shift == steps.COARSEST


@pytest.mark.parametrize("wide", [0, 1 << 40])
def test_bins_are_no_wider_than_the_limit_asks_for(monkeypatch, wide):
    monkeypatch.setattr(steps, "LIMIT", 16)
    found, times = Steps(), np.arange(64, dtype=np.int64) * 8 + wide
    found.add(np.zeros(64, np.int64), times)

    assert found.settle() == 5  # 64 moments, 8 apart: sixteen bins of 32
    assert found.counts.tolist() == [4] * 16
