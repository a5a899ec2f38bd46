"""Small pieces of prose: counts, sizes, spans and commands as a person writes them."""

import shlex
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

from tcptrace_tw.capture.name import octets, raw
from tcptrace_tw.report.words.text import STEPS_NS, duration_text, long_text, time_text

_PLAIN = frozenset(string.ascii_letters + string.digits + string.punctuation + " ") - {"'", "\\"}

_UNITS = ("B", "kB", "MB", "GB", "TB")


_SECOND_NS = 1_000_000_000

_TIMES = {0: "never", 1: "once", 2: "twice"}


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 frame``, ``1,204 frames``, ``no frames``; times are ``once``, ``twice``, ``3 times``, ``never``."""
    if noun == "time" and number in _TIMES:
        return _TIMES[number]
    return f"{number:,} {noun}" if number == 1 else f"{f'{number:,}' if number else 'no'} {plural or noun + 's'}"


def tally(counts: Mapping[str, int], order: Iterable[str] = ()) -> str:
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
    if ns < STEPS_NS[3]:
        return duration_text(ns)
    tenths = (ns + 50_000_000) // 100_000_000
    return f"{tenths // 10}.{tenths % 10} s" if tenths < 1200 else long_text((ns + 500_000_000) // 1_000_000_000)


_is_local: ContextVar[bool] = ContextVar("is_local", default=False)


@contextmanager
def local_times(wanted: bool = True) -> Iterator[None]:
    """Within this block ``moment``, ``clock`` and ``date`` write local time instead of UTC."""
    token = _is_local.set(wanted)
    try:
        yield
    finally:
        _is_local.reset(token)


def moment(ns: int) -> str:
    """``2026-11-21 04:16:27.123 UTC``, or local time with its offset from UTC."""
    return f"{_written(ns)[:23].replace('T', ' ')} {zone(ns)}"


def clock(ns: int) -> str:
    """``04:16:27``."""
    return _written(ns)[11:19]


def precise_clock(ns: int) -> str:
    """``04:16:27.123``."""
    return _written(ns)[11:23]


def epoch(ns: int) -> str:
    """Seconds since 1970, exactly: ``1763698587.123000000``."""
    return f"{ns // _SECOND_NS}.{ns % _SECOND_NS:09}"


def date(ns: int) -> str:
    """``2026-11-21``."""
    return _written(ns)[:10]


def zone(ns: int) -> str:
    """``UTC``, or the offset of the local time at that moment: ``+02:00``."""
    return datetime.fromtimestamp(ns // _SECOND_NS).astimezone().isoformat()[19:] if _is_local.get() else "UTC"


def _written(ns: int) -> str:
    """As ``time_text`` writes it, in the zone that is wanted."""
    if not _is_local.get():
        return time_text(ns)
    whole, fraction = divmod(ns, _SECOND_NS)
    return f"{datetime.fromtimestamp(whole):%Y-%m-%dT%H:%M:%S}.{fraction:09}"


def command(verb: str, captures: Sequence[str], *options: str) -> str:
    """A command line to paste into a shell, in one printable line whatever the captures are called.

    What came through a pipe cannot be read twice: there the line says that it has to be saved.
    """
    names = ["FILE" if name == "-" else name for name in captures]
    line = " ".join(["tcptrace-tw", verb, *map(_quoted, (*names, *options))])
    return f"{line}  # --save FILE keeps the stream" if "-" in captures else line


def _quoted(word: str) -> str:
    r"""As ``shlex.quote``; what cannot be printed becomes ``$'bad\xff.pcap'``, which bash, zsh and ksh read."""
    if raw(word).isprintable():
        return shlex.quote(raw(word))
    return "$'" + "".join(chr(c) if chr(c) in _PLAIN else f"\\x{c:02x}" for c in octets(word)) + "'"
