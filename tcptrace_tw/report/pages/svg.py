"""The curve of TIME-WAIT over time as SVG, with its numbers in a table for those who do not see it."""

from tcptrace_tw.report.pages.html_style import text
from tcptrace_tw.report.summary.occupancy import Curve
from tcptrace_tw.report.words.phrases import moment, span

_WIDTH, _HEIGHT = 860, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 10, 12, 24


def curve_svg(curve: Curve) -> str:
    """Steps, because entries are whole; empty where there is nothing to draw."""
    if curve.start is None or not curve.open:
        return ""
    length = curve.step_ns * len(curve.open)
    title = f"TIME-WAIT sockets over time, peak {curve.peak:,}, from {moment(curve.start)} over {span(length)}"
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _corners(curve))
    base = _HEIGHT - _BOTTOM
    right = _WIDTH - _RIGHT
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{text(title)}"><title>{text(title)}</title>'
        f'<line class="axis" x1="{_LEFT}" y1="{_TOP}" x2="{right}" y2="{_TOP}"/>'
        f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{right}" y2="{base}"/>'
        f'<polygon class="area" points="{_LEFT},{base} {points} {right},{base}"/>'
        f'<polyline class="edge" points="{points}"/>'
        f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{curve.peak:,}</text>'
        f'<text x="{_LEFT - 6}" y="{base + 4}" text-anchor="end">0</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{text(moment(curve.start))}</text>'
        f'<text x="{right}" y="{_HEIGHT - 6}" text-anchor="end">+{text(span(length))}</text></svg>' + _numbers(curve)
    )


def _corners(curve: Curve) -> list[tuple[float, float]]:
    width = (_WIDTH - _LEFT - _RIGHT) / len(curve.open)
    scale = (_HEIGHT - _TOP - _BOTTOM) / max(curve.peak, 1)
    corners = []
    for number, level in enumerate(curve.open):
        y = _HEIGHT - _BOTTOM - level * scale
        corners += [(_LEFT + number * width, y), (_LEFT + (number + 1) * width, y)]
    return corners


def _numbers(curve: Curve) -> str:
    """The steps at which the level changes."""
    assert curve.start is not None
    rows, before = [], None
    for number, level in enumerate(curve.open):
        if level != before:
            when = span(number * curve.step_ns)
            rows.append(f'<tr><td class="n">+{text(when)}</td><td class="n">{level:,}</td></tr>')
        before = level
    return (
        '<details class="small"><summary>numbers</summary><div class="body"><table><thead><tr>'
        '<th class="n" scope="col">time</th><th class="n" scope="col">open</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )
