"""``--since`` and ``--until`` are exact to the nanosecond and select whole connections."""

from __future__ import annotations

import numpy as np
import pytest

from tcptrace_tw.capture.time_spec import Moment, parse_moment, parse_span
from tcptrace_tw.errors import UsageError

S = 1_000_000_000
NOON = 1_700_049_600 * S  # 2023-11-15T12:00:00Z


@pytest.mark.parametrize(
    ("text", "ns", "is_relative"),
    [
        ("2023-11-15T12:00:00Z", NOON, False),
        ("2023-11-15 12:00:00", NOON, False),
        ("2023-11-15T12:00", NOON, False),
        ("2023-11-15", NOON - 12 * 3600 * S, False),
        ("2023-11-15T13:00:00+01:00", NOON, False),
        ("2023-11-15T12:00:00.123456789Z", NOON + 123456789, False),
        ("2023-11-15T13:00:00.5+01:00", NOON + S // 2, False),
        ("1700049600.000000001", NOON + 1, False),
        ("+30s", 30 * S, True),
        ("+30", 30 * S, True),
        ("+1.5m", 90 * S, True),
        ("+250ms", S // 4, True),
        ("+2h", 7200 * S, True),
        ("+0.000000001s", 1, True),
    ],
)
def test_moments_are_exact(text: str, ns: int, is_relative: bool) -> None:
    assert parse_moment(text) == Moment(ns, is_relative)


@pytest.mark.parametrize("text", ["noon", "30", "-5s", "+5 parsecs", "2023-13-01", "12:00", "+99999999999d", "9" * 40])
def test_other_texts_are_errors_of_the_user(text: str) -> None:
    with pytest.raises(UsageError, match="--until"):
        parse_moment(text, "--until")


def test_connections_that_reach_into_the_span_are_kept() -> None:
    span = parse_span("+10s", "+20s")
    first = np.array([0, 0, 12, 15, 21]) * S + NOON
    last = np.array([9, 10, 13, 99, 22]) * S + NOON

    assert span.overlaps(first, last, NOON).tolist() == [False, True, True, True, False]
    assert parse_span(None, None).overlaps(first, last, NOON).all()
