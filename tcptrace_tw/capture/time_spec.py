"""Reads ``--since`` and ``--until``: points in time, absolute or relative to the start of the capture."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture.frames import is_fit
from tcptrace_tw.errors import UsageError

_UNITS_NS = {
    "ns": 1,
    "us": 1000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LONGEST = 60
"""No time takes more characters."""

_NO_TIME = "is not a valid time; write it like 2026-11-21T04:16:26Z, or +30s from the start of the capture"


class Moment(NamedTuple):
    """A point in time as the user gave it."""

    ns: int
    is_relative: bool

    def resolve(self, first_time: int) -> int:
        """The point in ns since 1970, for a capture that begins at ``first_time``."""
        return first_time + self.ns if self.is_relative else self.ns


class Span(NamedTuple):
    """From ``since`` to ``until``, both included; None is open."""

    since: Moment | None = None
    until: Moment | None = None

    def keeps(self, rows: NDArray[Any], first_time: int) -> NDArray[np.bool_]:
        """Which rows of ``connections`` reach into the span."""
        return self.overlaps(rows["first_time"], rows["last_time"], first_time)

    def overlaps(self, first: NDArray[Any], last: NDArray[Any], first_time: int) -> NDArray[np.bool_]:
        """Which connections, from their first to their last segment, reach into the span."""
        keeps = np.ones(first.shape, np.bool_)
        if self.since is not None:
            keeps &= last >= self.since.resolve(first_time)
        if self.until is not None:
            keeps &= first <= self.until.resolve(first_time)
        return keeps


def parse_span(since: str | None, until: str | None) -> Span:
    """The span of both options."""
    return Span(
        parse_moment(since, "--since") if since else None,
        parse_moment(until, "--until") if until else None,
    )


def parse_moment(text: str, option: str = "--since") -> Moment:
    """``2026-11-21T04:16:26.123456789Z``, with an offset, without one in UTC; ``+30s``, ``+1.5h``; ``1600000000.5``.

    Raises ``UsageError`` for anything else.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        raise UsageError(f"{option} {text[:_LONGEST]}...: {_NO_TIME}")
    if match := re.fullmatch(r"\+\s*(\d+)(?:\.(\d+))?\s*([a-z]*)", text):
        unit = _UNITS_NS.get(match[3])
        if unit is None:
            raise UsageError(f"{option} {text}: {match[3]} is not a known unit; use ns, us, ms, s, m, h or d")
        return Moment(_checked(int(match[1]) * unit + _fraction(match[2], unit), text, option), is_relative=True)
    if match := re.fullmatch(r"(\d{5,})(?:\.(\d+))?", text):
        ns = int(match[1]) * 1_000_000_000 + _fraction(match[2], 1_000_000_000)
        return Moment(_checked(ns, text, option), is_relative=False)
    return Moment(_checked(_absolute(text, option), text, option), is_relative=False)


def _absolute(text: str, option: str) -> int:
    """``fromisoformat`` knows microseconds only: the fraction is taken out first."""
    digits = re.search(r"(?<=:\d\d)[.,](\d+)", text)
    whole = text[: digits.start()] + text[digits.end() :] if digits else text
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        raise UsageError(f"{option} {text}: {_NO_TIME}") from None
    delta = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    seconds = delta.days * 86400 + delta.seconds
    return seconds * 1_000_000_000 + _fraction(digits[1] if digits else None, 1_000_000_000)


def _fraction(digits: str | None, unit_ns: int) -> int:
    digits = (digits or "0")[:18]
    return int(digits) * unit_ns // int(10 ** len(digits))


def _checked(ns: int, text: str, option: str) -> int:
    if not is_fit(ns):
        raise UsageError(f"{option} {text}: no capture has this time; it must be from 1970 to 2115")
    return ns
