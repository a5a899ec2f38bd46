"""One connection in Python: its rows as DataFrames, its ladder, and how it shows itself."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from rich.console import Console

from tcptrace_tw.report.pages.connection_report import Row, Story, tell
from tcptrace_tw.report.pages.ladder import Ladder, Step, Style
from tcptrace_tw.report.pages.ladder_page import draw
from tcptrace_tw.report.pages.renderable import Shown
from tcptrace_tw.report.tables.dataframes import to_pandas, worst_first
from tcptrace_tw.report.words.codec import printable_data
from tcptrace_tw.report.words.findings import RULES_PER_CONNECTION, kept
from tcptrace_tw.report.words.text import endpoint_text
from tcptrace_tw.rules.runner import chosen
from tcptrace_tw.schema.columns import CAPTURE, Table
from tcptrace_tw.schema.words import INFO, SEVERITY

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Segments = Callable[[Iterable[int]], dict[int, list[Step]]]
"""Reads the segments of some incarnations out of the capture."""

TableOf = Callable[[str], "pa.Table"]

_SAME_TUPLE = ("orig_ip", "orig_port", "resp_ip", "resp_port", "scope")


class LadderView(Shown):
    """The ladder of a connection: ``print`` it, give it to rich, or let a notebook show it.

    ``with_style`` draws it with raw numbers, or with times in one of ``rel``, ``delta``, ``utc``, ``local``, ``epoch``.
    """

    def __init__(self, ladder: Ladder, style: Style | None = None) -> None:
        self.ladder = ladder
        self.style = style or Style()

    def with_style(self, *, raw: bool = False, time_format: str = "rel", most: int | None = 200) -> "LadderView":
        """The same ladder, drawn otherwise; ``most`` is about how many lines are drawn, None for all."""
        return LadderView(self.ladder, Style(not raw, time_format, most))

    def draw(self, console: Console) -> None:
        """Print it."""
        draw(console, self.ladder, self.style)

    def __repr__(self) -> str:
        return f"<Ladder of connection {self.ladder.head.connection_id}: {len(self.ladder.steps)} segments>"

    def _repr_html_(self) -> str:
        from tcptrace_tw.report.pages.html_ladder import ladder_html
        from tcptrace_tw.report.pages.html_style import cell

        return cell(ladder_html(self.ladder, self.style))


class Connection(Shown):
    """Everything about one incarnation: DataFrames of its rows, ``row`` with its facts, and its ``ladder``."""

    def __init__(
        self,
        connection_id: int,
        table: TableOf,
        segments: Segments | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """``settings`` are those of the analysis, where the table of findings lacks ordinary mechanisms."""
        self.connection_id = connection_id
        self._table = table
        self._segments = segments
        self._settings = settings
        found = _plain_rows(self._own("connections"))
        if not found:
            raise KeyError(f"no connection {connection_id}; there are connections 1 to {table('connections').num_rows}")
        self.row: Row = found[0]
        """Its row of ``connections`` as a dictionary; times are ns since 1970."""
        self.orig = endpoint_text(self.row["orig_ip"], self.row["orig_port"])
        self.resp = endpoint_text(self.row["resp_ip"], self.row["resp_port"])

    @cached_property
    def transitions(self) -> "pd.DataFrame":
        """State changes of both endpoints, in order of time."""
        return to_pandas(self._own("transitions"))

    @cached_property
    def time_wait(self) -> "pd.DataFrame":
        """Its TIME-WAIT spans: none, one, or one of each endpoint."""
        return to_pandas(self._own("time_wait"))

    @cached_property
    def findings(self) -> "pd.DataFrame":
        """Its findings, and those about a SYN that met it or would have opened it; the worst first."""
        return worst_first(to_pandas(self._findings()))

    @cached_property
    def resets(self) -> "pd.DataFrame":
        """Its RSTs."""
        return to_pandas(self._own("resets"))

    @cached_property
    def stale_segments(self) -> "pd.DataFrame":
        """Its segments with TSval below TS.Recent."""
        return to_pandas(self._own("stale_segments"))

    @property
    def earlier(self) -> list[int]:
        """The numbers of the earlier incarnations of its tuple, in order."""
        return [row["connection_id"] for row in self.story.earlier]

    @property
    def later(self) -> list[int]:
        """The numbers of the later incarnations of its tuple, in order."""
        return [row["connection_id"] for row in self.story.later]

    @cached_property
    def story(self) -> Story:
        """Its rows as dictionaries, for the pages."""
        names = ("transitions", "time_wait", "reuses")
        transitions, time_wait, reuses = (_plain_rows(self._own(name)) for name in names)
        return Story(self.row, transitions, time_wait, self._notes(), self._neighbours(), reuses)

    @cached_property
    def ladder(self) -> LadderView:
        """Its segments with the states of both endpoints; the state changes alone where the capture is not at hand."""
        steps: dict[int, list[Step]] = {}
        if self._segments is not None:
            steps = self._segments([self.connection_id, *self.story.met])
        own = steps.pop(self.connection_id, [])
        return LadderView(self.story.ladder(own, steps))

    def draw(self, console: Console) -> None:
        """Print it as ``tcptrace-tw show`` does."""
        tell(console, self.story, self.ladder.ladder, Style())

    def __repr__(self) -> str:
        return f"<Connection {self.connection_id}: {self.orig} to {self.resp}, {self.row['close']}>"

    def _repr_html_(self) -> str:
        from tcptrace_tw.report.pages.html_ladder import story_html
        from tcptrace_tw.report.pages.html_style import cell

        return cell(story_html(self.story, self.ladder.ladder))

    def _own(self, name: str) -> "pa.Table":
        import pyarrow.compute as pc

        table = self._table(name)
        return table.filter(pc.fill_null(pc.equal(table["connection_id"], self.connection_id), False))

    def _findings(self) -> "pa.Table":
        import pyarrow.compute as pc

        table = self._table("findings")
        own = pc.equal(pc.divide(table["finding_id"], RULES_PER_CONNECTION), self.connection_id)
        later = pc.fill_null(pc.equal(table["previous_connection_id"], self.connection_id), False)
        return table.filter(pc.or_(own, later))

    def _notes(self) -> list[Row]:
        """Its findings and the ordinary mechanisms: in a ladder both say what happened."""
        found = {row["finding_id"]: row for row in _plain_rows(self._findings())}
        if self._settings is not None and SEVERITY.code(self._settings["findings"]) > INFO:
            ordinary = {row["finding_id"]: row for row in _plain_rows(self._ordinary(self._settings))}
            found = ordinary | found
        return sorted(found.values(), key=lambda row: str(row["rule"]))

    def _ordinary(self, settings: Mapping[str, Any]) -> "pa.Table":
        """What was not severe enough for a finding, from the rows of its tables."""
        from tcptrace_tw.report.tables.replay import replayed
        from tcptrace_tw.report.tables.sinks import ConnectionSink

        least = SEVERITY.code(settings["findings"])
        rules = [
            rule.id
            for rule in chosen(settings["select"], settings["ignore"])
            if any(grade.severity < least for grade in rule.grades)
        ]
        sink = ConnectionSink([self.connection_id], "file" in self._table("findings").column_names)
        for hits in replayed(self._records, settings, rules, settings["thresholds"]):
            sink.findings(kept(hits, hits.severity < least))
        return sink.finish({})["findings"]

    def _records(self, table: Table) -> Iterator[NDArray[Any]]:
        """The rows of a table that are about it, or about a SYN that met it or would have opened it."""
        import pyarrow.compute as pc

        from tcptrace_tw.report.tables.written_rows import records_of

        written = self._table(table.name)
        if table is not CAPTURE:
            names = {"connection_id", "previous_connection_id", "attempt_id"} & set(written.column_names)
            if not names:
                return
            is_own = [pc.fill_null(pc.equal(written[name], self.connection_id), False) for name in sorted(names)]
            written = written.filter(reduce(pc.or_, is_own))
        if written.num_rows:
            yield records_of(table, written)

    def _neighbours(self) -> list[Row]:
        """The other incarnations of its tuple, whoever opened them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self._table("connections")
        swapped = ("resp_ip", "resp_port", "orig_ip", "orig_port", "scope")
        same = None
        for names in (_SAME_TUPLE, swapped):
            equal = None
            for name, of in zip(_SAME_TUPLE, names, strict=True):
                column = table[name].cast(pa.string()) if name.endswith("ip") else table[name]
                each = pc.equal(column, self.row[of])
                equal = each if equal is None else pc.and_(equal, each)
            same = equal if same is None else pc.or_(same, equal)
        other = pc.not_equal(table["connection_id"], self.connection_id)
        return sorted(_plain_rows(table.filter(pc.and_(same, other))), key=lambda row: row["connection_id"])


def _plain_rows(table: "pa.Table") -> list[Row]:
    """Rows as dictionaries, with times in ns."""
    import pyarrow as pa

    plain = pa.schema([pa.field(f.name, pa.int64()) if pa.types.is_timestamp(f.type) else f for f in table.schema])
    found: list[Row] = printable_data(table.cast(plain).to_pylist())
    return found
