"""How connections ended over time, and how long connects and silences were: counts of the connections table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.protocol.timeouts import IDLE_TIMEOUTS
from tcptrace_tw.report.pictures.bins import PER_DECADE, DurationBins, TimeBins, edge_s
from tcptrace_tw.report.pictures.chart import BARS, Axis, Chart, Line, Panel, Series, round_up, seconds_text
from tcptrace_tw.report.pictures.palette import CLOSE_COLORS
from tcptrace_tw.report.pictures.times import time_axis
from tcptrace_tw.report.words.phrases import counted, span, tally
from tcptrace_tw.schema import words as w

OLD_STEPS, NEW_STEPS = (1, 3, 7, 15, 31), (1, 2, 3, 4, 5, 7)
"""Seconds after its first SYN at which Linux sends it again: doubling, and evenly from version 6.5 on."""

_LATENCIES = (("SYN sent once", "open"), ("SYN retransmitted", "held"))
_SILENCES = (
    ("ended by FIN", "good"),
    ("ended by RST", "error"),
    ("answered by RST", "warning"),
    ("not answered", "none"),
)
"""In the order of ``SILENCE_END``."""


class Endings:
    """Takes rows of ``connections``; memory does not grow with them."""

    def __init__(self) -> None:
        self.closes = TimeBins(len(w.CLOSE.words))
        self.latencies = DurationBins(len(_LATENCIES))
        self.silences = DurationBins(len(_SILENCES))

    @property
    def total(self) -> int:
        """How many connections there were."""
        return int(self.closes.totals.sum())

    def add(self, rows: NDArray[Any]) -> None:
        """Take finished rows."""
        self.closes.add(rows["last_time"], rows["close"])
        established, first = rows["established_time"], rows["first_time"]
        known = (established >= 0) & (rows["opened"] == w.OPENED_HANDSHAKE) & (rows["orig_syn_frame"] >= 0)
        self.latencies.add((established - first)[known], (rows["syn_retries"] > 0)[known])
        silence, end = rows["silence_ns"], rows["silence_end"]
        broken = np.flatnonzero((silence >= 0) & (end != w.NULL_WORD))
        self.silences.add(silence[broken], end[broken])


def endings_chart(endings: Endings, begin: int, end: int) -> Chart | None:
    """How connections ended over time, stacked; by the time of their last segments."""
    bars = endings.closes.bars(begin, end)
    totals = bars.counts.sum(axis=0)
    if not totals.any():
        return None
    time = time_axis(begin, end)
    starts = [time.at(max(begin, bars.begin + n * bars.width)) for n in range(len(bars.counts))]
    ends = [time.at(min(end, bars.begin + (n + 1) * bars.width)) for n in range(len(bars.counts))]
    order = [code for code, word in enumerate(w.CLOSE.words) if word in CLOSE_COLORS and totals[code]]
    kinds = tuple((w.CLOSE.words[code], CLOSE_COLORS[w.CLOSE.words[code]]) for code in order)
    counts = bars.counts[:, order]
    named = {kind: int(totals[code]) for (kind, _), code in zip(kinds, order, strict=True)}
    y = Axis(f"connections per {span(bars.width)}", "", 0.0, round_up(float(counts.sum(axis=1).max())), is_whole=True)
    series = _stacked(kinds, counts, starts, ends)
    rows = tuple(
        (f"+{span(max(0, bars.begin + n * bars.width - begin))}", *row)
        for n, row in enumerate(counts.tolist())
        if sum(row)
    )
    return Chart(
        "endings", "How connections ended", f"{counted(int(totals.sum()), 'connection')}: {tally(named)}.",
        time.axis, (Panel(y, series=series),), ("time", *(name for name, _ in kinds)), rows,
        legend=tuple((color, name) for name, color in kinds),
    )  # fmt: skip


def latency_chart(endings: Endings) -> Chart | None:
    """How long connects took, with the steps at which a SYN is sent again."""
    bins = endings.latencies
    total, again = (int(each) for each in (bins.counts.sum(), bins.counts[:, 1].sum()))
    if not total:
        return None
    steps = [Line(step, f"{step} s", "held", True, _step_title(step)) for step in sorted({*OLD_STEPS, *NEW_STEPS})]
    text = (
        f"{counted(total, 'connect')}; half took {_quantile(bins, 0.5)} or less, 99 % {_quantile(bins, 0.99)} or less; "
    )
    text += f"{f'{again:,}' if again else 'none'} of them retransmitted the SYN."
    note = "Dashed: Linux sends a SYN again after 1, 3, 7, 15 and 31 s; from 6.5 on after 1, 2, 3, 4, 5 and 7 s."
    lines = steps if again else []
    axis = "time from the first SYN to ESTABLISHED"
    return _histogram(
        "latency", "How long connect() took", text, bins, _LATENCIES, axis, "connects", lines, note if again else ""
    )


def silence_chart(endings: Endings) -> Chart | None:
    """How long both ends were silent before connections ended, with the known timeouts."""
    bins = endings.silences
    total = int(bins.counts.sum())
    if not total:
        return None
    ended = {name: int(count) for (name, _), count in zip(_SILENCES, bins.counts.sum(axis=0), strict=True) if count}
    text = f"{counted(total, 'connection')} ended after a silence of 1 s or longer: {tally(ended)}; "
    text += f"half of the silences lasted {_quantile(bins, 0.5)} or less."
    first, last = bins.filled
    within = [
        each for each in IDLE_TIMEOUTS if edge_s(first - 2 * PER_DECADE) <= each.seconds <= edge_s(last + PER_DECADE)
    ]
    lines = [Line(each.seconds, f"{each.seconds} s", "dim", True, each.who) for each in within]
    note = "Dashed: idle timeouts by default. " + "; ".join(f"{each.seconds} s {each.who}" for each in within) + "."
    return _histogram("silence", "Silence before connections ended", text, bins, _SILENCES, "silence of both ends",
                      "connections", lines, note if within else "")  # fmt: skip


def _histogram(
    name: str, title: str, text: str, bins: DurationBins, kinds: Sequence[tuple[str, str]], axis: str, counted_as: str,
    lines: Sequence[Line], note: str,
) -> Chart:  # fmt: skip
    first, last = bins.filled
    counts = bins.counts[first:last]
    used = [code for code in range(len(kinds)) if counts[:, code].any()]
    kinds, counts = [kinds[code] for code in used], counts[:, used]
    edges = [edge_s(place) for place in range(first, last + 1)]
    low, high = edge_s(first - 3), edge_s(last + 3)
    if lines:
        high = max(high, *(line.at * 1.6 for line in lines if line.at <= high * 8), 1.6 * lines[0].at)
    shown = tuple(line for line in lines if low < line.at < high)
    x = Axis(axis, "s", low, high, is_log=True)
    y = Axis(counted_as, "", 0.0, round_up(float(counts.sum(axis=1).max())), is_whole=True)
    rows = tuple(
        (f"{seconds_text(edges[n])} to {seconds_text(edges[n + 1])}", *row)
        for n, row in enumerate(counts.tolist())
        if sum(row)
    )
    return Chart(
        name, title, text, x, (Panel(y, series=_stacked(kinds, counts, edges[:-1], edges[1:]), lines=shown),),
        ("duration", *(kind for kind, _ in kinds)), rows, note, tuple((color, kind) for kind, color in kinds),
    )  # fmt: skip


def _stacked(
    kinds: Sequence[tuple[str, str]], counts: NDArray[np.int64], starts: Sequence[float], ends: Sequence[float]
) -> tuple[Series, ...]:
    tops = counts.cumsum(axis=1)
    return tuple(
        Series(name, BARS, color, starts, tops[:, n].tolist(), ends, (tops[:, n] - counts[:, n]).tolist())
        for n, (name, color) in enumerate(kinds)
    )


def _quantile(bins: DurationBins, part: float) -> str:
    """The upper edge of the bin that holds this part of all."""
    sums = bins.counts.sum(axis=1).cumsum()
    return seconds_text(edge_s(int(np.searchsorted(sums, part * sums[-1])) + 1))


def _step_title(step: int) -> str:
    known = [
        name for name, steps in (("Linux before 6.5", OLD_STEPS), ("Linux 6.5 and later", NEW_STEPS)) if step in steps
    ]
    return f"{step} s after the first SYN: sent again by {' and '.join(known)}"
