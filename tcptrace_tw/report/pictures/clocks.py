"""TSval over time by address: each clock is a line, several hosts behind one address are parallel lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.pictures.chart import POINTS, Axis, Chart, Mark, Panel, Series, round_ticks
from tcptrace_tw.report.pictures.times import TimeAxis, time_axis
from tcptrace_tw.report.words.phrases import counted, span
from tcptrace_tw.report.words.text import ip_text
from tcptrace_tw.schema.words import CLOSE_UNANSWERED, ORIG

MOST_KEPT = 1 << 14
"""SYNs that are kept; of more only those whose connection's number is divisible by 2, 4, 8 ..."""

CLOCK_RULES = "PA"
"""The family of the rules about timestamps."""

MOST_STALE = 1 << 12
MOST_PANELS = 3
MOST_POINTS = 1500
_LEAST_POINTS = 3

SYN = np.dtype([("id", "i8"), ("time", "i8"), ("tsval", "i8"), ("hi", "i8"), ("lo", "i8"), ("peer_hi", "i8"),
                ("peer_lo", "i8"), ("port", "i8"), ("kind", "i8")])  # fmt: skip
"""A SYN, or another segment with an old timestamp; ``kind`` is one of those below."""

ANSWERED, IGNORED, STALE = range(3)

_KINDS = (
    ("SYN answered", "open", "dot"),
    ("SYN not answered", "held", "up"),
    ("segment below TS.Recent (PAWS)", "error", "cross"),
)


class Pair(NamedTuple):
    """One client address towards one server address."""

    ip: str
    peer_ip: str
    points: NDArray[Any]
    stale: int


class Clocks:
    """Takes rows of ``connections`` and ``stale_segments``; keeps a part of them where there are many."""

    def __init__(self) -> None:
        self._syns: NDArray[Any] = np.zeros(0, SYN)
        self._stale: NDArray[Any] = np.zeros(0, SYN)
        self._digits = self._stale_digits = 0
        self.has_findings = False
        """Whether a rule about clocks found something: then steps back are worth a look."""

    def add_connections(self, rows: NDArray[Any]) -> None:
        """Take the first SYN of each connection that carried timestamps."""
        rows = rows[(rows["orig_syn_has_ts"] != 0) & (rows["connection_id"] & ((1 << self._digits) - 1) == 0)]
        if rows.size:
            kind = np.where(rows["close"] == CLOSE_UNANSWERED, IGNORED, ANSWERED)
            names = (
                "connection_id",
                "first_time",
                "orig_syn_tsval",
                "orig_ip_hi",
                "orig_ip_lo",
                "resp_ip_hi",
                "resp_ip_lo",
            )
            self._syns, self._digits = _kept(
                self._syns, _points(rows, (*names, "orig_port"), kind), self._digits, MOST_KEPT
            )

    def add_stale(self, rows: NDArray[Any]) -> None:
        """Take segments whose TSval the receiver had to reject."""
        rows = rows[rows["connection_id"] % (1 << self._stale_digits) == 0]
        names = ("connection_id", "time", "tsval", "ip_hi", "ip_lo", "peer_ip_hi", "peer_ip_lo", "port")
        # A server's segments belong to the picture of its own clock, not to that of its client.
        rows = rows[rows["endpoint"] == ORIG]
        if rows.size:
            points = _points(rows, names, np.full(rows.size, STALE))
            self._stale, self._stale_digits = _kept(self._stale, points, self._stale_digits, MOST_STALE)

    def pairs(self, most: int = MOST_PANELS, address: str = "") -> list[Pair]:
        """Those with the most to see: stale segments, SYNs in vain, steps back; of equals, the most SYNs."""
        points = np.concatenate((self._syns, self._stale))
        if not points.size:
            return []
        keys = np.stack([points[name] for name in ("hi", "lo", "peer_hi", "peer_lo")], axis=1)
        _, numbers = np.unique(keys, axis=0, return_inverse=True)
        numbers = numbers.ravel()
        order = np.lexsort((points["id"], points["time"], numbers))
        found = [
            part
            for part in np.split(points[order], np.flatnonzero(np.diff(numbers[order])) + 1)
            if part.size >= _LEAST_POINTS
        ]
        pairs = [_pair(part) for part in found]
        pairs = [pair for pair in pairs if address in ("", pair.ip)]
        pairs.sort(key=lambda pair: (-_interest(pair), -_steps_back(pair), -pair.points.size, pair.ip, pair.peer_ip))
        return pairs[:most]


def _points(rows: NDArray[Any], names: Sequence[str], kind: NDArray[Any]) -> NDArray[Any]:
    points = np.zeros(rows.size, SYN)
    for name, of in zip(("id", "time", "tsval", "hi", "lo", "peer_hi", "peer_lo", "port"), names, strict=True):
        points[name] = rows[of]
    points["kind"] = kind
    return points


def _kept(before: NDArray[Any], more: NDArray[Any], digits: int, most: int) -> tuple[NDArray[Any], int]:
    """Both together, thinned out by the numbers of their connections until they are few enough."""
    points = np.concatenate((before, more))
    while points.size > most and digits < 62:
        digits += 1
        points = points[points["id"] % (1 << digits) == 0]
    return points, digits


def _pair(points: NDArray[Any]) -> Pair:
    first = points[0]
    ip, peer = ip_text(int(first["hi"]), int(first["lo"])), ip_text(int(first["peer_hi"]), int(first["peer_lo"]))
    return Pair(ip, peer, points, int((points["kind"] == STALE).sum()))


def _interest(pair: Pair) -> int:
    """How many of its segments were rejected, or not answered."""
    return pair.stale + int((pair.points["kind"] == IGNORED).sum())


def _steps_back(pair: Pair) -> int:
    values = pair.points["tsval"]
    return int(((np.diff(values) & 0xFFFFFFFF) > 0x7FFFFFFF).sum())


def clocks_chart(clocks: Clocks, begin: int, end: int, address: str = "", *, always: bool = False) -> Chart | None:
    """The picture; of addresses whose segments were rejected, with ``always`` of others, too.

    Where each connection has an offset of its own, as on Linux, TSval goes back often, and that tells nothing.
    """
    pairs = clocks.pairs(address=address, most=MOST_PANELS)
    pairs = [pair for pair in pairs if _interest(pair) or always or address]
    if not pairs:
        return None
    time = time_axis(begin, end)
    panels = tuple(_panel(_thin(pair), time) for pair in pairs)
    kinds = sorted({int(kind) for pair in pairs for kind in np.unique(pair.points["kind"])})
    note = "One clock is one rising line; parallel lines: several hosts behind an address, or an offset per connection."
    return Chart(
        "clocks", "Timestamp clocks (TSval) by address", " ".join(_said(pair) for pair in pairs), time.axis, panels,
        ("address", "port", "time", "TSval", "what"),
        tuple(row for pair in pairs for row in _rows(pair, begin)), note,
        tuple((_KINDS[kind][1], _KINDS[kind][0]) for kind in kinds),
    )  # fmt: skip


def _thin(pair: Pair) -> Pair:
    step = -(-pair.points.size // MOST_POINTS)
    return pair._replace(points=pair.points[::step]) if step > 1 else pair


def _panel(pair: Pair, time: TimeAxis) -> Panel:
    values = pair.points["tsval"]
    low, high = float(values.min()), float(values.max())
    room = max((high - low) * 0.08, 500.0)
    y = Axis("TSval", "ticks", low - room, high + room)
    y = Axis(y.name, y.unit, y.low, y.high, ticks=round_ticks(max(0.0, y.low), y.high, 3))
    series, marks = [], []
    for kind, (name, color, sign) in enumerate(_KINDS):
        chosen = pair.points[pair.points["kind"] == kind]
        xs = [time.at(int(each)) for each in chosen["time"]]
        if kind == ANSWERED:
            series.append(Series(name, POINTS, color, xs, chosen["tsval"].tolist()))
        else:
            several = zip(xs, chosen["tsval"].tolist(), chosen["port"].tolist(), strict=True)
            marks += [
                Mark(x, value, sign, color, f"{name}: port {port}, TSval {value:,}") for x, value, port in several
            ][:200]
    return Panel(y, f"{pair.ip} to {pair.peer_ip}", tuple(series), tuple(marks), height=130)


def _said(pair: Pair) -> str:
    values = pair.points["tsval"]
    back = _steps_back(pair)
    syns = int((pair.points["kind"] != STALE).sum())
    text = f"{pair.ip} to {pair.peer_ip}: {counted(syns, 'SYN')} with timestamps"
    text += f" from {int(values.min()):,} to {int(values.max()):,}"
    text += f"; TSval goes back {counted(back, 'time')}" if back else "; TSval never goes back"
    return f"{text}; {counted(pair.stale, 'segment')} below TS.Recent." if pair.stale else f"{text}."


def _rows(pair: Pair, begin: int, most: int = 60) -> list[tuple[Any, ...]]:
    step = -(-pair.points.size // most)
    name = f"{pair.ip} to {pair.peer_ip}"
    rows = pair.points[::step][["port", "time", "tsval", "kind"]].tolist()
    return [(name, port, f"+{span(time - begin)}", tsval, _KINDS[kind][0]) for port, time, tsval, kind in rows]
