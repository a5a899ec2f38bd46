"""Small pieces of prose: counts, sizes, spans and commands as a person writes them."""

import shlex
from collections.abc import Iterable, Sequence

from tcptrace_tw.report.digest import Counts
from tcptrace_tw.report.text import duration_text, time_text

_UNITS = ("B", "kB", "MB", "GB", "TB")


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 frame``, ``1,204 frames``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def tally(counts: Counts, order: Iterable[str] = ()) -> str:
    """``normal 10, abort 1``: in the order given, else the most frequent first."""
    names = [name for name in order if name in counts] or sorted(counts, key=lambda name: -counts[name])
    return ", ".join(f"{name} {counts[name]:,}" for name in names)


def size(count: int) -> str:
    """``110 MB``."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def span(ns: int) -> str:
    """A long time: ``45.2 s``, ``12 min 5 s``, ``3 h 2 min``, ``2 d 4 h``."""
    seconds = ns // 1_000_000_000
    if ns < 1_000_000_000:
        return duration_text(ns)
    if seconds < 120:
        return f"{seconds}.{ns // 100_000_000 % 10} s"
    for big, small, names in ((60, 1, "min s"), (3600, 60, "h min"), (86400, 3600, "d h")):
        if seconds < big * (120 if big == 60 else 48) or big == 86400:
            one, two = names.split()
            return f"{seconds // big} {one} {seconds % big // small} {two}"
    raise AssertionError("the last unit takes everything")


def moment(ns: int) -> str:
    """``2026-11-21 04:16:27.123 UTC``."""
    return time_text(ns)[:23].replace("T", " ") + " UTC"


def clock(ns: int) -> str:
    """``04:16:27``."""
    return time_text(ns)[11:19]


def command(verb: str, captures: Sequence[str], *options: str) -> str:
    """A command line to paste into a shell."""
    return shlex.join(["tcptrace-tw", verb, *captures, *options])
