"""Who holds how many TIME-WAITs and ports, second by second (docs/semantics.md: TIME-WAIT, ports).

A source is (address, peer address, peer port): a client towards one service, whose ports are the scarce thing. A
server that holds TIME-WAIT is counted by peer address with port 0. Everything comes from finished rows, so a number
here is never more than what the capture shows. What is kept follows the sources and the seconds in which something
changed, never the connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import Array, bundle
from tcptrace_tw.kernels.marks import entry, kernel, load
from tcptrace_tw.kernels.wide_records import Rows
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.buckets import BucketTable
from tcptrace_tw.measure.keys import (
    BLOCK,
    KEYS_KIND,
    NEAR,
    WANTED_KIND,
    Keys,
    KeyTable,
    Wanted,
    number_keys,
    number_of,
    want,
    wanted,
)
from tcptrace_tw.measure.ramp_up import Levels
from tcptrace_tw.measure.series import NS, SERIES_KIND, STEP, Series, put_step, take_steps
from tcptrace_tw.measure.traits import ORDINARY
from tcptrace_tw.protocol.states import CLOSED, LISTEN, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.schema.columns import HOLDERS, PORTS, REUSES, Table
from tcptrace_tw.schema.columns import TIME_WAIT as TIME_WAIT_SPANS
from tcptrace_tw.schema.segments import prefetch
from tcptrace_tw.schema.words import BOTH, ORIG, RESP

MOST_SOURCES = 1 << 17

KNOWN_RANGES = ((32768, 60999), (49152, 65535), (32768, 65535), (10000, 65535), (1024, 65535))
"""Ephemeral ports of Linux; of IANA, Windows and macOS; of both; of FreeBSD; all."""

Ints = NDArray[np.int64]

SOURCE = np.dtype(
    [("first_connection", "i8"), ("fastest_ns", "i8"), ("connections", "i4"), ("opened", "i4"), ("spans", "i4"),
     ("at_floor", "i4"), ("at_expiry", "i4"), ("inside", "i4"), ("reuses", "i4"),
     ("lowest_port", "i4"), ("highest_port", "i4"), ("ordinary", "i4"), ("plain", "i4")]
)  # fmt: skip
"""What is known about a source besides its series; ``first_connection`` is 0 before the first.

``ordinary``: its connections with that trait; ``plain``: those of them with an ACK or data.
"""

PLAIN = 4 | 8
"""Of ``completeness``: an ACK or data."""


class CensusTables(NamedTuple):
    """What the kernels take: the tables, and room to work in."""

    keys: KeyTable
    sources: Any
    series: BucketTable
    wanted: Wanted
    steps: Any
    seats: Ints


CENSUS_KIND = bundle(
    CensusTables, keys=KEYS_KIND, sources=Array(SOURCE), series=SERIES_KIND, wanted=WANTED_KIND, steps=Array(STEP),
    seats=Array(np.int64),
)  # fmt: skip


MOST_SHOWN = 10_000
"""Of so many addresses at the most it is kept how long their TIME-WAIT is shown to last."""


class Census:
    """Fed with ``connections``, ``time_wait`` and ``reuses``; gives rows of ``census``, ``ports`` and ``holders``."""

    def __init__(self, *, compiled: bool, wants_seconds: bool, seed: Seed) -> None:
        """``wants_seconds``: whether anybody wants the ``census`` table itself."""
        self._keys = Keys(MOST_SOURCES, compiled=compiled, seed=seed)
        self._sources: Any = zeros(MOST_SOURCES, SOURCE).view(np.recarray)
        self._series = Series(seed)
        self.tables = CensusTables(
            self._keys.table, self._sources, self._series.table, wanted(), self._series.steps, self._series.seats
        )
        self._compiled = compiled
        self._wants_seconds = wants_seconds
        self._shown: dict[tuple[int, int], int] = {}
        """Of the addresses that answered out of TIME-WAIT: how long after its start or restart, at the most."""
        self._kernels = {
            "time_wait": load(count_spans, compiled=compiled),
            "reuses": load(count_reuses, compiled=compiled),
        }

    def see(self, table: str, rows: Any) -> None:
        """Take finished rows of other tables than ``connections``."""
        if table in self._kernels:
            self._kernels[table](rows, self.tables)
        if table == "time_wait":
            self._see_shown(rows[rows["shown_ns"] >= 0])

    def _see_shown(self, rows: Any) -> None:
        """Keep the longest time that is shown of each address; there are few."""
        shown = zip(rows["ip_hi"].tolist(), rows["ip_lo"].tolist(), rows["shown_ns"].tolist(), strict=True)
        for high, low, span in shown:
            if len(self._shown) < MOST_SHOWN or (high, low) in self._shown:
                self._shown[high, low] = max(span, self._shown.get((high, low), -1))

    @property
    def refused(self) -> int:
        """How many rows are those of sources for which there was no room."""
        return self._keys.refused

    def waiting(self) -> list[Ints]:
        """Which address held TIME-WAIT for which other, as four columns."""
        held = self._sources.spans[: len(self._keys)] > 0
        return [self._keys.column(word)[held] for word in range(4)]

    def ordinary(self) -> tuple[list[Ints], Ints, int]:
        """Clients and services of ordinary connections as five columns, how many each has, and how many are plain."""
        sources = self._sources[: len(self._keys)]
        found = np.flatnonzero(sources.ordinary)
        counts = sources.ordinary[found].astype(np.int64)
        return [self._keys.column(word)[found] for word in range(5)], counts, int(sources.plain[found].sum())

    def close(self) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture."""
        levels = Levels(self._series, self._keys, self._rank(), self._sources.spans, compiled=self._compiled)
        yield from levels.seconds(written=self._wants_seconds)
        for table, rows in ((HOLDERS, self._holders(levels)), (PORTS, self._ports(levels))):
            if rows.size:
                yield table, rows[np.argsort(rows["connection_id"], kind="stable")]

    def _rank(self) -> Ints:
        """The order of the sources, whatever batches the capture was cut into: by their first connections."""
        is_server = self._keys.column(4) == 0
        rank = np.empty(len(self._keys), np.int64)
        rank[np.lexsort((is_server, self._sources.first_connection[: len(self._keys)]))] = np.arange(rank.size)
        return rank

    def _holders(self, levels: Levels) -> NDArray[Any]:
        """One row for each address that held TIME-WAIT: the peak over all peers."""
        rows = np.zeros(len(levels.holders), HOLDERS.dtype)
        rows["ip_hi"], rows["ip_lo"] = levels.holders.column(0), levels.holders.column(1)
        rows["most_time_wait"], rows["time"] = levels.of_holder.most, levels.time(levels.of_holder.bucket)
        rows["connection_id"] = np.iinfo(np.int64).max
        sources = self._sources[: len(self._keys)]
        held = sources.spans > 0
        np.add.at(rows["spans"], levels.holder_of, sources.spans)
        np.minimum.at(rows["connection_id"], levels.holder_of[held], sources.first_connection[held])
        addresses = zip(rows["ip_hi"].tolist(), rows["ip_lo"].tolist(), strict=True) if self._shown else ()
        rows["least_two_msl_ns"] = -1
        for number, address in enumerate(addresses):
            rows["least_two_msl_ns"][number] = self._shown.get(address, -1)
        return rows[rows["spans"] > 0]

    def _ports(self, levels: Levels) -> NDArray[Any]:
        """One row for each source that opened connections: the most of its ports in use at once."""
        which = np.flatnonzero((self._sources[: len(self._keys)].opened > 0) & (levels.of_source.most >= 0))
        source, level = self._sources[which], levels.of_source[which]
        rows = np.zeros(which.size, PORTS.dtype)
        for word, name in enumerate(("ip_hi", "ip_lo", "peer_ip_hi", "peer_ip_lo", "peer_port")):
            rows[name] = self._keys.column(word)[which]
        rows["connection_id"] = source.first_connection
        rows["time"] = levels.time(level.bucket)
        rows["most_used"] = np.maximum(level.most, 1)  # a port that is free again by the end of its second was in use
        rows["lowest_port"], rows["highest_port"] = source.lowest_port, source.highest_port
        rows["range_size"] = range_size(source.lowest_port, source.highest_port)
        rows["connections"] = source.connections
        rows["reuses_at_floor"] = source.at_floor
        rows["reuses_at_expiry"] = source.at_expiry
        rows["reuses_inside"] = source.inside
        rows["fastest_reuse_ns"] = np.where(source.reuses > 0, source.fastest_ns, -1)
        filling = levels.fillings()[which]
        rows["opened_filling"], rows["opened_full"] = filling.opened_filling, filling.opened_full
        rows["filling_ns"] = levels.duration(filling.first_full - filling.begin + 1)
        rows["full_ns"] = levels.duration(filling.last_full - filling.first_full)
        rows["even_before_odd"] = np.where(level.odd > 0, level.before_odd, 0)
        return rows


@kernel
def count_connections(rows: Rows, traits: Any, census: Any) -> None:
    """Take rows of ``connections``: each opens a port of its orig, and may load a resp that closes first.

    Those with the trait ``ORDINARY`` are counted; where there is no room for another source they lose it.
    """
    keys, series = census.wanted, census.series
    for begin in range(0, rows.size, BLOCK):
        block = rows[begin : begin + BLOCK]
        count = want_sources(block, keys)
        number_keys(census.keys, keys, count)
        count_ordinary(block, traits[begin : begin + BLOCK], keys, count, census.sources)
        count = count_lives(block, keys, count, census.sources, census.steps)
        take_steps(series, census.steps, census.seats, count)


@kernel
def want_sources(rows: Rows, keys: Any) -> int:
    """Put the sources of rows of ``connections`` down; returns how many. In ``keys.row`` is the row and the side."""
    count = 0
    for i in range(rows.size):
        prefetch(rows, min(i + NEAR, rows.size - 1))
        r = record_of(rows, i)
        want(keys, count, i << 1, r.orig_ip_hi, r.orig_ip_lo, r.resp_ip_hi, r.resp_ip_lo, r.resp_port)
        count += 1
        if r.active_closer in (RESP, BOTH) and r.resp_syn_frame >= 0:
            want(keys, count, i << 1 | 1, r.resp_ip_hi, r.resp_ip_lo, r.orig_ip_hi, r.orig_ip_lo, 0)
            count += 1
    return count


@kernel
def count_ordinary(rows: Rows, traits: Any, keys: Any, count: int, sources: Any) -> None:
    """Count the ordinary connections of each source that is wanted."""
    for i in range(count):
        row, key = keys.row[i] >> 1, keys.numbers[i]
        if keys.row[i] & 1 or (np.int64(traits[row]) & ORDINARY) == 0:
            continue
        if key < 0:
            traits[row] = np.int64(traits[row]) & ~ORDINARY
            continue
        source = record_of(sources, key)
        source.ordinary += 1
        source.plain += 1 if record_of(rows, row).completeness & PLAIN else 0


@kernel
def count_lives(rows: Rows, keys: Any, count: int, sources: Any, steps: Any) -> int:
    """Count the connections of each source that is wanted, and put their steps down; returns how many."""
    done = 0
    for i in range(count):
        if i + NEAR < count:
            prefetch(sources, max(keys.numbers[i + NEAR], 0))
        key = keys.numbers[i]
        if key < 0:
            continue
        r, source = record_of(rows, keys.row[i] >> 1), record_of(sources, key)
        source.connections += 1
        meet(source, r.connection_id)
        if keys.row[i] & 1:
            done = put_life(steps, done, key, r, r.resp_state, 0)
            continue
        port = r.orig_port
        use_port(source, port)
        if r.orig_syn_frame >= 0:
            done = put_life(steps, done, key, r, r.orig_state, port & 1)
    return done


@kernel
def put_life(steps: Any, done: int, key: int, r: Any, state: int, odd: int) -> int:
    """One connection of a source: from its first segment to its last, if its side is done then."""
    begin = put_step(steps, done, key, r.first_time, 1, 0)
    begin.new = 1
    begin.new_odd = odd
    if state not in (CLOSED, LISTEN, TIME_WAIT, SYN_SENT, SYN_RECEIVED):
        return done + 1
    if r.last_time // NS == r.first_time // NS:
        begin.active = 0
        return done + 1
    put_step(steps, done + 1, key, r.last_time, -1, 0)
    return done + 2


@kernel
def meet(source: Any, connection_id: int) -> None:
    """The first incarnation of a source; rows leave in another order."""
    if source.first_connection == 0 or connection_id < source.first_connection:
        source.first_connection = connection_id


@kernel
def use_port(source: Any, port: int) -> None:
    """One more connection from this port."""
    if source.opened == 0:
        source.lowest_port = port
        source.highest_port = port
    source.opened += 1
    source.lowest_port = min(source.lowest_port, port)
    source.highest_port = max(source.highest_port, port)


@entry(Array(TIME_WAIT_SPANS.dtype), CENSUS_KIND)
def count_spans(rows: Rows, census: Any) -> None:
    """Take rows of ``time_wait``: what is open at the end of a second was open at once, what ended before was not."""
    keys, series = census.wanted, census.series
    for begin in range(0, rows.size, BLOCK):
        block = rows[begin : begin + BLOCK]
        want_holders(block, keys)
        number_keys(census.keys, keys, block.size)
        count = put_spans(block, keys, census.sources, census.steps)
        take_steps(series, census.steps, census.seats, count)


@kernel
def want_holders(rows: Rows, keys: Any) -> None:
    """Put the source of each row of ``time_wait`` down."""
    for i in range(rows.size):
        prefetch(rows, min(i + NEAR, rows.size - 1))
        r = record_of(rows, i)
        port = r.peer_port if r.holder == ORIG else 0
        want(keys, i, i, r.ip_hi, r.ip_lo, r.peer_ip_hi, r.peer_ip_lo, port)


@kernel
def put_spans(rows: Rows, keys: Any, sources: Any, steps: Any) -> int:
    """Count the spans of each source, and put their steps down; returns how many."""
    done = 0
    for i in range(rows.size):
        if i + NEAR < rows.size:
            prefetch(sources, max(keys.numbers[i + NEAR], 0))
        key = keys.numbers[i]
        if key < 0:
            continue
        r, source = record_of(rows, i), record_of(sources, key)
        source.spans += 1
        meet(source, r.connection_id)
        put_step(steps, done, key, r.start, 0, 1)
        done += 1
        if r.end >= 0:
            put_step(steps, done, key, r.end, 0, -1)
            done += 1
    return done


@entry(Array(REUSES.dtype), CENSUS_KIND)
def count_reuses(rows: Rows, census: Any) -> None:
    """Take rows of ``reuses``: how soon a holder takes a port again."""
    for i in range(rows.size):
        r = record_of(rows, i)
        if r.is_by_holder == 0:
            continue
        key = number_of(census.keys, r.ip_hi, r.ip_lo, r.peer_ip_hi, r.peer_ip_lo, r.peer_port)
        if key < 0:
            continue
        source = record_of(census.sources, key)
        if source.reuses == 0 or r.gap_ns < source.fastest_ns:
            source.fastest_ns = r.gap_ns
        source.reuses += 1
        if r.is_linux_tw_reuse and NS <= r.gap_ns <= NS * 12 // 10:
            source.at_floor += 1
        if r.gap_ns < r.two_msl_ns:
            source.inside += 1
        if r.two_msl_ns <= r.gap_ns <= r.two_msl_ns * 12 // 10:
            source.at_expiry += 1


def range_size(low: Ints, high: Ints) -> Ints:
    """How many ports the source may use: the first known range that holds all that were seen."""
    size = np.full(low.size, 65536, np.int64)
    for begin, end in reversed(KNOWN_RANGES):
        size[(low >= begin) & (high <= end)] = end - begin + 1
    return size
