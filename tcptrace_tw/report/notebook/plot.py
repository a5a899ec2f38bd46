"""The pictures of a trace in Python: they show in notebooks, and save as SVG and PNG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.notebook.connection import Connection
from tcptrace_tw.report.pages.connection_pictures import sequence_of, states_chart
from tcptrace_tw.report.pictures.chart import Chart
from tcptrace_tw.report.pictures.clocks import clocks_chart
from tcptrace_tw.report.pictures.endings import endings_chart, latency_chart, silence_chart
from tcptrace_tw.report.pictures.ports import ports_chart
from tcptrace_tw.report.pictures.sink import PictureSink
from tcptrace_tw.report.pictures.svg import WIDTH, file_svg

if TYPE_CHECKING:
    import pandas as pd

    from tcptrace_tw.report.notebook.trace import Trace

PNG_SCALE = 2
"""Pixels of a PNG for one of the SVG."""


class Picture:
    """One picture: a notebook shows it, ``save`` writes it, ``data`` has its numbers."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        """What is drawn: axes, series, marks, and the numbers."""

    @property
    def data(self) -> pd.DataFrame:
        """The numbers of the picture, as in the table beside it on the HTML page."""
        import pandas as pd

        return pd.DataFrame(list(self.chart.rows), columns=list(self.chart.columns))

    def svg(self, width: int = WIDTH) -> str:
        """The picture as SVG, ``width`` pixels wide; light or dark as its reader's system is."""
        return file_svg(self.chart, width)

    def save(self, path: str | os.PathLike[str], width: int = WIDTH) -> None:
        """Write it as SVG or as PNG, as the name ends.

        PNG needs the extra ``plot``. Raises ``UsageError`` for another ending, or without the extra.
        """
        kind = Path(path).suffix.lower()
        if kind == ".svg":
            Path(path).write_text(self.svg(width), encoding="utf-8")
        elif kind == ".png":
            Path(path).write_bytes(png(self.svg(width)))
        else:
            raise UsageError(f"{os.fspath(path)}: a picture is saved as .svg or as .png")

    def __repr__(self) -> str:
        return f"<Picture {self.chart.name}: {self.chart.title}>"

    def _repr_html_(self) -> str:
        from tcptrace_tw.report.pages.html_style import cell
        from tcptrace_tw.report.pictures.figure import figure

        return cell(figure(self.chart))

    def _repr_svg_(self) -> str:
        return self.svg()


def png(svg: str) -> bytes:
    """The pixels of an SVG, light; ``UsageError`` where what draws them is not installed."""
    try:
        import resvg_py
    except ImportError:
        raise UsageError("PNG needs another package: pip install 'tcptrace-tw[plot]'; SVG does not") from None
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=PNG_SCALE))


class Plots:
    """``trace.plot``: each method gives a ``Picture``; ``UsageError`` where there is nothing to draw."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._counted: PictureSink | None = None

    def time_wait(self) -> Picture:
        """Sockets in TIME-WAIT over time, for each client and service with the most of them."""
        return _picture(ports_chart(self._sink.ports, *self._span, only_waiting=True), "no TIME-WAIT")

    def ports(self) -> Picture:
        """Ports in use and in TIME-WAIT over time by client and service, against the range they come from."""
        return _picture(ports_chart(self._sink.ports, *self._span), "no port was in use")

    def endings(self) -> Picture:
        """How connections ended, over time."""
        return _picture(endings_chart(self._sink.endings, *self._span), "too few connections")

    def latency(self) -> Picture:
        """How long connects took, with the steps at which SYNs are sent again."""
        return _picture(latency_chart(self._sink.endings), "too few connects")

    def silence(self) -> Picture:
        """How long connections were silent before they ended, with the known timeouts."""
        return _picture(silence_chart(self._sink.endings), "no connection ended after a silence of 1 s or longer")

    def clocks(self, address: str = "") -> Picture:
        """TSval of SYNs over time: of one client address, or of those with the most to tell."""
        chart = clocks_chart(self._sink.clocks, *self._span, address=address, always=True)
        return _picture(chart, f"no SYNs with timestamps that can be compared{f' from {address}' if address else ''}")

    def states(self, connection: int | Connection) -> Picture:
        """Swim lanes: the states of both endpoints, of the connection and of those that its SYNs met."""
        one = self._connection(connection)
        known = set(self._trace.table("connections")["connection_id"].to_pylist())
        others = [self._trace.connection(number).story for number in one.story.met if number in known]
        return _picture(states_chart(one.story, one.ladder.ladder, others), "no state of it is known")

    def sequence(self, connection: int | Connection) -> Picture:
        """Time and sequence numbers in both directions; it needs the capture."""
        one = self._connection(connection)
        return _picture(sequence_of(one.ladder.ladder), "its segments are not at hand")

    def _connection(self, connection: int | Connection) -> Connection:
        return connection if isinstance(connection, Connection) else self._trace.connection(connection)

    @property
    def _sink(self) -> PictureSink:
        if self._counted is None:
            self._counted = PictureSink.of(self._trace.table)
        return self._counted

    @property
    def _span(self) -> tuple[int, int]:
        capture = self._trace.summary.capture
        return capture.first_time or 0, capture.last_time or 0


def _picture(chart: Chart | None, why: str) -> Picture:
    if chart is None:
        raise UsageError(f"there is nothing to draw: {why}")
    return Picture(chart)
