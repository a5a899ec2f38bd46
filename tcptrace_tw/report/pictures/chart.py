"""What a picture is: axes with names and units, panels of series, marks and lines, and the same as numbers.

A chart is declared once; ``svg`` draws it, ``figure`` puts it into a page, ``trace.plot`` hands it out. Its numbers
are in ``columns`` and ``rows``: the table that stands beside the picture for those who do not see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import Any

Ticks = tuple[tuple[float, str], ...]
Numbers = Sequence[float]

AREA, STEPS, LINE, POINTS, BARS, STROKES = "area", "steps", "line", "points", "bars", "strokes"
"""How a series is drawn: levels that are filled or not, a line, dots, bars from ``x`` to ``x2``, and strokes."""


@dataclass(frozen=True)
class Axis:
    """A name, a unit, and the values from end to end; ``ticks`` are made unless they are given."""

    name: str
    unit: str = ""
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False
    ticks: Ticks = ()
    zero: str = ""
    """What the zero of a time axis is: a moment."""
    is_whole: bool = False
    """Whether it counts things: no tick lies between two whole numbers."""

    @property
    def title(self) -> str:
        """``time (s)``."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.is_log:
            low, high, value = log10(self.low), log10(self.high), log10(max(value, self.low))
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0

    def marks(self, most: int) -> Ticks:
        """The ticks: those that are given, or round values, about ``most`` of them."""
        if self.ticks:
            return self.ticks
        return (
            decades(self.low, self.high, self.unit)
            if self.is_log
            else round_ticks(self.low, self.high, most, self.is_whole)
        )


@dataclass(frozen=True)
class Series:
    """One set of numbers and how it is drawn; ``base`` is where bars and areas stand, 0 without it."""

    name: str
    kind: str
    color: str
    x: Numbers
    y: Numbers
    x2: Numbers = ()
    base: Numbers = ()


@dataclass(frozen=True)
class Bar:
    """A piece of a lane, with what is written on it and what a pointer reads."""

    start: float
    end: float
    lane: int
    label: str
    color: str
    title: str = ""
    link: str = ""


@dataclass(frozen=True)
class Mark:
    """A sign at a place: ``cross``, ``up``, ``down``, ``dot`` or ``flag``; ``link`` leads to more about it."""

    x: float
    y: float
    sign: str
    color: str
    title: str
    link: str = ""
    label: str = ""


@dataclass(frozen=True)
class Line:
    """A value that others are compared with, across the panel: of ``x`` upright, else level."""

    at: float
    label: str
    color: str = "dim"
    is_upright: bool = False
    title: str = ""


@dataclass(frozen=True)
class Panel:
    """What shares one upright axis."""

    y: Axis
    title: str = ""
    series: tuple[Series, ...] = ()
    marks: tuple[Mark, ...] = ()
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    lanes: tuple[str, ...] = ()
    """The names of lanes; with them the panel has no upright scale."""
    height: int = 150


@dataclass(frozen=True)
class Chart:
    """One picture; ``summary`` says in a sentence or two what it shows, with the numbers that matter."""

    name: str
    title: str
    summary: str
    x: Axis
    panels: tuple[Panel, ...]
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    note: str = ""
    legend: tuple[tuple[str, str], ...] = field(default=())
    """Colours and what they mean, where more than one is drawn."""
    caption: str = ""
    """What is written above the picture, where the summary is for those who do not see it."""


def round_ticks(low: float, high: float, most: int, is_whole: bool = False) -> Ticks:
    """Round values within the ends, at most ``most`` and one."""
    if high <= low:
        return ((low, number_text(low)),)
    step = round_step((high - low) / max(1, most))
    step = max(1.0, step) if is_whole else step
    first = ceil(low / step - 1e-9)
    values = [number * step for number in range(first, floor(high / step + 1e-9) + 1)]
    return tuple((value, number_text(value)) for value in values)


def round_step(least: float) -> float:
    """The least of 1, 2, 5, 10 ... that is not below ``least``."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def round_up(value: float) -> float:
    """The top of an axis on which ``value`` lies."""
    if value <= 0:
        return 1.0
    step = round_step(value / 4)
    return max(1.0, ceil(value / step - 1e-9) * step)


def decades(low: float, high: float, unit: str) -> Ticks:
    """The powers of ten within the ends, with 2 and 5 between them where there are few; seconds in their units."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    factors = (1,) if high / low > 3_000 else (1, 2, 5)
    values = [factor * 10.0**power for power in powers for factor in factors]
    write = seconds_text if unit == "s" else number_text
    return tuple((value, write(value)) for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9))


def number_text(value: float) -> str:
    """``12,000`` or ``0.25``."""
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-9 else f"{value:.6g}"


def seconds_text(seconds: float) -> str:
    """``10 us``, ``1 ms``, ``2.5 s``, ``10 min``."""
    for factor, unit in ((60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= factor * (10 if unit == "min" else 1) * (1 - 1e-9):
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
