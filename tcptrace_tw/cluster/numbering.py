"""Numbers of the whole capture: each part numbers its connections from 1, in the order in which they were opened."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.cluster.plan import Plan
from tcptrace_tw.cluster.spool import appearing, append_rows
from tcptrace_tw.cluster.tasks import read_births, read_rows

NUMBERED = "numbers"

CONNECTIONS = ("connection_id", "attempt_id", "previous_connection_id")
"""Columns that hold the number of a connection."""

Ints = NDArray[np.int64]


class Numbers:
    """The number of a connection is its rank by the clock and the frame of the segment that opened it.

    That of a 4-tuple is the rank of its first connection.
    """

    def __init__(self, connections: dict[int, Ints], tuples: dict[int, Ints]) -> None:
        """By part: the numbers in the whole, by the number in the part."""
        self._connections, self._tuples = connections, tuples

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Those of all parts."""
        births = [read_births(plan, part) for part in range(plan.parts)]
        together = np.concatenate(births)
        ranks = np.empty(together.shape[0], np.int64)
        ranks[np.lexsort((together[:, 1], together[:, 0]))] = np.arange(1, ranks.size + 1)
        ends = np.cumsum([each.shape[0] for each in births])[:-1]
        connections = [np.concatenate(([0], own)) for own in np.split(ranks, ends)]
        firsts = [_first_of_tuples(plan, part, own) for part, own in enumerate(connections)]
        is_first = np.zeros(ranks.size + 1, np.int64)
        for first in firsts:
            is_first[first[1:]] = 1
        rank = np.cumsum(is_first)
        return cls(dict(enumerate(connections)), {part: rank[first] for part, first in enumerate(firsts)})

    @classmethod
    def load(cls, plan: Plan, part: int) -> Self:
        """Those of one part, as ``save`` has left them."""
        files = [plan.path(NUMBERED, f"{part:03d}.{name}") for name in ("connections", "tuples")]
        found = [np.frombuffer(file.read_bytes(), np.int64) for file in files]
        return cls({part: found[0]}, {part: found[1]})

    def save(self, plan: Plan) -> None:
        """Leave them for the parts."""
        for name, of in (("connections", self._connections), ("tuples", self._tuples)):
            for part, numbers in of.items():
                with appearing(plan.path(NUMBERED, f"{part:03d}.{name}")) as file:
                    append_rows(file, numbers)

    def size(self, part: int) -> int:
        """How many connections a part has."""
        return self._connections[part].size - 1

    def renumber(self, part: int, rows: NDArray[Any]) -> None:
        """Give rows of a part the numbers of the whole."""
        for name in CONNECTIONS:
            if name in (rows.dtype.names or ()):
                own = np.ascontiguousarray(rows[name])
                found = self._connections[part][own]  # that of 0 is 0; below it the number says why there is none
                rows[name] = found if own.min(initial=0) >= 0 else np.where(own > 0, found, own)
        if "tuple_id" in (rows.dtype.names or ()):
            rows["tuple_id"] = self._tuples[part][rows["tuple_id"]]


def _first_of_tuples(plan: Plan, part: int, connections: Ints) -> Ints:
    """By the number of a 4-tuple in its part: the number of its first connection in the whole."""
    rows = read_rows(plan, part, "connections")
    tuples = np.zeros(connections.size, np.int64)
    tuples[rows.column("connection_id")] = rows.column("tuple_id")
    first = np.zeros(int(tuples.max(initial=0)) + 1, np.int64)
    first[tuples[:0:-1]] = connections[:0:-1]  # the first is written last
    return first
