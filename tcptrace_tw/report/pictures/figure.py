"""A chart in a page: its title, what it shows in words, the picture, the legend, and the numbers in a table."""

from tcptrace_tw.report.pictures.chart import Chart
from tcptrace_tw.report.pictures.svg import page_svg, safe

_MOST_ROWS = 200


def figure(chart: Chart, prefix: str = "", level: int = 3) -> str:
    """The element; without a script it is whole, with one it can be zoomed and read by pointing."""
    legend = "".join(f'<li class="c-{color}"><span>{safe(label)}</span></li>' for color, label in chart.legend)
    legend = f'<ul class="legend">{legend}</ul>' if legend else ""
    note = f'<p class="dim">{safe(chart.note)}</p>' if chart.note else ""
    return (
        f'<figure class="picture" id="{prefix}{chart.name}"><figcaption><h{level}>{safe(chart.title)}</h{level}>'
        f"<p>{safe(chart.caption or chart.summary)}</p></figcaption>"
        f"{legend}{page_svg(chart, prefix)}{note}{numbers(chart)}</figure>"
    )


def numbers(chart: Chart) -> str:
    """What the picture shows as a table, folded."""
    if not chart.rows:
        return ""
    kinds = ["n" if all(not isinstance(row[at], str) for row in chart.rows) else "" for at in range(len(chart.columns))]
    head = "".join(
        f'<th scope="col"{_class(kind)}>{safe(name)}</th>' for name, kind in zip(chart.columns, kinds, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td{_class(kind)}>{_cell(value)}</td>" for value, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in chart.rows[:_MOST_ROWS]
    )
    left = len(chart.rows) - _MOST_ROWS
    more = f'<p class="dim">and {left:,} more rows</p>' if left > 0 else ""
    return (
        '<details class="small"><summary>the numbers</summary><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Numbers: {safe(chart.title)}"><table><caption>{safe(chart.title)}</caption>'
        f"<thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{more}</details>"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else safe(value)
