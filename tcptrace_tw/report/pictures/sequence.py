"""Time and sequence numbers of a connection, both directions: as Stevens drew it, and tcptrace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from tcptrace_tw.report.pictures.chart import STEPS, STROKES, Axis, Chart, Mark, Panel, Series, round_up
from tcptrace_tw.report.pictures.times import TimeAxis, time_axis
from tcptrace_tw.report.words.phrases import counted, size
from tcptrace_tw.report.words.text import FRAME_MASK
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN

MOST_STROKES = 1200
MOST_MARKS = 200
_ROWS = 200
_NEAR = 1 << 31


class Segment(Protocol):
    """One segment: ``pages.ladder.Step``."""

    @property
    def time(self) -> int:
        """When it was captured, in ns."""

    @property
    def frame(self) -> int:
        """Its frame."""

    @property
    def is_orig(self) -> bool:
        """Who sent it."""

    @property
    def flags(self) -> int:
        """Its flags."""

    @property
    def seq(self) -> int:
        """SEG.SEQ."""

    @property
    def ack(self) -> int:
        """SEG.ACK."""

    @property
    def payload_len(self) -> int:
        """Payload bytes."""

    @property
    def window(self) -> int:
        """The window field."""

    @property
    def wscale(self) -> int | None:
        """Its window scale option."""

    @property
    def sack(self) -> tuple[int, int] | None:
        """Its first SACK block."""


class Stroke(NamedTuple):
    """Bytes that were sent at a time, from ``low`` to ``high`` of the stream."""

    time: int
    low: int
    high: int


class Direction:
    """What one side sent, and what the other side said about it."""

    def __init__(self) -> None:
        self.sent: list[Stroke] = []
        self.again: list[Stroke] = []
        self.acked: list[tuple[int, int]] = []
        self.edges: list[tuple[int, int]] = []
        """Times, and how far the receiver's window reached."""
        self.sacks: list[Stroke] = []
        self.signs: list[tuple[int, int, str, int]] = []
        """Time, byte, what, and frame: SYN, FIN, RST, zero window."""
        self.highest = 0
        self.bytes = 0

    @property
    def top(self) -> int:
        """The highest byte that was sent or acknowledged."""
        return max(self.highest, *(byte for _, byte in self.acked[-1:]), 1)


def directions(segments: Sequence[Segment]) -> tuple[Direction, Direction]:
    """What orig sent, and what resp sent; byte 0 is the SYN, or the first number that was seen."""
    bases: dict[bool, int] = {}
    for each in segments:
        bases.setdefault(each.is_orig, each.seq)
        if each.flags & ACK:
            bases.setdefault(not each.is_orig, each.ack - 1)
    scales = {each.is_orig: each.wscale for each in segments if each.flags & SYN and each.wscale is not None}
    scaled = len(scales) == 2
    made = {True: Direction(), False: Direction()}
    for each in segments:
        _send(made[each.is_orig], each, bases[each.is_orig])
        if each.flags & ACK:
            shift = scales[each.is_orig] or 0 if scaled and not each.flags & SYN else 0
            _acknowledge(made[not each.is_orig], each, bases.get(not each.is_orig, 0), shift)
    return made[True], made[False]


def _send(own: Direction, each: Segment, base: int) -> None:
    low = _since(each.seq, base, own.highest)
    if each.payload_len:
        high = low + each.payload_len
        stroke = Stroke(each.time, low, high)
        (own.again if high <= own.highest else own.sent).append(stroke)
        own.highest = max(own.highest, high)
        own.bytes += each.payload_len
    for flag, name in ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST")):
        if each.flags & flag:
            own.signs.append((each.time, low + each.payload_len, name, each.frame))


def _acknowledge(other: Direction, each: Segment, base: int, shift: int) -> None:
    """What this segment says about the other direction."""
    acked = _since(each.ack, base, other.acked[-1][1] if other.acked else 0)
    if not each.flags & RST:
        other.acked.append((each.time, acked))
        other.edges.append((each.time, acked + (each.window << shift)))
    if each.window == 0 and not each.flags & (SYN | RST):
        other.signs.append((each.time, acked, "zero window", each.frame))
    if each.sack is not None:
        low, high = (_since(number, base, acked) for number in each.sack)
        other.sacks.append(Stroke(each.time, low, high))


def _since(number: int, base: int, near: int) -> int:
    """The byte of the stream that a number stands for: the one nearest to ``near``."""
    offset = (number - base - near) & 0xFFFFFFFF
    return near + (offset - (1 << 32) if offset >= _NEAR else offset)


def sequence_chart(number: int, orig: str, resp: str, segments: Sequence[Segment]) -> Chart | None:
    """The picture of connection ``number``; None where none of its segments is known."""
    if not segments:
        return None
    time = time_axis(segments[0].time, segments[-1].time)
    both = directions(segments)
    names = (f"{orig} to {resp}", f"{resp} to {orig}")
    panels = tuple(_panel(each, name, time) for each, name in zip(both, names, strict=True))
    said = [_said(each, name) for each, name in zip(both, names, strict=True)]
    legend = [
        ("open", "segment"),
        ("error", "retransmission"),
        ("good", "ACK"),
        ("wait", "window"),
        ("passive", "SACK"),
    ]
    used = {series.color for panel in panels for series in panel.series if len(series.x)}
    rows = [
        (
            f"{(each.time - time.begin) / 1e9:.6f}",
            "orig" if each.is_orig else "resp",
            each.frame & FRAME_MASK,
            each.payload_len,
        )
        for each in segments[:_ROWS]
    ]
    return Chart(
        "sequence", f"Time and sequence numbers of connection {number}", " ".join(said), time.axis, panels,
        ("time (s)", "sender", "frame", "payload (bytes)"), tuple(rows),
        legend=tuple(each for each in legend if each[0] in used),
    )  # fmt: skip


def _panel(own: Direction, name: str, time: TimeAxis) -> Panel:
    top = round_up(own.top * 1.05)
    series = [_strokes("segment", "open", own.sent, time), _strokes("retransmission", "error", own.again, time)]
    series.append(_levels("ACK", "good", own.acked, time))
    edges = [edge for edge in own.edges if edge[1] <= top]
    if len(edges) * 2 >= len(own.edges) > 1:  # a window that is far above the data would only press them flat
        series.append(_levels("window", "wait", [(at, min(edge, int(top))) for at, edge in own.edges], time))
    series.append(_strokes("SACK", "passive", own.sacks, time))
    marks = tuple(_signs(own.signs[:MOST_MARKS], time, top))
    return Panel(
        Axis("byte of the stream", "bytes", 0.0, top, is_whole=True),
        name,
        tuple(each for each in series if each.x),
        marks,
        height=150,
    )


def _strokes(name: str, color: str, strokes: Sequence[Stroke], time: TimeAxis) -> Series:
    strokes = _fewer(strokes)
    xs = [time.at(stroke.time) for stroke in strokes]
    return Series(name, STROKES, color, xs, [s.high for s in strokes], xs, [max(0, s.low) for s in strokes])


def _fewer(strokes: Sequence[Stroke]) -> Sequence[Stroke]:
    """Neighbours in time as one, where there are more than a picture can show."""
    if len(strokes) <= MOST_STROKES:
        return strokes
    group = -(-len(strokes) // MOST_STROKES)
    parts = [strokes[at : at + group] for at in range(0, len(strokes), group)]
    return [Stroke(part[0].time, min(s.low for s in part), max(s.high for s in part)) for part in parts]


def _levels(name: str, color: str, levels: Sequence[tuple[int, int]], time: TimeAxis) -> Series:
    step = max(1, -(-len(levels) // MOST_STROKES))
    kept = [*levels[::step], *levels[-1:]] if step > 1 else levels
    xs = [time.at(at) for at, _ in kept]
    return Series(name, STEPS, color, xs, [max(0, level) for _, level in kept], xs[-1:])


_SHAPES = {"SYN": ("up", "wait"), "FIN": ("down", "open"), "RST": ("cross", "error"), "zero window": ("flag", "held")}


def _signs(signs: Sequence[tuple[int, int, str, int]], time: TimeAxis, top: float) -> Iterator[Mark]:
    """Marks; only the first of each kind is named in the picture."""
    named = {"SYN"}
    for at, byte, what, frame in signs:
        shape, color = _SHAPES[what]
        label = "" if what in named else what
        named.add(what)
        yield Mark(
            time.at(at), min(max(0, byte), top), shape, color, f"{what}, frame {frame & FRAME_MASK}", label=label
        )


def _said(own: Direction, name: str) -> str:
    segments = len(own.sent) + len(own.again)
    text = f"{name}: " + (
        f"{counted(segments, 'segment')} with {size(own.bytes)} of payload" if segments else "no payload"
    )
    again, zero = len(own.again), sum(what == "zero window" for _, _, what, _ in own.signs)
    text += f", {counted(again, 'retransmission')}" if again else ""
    text += f", zero window {counted(zero, 'time')}" if zero else ""
    return f"{text}."
