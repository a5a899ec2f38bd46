"""Who holds how many TIME-WAITs and ports, second by second (semantics: 3.7 and 8).

A source is (address, peer address, peer port): a client towards one service, whose ports are the scarce thing. A
server that holds TIME-WAIT is counted by peer address with port 0. Everything comes from finished rows, so a number
here is never more than what the capture shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.measure.keys import Keys
from tcptrace_tw.measure.series import Series, running
from tcptrace_tw.spec.columns import CENSUS, HOLDERS, PORTS, Table
from tcptrace_tw.spec.states import CLOSED, LISTEN, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.spec.words import BOTH, ORIG, RESP

NS = 1_000_000_000

MOST_KEYS = 1 << 17

KNOWN_RANGES = ((32768, 60999), (49152, 65535), (32768, 65535), (10000, 65535), (1024, 65535))
"""Ephemeral ports of Linux; of IANA, Windows and macOS; of both; of FreeBSD; all."""

ACTIVE, WAITING, NEW, NEW_ODD = range(4)

Ints = NDArray[np.int64]


class Census:
    """Fed with ``connections``, ``time_wait`` and ``reuses``; gives rows of ``census``, ``ports`` and ``holders``."""

    def __init__(self) -> None:
        self._keys = Keys(MOST_KEYS)
        self._series = Series(4)
        self._first_connection = np.full(MOST_KEYS, np.iinfo(np.int64).max)
        self._low = np.full(MOST_KEYS, 1 << 16)
        self._high = np.full(MOST_KEYS, -1)
        self._connections = np.zeros(MOST_KEYS, np.int64)
        self._spans = np.zeros(MOST_KEYS, np.int64)
        self._floor = np.zeros(MOST_KEYS, np.int64)
        self._pinned = np.zeros(MOST_KEYS, np.int64)
        self._fastest = np.full(MOST_KEYS, np.iinfo(np.int64).max)

    def see(self, table: str, rows: Any) -> None:
        """Take finished rows."""
        if table == "connections":
            self._see_connections(rows)
        elif table == "time_wait":
            self._see_spans(rows)
        elif table == "reuses":
            self._see_reuses(rows)

    def _see_connections(self, r: Any) -> None:
        key = self._keys.number(r.orig_ip_hi, r.orig_ip_lo, r.resp_ip_hi, r.resp_ip_lo, r.resp_port)
        begun = r.orig_syn_frame >= 0
        self._count(key, r.connection_id, r.orig_port.astype(np.int64))
        self._series.add(np.where(begun, key, -1), r.first_time, 1, 0, 1, (r.orig_port & 1).astype(np.int64))
        ended = np.isin(r.orig_state, (CLOSED, LISTEN, TIME_WAIT, SYN_SENT, SYN_RECEIVED))
        self._series.add(np.where(begun & ended, key, -1), r.last_time, -1, 0, 0, 0)
        by_resp = r[np.isin(r.active_closer, (RESP, BOTH)) & (r.resp_syn_frame >= 0)]
        if by_resp.size:
            key = self._keys.number(by_resp.resp_ip_hi, by_resp.resp_ip_lo, by_resp.orig_ip_hi, by_resp.orig_ip_lo,
                                    np.zeros(by_resp.size, np.int64))  # fmt: skip
            self._count(key, by_resp.connection_id, None)
            self._series.add(key, by_resp.first_time, 1, 0, 1, 0)
            ended = np.isin(by_resp.resp_state, (CLOSED, LISTEN, TIME_WAIT))
            self._series.add(np.where(ended, key, -1), by_resp.last_time, -1, 0, 0, 0)

    def _count(self, key: Ints, connection_id: Ints, port: Ints | None) -> None:
        known = key >= 0
        key = key[known]
        np.add.at(self._connections, key, 1)
        np.minimum.at(self._first_connection, key, connection_id[known])
        if port is not None:
            np.minimum.at(self._low, key, port[known])
            np.maximum.at(self._high, key, port[known])

    def _see_spans(self, r: Any) -> None:
        port = np.where(r.holder == ORIG, r.peer_port, 0)
        key = self._keys.number(r.ip_hi, r.ip_lo, r.peer_ip_hi, r.peer_ip_lo, port)
        known = key >= 0
        np.add.at(self._spans, key[known], 1)
        np.minimum.at(self._first_connection, key[known], r.connection_id[known])
        self._series.add(key, r.start, 0, 1, 0, 0)
        self._series.add(np.where(r.end >= 0, key, -1), r.end + NS, 0, -1, 0, 0)

    def _see_reuses(self, r: Any) -> None:
        r = r[r.is_by_holder != 0]
        if not r.size:
            return
        key = self._keys.number(r.ip_hi, r.ip_lo, r.peer_ip_hi, r.peer_ip_lo, r.peer_port)
        known = key >= 0
        np.minimum.at(self._fastest, key[known], r.gap_ns[known])
        floor = known & (r.is_linux_tw_reuse != 0) & (r.gap_ns >= NS) & (r.gap_ns <= NS * 12 // 10)
        np.add.at(self._floor, key[floor], 1)
        pinned = known & (r.gap_ns >= r.two_msl_ns) & (r.gap_ns <= r.two_msl_ns * 12 // 10)
        np.add.at(self._pinned, key[pinned], 1)

    def close(self) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture."""
        key, bucket, steps = self._series.entries()
        if not key.size:
            return
        sums = running(key, steps)
        sums[:, NEW : NEW_ODD + 1] = steps[:, NEW : NEW_ODD + 1]
        parts = [self._keys.column(i) for i in range(5)]
        if self._spans[key].any():
            yield CENSUS, self._census(key, bucket, sums, parts)
            yield HOLDERS, self._holders(key, bucket, steps, parts)
        ports = self._ports(key, bucket, sums, steps, parts)
        if ports.size:
            yield PORTS, ports

    def _census(self, key: Ints, bucket: Ints, sums: Ints, parts: list[Ints]) -> NDArray[Any]:
        keep = self._spans[key] > 0
        key, bucket, sums = key[keep], bucket[keep], sums[keep]
        rows = np.zeros(key.size, CENSUS.dtype)
        rows["time"] = self._series.time(bucket)
        for name, part in zip(("ip_hi", "ip_lo", "peer_ip_hi", "peer_ip_lo", "peer_port"), parts, strict=True):
            rows[name] = part[key]
        rows["time_wait"] = np.maximum(sums[:, WAITING], 0)
        rows["active"] = np.maximum(sums[:, ACTIVE], 0)
        rows["new"] = sums[:, NEW]
        return rows[np.lexsort((np.arange(key.size), rows["time"]))]

    def _holders(self, key: Ints, bucket: Ints, steps: Ints, parts: list[Ints]) -> NDArray[Any]:
        """One row for each address that held TIME-WAIT: the peak over all peers."""
        holders = Keys(MOST_KEYS)
        number = holders.number(parts[0], parts[1])[key]
        series = Series(1)
        series.add(number, bucket * NS, steps[:, WAITING])
        who, when, table = series.entries()
        count = running(who, table)[:, 0]
        rows = np.zeros(len(holders), HOLDERS.dtype)
        rows["ip_hi"], rows["ip_lo"] = holders.column(0), holders.column(1)
        order = np.lexsort((when, -count, who))
        first = order[np.concatenate(([True], who[order][1:] != who[order][:-1]))]
        rows["most_time_wait"][who[first]] = count[first]
        rows["time"][who[first]] = self._series.time(series.time(when[first]) // NS)
        rows["connection_id"] = np.iinfo(np.int64).max
        of_key = holders.number(parts[0], parts[1])
        known = np.arange(of_key.size)
        np.add.at(rows["spans"], of_key, self._spans[known])
        held = known[self._spans[known] > 0]
        np.minimum.at(rows["connection_id"], of_key[held], self._first_connection[held])
        return rows[rows["spans"] > 0]

    def _ports(self, key: Ints, bucket: Ints, sums: Ints, steps: Ints, parts: list[Ints]) -> NDArray[Any]:
        """One row for each source that opened connections: the most of its ports in use at once."""
        used = np.maximum(sums[:, ACTIVE], 0) + np.maximum(sums[:, WAITING], 0)
        order = np.lexsort((bucket, -used, key))
        first = order[np.concatenate(([True], key[order][1:] != key[order][:-1]))]
        source = key[first]
        mine = self._high[source] >= 0
        first, source = first[mine], source[mine]
        rows = np.zeros(source.size, PORTS.dtype)
        for name, part in zip(("ip_hi", "ip_lo", "peer_ip_hi", "peer_ip_lo", "peer_port"), parts, strict=True):
            rows[name] = part[source]
        rows["connection_id"] = self._first_connection[source]
        rows["time"] = self._series.time(bucket[first])
        rows["most_used"] = used[first]
        rows["lowest_port"], rows["highest_port"] = self._low[source], self._high[source]
        rows["range_size"] = range_size(self._low[source], self._high[source])
        rows["connections"] = self._connections[source]
        rows["reuses_at_floor"] = self._floor[source]
        rows["reuses_at_expiry"] = self._pinned[source]
        fastest = self._fastest[source]
        rows["fastest_reuse_ns"] = np.where(fastest == np.iinfo(np.int64).max, -1, fastest)
        rows["even_before_odd"] = even_before_odd(key, steps)[source]
        return rows


def range_size(low: Ints, high: Ints) -> Ints:
    """How many ports the source may use: the first known range that holds all that were seen."""
    size = np.full(low.size, 65536, np.int64)
    for begin, end in reversed(KNOWN_RANGES):
        size[(low >= begin) & (high <= end)] = end - begin + 1
    return size


def even_before_odd(key: Ints, steps: Ints) -> Ints:
    """For each key: connections from even ports before the first from an odd one; 0 if no odd one came."""
    found = np.zeros(int(key.max()) + 1, np.int64)
    odd_so_far = running(key, steps)[:, NEW_ODD]
    before = odd_so_far == 0
    np.add.at(found, key[before], steps[before, NEW])
    any_odd = np.zeros(found.size, np.bool_)
    any_odd[key[~before]] = True
    return np.where(any_odd, found, 0)
