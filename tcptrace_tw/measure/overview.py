"""Everything that is kept beside protocol state: the accumulators, and the row about the capture itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.measure.census import Census
from tcptrace_tw.measure.clocks import Clocks
from tcptrace_tw.measure.halves import Halves
from tcptrace_tw.measure.services import Services
from tcptrace_tw.spec.columns import CAPTURE, Table
from tcptrace_tw.spec.words import END_CAPTURE, OPENED_MIDSTREAM


class Overview:
    """Sees finished rows pass, keeps bounded sums, and gives rows of its own at the end."""

    def __init__(self, *, compiled: bool, wants_seconds: bool) -> None:
        """``wants_seconds``: whether anybody wants the ``census`` table."""
        self._halves = Halves()
        self._parts = (
            self._halves,
            Census(compiled=compiled, wants_seconds=wants_seconds),
            Services(compiled=compiled),
            Clocks(compiled=compiled),
        )
        self._capture = np.zeros(1, CAPTURE.dtype)
        for column in CAPTURE.columns:
            if column.kind in ("id", "frame", "ns"):
                self._capture[column.name] = -1

    def see(self, table: str, rows: NDArray[Any]) -> None:
        """Take finished rows of one table."""
        records = rows.view(np.recarray)
        for part in self._parts:
            part.see(table, records)
        if table == "connections":
            midstream = records[records.opened == OPENED_MIDSTREAM]
            self._count("midstream_connections", "midstream_frame", midstream.first_frame)
        elif table == "time_wait":
            self._count("censored_spans", "censored_frame", records[records.end_reason == END_CAPTURE].start_frame)

    def _count(self, name: str, frame: str, frames: NDArray[np.int64]) -> None:
        row = self._capture[0]
        if frames.size and row[frame] < 0:
            row[frame] = frames[0]
        row[name] += frames.size

    def close(self, figures: Mapping[str, int]) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture; ``figures`` are columns of ``capture`` that others have counted."""
        for part in self._parts:
            yield from part.close()
        halves = {"split_connections": self._halves.count, "split_frame": self._halves.frame}
        for name, value in {**figures, **halves}.items():
            self._capture[name] = value
        yield CAPTURE, self._capture
