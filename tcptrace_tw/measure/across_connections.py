"""What several connections together say about a SYN that met an earlier one, filled in before rules see its row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import as_records
from tcptrace_tw.measure.meanwhile import Meanwhile
from tcptrace_tw.measure.two_msl import LongerTwoMsl
from tcptrace_tw.schema.columns import REUSES


class AcrossConnections:
    """Sees finished rows pass, corrects those of ``reuses``, and holds some of them back until the end."""

    def __init__(self) -> None:
        self._meanwhile = Meanwhile()
        self._longer = LongerTwoMsl()

    def through(self, chunks: Iterable[Any]) -> Iterator[Any]:
        """Chunks of finished rows (``one_pass.Chunk``) as they come, and at the end what was held back."""
        last = None
        for last in chunks:
            rows = self._look(last.table.name, last.rows)
            if rows.size:
                yield last._replace(rows=rows)
        held = self._meanwhile.release()
        if last is not None and held.size:
            yield last._replace(table=REUSES, rows=held)

    def _look(self, table: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Take finished rows of one table, and give back those that go on at once."""
        if table == "connections":
            self._meanwhile.see(as_records(rows))
        elif table == "time_wait":
            self._longer.see(as_records(rows))
        elif table == "reuses":
            self._longer.correct(as_records(rows))
            return self._meanwhile.hold(rows)
        return rows
