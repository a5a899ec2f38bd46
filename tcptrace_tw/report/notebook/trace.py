"""The result of an analysis in Python: tables as Arrow and as pandas, in memory or in a folder."""

from functools import cached_property
from typing import TYPE_CHECKING

from rich.console import Console

from tcptrace_tw.report.notebook.connection import Connection, Segments
from tcptrace_tw.report.notebook.states import sockets_per_second, states_at, states_of
from tcptrace_tw.report.pages import terminal
from tcptrace_tw.report.pages.renderable import Shown
from tcptrace_tw.report.summary.digest import Digest
from tcptrace_tw.report.summary.headline import headline
from tcptrace_tw.report.tables.community_ids import with_community_ids
from tcptrace_tw.report.tables.dataframes import by_number, to_pandas, worst_first
from tcptrace_tw.report.tables.replay import findings_of
from tcptrace_tw.report.tables.stored import manifest_of, read_table, reading, stored_digest
from tcptrace_tw.schema.columns import BY_NAME
from tcptrace_tw.storage import Place, place

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tcptrace_tw.report.notebook.plot import Plots


class Trace(Shown):
    """An analysed capture: ``trace.findings`` is a DataFrame, ``trace.table("findings")`` an Arrow table.

    ``print(trace)`` prints the report, and a notebook shows it.

        >>> import tcptrace_tw as tw
        >>> trace = tw.analyze("fixtures/kernel-syn-into-last-ack/capture.pcap")
        >>> trace
        <Trace: 2 connections, peak 1 TIME-WAIT socket; 1 warning, 1 notice, 6 info in 1 incident>
        >>> trace.findings[trace.findings.severity == "warning"].rule.tolist()
        ['LA001']
        >>> trace.time_wait.dtypes[["start", "holder", "end_frame"]].astype(str).tolist()
        ['datetime64[ns, UTC]', 'category', 'Int64']
    """

    def __init__(
        self,
        summary: Digest,
        tables: "dict[str, pa.Table] | None" = None,
        folder: Place | None = None,
        segments: Segments | None = None,
    ) -> None:
        self.summary = summary
        """The report as data, with ``to_json()``."""
        self._segments = segments
        self._tables = dict(tables or {})
        self._frames: dict[str, pd.DataFrame] = {}
        self._folder = folder

    @staticmethod
    def load(folder: str | Place, segments: Segments | None = None, findings: str = "") -> "Trace":
        """What ``tcptrace-tw analyze`` wrote; a table is read when it is asked for.

        ``findings`` is the lowest severity of a finding; "" is the one that was written.
        """
        with reading(place(folder)):
            digest = stored_digest(place(folder), findings=findings)
            written = manifest_of(place(folder))["settings"]["findings"]
            tables = None if findings in ("", written) else findings_of(place(folder), digest)
        return Trace(digest, tables, folder=place(folder), segments=segments)

    def table(self, name: str) -> "pa.Table":
        """One table of the contract; ``KeyError`` if there is none of that name."""
        if name not in BY_NAME:
            raise KeyError(f"{name}: no such table; there are {', '.join(BY_NAME)}")
        if name not in self._tables:
            assert self._folder is not None
            with reading(self._folder):
                read = read_table(self._folder, name)
                self._tables[name] = with_community_ids(read) if name == "connections" else read
        return self._tables[name]

    def frame(self, name: str) -> "pd.DataFrame":
        """One table as a DataFrame: UTC times in ns, words as categories, nullable integers as ``Int64``."""
        if name not in self._frames:
            self._frames[name] = _ARRANGED.get(name, _as_it_is)(to_pandas(self.table(name)))
        return self._frames[name]

    @cached_property
    def plot(self) -> "Plots":
        """Pictures: ``trace.plot.ports()``, ``.time_wait()``, ``.states(17)``, ``.sequence(17)``, ``.clocks()`` ...

        >>> import tcptrace_tw as tw
        >>> trace = tw.analyze("fixtures/kernel-syn-into-last-ack/capture.pcap")
        >>> picture = trace.plot.states(2)
        >>> picture
        <Picture states: States of both endpoints>
        >>> picture.data.state.tolist()[:3]
        ['SYN-SENT', 'SYN-RECEIVED', 'ESTABLISHED']
        """
        from tcptrace_tw.report.notebook.plot import Plots

        return Plots(self)

    @property
    def connections(self) -> "pd.DataFrame":
        """One row per connection: one incarnation of a 4-tuple; ``connections.loc[17]`` is number 17."""
        return self.frame("connections")

    @property
    def transitions(self) -> "pd.DataFrame":
        """One row per state change of one endpoint."""
        return self.frame("transitions")

    @property
    def states(self) -> "pd.DataFrame":
        """One row per stay of an endpoint in a state, from ``since`` to ``until`` (NaT: to the end of the capture)."""
        if "states" not in self._frames:
            self._frames["states"] = states_of(self.transitions)
        return self._frames["states"]

    def states_at(self, time: "str | pd.Timestamp") -> "pd.DataFrame":
        """One row per endpoint that has a socket at ``time``, with its state; a time without an offset is in UTC.

        >>> import tcptrace_tw as tw
        >>> trace = tw.analyze("fixtures/kernel-active-close-client/capture.pcap")
        >>> trace.states_at(trace.time_wait.start[0]).state.tolist()
        ['ESTABLISHED', 'ESTABLISHED', 'TIME-WAIT']
        """
        import pandas as pd

        moment = pd.Timestamp(time)
        return states_at(self.states, moment if moment.tzinfo else moment.tz_localize("UTC"))

    def sockets_per_second(self) -> "pd.DataFrame":
        """Sockets in each state at the end of each second, over both hosts: ``ss -s`` over time."""
        return sockets_per_second(self.states)

    @property
    def time_wait(self) -> "pd.DataFrame":
        """One row per TIME-WAIT period of one endpoint."""
        return self.frame("time_wait")

    @property
    def reuses(self) -> "pd.DataFrame":
        """One row per SYN on a 4-tuple with a previous connection."""
        return self.frame("reuses")

    @property
    def stale_segments(self) -> "pd.DataFrame":
        """One row per segment with TSval below the receiver's TS.Recent."""
        return self.frame("stale_segments")

    @property
    def resets(self) -> "pd.DataFrame":
        """One row per RST."""
        return self.frame("resets")

    @property
    def anomalies(self) -> "pd.DataFrame":
        """One row per endpoint of a connection with at least one anomaly."""
        return self.frame("anomalies")

    @property
    def census(self) -> "pd.DataFrame":
        """One row per address with TIME-WAIT sockets, and second in which something changed."""
        return self.frame("census")

    @property
    def holders(self) -> "pd.DataFrame":
        """One row per address with TIME-WAIT sockets."""
        return self.frame("holders")

    @property
    def ports(self) -> "pd.DataFrame":
        """One row per client address towards one service."""
        return self.frame("ports")

    @property
    def services(self) -> "pd.DataFrame":
        """One row per server and port."""
        return self.frame("services")

    @property
    def connects(self) -> "pd.DataFrame":
        """One row per client address towards one service, where connects came to nothing."""
        return self.frame("connects")

    @property
    def scans(self) -> "pd.DataFrame":
        """One row per client address that tried many services in vain."""
        return self.frame("scans")

    @property
    def floods(self) -> "pd.DataFrame":
        """One row per service with many SYNs that came to nothing."""
        return self.frame("floods")

    @property
    def idles(self) -> "pd.DataFrame":
        """One row per service with connections that were silent for 1 s or longer."""
        return self.frame("idles")

    @property
    def moves(self) -> "pd.DataFrame":
        """One row per connection or connect that went on under another 4-tuple, or SYN that met one."""
        return self.frame("moves")

    @property
    def icmp_errors(self) -> "pd.DataFrame":
        """One row per ICMP errors of one router and kind, about segments of one address towards one service."""
        return self.frame("icmp_errors")

    @property
    def clocks(self) -> "pd.DataFrame":
        """One row per client address towards a server address, with comparable timestamps."""
        return self.frame("clocks")

    @property
    def capture(self) -> "pd.DataFrame":
        """One row per capture, with the properties that limit the conclusions."""
        return self.frame("capture")

    @property
    def incidents(self) -> "pd.DataFrame":
        """One row per incident: findings that have one cause, the worst first."""
        return self.frame("incidents")

    @property
    def findings(self) -> "pd.DataFrame":
        """One row per rule statement about one connection, the worst first."""
        return self.frame("findings")

    if not TYPE_CHECKING:  # a checker knows the tables by their properties

        def __getattr__(self, name: str) -> object:
            raise AttributeError(f"a trace has no {name!r}; its tables are {', '.join(BY_NAME)}")

    def connection(self, connection_id: int) -> Connection:
        """Everything about one incarnation; ``KeyError`` if there is none of that number.

        >>> import tcptrace_tw as tw
        >>> connection = tw.analyze("fixtures/kernel-active-close-client/capture.pcap").connection(2)
        >>> connection
        <Connection 2: 198.18.1.10:40000 to 198.19.1.20:5000, normal>
        >>> connection.transitions[connection.transitions.endpoint == "orig"].to_state.tolist()
        ['SYN-SENT', 'ESTABLISHED', 'FIN-WAIT-1', 'FIN-WAIT-2', 'TIME-WAIT', 'CLOSED']
        >>> connection.ladder
        <Ladder of connection 2: 11 segments>
        """
        return Connection(connection_id, self.table, self._segments, self.summary.settings)

    def draw(self, console: Console) -> None:
        """Print the report."""
        terminal.draw(self.summary, console, [file.name for file in self.summary.capture.files])

    def __repr__(self) -> str:
        return f"<Trace: {headline(self.summary)}>"

    def _repr_html_(self) -> str:
        from tcptrace_tw.report.pages.html_report import digest_html
        from tcptrace_tw.report.pages.html_style import cell
        from tcptrace_tw.report.pictures.sink import PictureSink

        capture = self.summary.capture
        charts = PictureSink.of(self.table).charts(capture.first_time, capture.last_time)
        return cell(digest_html(self.summary, charts=charts))


def _as_it_is(frame: "pd.DataFrame") -> "pd.DataFrame":
    return frame


_ARRANGED = {"connections": by_number, "findings": worst_first}
