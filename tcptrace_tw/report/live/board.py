"""The state of now: TIME-WAIT by holder against its range of ports, connects a second, connects without an answer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.measure.census import range_size
from tcptrace_tw.report.summary.grouping import group
from tcptrace_tw.report.words.codec import Time
from tcptrace_tw.report.words.text import endpoint_text, ip_text
from tcptrace_tw.schema.words import CLOSE_UNANSWERED, ORIG

MOST_ROWS = 1 << 20
"""The most TIME-WAIT sockets and unanswered connects whose endpoints are remembered; the oldest go first."""

RATE_NS = 5_000_000_000
"""The time over which connects per second are counted."""

WAITS_NS = 1_000_000_000
"""A SYN that is not answered sooner is unanswered."""

ATTEMPT_NS = 130_000_000_000
"""The time after its last SYN at which a connect counts as over."""

MOST_HOLDERS = 5
"""The number of holders that are named."""

SPAN = np.dtype(
    [("connection_id", "i8"), ("ip_hi", "i8"), ("ip_lo", "i8"), ("peer_ip_hi", "i8"), ("peer_ip_lo", "i8"),
     ("until", "i8"), ("port", "u2"), ("peer_port", "u2"), ("is_client", "u1")]
)  # fmt: skip
WAITING = np.dtype([("connection_id", "i8"), ("first_time", "i8"), ("last_time", "i8")])

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Holder:
    """The TIME-WAIT sockets of one address: of a client towards one service, or of a server."""

    name: str
    """``10.0.0.1 > 10.0.0.2:80`` for a client, ``10.0.0.2`` for a server."""
    time_wait: int
    ports: int | None
    """How many source ports the client has for one service; None for a server, which needs none."""


@dataclass(frozen=True)
class Now:
    """What is going on."""

    time: Time
    segments: int
    connections: int
    connects_per_second: float
    unanswered: int
    """Connects that have waited for a second or longer."""
    time_wait: int
    holders: tuple[Holder, ...]
    """Those with most TIME-WAIT sockets; a client is ranked by the share of its ports."""
    lost: int


class Board:
    """Takes rows as they are looked at, and as they are finished."""

    def __init__(self) -> None:
        self._spans = np.zeros(0, SPAN)
        self._waiting = np.zeros(0, WAITING)
        self._counts: deque[tuple[int, int]] = deque()

    def look(self, rows: dict[str, NDArray[Any]]) -> None:
        """Take the rows of connections as they are now."""
        connections = rows.get("connections")
        if connections is None:
            return
        self._forget(connections["connection_id"])
        spans = rows.get("time_wait")
        if spans is not None:
            spans = spans[spans["end"] < 0]
            own = _taken(spans, SPAN)
            own["until"] = np.maximum(spans["start"], spans["restart"]) + spans["two_msl_ns"]
            own["is_client"] = spans["holder"] == ORIG
            self._spans = np.concatenate((self._spans, own))[-MOST_ROWS:]
        unanswered = _taken(connections[connections["close"] == CLOSE_UNANSWERED], WAITING)
        self._waiting = np.concatenate((self._waiting, unanswered))[-MOST_ROWS:]

    def finished(self, rows: dict[str, NDArray[Any]]) -> None:
        """Take rows that do not change any more: what lasts is not among them."""
        if "connections" in rows:
            self._forget(rows["connections"]["connection_id"])

    def now(self, time: int, segments: int, connections: int, lost: int) -> Now:
        """What is going on at this time; the counts are those of the whole run."""
        self._spans = self._spans[self._spans["until"] > time]
        self._waiting = self._waiting[self._waiting["last_time"] > time - ATTEMPT_NS]
        waits = int(np.count_nonzero(self._waiting["first_time"] <= time - WAITS_NS))
        rate = self._rate(time, connections)
        return Now(Time(time), segments, connections, rate, waits, self._spans.size, self._holders(), lost)

    def _forget(self, ids: Ints) -> None:
        for name in ("_spans", "_waiting"):
            rows = getattr(self, name)
            if rows.size:
                setattr(self, name, rows[~np.isin(rows["connection_id"], ids)])

    def _rate(self, time: int, connections: int) -> float:
        counts = self._counts
        if not counts or time > counts[-1][0]:
            counts.append((time, connections))
        while len(counts) > 2 and counts[1][0] <= time - RATE_NS:
            counts.popleft()
        span = counts[-1][0] - counts[0][0]
        return round((counts[-1][1] - counts[0][1]) * 1e9 / span, 1) if span else 0.0

    def _holders(self) -> tuple[Holder, ...]:
        spans = self._spans
        if not spans.size:
            return ()
        is_client = spans["is_client"].astype(np.int64)
        service = [spans[name].astype(np.int64) * is_client for name in ("peer_ip_hi", "peer_ip_lo", "peer_port")]
        columns = [np.ascontiguousarray(spans[name]) for name in ("ip_hi", "ip_lo")]
        numbers, leaders = group([*columns, *service, is_client])
        counts = np.bincount(numbers, minlength=leaders.size)
        low, high = np.full(leaders.size, 65535, np.int64), np.zeros(leaders.size, np.int64)
        np.minimum.at(low, numbers, spans["port"])
        np.maximum.at(high, numbers, spans["port"])
        ports = np.where(is_client[leaders] == 1, range_size(low, high), 0)
        share = np.where(ports > 0, counts / np.maximum(ports, 1), 0)
        order = np.lexsort((-counts, -share))[:MOST_HOLDERS]
        return tuple(self._holder(spans[leaders[i]], int(counts[i]), int(ports[i])) for i in order.tolist())

    @staticmethod
    def _holder(span: Any, count: int, ports: int) -> Holder:
        ip = ip_text(int(span["ip_hi"]), int(span["ip_lo"]))
        if not ports:
            return Holder(ip, count, None)
        peer = ip_text(int(span["peer_ip_hi"]), int(span["peer_ip_lo"]))
        return Holder(f"{ip} > {endpoint_text(peer, int(span['peer_port']))}", count, ports)


def _taken(rows: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The columns that both types have."""
    own = np.zeros(rows.size, dtype)
    for name in dtype.names or ():
        if name in (rows.dtype.names or ()):
            own[name] = rows[name]
    return own
