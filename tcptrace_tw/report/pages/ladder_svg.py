"""The ladder of one connection as SVG in a file of its own: states down both sides, pauses as gaps, findings marked."""

from collections.abc import Collection, Iterator
from textwrap import wrap

from tcptrace_tw.report.pages.ladder import Ladder, LadderLine, Style
from tcptrace_tw.report.pages.ladder_page import frame_of, times_of
from tcptrace_tw.report.pictures.palette import STATE_COLORS, classes
from tcptrace_tw.report.pictures.svg import FAMILY, WIDTH, safe
from tcptrace_tw.report.words.phrases import counted, span

_ROW, _NOTE, _PAD = 18, 15, 12
_LETTER, _NOTE_LETTER = 7.25, 6.2
_MARGIN = 190
"""Time and frame, left of the ladder."""
_STATE = 100
_BAR = 6
_GAPS = ((10_000_000_000, 44), (1_000_000_000, 30), (100_000_000, 18), (10_000_000, 7))
"""The shortest pause (ns), and the pixels that are drawn for it."""

_STYLE = (
    f"text{{font-family:ui-monospace,'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace;font-size:12px;"
    f"fill:currentColor}}text.s{{font-family:{FAMILY};font-size:11.5px}}text.b{{font-weight:700}}"
    "line{stroke:currentColor}.f{fill:currentColor}.hit{fill:none;stroke:currentColor;stroke-width:1.5}"
)


def ladder_svg(ladder: Ladder, style: Style | None = None, hits: Collection[int] = (), width: int = WIDTH) -> str:
    """The whole picture; ``hits`` are frames that a finding names."""
    return _Drawing(ladder, style or Style(), hits, width).text()


class _Drawing:
    def __init__(self, ladder: Ladder, style: Style, hits: Collection[int], width: int) -> None:
        self.ladder, self.hits = ladder, hits
        self.rungs = ladder.rungs(style)
        self.times = times_of(self.rungs, style) if self.rungs else []
        longest = max((len(_label(rung)) for rung in self.rungs), default=0)
        room = width - 2 * _PAD - _MARGIN - 2 * (_STATE + _BAR)
        self.width = width + max(0, round(longest * _LETTER + 60 - room))
        self.left = _PAD + _MARGIN + _STATE
        self.right = self.width - _PAD - _STATE - _BAR
        self.top = 0.0

    def text(self) -> str:
        head = self.ladder.head
        title = f"Connection {head.connection_id}: {head.orig} to {head.resp}"
        said = (
            f"Ladder of {counted(len(self.ladder.steps), 'segment')}, with the states of both endpoints at its sides."
        )
        parts = [*self._head(title), *self._rows()]
        height = round(self.top + _PAD)
        colors = f"{classes(literal=True)}@media(prefers-color-scheme:dark){{{classes(literal=True, dark=True)}}}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{height}" '
            f'viewBox="0 0 {self.width} {height}" role="img" aria-labelledby="t d"><title id="t">{safe(title)}</title>'
            f'<desc id="d">{safe(said)}</desc><style>{_STYLE}{colors}</style>'
            f'<rect class="f c-back" width="{self.width}" height="{height}"/>{"".join(parts)}</svg>\n'
        )

    def _head(self, title: str) -> Iterator[str]:
        head = self.ladder.head
        self.top = _PAD + 12
        yield f'<text class="s b c-ink" x="{_PAD}" y="{self.top}">{safe(title)}</text>'
        self.top += 22
        for x, anchor, name in (
            (_PAD + 86, "end", "time (s)"),
            (_PAD + 140, "end", "frame"),
            (self.left - 40, "start", f"orig {head.orig}"),
            (self.width - _PAD, "end", f"resp {head.resp}"),
        ):
            yield f'<text class="s c-dim" x="{x}" y="{self.top}" text-anchor="{anchor}">{safe(name)}</text>'
        self.top += 8

    def _rows(self) -> Iterator[str]:
        states, before = ["", ""], None
        for rung, time in zip(self.rungs, self.times, strict=True):
            if before is not None:
                yield from self._pause(rung.time - before, states)
            before = rung.time
            states = [rung.orig_state or states[0], rung.resp_state or states[1]]
            yield from self._rung(rung, time, states)
            for note in rung.notes:
                yield from self._note(note.text, note.severity, states)

    def _pause(self, pause: int, states: list[str]) -> Iterator[str]:
        height = next((pixels for least, pixels in _GAPS if pause >= least), 0)
        if not height:
            return
        yield from self._bars(height, states)
        if height >= 18:
            middle = (self.left + self.right) / 2
            y = self.top + height / 2 + 4
            said = f"pause of {span(pause)}"
            yield f'<text class="s c-dim" x="{middle:.0f}" y="{y:.0f}" text-anchor="middle">{said}</text>'
        self.top += height

    def _bars(self, height: float, states: list[str]) -> Iterator[str]:
        for x, state in ((self.left, states[0]), (self.right, states[1])):
            color = STATE_COLORS.get(state.partition(" (")[0], "line")
            yield f'<rect class="f c-{color}" x="{x}" y="{self.top:.0f}" width="{_BAR}" height="{height + 0.5:.1f}"/>'

    def _rung(self, rung: LadderLine, time: str, states: list[str]) -> Iterator[str]:
        y = self.top + 13
        middle = self.top + _ROW / 2
        yield from self._bars(_ROW, states)
        yield f'<text class="c-dim" x="{_PAD + 86}" y="{y}" text-anchor="end">{safe(time)}</text>'
        yield f'<text class="c-dim" x="{_PAD + 140}" y="{y}" text-anchor="end">{frame_of(rung)}</text>'
        for x, anchor, state in (
            (self.left - 5, "end", rung.orig_state),
            (self.right + _BAR + 5, "start", rung.resp_state),
        ):
            if state:
                color = STATE_COLORS.get(state.partition(" (")[0], "dim")
                yield f'<text class="b c-{color}" x="{x}" y="{y}" text-anchor="{anchor}">{safe(state)}</text>'
        yield from self._arrow(rung, middle, y)
        self.top += _ROW

    def _arrow(self, rung: LadderLine, middle: float, y: float) -> Iterator[str]:
        color = "dim" if rung.is_other or not rung.direction else "ink"
        start, end, label = self.left + _BAR + 4, self.right - 4, _label(rung)
        center, half = (start + end) / 2, len(label) * _LETTER / 2 + 6
        if rung.direction:
            yield f'<g class="c-{color}"><line x1="{start}" x2="{center - half:.0f}" y1="{middle}" y2="{middle}"/>'
            yield f'<line x1="{center + half:.0f}" x2="{end}" y1="{middle}" y2="{middle}"/>'
            tip, back = (end, end - 7) if rung.direction > 0 else (start, start + 7)
            yield f'<path class="f" d="M{tip} {middle}L{back} {middle - 4}V{middle + 4}z"/></g>'
        if rung.frame in self.hits:
            yield (
                f'<rect class="hit c-held" x="{center - half + 1:.0f}" y="{middle - 8}" width="{2 * half - 2:.0f}" '
                'height="16" rx="4"><title>named by a finding</title></rect>'
            )
        place = f'x="{center:.0f}" y="{y}" text-anchor="middle" xml:space="preserve"'
        yield f'<text class="c-{color}" {place}>{safe(label)}</text>'

    def _note(self, text: str, severity: str, states: list[str]) -> Iterator[str]:
        room = int((self.right - self.left - 2 * _BAR) / _NOTE_LETTER)
        lines = wrap(f"▲ {text}", room)
        yield from self._bars(_NOTE * len(lines) + 4, states)
        for line in lines:
            self.top += _NOTE
            yield f'<text class="s c-{severity}" x="{self.left + _BAR + 6}" y="{self.top - 3:.0f}">{safe(line)}</text>'
        self.top += 4


def _label(rung: LadderLine) -> str:
    return f"{rung.label}  {rung.stamps}" if rung.stamps else rung.label
