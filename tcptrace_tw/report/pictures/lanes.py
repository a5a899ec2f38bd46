"""Swim lanes: the incarnations of one 4-tuple in a row, the states of both endpoints as bars, segments as signs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import log10
from typing import NamedTuple

from tcptrace_tw.report.pictures.chart import Axis, Bar, Chart, Mark, Panel
from tcptrace_tw.report.pictures.palette import STATE_COLORS
from tcptrace_tw.report.words.phrases import counted, moment, span
from tcptrace_tw.report.words.text import FRAME_MASK

MOST_SIGNS = 60
SHORTEST = 0.3
"""The least width of a piece of time, where a factor of ten is 1."""

UNIT_NS = 50_000

_NO_SOCKET = ("CLOSED", "LISTEN")


class Stay(NamedTuple):
    """An endpoint in a state; ``end`` is None where the capture ended first."""

    connection_id: int
    is_orig: bool
    state: str
    start: int
    end: int | None


class Sign(NamedTuple):
    """A segment that moved something: its kind, and whether a finding names its frame."""

    connection_id: int
    is_orig: bool
    kind: str
    time: int
    frame: int | None
    is_evidence: bool = False


_SIGNS = {
    "SYN": ("up", "wait"), "SYN+ACK": ("up", "good"), "FIN": ("down", "open"), "RST": ("cross", "error"),
    "challenge ACK": ("dot", "warning"),
}  # fmt: skip


def lanes_chart(
    orig: str, resp: str, stays: Sequence[Stay], signs: Iterable[Sign], links: Mapping[int, str] | None = None
) -> Chart | None:
    """The picture of one 4-tuple; both sides are named as in the connection that it is about.

    ``links``: by frame, where a page says more about it.
    """
    stays = [stay for stay in stays if stay.state not in _NO_SOCKET]
    if not stays:
        return None
    shown = _few(sorted(signs, key=lambda sign: sign.time))
    axis, place = _squeezed(stays, shown)
    numbers = sorted({stay.connection_id for stay in stays})
    lanes = [(True, number) for number in numbers] + [None] + [(False, number) for number in numbers]
    of_lane = {key: lane for lane, key in enumerate(lanes)}
    several = len(numbers) > 1
    names = [
        "segments" if key is None else (orig if key[0] else resp) + (f", connection {key[1]}" if several else "")
        for key in lanes
    ]
    bars = [
        Bar(
            place(stay.start), 1.0 if stay.end is None else place(stay.end), of_lane[stay.is_orig, stay.connection_id],
            stay.state, STATE_COLORS.get(stay.state, "none"), _title(stay, orig, resp),
        )
        for stay in stays
    ]  # fmt: skip
    marks = [_mark(sign, place(sign.time), float(of_lane[None]), links or {}) for sign in shown]
    panel = Panel(Axis("endpoint"), bars=tuple(bars), marks=tuple(marks), lanes=tuple(names))
    used = {sign.kind for sign in shown}
    legend = tuple((_SIGNS[kind][1], f"{kind} {_GLYPHS[_SIGNS[kind][0]]}") for kind in _SIGNS if kind in used)
    return Chart(
        "states", "States of both endpoints", _said(orig, resp, stays, numbers), axis, (panel,),
        ("since", "endpoint", "connection", "state", "for"), tuple(_rows(orig, resp, stays)),
        "Time is not to scale: ten times as long is one piece longer.", legend,
        f"{counted(len(numbers), 'incarnation')} of the 4-tuple: bars are states, signs are segments.",
    )  # fmt: skip


def _rows(orig: str, resp: str, stays: Sequence[Stay]) -> Iterator[tuple[str, ...]]:
    """The stays as the rows of a table."""
    begin = min(stay.start for stay in stays)
    for s in sorted(stays, key=lambda s: s.start):
        yield f"+{span(s.start - begin)}", orig if s.is_orig else resp, str(s.connection_id), s.state, _lasted(s)


_GLYPHS = {"up": "▲", "down": "▼", "cross": "✕", "dot": "●"}


def _squeezed(stays: Sequence[Stay], signs: Sequence[Sign]) -> tuple[Axis, _Place]:
    """An axis on which short and long pieces of time are both seen."""
    times = {stay.start for stay in stays} | {stay.end for stay in stays if stay.end is not None}
    times |= {sign.time for sign in signs}
    ordered = sorted(times)
    widths = [SHORTEST + log10(1 + (b - a) / UNIT_NS) for a, b in pairwise(ordered)]
    total = sum(widths) + 2.0  # what is open at the end goes on for a piece
    at, places = 0.0, [0.0]
    for width in widths:
        at += width / total
        places.append(at)
    first = ordered[0]
    ticks = tuple(
        (where, "0" if time == first else f"+{span(time - first)}") for time, where in zip(ordered, places, strict=True)
    )
    return Axis("time", "", 0.0, 1.0, ticks=ticks, zero=moment(first)), _Place(ordered, places)


class _Place:
    """Where a time lies, from 0 to 1."""

    def __init__(self, times: list[int], places: list[float]) -> None:
        self._times, self._places = times, places

    def __call__(self, time: int) -> float:
        return self._places[min(bisect_left(self._times, time), len(self._places) - 1)]


def _few(signs: Sequence[Sign]) -> list[Sign]:
    """All, or of many those that findings name, the first and the last."""
    if len(signs) <= MOST_SIGNS:
        return list(signs)
    half = MOST_SIGNS // 2
    named = [sign for sign in signs[half:-half] if sign.is_evidence]
    return [*signs[:half], *named[:MOST_SIGNS], *signs[-half:]]


def _mark(sign: Sign, x: float, lane: float, links: Mapping[int, str]) -> Mark:
    shape, color = _SIGNS[sign.kind]
    frame = "" if sign.frame is None else f", frame {sign.frame & FRAME_MASK}"
    side = "orig" if sign.is_orig else "resp"
    link = "" if sign.frame is None else links.get(sign.frame, "")
    why = ", named by a finding" if sign.is_evidence else ""
    return Mark(x, lane, shape, color, f"{sign.kind} by {side} of connection {sign.connection_id}{frame}{why}", link)


def _lasted(stay: Stay) -> str:
    return "to the end of the capture" if stay.end is None else span(stay.end - stay.start)


def _title(stay: Stay, orig: str, resp: str) -> str:
    side = orig if stay.is_orig else resp
    return f"{side}, connection {stay.connection_id}: {stay.state} for {_lasted(stay)}".replace("for to the", "to the")


def _said(orig: str, resp: str, stays: Sequence[Stay], numbers: Sequence[int]) -> str:
    """The way of each endpoint through its states."""
    ways = []
    for is_orig, name in ((True, orig), (False, resp)):
        own = sorted((s for s in stays if s.is_orig == is_orig), key=lambda s: (s.connection_id, s.start))
        if own:
            ways.append(f"{name}: " + ", ".join(f"{s.state} {_short(s)}" for s in own[-8:]))
    return f"{counted(len(numbers), 'incarnation')} of the 4-tuple. {'; '.join(ways)}."


def _short(stay: Stay) -> str:
    return "(still)" if stay.end is None else f"({span(stay.end - stay.start)})"
