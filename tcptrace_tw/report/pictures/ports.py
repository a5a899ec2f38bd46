"""Ports in use and TIME-WAIT over time, by client and service, against the range that the ports come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.measure.census import KNOWN_RANGES
from tcptrace_tw.protocol.states import CLOSED, LISTEN, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.report.pictures.bins import TimeBins
from tcptrace_tw.report.pictures.chart import AREA, STEPS, Axis, Bar, Chart, Line, Panel, Series, round_up
from tcptrace_tw.report.pictures.times import TimeAxis, time_axis
from tcptrace_tw.report.summary.grouping import Groups
from tcptrace_tw.report.summary.occupancy import Merged, describe_pool, levels_of, merged, pool_columns
from tcptrace_tw.report.summary.pools import MOST_POOLS
from tcptrace_tw.report.summary.steps import Ints, Steps
from tcptrace_tw.report.summary.strands import NUMBERS
from tcptrace_tw.report.words.findings import times
from tcptrace_tw.report.words.phrases import counted, moment, span
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.words import NOTICE, ORIG, SEVERITY

MOST_PANELS = 4
MOST_RULES = 6
STEP_COUNT = 240
_ROWS = 60
"""Rows of the table beside the picture."""

_IS_DONE = np.isin(np.arange(256), (CLOSED, LISTEN, TIME_WAIT, SYN_SENT, SYN_RECEIVED))
"""States in which a client's port is not that of an open connection any more, as ``measure.census`` has it."""

_EVERY_PORT = (1, 65535)


class PoolLevels(NamedTuple):
    """One client and service, or one server: what it had open, step by step."""

    ip: str
    role: str
    service: str
    waiting: list[int]
    """Most TIME-WAIT sockets of each step."""
    used: list[int]
    """Most ports in use of each step, those in TIME-WAIT with them; empty for a server."""
    lowest: int
    highest: int


class PortSpans:
    """Takes rows of ``connections`` and ``time_wait``; ``pools`` says what each client and server had open."""

    def __init__(self) -> None:
        self._pools = Groups(MOST_POOLS)
        self._waits = Steps(), Steps()
        self._used = Steps(), Steps()
        self._lowest, self._highest = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.findings = TimeBins(len(RULES))

    def add_connections(self, rows: NDArray[Any]) -> None:
        """A port is in use from the client's first segment to the last, or on where the connection is still open."""
        chosen = np.flatnonzero(rows["orig_syn_frame"] >= 0)
        if not chosen.size:
            return
        # Column by column: whole records are large.
        columns = [rows[name][chosen].astype(np.int64) for name in _CLIENT]
        numbers = self._pools.number([*columns, np.full(chosen.size, ORIG, np.int64)])
        self._see_ports(numbers, rows["orig_port"][chosen].astype(np.int64))
        is_over = _IS_DONE[rows["orig_state"][chosen]]
        self._used[0].add(numbers, rows["first_time"][chosen])
        self._used[1].add(numbers[is_over], rows["last_time"][chosen][is_over])

    def _see_ports(self, numbers: Ints, ports: Ints) -> None:
        more = len(self._pools.rows) - self._lowest.size
        if more > 0:
            self._lowest = np.concatenate((self._lowest, np.full(more, 65536)))
            self._highest = np.concatenate((self._highest, np.full(more, -1)))
        np.minimum.at(self._lowest, numbers, ports)
        np.maximum.at(self._highest, numbers, ports)

    def add_time_wait(self, rows: NDArray[Any]) -> None:
        """A port, or a server's socket, is in TIME-WAIT from ``start`` to ``end``."""
        if not rows.size:
            return
        numbers = self._pools.number(pool_columns(rows))
        ended = rows["end"] != -1
        after = np.maximum(rows["start"], rows["restart"])  # the connection itself is in use until then
        for (starts, ends), begun in ((self._waits, rows["start"]), (self._used, after)):
            starts.add(numbers, np.ascontiguousarray(begun))
            ends.add(numbers[ended], np.maximum(rows["end"], begun)[ended])

    def add_findings(self, findings: RuleHits) -> None:
        """Take what one rule says, if it is worth a mark."""
        when = times(findings)[findings.severity >= NOTICE]
        when = when[when != -1]
        self.findings.add(when, np.full(when.size, NUMBERS[findings.rule.id]))

    def pools(self, begin: int, end: int, most: int = MOST_PANELS, steps: int = STEP_COUNT) -> list[PoolLevels]:
        """Those with the most ports in use or sockets in TIME-WAIT, in steps of ``step_ns``."""
        if not self._pools.rows:
            return []
        waits, used = merged(*self._waits), merged(*self._used)
        width = step_ns(begin, end, steps)
        count = len(self._pools.rows)
        waiting = _peaks(waits, count)
        peaks = np.maximum(waiting, _peaks(used, count))
        best = np.argsort(-peaks, kind="stable")[:most].tolist()
        # One port that was in use once makes no picture, but one that waits does.
        return [
            self._pool(number, waits, used, begin, width, steps)
            for number in best
            if peaks[number] > 1 or waiting[number]
        ]

    def _pool(self, number: int, waits: Merged, used: Merged, begin: int, width: int, steps: int) -> PoolLevels:
        ip, role, service = describe_pool(self._pools.rows[number])
        waiting = levels_of(waits, number, begin, width, steps)
        if role != "client" or number >= self._lowest.size or self._highest[number] < 0:
            return PoolLevels(ip, role, service, waiting, [], 0, 0)
        lowest, highest = int(self._lowest[number]), int(self._highest[number])
        # In one moment a port may count for two of its lives.
        in_use = [min(level, highest - lowest + 1) for level in levels_of(used, number, begin, width, steps)]
        return PoolLevels(ip, role, service, waiting, in_use, lowest, highest)


_CLIENT = ("orig_ip_hi", "orig_ip_lo", "resp_ip_hi", "resp_ip_lo", "resp_port")


def step_ns(begin: int, end: int, steps: int = STEP_COUNT) -> int:
    """The width of a step (ns) where ``steps`` steps reach from ``begin`` to ``end``."""
    return max(1, -(-(end - begin + 1) // steps))


def ports_chart(
    spans: PortSpans, begin: int, end: int, chosen: Sequence[str] = (), *, only_waiting: bool = False
) -> Chart | None:
    """The picture; ``chosen`` are the rules whose findings are marked, else those that were found, the worst first."""
    pools = spans.pools(begin, end)
    if only_waiting:
        pools = [pool._replace(used=[]) for pool in pools if any(pool.waiting)]
    if not pools:
        return None
    time = time_axis(begin, end)
    width = step_ns(begin, end)
    starts = [time.at(begin + n * width) for n in range(STEP_COUNT)]
    panels = tuple(_panel(pool, starts, time.axis.high) for pool in pools)
    has_ports = any(pool.used for pool in pools)
    legend = (("held", "in TIME-WAIT"), *((("open", "in use: open or in TIME-WAIT"),) if has_ports else ()))
    title = "Ports in use and TIME-WAIT over time" if has_ports else "TIME-WAIT over time"
    return Chart(
        "time-wait" if only_waiting else "ports", title, " ".join(_said(pool, begin, width) for pool in pools),
        time.axis,
        (*panels, *_marks(spans.findings, time, begin, end, chosen)),
        ("time", *(_column(pool, what) for pool in pools for what in _kinds(pool))), _rows(pools, width), legend=legend,
    )  # fmt: skip


def _panel(pool: PoolLevels, starts: list[float], end: float) -> Panel:
    peak = max(max(pool.used, default=0), max(pool.waiting, default=0))
    series = [Series("TIME-WAIT", AREA, "held", starts, pool.waiting, (end,))]
    series.append(Series("TIME-WAIT", STEPS, "held", starts, pool.waiting, (end,)))
    lines: list[Line] = []
    top = float(peak)
    if pool.used:
        series.insert(0, Series("in use", STEPS, "open", starts, pool.used, (end,)))
        first, last = range_of(pool)
        size, seen = last - first + 1, pool.highest - pool.lowest + 1
        if peak * 5 >= size:
            lines.append(Line(size, f"range {first} to {last}: {size:,} ports", "error"))
        elif peak * 10 >= seen * 9 and seen > 1:
            lines.append(Line(seen, f"all ports seen, {pool.lowest} to {pool.highest}: {seen:,}", "error"))
        top = max(top, *(line.at * 1.02 for line in lines)) if lines else top
    y = Axis("ports in use" if pool.used else "sockets in TIME-WAIT", "", 0.0, round_up(top), is_whole=True)
    return Panel(y, _name(pool), tuple(series), lines=tuple(lines), height=88)


def range_of(pool: PoolLevels) -> tuple[int, int]:
    """The first known ephemeral range that holds all ports seen."""
    return next((r for r in KNOWN_RANGES if r[0] <= pool.lowest and pool.highest <= r[1]), _EVERY_PORT)


def _name(pool: PoolLevels) -> str:
    return f"client {pool.ip} to {pool.service}" if pool.role == "client" else f"server {pool.service}"


def _kinds(pool: PoolLevels) -> tuple[str, ...]:
    return ("in use", "TIME-WAIT") if pool.used else ("TIME-WAIT",)


def _column(pool: PoolLevels, what: str) -> str:
    return f"{what}, {_name(pool)}"


def _said(pool: PoolLevels, begin: int, width: int) -> str:
    """What a person who does not see the curve needs to know."""
    peak = max(pool.waiting)
    at = moment(begin + pool.waiting.index(peak) * width)[11:19]
    text = f"{_name(pool).capitalize()}: at most {counted(peak, 'socket')} in TIME-WAIT"
    text += f" (at {at})" if peak else ""
    if not pool.used:
        return f"{text}."
    used, (first, last) = max(pool.used), range_of(pool)
    size = last - first + 1
    return f"{text}, at most {counted(used, 'port')} in use: {used / size:.1%} of the {size:,} from {first} to {last}."


def _rows(pools: Sequence[PoolLevels], width: int) -> tuple[tuple[Any, ...], ...]:
    """The levels at steps that are far enough apart for a table: of each group of steps, the highest."""
    group = -(-STEP_COUNT // _ROWS)
    rows: list[tuple[Any, ...]] = []
    for n in range(0, STEP_COUNT, group):
        cells = [
            max(levels[n : n + group])
            for pool in pools
            for levels in ((pool.used, pool.waiting) if pool.used else (pool.waiting,))
        ]
        if not rows or cells != list(rows[-1][1:]):
            rows.append((f"+{span(n * width)}", *cells))
    return tuple(rows)


def _marks(findings: TimeBins, time: TimeAxis, begin: int, end: int, chosen: Sequence[str]) -> tuple[Panel, ...]:
    """A lane for each of the worst rules: when it was found, and how often."""
    bars = findings.bars(begin, end, 160)
    totals = bars.counts.sum(axis=0)
    found = [n for n in range(len(RULES)) if totals[n] and (not chosen or RULES[n].id in chosen)]
    found.sort(key=lambda n: (-SEVERITY.code(_word(n)), RULES[n].id))
    found = found[:MOST_RULES]
    if not found:
        return ()
    drawn = []
    for lane, number in enumerate(found):
        for place in np.flatnonzero(bars.counts[:, number]).tolist():
            count, start = int(bars.counts[place, number]), bars.begin + place * bars.width
            when = f"+{span(max(0, start - begin))}"
            title = f"{RULES[number].id} {RULES[number].name}: {counted(count, 'finding')} at {when}"
            ends = time.at(start), time.at(start + bars.width)
            drawn.append(Bar(*ends, lane, "", _word(number), title, f"#{RULES[number].id}"))
    names = tuple(f"{RULES[n].id} {RULES[n].name}, {int(totals[n]):,}x" for n in found)
    return (Panel(Axis("findings"), "Findings", bars=tuple(drawn), lanes=names),)


def _word(number: int) -> str:
    """The severity of a rule, which is also the name of its colour."""
    return SEVERITY.words[RULES[number].severity]


def _peaks(steps: Merged, count: int) -> Ints:
    """The most that each pool had open at once."""
    of_pool, _, changes, _ = steps
    peaks: Ints = np.zeros(count, np.int64)
    if of_pool.size:
        level = np.cumsum(changes)
        firsts = np.flatnonzero(np.concatenate(([True], of_pool[1:] != of_pool[:-1])))
        before = np.concatenate(([0], level))[firsts]
        peaks[of_pool[firsts]] = np.maximum.reduceat(level, firsts) - before
    return peaks
