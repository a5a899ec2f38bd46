"""Rows to pictures: the sink that a page with pictures adds to the one pass over the capture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.pictures.chart import Chart
from tcptrace_tw.report.pictures.clocks import CLOCK_RULES, Clocks, clocks_chart
from tcptrace_tw.report.pictures.endings import Endings, endings_chart, latency_chart, silence_chart
from tcptrace_tw.report.pictures.ports import PortSpans, ports_chart
from tcptrace_tw.report.summary.strands import NUMBERS
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.columns import BY_NAME
from tcptrace_tw.schema.words import NOTICE, SEVERITY

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = {
    "connections": (
        "connection_id", "orig_ip", "orig_port", "resp_ip", "resp_port", "opened", "first_time", "last_time",
        "orig_state",
        "close", "orig_syn_frame", "established_time", "syn_retries", "silence_ns", "silence_end", "orig_syn_has_ts",
        "orig_syn_tsval",
    ),
    "time_wait": ("holder", "ip", "port", "peer_ip", "peer_port", "start", "end", "restart"),
    "stale_segments": ("connection_id", "endpoint", "ip", "port", "peer_ip", "peer_port", "time", "tsval"),
}  # fmt: skip
"""By table, the columns that pictures are made of."""


LEAST = 3
"""Of fewer connections some pictures say nothing that a sentence does not."""


class PictureSink:
    """Counts what the pictures of a whole capture show; its memory does not grow with the capture."""

    tables = frozenset(COLUMNS)

    def __init__(self) -> None:
        self.endings, self.ports, self.clocks = Endings(), PortSpans(), Clocks()

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Take finished rows of one table."""
        if table == "connections":
            self.endings.add(rows)
            self.ports.add_connections(rows)
            self.clocks.add_connections(rows)
        elif table == "time_wait":
            self.ports.add_time_wait(rows)
        elif table == "stale_segments":
            self.clocks.add_stale(rows)

    def findings(self, findings: RuleHits) -> None:
        """Take what one rule says."""
        self.ports.add_findings(findings)
        self.clocks.has_findings |= findings.rule.id.startswith(CLOCK_RULES) and bool(findings.rows.size)

    @staticmethod
    def of(table: Callable[[str], pa.Table]) -> PictureSink:
        """What the sink would be after a pass, from written tables: ``table(name)`` gives one."""
        from tcptrace_tw.report.tables.records import records

        made = PictureSink()
        for name, columns in COLUMNS.items():
            for rows in records(BY_NAME[name], table(name), columns):
                made.rows(name, rows)
        made.note(table("findings"))
        return made

    def note(self, findings: pa.Table) -> None:
        """Take written findings."""
        import pyarrow as pa

        rules, severities = (findings[name].to_pylist() for name in ("rule", "severity"))
        self.clocks.has_findings |= any(rule.startswith(CLOCK_RULES) for rule in rules)
        codes = np.array([NUMBERS[rule] for rule in rules], np.int64)
        counts = np.array([SEVERITY.code(word) >= NOTICE for word in severities], np.bool_)
        when = findings["time"].cast(pa.int64()).to_numpy()
        counts &= when >= 0
        self.ports.findings.add(when[counts], codes[counts])

    def charts(self, begin: int | None, end: int | None) -> Iterator[Chart]:
        """The pictures that have something to show, from ``begin`` to ``end`` (ns)."""
        if begin is None or end is None:
            return
        made = (
            ports_chart(self.ports, begin, end),
            clocks_chart(self.clocks, begin, end, always=self.clocks.has_findings),
            *(
                (endings_chart(self.endings, begin, end), latency_chart(self.endings))
                if self.endings.total >= LEAST
                else ()
            ),
            silence_chart(self.endings),
        )
        yield from (chart for chart in made if chart is not None)
