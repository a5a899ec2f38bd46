"""A chart as SVG that needs no script: it takes the width of its page, or stands alone in a file.

In a page, places along x are percents, and shapes lie in a picture of 1000 units that is stretched to the page: lines
keep their width and letters their size on a phone as on a desk. In a file the same is drawn at a width in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from textwrap import wrap

from tcptrace_tw.errors import printable
from tcptrace_tw.report.pictures.chart import (
    AREA,
    BARS,
    LINE,
    POINTS,
    STEPS,
    STROKES,
    Axis,
    Chart,
    Line,
    Mark,
    Panel,
    Series,
)
from tcptrace_tw.report.pictures.palette import classes

WIDTH = 860
"""Of a picture in a file, in pixels."""

UNITS = 1000
"""Of the stretched part, from its left end to its right one."""

_PAD, _TITLE, _TICKS, _NAME, _GAP = 8, 18, 16, 16, 12
_LANE, _LANE_NAME = 36, 14
"""Height of a lane, and of its name above its bars."""
_LETTER = 6.4
"""How wide a letter is, about."""
_NARROWEST = 300
"""Of a picture in a page on a phone, in pixels."""

FAMILY = "system-ui,'Segoe UI',Roboto,'DejaVu Sans','Liberation Sans','Noto Sans',Arial,sans-serif"
"""What draws a PNG knows no generic names."""

_SHORTEST = 3.0
"""Of a stroke, in pixels."""

SHAPES = (
    "svg.chart{display:block;overflow:visible}"
    f"svg.chart text{{font-family:{FAMILY};"
    "font-size:11.5px;fill:currentColor;stroke:none}"
    "svg.chart text.b{font-weight:600}"
    "svg.chart .a{fill:currentColor;fill-opacity:.3;stroke:none}"
    "svg.chart .f{fill:currentColor;stroke:none}"
    "svg.chart .s{fill:none;stroke:currentColor;stroke-width:1.6;vector-effect:non-scaling-stroke}"
    "svg.chart .p{fill:none;stroke:currentColor;stroke-width:5.5;stroke-linecap:round;vector-effect:non-scaling-stroke}"
    "svg.chart .g{stroke:currentColor;stroke-width:1}"
    "svg.chart .d{stroke:currentColor;stroke-width:1.2;stroke-dasharray:5 4}"
    "svg.chart .l text{fill:#fff;font-weight:600}"
)
"""How the shapes of a chart look; their colours are those of the palette."""


def page_svg(chart: Chart, prefix: str = "") -> str:
    """For a page that has the style: as wide as its place; ``prefix`` keeps its ids apart from others."""
    return _Drawing(chart, None, prefix).text()


def file_svg(chart: Chart, width: int = WIDTH) -> str:
    """A picture that stands alone, light or dark as its reader's system is."""
    style = f"{SHAPES}{classes(literal=True)}@media(prefers-color-scheme:dark){{{classes(literal=True, dark=True)}"
    return _Drawing(chart, width, "", f"<style>{style}svg.chart .l text{{fill:#181b1f}}}}</style>").text()


def safe(value: object) -> str:
    """A text that can do no harm in SVG and HTML."""
    return escape(printable(str(value)), quote=True)


class _Drawing:
    """One chart on its way to SVG: ``top`` is how far down it has come."""

    def __init__(self, chart: Chart, width: int | None, prefix: str, style: str = "") -> None:
        self.chart, self.width, self.style = chart, width, style
        self.units = UNITS if width is None else width - 2 * _PAD
        self.id = f"{prefix}{chart.name}"
        self.top = 0.0

    def text(self) -> str:
        """The whole element."""
        parts = [
            *self._heading(),
            *(part for panel in self.chart.panels for part in self._panel(panel)),
            *self._x_axis(),
        ]
        title = f'<title id="{self.id}-t">{safe(self.chart.title)}</title>'
        title += f'<desc id="{self.id}-d">{safe(self.chart.summary)}</desc>'
        named = f'role="img" aria-labelledby="{self.id}-t {self.id}-d"'
        is_linear = not self.chart.x.is_log and not self.chart.x.ticks
        domain = (
            f'data-low="{self.chart.x.low:.9g}" data-high="{self.chart.x.high:.9g}"' + ' data-linear="1"' * is_linear
        )
        height = round(self.top + 2)
        if self.width is None:
            return f'<svg class="chart" width="100%" height="{height}" {named} {domain}>{title}{"".join(parts)}</svg>'
        box = f'x="{_PAD}" y="{_PAD}" width="{self.units}" height="{height}" overflow="visible"'
        inner = f"<svg {box}>{''.join(parts)}</svg>"
        size = f'width="{self.width}" height="{height + 2 * _PAD}"'
        box = f'viewBox="0 0 {self.width} {height + 2 * _PAD}"'
        back = f'<rect class="f c-back" width="{self.width}" height="{height + 2 * _PAD}"/>'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" {size} {box} {named}>'
            f"{title}{self.style}{back}{inner}</svg>\n"
        )

    def _heading(self) -> Iterator[str]:
        """Only in a file: a page has the title, what it shows and the legend around the picture."""
        if self.width is None:
            return
        self.top += 14
        yield f'<text class="b c-ink" x="0" y="{self.top}">{safe(self.chart.title)}</text>'
        for line in wrap(printable(self.chart.caption or self.chart.summary), int(self.units / _LETTER)):
            self.top += 16
            yield f'<text class="c-dim" x="0" y="{self.top}">{safe(line)}</text>'
        yield from self._legend()
        self.top += 10

    def _legend(self) -> Iterator[str]:
        at = 0.0
        if self.chart.legend:
            self.top += 20
        for color, label in self.chart.legend:
            width = len(label) * _LETTER + 30
            if at and at + width > self.units:
                at, self.top = 0.0, self.top + 16
            yield f'<rect class="f c-{color}" x="{at:.0f}" y="{self.top - 9:.0f}" width="12" height="9"/>'
            yield f'<text class="c-dim" x="{at + 17:.0f}" y="{self.top:.0f}">{safe(label)}</text>'
            at += width

    def _panel(self, panel: Panel) -> Iterator[str]:
        if panel.title:
            self.top += _TITLE
            yield f'<text class="b c-ink" x="0" y="{self.top - 5:.0f}">{safe(panel.title)}</text>'
        if not panel.lanes:
            self.top += _NAME
            yield f'<text class="c-dim" x="0" y="{self.top - 5:.0f}">{safe(panel.y.title)}</text>'
            self.top += 12
        height = len(panel.lanes) * _LANE if panel.lanes else panel.height
        top = self.top
        yield from self._grid(panel, top, height)
        shapes = "".join(
            _shape(series, self.chart.x, panel.y, self.units, height, self.width is None) for series in panel.series
        )
        yield (
            f'<svg class="plot" y="{top:.0f}" width="100%" height="{height}" viewBox="0 0 {self.units} {height}" '
            f'preserveAspectRatio="none" data-units="{self.units}">{shapes}</svg>'
        )
        yield from self._lanes(panel, top)
        yield from self._lines(panel, top, height)
        yield from (self._mark(mark, panel, top, height) for mark in panel.marks)
        self.top += height + _GAP

    def _grid(self, panel: Panel, top: float, height: int) -> Iterator[str]:
        if panel.lanes:
            return
        for value, label in panel.y.marks(max(2, height // 45)):
            y = top + height * (1 - panel.y.place(value))
            yield f'<line class="g c-line" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text class="c-dim" x="2" y="{y - 3:.1f}">{safe(label)}</text>'

    def _lanes(self, panel: Panel, top: float) -> Iterator[str]:
        """Lanes with pieces; a label is cut off where its piece is too short."""
        for lane, name in enumerate(panel.lanes):
            y = top + lane * _LANE
            yield f'<line class="g c-line" x1="0" x2="100%" y1="{y + _LANE - 1:.0f}" y2="{y + _LANE - 1:.0f}"/>'
            yield f'<text class="c-dim" x="0" y="{y + 11:.0f}">{safe(name)}</text>'
        for bar in panel.bars:
            start, end = self.chart.x.place(bar.start), self.chart.x.place(bar.end)
            width = max(end - start, 0.002)
            label = f'<text x="4" y="13">{safe(bar.label)}</text>' if bar.label else ""
            y = top + bar.lane * _LANE + _LANE_NAME
            yield (
                f'<svg class="l c-{bar.color}" x="{start:.3%}" y="{y:.0f}" width="{width:.3%}" '
                f'height="{_LANE - _LANE_NAME - 3}"{self._link(bar.link)}><title>{safe(bar.title or bar.label)}</title>'
                f'<rect class="f" width="100%" height="100%"/>{label}</svg>'
            )

    def _lines(self, panel: Panel, top: float, height: int) -> Iterator[str]:
        ends: list[float] = []
        for line in sorted(panel.lines, key=lambda line: line.at):
            title = f"<title>{safe(line.title)}</title>" if line.title else ""
            if not line.is_upright:
                y = top + height * (1 - panel.y.place(line.at))
                yield f'<g class="c-{line.color}">{title}<line class="d" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
                yield f'<text class="fixed" x="100%" text-anchor="end" y="{y - 4:.1f}">{safe(line.label)}</text></g>'
                continue
            x = self.chart.x.place(line.at)
            row = _row(ends, x, line)
            y = top + 10 + row * 12
            stroke = f'x1="{x:.2%}" x2="{x:.2%}" y1="{y:.0f}" y2="{top + height:.0f}"'
            yield f'<g class="c-{line.color}">{title}<line class="d" {stroke}/>'
            anchor, dx = ("start", 3) if x < 0.8 else ("end", -3)
            yield f'<text x="{x:.2%}" dx="{dx}" text-anchor="{anchor}" y="{y:.0f}">{safe(line.label)}</text></g>'

    def _mark(self, mark: Mark, panel: Panel, top: float, height: int) -> str:
        x = self.chart.x.place(mark.x)
        y = top + (mark.y * _LANE + (_LANE + _LANE_NAME) / 2 if panel.lanes else height * (1 - panel.y.place(mark.y)))
        label = ""
        if mark.label:
            anchor, dx = ("start", 8) if x < 0.75 else ("end", -8)
            label = f'<text x="{dx}" y="4" text-anchor="{anchor}">{safe(mark.label)}</text>'
        kind = "s" if mark.sign in ("cross", "flag") else "f"
        return (
            f'<svg class="m c-{mark.color}" x="{x:.3%}" y="{y:.1f}" overflow="visible"{self._link(mark.link)}>'
            f'<title>{safe(mark.title)}</title><path class="{kind}" d="{_SIGNS[mark.sign]}"/>{label}</svg>'
        )

    def _link(self, link: str) -> str:
        """Where a click leads, by the script of the page; the text around a picture has links to the same places."""
        return f' data-link="{safe(link)}"' if link and self.width is None else ""

    def _x_axis(self) -> Iterator[str]:
        base = self.top - _GAP
        yield f'<line class="g c-dim" x1="0" x2="100%" y1="{base:.1f}" y2="{base:.1f}"/>'
        ticks = []
        for value, label in _apart(self.chart.x, 8 if self.width else 5, _LETTER / (self.width or _NARROWEST)):
            place = self.chart.x.place(value)
            anchor = "start" if place < 0.04 else "end" if place > 0.96 else "middle"
            ticks.append(
                f'<text class="c-dim" x="{place:.2%}" y="{base + 14:.0f}" text-anchor="{anchor}">{safe(label)}</text>'
            )
        yield f'<g class="ticks">{"".join(ticks)}</g>'
        self.top = base + _TICKS + _NAME
        zero = f" since {self.chart.x.zero}" if self.chart.x.zero else ""
        name = f"{self.chart.x.name}{zero}" + (f" ({self.chart.x.unit})" if self.chart.x.unit else "")
        yield f'<text class="c-dim fixed" x="100%" y="{self.top - 3:.0f}" text-anchor="end">{safe(name)}</text>'


_SIGNS = {
    "cross": "M-4-4L4 4M-4 4L4-4",
    "up": "M0-5L5 4H-5z",
    "down": "M0 5L5-4H-5z",
    "dot": "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "flag": "M0-6V6M0-6L6-3L0 0",
}


def _shape(series: Series, x: Axis, y: Axis, units: int, height: int, with_numbers: bool) -> str:
    """One series as one path: a picture has few elements, however many numbers."""
    xs = [x.place(value) * units for value in series.x]
    ys = [height * (1 - y.place(value)) for value in series.y]
    base = [height * (1 - y.place(value)) for value in series.base] or [float(height)] * len(ys)
    ends = [x.place(value) * units for value in series.x2]
    named = f'class="{_CLASS[series.kind]} c-{series.color}" data-name="{safe(series.name)}"'
    if with_numbers and series.kind in (STEPS, BARS):
        named += _numbers(series, x)
    if series.kind == AREA:
        path = f"{_steps(xs, ys, ends[-1])}V{height}H{_n(xs[0])}z" if xs else ""
    elif series.kind == BARS:
        path = "".join(
            f"M{_n(a)} {_n(low)}V{_n(high)}H{_n(b)}V{_n(low)}z"
            for a, b, high, low in zip(xs, ends, ys, base, strict=True)
            if low - high > 0.01
        )
    elif series.kind == POINTS:
        path = "".join(f"M{_n(a)} {_n(b)}h0" for a, b in zip(xs, ys, strict=True))
    elif series.kind == STROKES:
        ys = [min(high, low - _SHORTEST) for high, low in zip(ys, base, strict=True)]  # a small segment is seen, too
        path = "".join(f"M{_n(a)} {_n(b)}L{_n(c)} {_n(d)}" for a, b, c, d in zip(xs, base, ends, ys, strict=True))
    elif series.kind == LINE:
        path = "".join(f"{'L' if at else 'M'}{_n(a)} {_n(b)}" for at, (a, b) in enumerate(zip(xs, ys, strict=True)))
    else:
        path = _steps(xs, ys, ends[-1] if ends else float(units))
    return f'<path {named} d="{path}"/>' if path else ""


def _numbers(series: Series, x: Axis) -> str:
    """What a pointer reads, where the levels change: places from 0 to 1, and values."""
    base = series.base or [0] * len(series.y)
    values = [high - low for high, low in zip(series.y, base, strict=True)]
    kept = [n for n in range(len(values)) if n == 0 or values[n] != values[n - 1]]
    places = " ".join(f"{x.place(series.x[n]):.4g}" for n in kept)
    return f' data-x="{places}" data-y="{" ".join(f"{values[n]:g}" for n in kept)}"'


_CLASS = {AREA: "a", BARS: "f", POINTS: "p", STROKES: "s", LINE: "s", STEPS: "s"}


def _steps(xs: list[float], ys: list[float], end: float) -> str:
    """Levels: each lasts until the next; equal neighbours are one."""
    if not xs:
        return ""
    path, before = f"M{_n(xs[0])} {_n(ys[0])}", ys[0]
    for a, b in zip(xs[1:], ys[1:], strict=True):
        if b != before:
            path, before = f"{path}H{_n(a)}V{_n(b)}", b
    return f"{path}H{_n(end)}"


def _n(value: float) -> str:
    """A number with one digit behind the point, or none."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def _row(ends: list[float], x: float, line: Line) -> int:
    """The first row in which a label does not run into another one on a narrow page."""
    width = len(line.label) * 0.022 + 0.02
    start, end = (x, x + width) if x < 0.8 else (x - width, x)
    for row, taken in enumerate(ends):
        if start > taken:
            ends[row] = end
            return row
    ends.append(end)
    return len(ends) - 1


def _apart(axis: Axis, most: int, letter: float) -> list[tuple[float, str]]:
    """Ticks that do not run into each other, about ``most`` of them; a letter is so wide, where the axis is 1."""
    kept: list[tuple[float, str]] = []
    free = -1.0
    for value, label in axis.marks(most):
        place, half = axis.place(value), (len(label) + 1) * letter / 2
        left = place if place < 0.04 else place - 2 * half if place > 0.96 else place - half
        if left >= free:
            kept.append((value, label))
            free = left + 2 * half
    return kept
