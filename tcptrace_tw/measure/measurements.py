"""Everything that is kept beside protocol state: the accumulators, and the row about the capture itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import as_records, in_parts, zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import Array
from tcptrace_tw.kernels.marks import entry, kernel, load
from tcptrace_tw.kernels.wide_records import Rows
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.census import CENSUS_KIND, MOST_SOURCES, Census, count_connections
from tcptrace_tw.measure.clocks import CLOCKS_KIND, MOST_PAIRS, Clocks, take_syns
from tcptrace_tw.measure.connects import MOST_KEYS, Connects
from tcptrace_tw.measure.icmp_errors import MOST_KINDS, IcmpErrors
from tcptrace_tw.measure.idles import MOST_SILENT, Idles
from tcptrace_tw.measure.keys import BLOCK
from tcptrace_tw.measure.moves import MOST_KEPT, Moves
from tcptrace_tw.measure.services import MOST_SERVICES, SERVICES_KIND, Services, count_closes
from tcptrace_tw.measure.traits import note_traits
from tcptrace_tw.measure.vlan_splits import VlanSplits
from tcptrace_tw.schema.columns import CAPTURE, CONNECTIONS, Table
from tcptrace_tw.schema.observed import ACKS, PAYLOAD
from tcptrace_tw.schema.words import END_CAPTURE, OPENED_MIDSTREAM

MIDSTREAM, MIDSTREAM_FRAME, ONE_WAY, ONE_WAY_SCOPED, HIDDEN, HIDDEN_WITH_FIN, TALLIES = range(7)
"""What is counted in a chunk: connections from mid-stream and the first segment of the first of them, connections with
one direction only, and those of them in a VLAN or tunnel; connections with no text and no ACK of which numbers show
that they had text, and those of them with a FIN."""

MOST_ROWS = 1 << 16
"""So many rows are taken in at once."""


class Measurements:
    """Sees finished rows pass, keeps bounded sums, and gives rows of its own at the end."""

    def __init__(self, *, compiled: bool, wants_seconds: bool, seed: Seed, quotes: Sequence[Any] = ()) -> None:
        """``wants_seconds``: whether anybody wants the ``census`` table; ``quotes``: ICMP errors, as they are read."""
        self._vlan_splits = VlanSplits()
        self._census = Census(compiled=compiled, wants_seconds=wants_seconds, seed=seed)
        self._services = Services(compiled=compiled, seed=seed)
        self._clocks = Clocks(compiled=compiled, seed=seed)
        self._connects = Connects(compiled=compiled, seed=seed)
        self._idles = Idles(compiled=compiled, seed=seed)
        self._moves = Moves()
        self._icmp_errors = IcmpErrors(quotes)
        self._see_connections = load(see_connections, compiled=compiled)
        self._tally, self._traits = zeros(TALLIES, np.int64), zeros(MOST_ROWS, np.uint8)
        self._hidden = np.zeros(2, np.int64)
        self._capture = np.zeros(1, CAPTURE.dtype)
        for column in CAPTURE.columns:
            if column.kind in ("id", "frame", "ns"):
                self._capture[column.name] = -1

    def see(self, table: str, rows: NDArray[Any]) -> None:
        """Take finished rows of one table."""
        records = as_records(rows)
        if table == "connections":
            for part in in_parts(records, MOST_ROWS):
                self._take_connections(part)
        else:
            self._census.see(table, records)
            self._services.see(table, records)
            self._clocks.see(table, records)
        if table == "reuses":
            self._connects.see_reuses(records)
            self._moves.see_reuses(records)
        if table == "time_wait":
            censored = records.start_frame[records.end_reason == END_CAPTURE]
            if censored.size:
                self._count("censored_spans", "censored_frame", censored.size, int(censored.min()))

    def _take_connections(self, rows: Any) -> None:
        tables = self._census.tables, self._services.tables, self._clocks.tables
        self._see_connections(rows, *tables, self._traits, self._tally)
        self._look_at_tally(rows)
        traits = self._traits[: rows.size]
        for part in (self._connects, self._idles, self._moves):
            part.see(rows, traits)
        self._icmp_errors.see(rows)
        self._services.see("connections", rows)

    def _look_at_tally(self, connections: Any) -> None:
        tally = self._tally
        self._hidden += tally[[HIDDEN, HIDDEN_WITH_FIN]]
        if tally[MIDSTREAM]:
            self._count("midstream_connections", "midstream_frame", tally[MIDSTREAM], tally[MIDSTREAM_FRAME])
        if tally[ONE_WAY] and self._vlan_splits.wants(is_scoped=bool(tally[ONE_WAY_SCOPED])):
            self._vlan_splits.see(connections[(connections.orig_segments == 0) | (connections.resp_segments == 0)])

    def _count(self, name: str, frame_name: str, count: int, first_frame: int) -> None:
        row = self._capture[0]
        if row[frame_name] < 0 or first_frame < row[frame_name]:
            row[frame_name] = first_frame
        row[name] += count

    def remarks(self) -> Iterator[str]:
        """What is said, at the end of the capture, of tables that had no room for all."""
        counted, compared = "counted", "compared with others"
        for most, what, part, done in (
            (MOST_SOURCES, "sources of connections", self._census, counted),
            (MOST_SERVICES, "services", self._services, counted),
            (MOST_KEYS, "clients, or pairs of a client and a service", self._connects, counted),
            (MOST_PAIRS, "pairs of hosts with TCP timestamps", self._clocks, counted),
            (MOST_SILENT, "services with silent connections", self._idles, counted),
            (MOST_KINDS, "kinds of ICMP errors, by client, service and router", self._icmp_errors, counted),
            (MOST_KEPT, "connections that nobody ended, or that began before the capture", self._moves, compared),
        ):
            if part.refused:
                rows, are = ("row", "is") if part.refused == 1 else ("rows", "are")
                yield f"more than {most:,} {what}: {part.refused:,} {rows} of those beyond that {are} not {done}"

    def close(self, figures: Mapping[str, int]) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture; ``figures`` are columns of ``capture`` that others have counted."""
        yield from self._census.close()
        yield from self._services.close(int(figures.get("end_time", 0)))
        clocks = None
        for table, rows in self._clocks.close():
            clocks = rows
            yield table, rows
        self._connects.take_ordinary(*self._census.ordinary())
        yield from self._connects.close(clocks, self._icmp_errors.connects(), self._census.waiting())
        yield from self._icmp_errors.close(self._connects.scanners())
        yield from self._idles.close()
        yield from self._moves.close()
        hidden, with_fin = self._hidden.tolist()
        # A single RST beyond the text may be forged.
        self._capture["hidden_connections"] = hidden if with_fin or hidden > 1 else 0
        halves = {"split_connections": self._vlan_splits.count, "split_frame": self._vlan_splits.frame}
        for name, value in {**figures, **halves}.items():
            self._capture[name] = value
        yield CAPTURE, self._capture


@entry(Array(CONNECTIONS.dtype), CENSUS_KIND, SERVICES_KIND, CLOCKS_KIND, Array(np.uint8), Array(np.int64))
def see_connections(rows: Rows, census: Any, services: Any, clocks: Any, traits: Any, tally: Any) -> None:
    """Take rows of ``connections``: block by block, so that they come into the cache once for all who look at them.

    ``traits`` has room for as many rows.
    """
    tally[:] = 0
    for begin in range(0, rows.size, BLOCK):
        block, found = rows[begin : begin + BLOCK], traits[begin : begin + BLOCK]
        note_traits(block, found)
        count_connections(block, found, census)
        count_closes(block, services)
        take_syns(block, clocks)
        count_odd_ones(block, tally)


@kernel
def count_odd_ones(rows: Rows, tally: Any) -> None:
    """Count the connections from mid-stream, those of which one direction was captured, and those with hidden text."""
    for i in range(rows.size):
        r = record_of(rows, i)
        if r.opened == OPENED_MIDSTREAM:
            if tally[MIDSTREAM] == 0 or r.first_frame < tally[MIDSTREAM_FRAME]:
                tally[MIDSTREAM_FRAME] = r.first_frame
            tally[MIDSTREAM] += 1
        if r.orig_segments == 0 or r.resp_segments == 0:
            tally[ONE_WAY] += 1
            tally[ONE_WAY_SCOPED] += 1 if r.scope != 0 else 0
        if (r.observed & (ACKS | PAYLOAD)) == 0 and r.orig_payload_bytes == 0 and r.resp_payload_bytes == 0:
            tally[HIDDEN] += 1
            tally[HIDDEN_WITH_FIN] += 1 if r.orig_fin_frame >= 0 or r.resp_fin_frame >= 0 else 0
