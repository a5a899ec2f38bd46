"""How each endpoint of a service ends its connections: how often it closes with FIN, how often it aborts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import Array
from tcptrace_tw.kernels.marks import entry, kernel, load
from tcptrace_tw.kernels.wide_records import Rows
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.keys import BLOCK, KEYS_KIND, NEAR, WANTED_KIND, Keys, number_keys, want, wanted
from tcptrace_tw.schema.columns import CONNECTIONS
from tcptrace_tw.schema.segments import prefetch
from tcptrace_tw.schema.words import ORIG, RESP

MOST_ENDPOINTS = 1 << 17

CLOSES, ABORTS, UNACKED, COUNTS = range(4)

Ints = NDArray[np.int64]


class Endings:
    """Counts by address of the endpoint, port of the service, and side."""

    def __init__(self, *, compiled: bool, seed: Seed) -> None:
        self._keys = Keys(MOST_ENDPOINTS, compiled=compiled, seed=seed)
        self._counts = zeros((MOST_ENDPOINTS, COUNTS), np.int64)
        self._ends = wanted()
        self._count_closes = load(count_closes, compiled=compiled)

    def see(self, connections: Any) -> None:
        """Take finished rows of ``connections``: who sent FIN."""
        self._count_closes(connections, self._keys.table, self._ends, self._counts)

    def abort(self, rows: Any) -> None:
        """Take rows that are each an abort by ``endpoint``; some may leave payload unread."""
        number = self._number(rows)
        np.add.at(self._counts[:, ABORTS], number[number >= 0], 1)
        # A bare RST does not say what its sender had got.
        unread = (rows.acked_bytes > 0) | ((rows.is_bare != 0) & (rows.unacked_bytes > 0))
        np.add.at(self._counts[:, UNACKED], number[(number >= 0) & unread], 1)

    def of(self, rows: Any) -> tuple[Ints, Ints, Ints]:
        """For rows about an ``endpoint``: its closes, its aborts, and those of unacked payload; 0 without room."""
        number = self._number(rows)
        counts = np.where((number >= 0)[:, None], self._counts[number], 0)
        return counts[:, CLOSES], counts[:, ABORTS], counts[:, UNACKED]

    def _number(self, rows: Any) -> Ints:
        service = np.where(rows.endpoint == RESP, rows.port, rows.peer_port)
        return self._keys.number(rows.ip_hi, rows.ip_lo, rows.endpoint, np.zeros(rows.size), service)


@entry(Array(CONNECTIONS.dtype), KEYS_KIND, WANTED_KIND, Array(np.int64, ndim=2))
def count_closes(rows: Rows, keys: Any, ends: Any, counts: Any) -> None:
    """Take rows of ``connections``: one more close for each end that sent FIN."""
    for begin in range(0, rows.size, BLOCK):
        count = want_ends(rows[begin : begin + BLOCK], ends)
        number_keys(keys, ends, count)
        for i in range(count):
            if i + NEAR < count:
                prefetch(counts, max(ends.numbers[i + NEAR], 0) * COUNTS)
            number = ends.numbers[i]
            if number >= 0:
                counts[number, CLOSES] += 1


@kernel
def want_ends(rows: Rows, ends: Any) -> int:
    """Put the ends down that sent FIN; returns how many."""
    count = 0
    for i in range(rows.size):
        prefetch(rows, min(i + NEAR, rows.size - 1))
        r = record_of(rows, i)
        if r.orig_fin_frame >= 0:
            want(ends, count, i, r.orig_ip_hi, r.orig_ip_lo, ORIG, 0, r.resp_port)
            count += 1
        if r.resp_fin_frame >= 0:
            want(ends, count, i, r.resp_ip_hi, r.resp_ip_lo, RESP, 0, r.resp_port)
            count += 1
    return count
