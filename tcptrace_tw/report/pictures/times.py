"""The time axis of a picture: seconds, minutes or hours since the capture began."""

from typing import NamedTuple

from tcptrace_tw.report.pictures.chart import Axis
from tcptrace_tw.report.words.phrases import moment

_UNITS = (
    (7_200.0 * 24, 86_400.0, "days"),
    (7_200.0, 3_600.0, "h"),
    (600.0, 60.0, "min"),
    (0.5, 1.0, "s"),
    (0.0, 1e-3, "ms"),
)


class TimeAxis(NamedTuple):
    """The axis, and how to come from a time in ns to a value on it."""

    axis: Axis
    begin: int
    unit_ns: float

    def at(self, time: int) -> float:
        """The value of a time in ns."""
        return (time - self.begin) / self.unit_ns


def time_axis(begin: int, end: int, name: str = "time") -> TimeAxis:
    """From ``begin`` to ``end`` (ns), in the unit that fits."""
    seconds = max(end - begin, 1_000_000) / 1e9
    _, factor, unit = next(each for each in _UNITS if seconds >= each[0])
    return TimeAxis(Axis(name, unit, 0.0, seconds / factor, zero=moment(begin)), begin, factor * 1e9)
