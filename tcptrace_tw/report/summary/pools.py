"""TIME-WAIT spans by pool: numbers for the pools, sums over their spans, and the steps that each span is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels import library
from tcptrace_tw.kernels.arrays import as_records, zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import Array, bundle
from tcptrace_tw.kernels.marks import entry, load
from tcptrace_tw.kernels.wide_records import Rows
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.measure.keys import (
    BLOCK,
    KEYS_KIND,
    NEAR,
    WANTED_KIND,
    Keys,
    KeyTable,
    Wanted,
    number_keys,
    want,
    wanted,
)
from tcptrace_tw.schema.columns import TIME_WAIT
from tcptrace_tw.schema.segments import prefetch
from tcptrace_tw.schema.words import ORIG, RESP

MOST_POOLS = 1 << 20

MOST_ROWS = 1 << 14
"""So many rows are taken in at once."""

PORT_BITS = 16

POOL = np.dtype([("spans", "i8"), ("first_start", "i8"), ("last_start", "i8"), ("ns", "f8")])
"""Sums of a pool; ``ns``: the length of the spans whose end was seen."""

SPANS, ENDS, RESTARTS, TALLIES = range(4)
"""What is counted: spans, those with an end, restarts of 2MSL."""

Ints = NDArray[np.int64]

Key = tuple[int, int, int, int, int, int]
"""A pool: address, the peer's address (0 for a server), the port of the service, and the role."""


class PoolTables(NamedTuple):
    """What the kernel takes. ``start_pools`` to ``ends``: the pool and the moment of each step up and down."""

    keys: KeyTable
    wanted: Wanted
    pools: Any
    reasons: Ints
    tally: Ints
    start_pools: Ints
    starts: Ints
    end_pools: Ints
    ends: Ints


POOLS_KIND = bundle(
    PoolTables, keys=KEYS_KIND, wanted=WANTED_KIND, pools=Array(POOL),
    **dict.fromkeys(("reasons", "tally", "start_pools", "starts", "end_pools", "ends"), Array(np.int64)),
)  # fmt: skip


@entry(Array(TIME_WAIT.dtype), POOLS_KIND)
def take_spans(rows: Rows, tables: Any) -> None:
    """Take rows of ``time_wait``, no more than there is room for steps; ``tally`` says how many steps there are."""
    tally, keys = tables.tally, tables.wanted
    tally[SPANS] = tally[ENDS] = 0
    for begin in range(0, rows.size, BLOCK):
        block = rows[begin : begin + BLOCK]
        for i in range(block.size):
            prefetch(block, min(i + NEAR, block.size - 1))
            r = record_of(block, i)
            if r.holder == ORIG:
                port = ORIG << PORT_BITS | r.peer_port
                want(keys, i, i, r.ip_hi, r.ip_lo, r.peer_ip_hi, r.peer_ip_lo, port)
            else:
                want(keys, i, i, r.ip_hi, r.ip_lo, 0, 0, RESP << PORT_BITS | r.port)
        number_keys(tables.keys, keys, block.size)
        for i in range(block.size):
            if i + NEAR < block.size:
                prefetch(tables.pools, max(keys.numbers[i + NEAR], 0))
            r, number = record_of(block, i), max(keys.numbers[i], 0)
            tables.reasons[r.end_reason] += 1
            tally[RESTARTS] += r.restarts
            pool = record_of(tables.pools, number)
            if pool.spans == 0:
                pool.first_start = r.start
                pool.last_start = r.start
            pool.spans += 1
            pool.first_start = min(pool.first_start, r.start)
            pool.last_start = max(pool.last_start, r.start)
            at = tally[SPANS]
            tables.start_pools[at] = number
            tables.starts[at] = r.start
            tally[SPANS] = at + 1
            if r.end != -1:
                pool.ns += float(r.end) - float(r.start)
                at = tally[ENDS]
                tables.end_pools[at] = number
                tables.ends[at] = r.end
                tally[ENDS] = at + 1


class Pools:
    """Numbers for pools, from 0, in the order in which they come; the first one takes those beyond ``MOST_POOLS``."""

    def __init__(self) -> None:
        compiled = library.choose()
        self._take = load(take_spans, compiled=compiled)
        self._keys = Keys(MOST_POOLS, compiled=compiled, seed=new_seed())
        steps = [zeros(MOST_ROWS, np.int64) for _ in range(4)]
        reasons, tally = zeros(256, np.int64), zeros(TALLIES, np.int64)
        self._tables = PoolTables(
            self._keys.table, wanted(), zeros(MOST_POOLS, POOL).view(np.recarray), reasons, tally, *steps
        )

    def __len__(self) -> int:
        return len(self._keys)

    def take(self, rows: NDArray[Any]) -> tuple[Ints, Ints, Ints, Ints]:
        """Take at most ``MOST_ROWS`` rows of ``time_wait``: pool and time of each start, pool and time of each end.

        The arrays are good until the next rows are taken.
        """
        self._take(as_records(rows), self._tables)
        spans, ends, _ = self._tables.tally.tolist()
        tables = self._tables
        return tables.start_pools[:spans], tables.starts[:spans], tables.end_pools[:ends], tables.ends[:ends]

    @property
    def sums(self) -> Any:
        """Records of ``POOL``, by number."""
        return self._tables.pools[: len(self)]

    @property
    def reasons(self) -> Ints:
        """How many spans ended for which reason, by its code."""
        return self._tables.reasons

    @property
    def restarts(self) -> int:
        """How often 2MSL began again."""
        return int(self._tables.tally[RESTARTS])

    def key(self, number: int) -> Key:
        """The pool of a number."""
        hi, lo, peer_hi, peer_lo, port = (int(self._keys.column(word)[number]) for word in range(5))
        return hi, lo, peer_hi, peer_lo, port & ((1 << PORT_BITS) - 1), port >> PORT_BITS
