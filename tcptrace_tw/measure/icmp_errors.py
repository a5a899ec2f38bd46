"""ICMP errors by client, service, router and kind: which connects and connections they are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.schema.columns import ICMP_ERRORS, Table
from tcptrace_tw.schema.words import ORIG, RESP

LATE_NS = 60_000_000_000
"""An error comes so long after the last segment of its connection at the most."""

MOST_KINDS = 1 << 16

Key = tuple[int, ...]


class IcmpErrors:
    """Fed with rows of ``connections``; gives rows of ``icmp_errors``.

    ``quotes``: the errors that were read so far, in the order of the file; it grows while the rows pass.
    """

    def __init__(self, quotes: Sequence[Any]) -> None:
        self._quotes = quotes
        self._known = 0
        self._by_tuple: dict[Key, list[Any]] = {}
        self._ports = np.zeros(0, np.int64)
        self._rows: dict[Key, Any] = {}
        self.refused = 0
        """How many errors are not in the sums, for want of room."""

    def see(self, rows: Any) -> None:
        """Take finished rows of ``connections``."""
        self._look_for_more()
        if not self._ports.size:
            return
        mine = rows.orig_port.astype(np.int64) << 16 | rows.resp_port
        for row in rows[np.isin(mine, self._ports)]:
            orig, resp = (
                (int(row[f"{side}_ip_hi"]), int(row[f"{side}_ip_lo"]), int(row[f"{side}_port"]))
                for side in ("orig", "resp")
            )
            for endpoint, key in ((ORIG, (*orig, *resp)), (RESP, (*resp, *orig))):
                for quote in self._by_tuple.get(key, ()):
                    if row.first_time <= quote.time <= row.last_time + LATE_NS:
                        self._take(row, endpoint, quote)

    def _look_for_more(self) -> None:
        """Sort what was read since the last time."""
        count = len(self._quotes)
        if count == self._known:
            return
        for quote in self._quotes[self._known : count]:
            self._by_tuple.setdefault((*quote.src, quote.sport, *quote.dst, quote.dport), []).append(quote)
        self._known = count
        pairs = {(key[2], key[5]) for key in self._by_tuple}
        both = {one << 16 | other for pair in pairs for one, other in (pair, pair[::-1])}
        self._ports = np.fromiter(both, np.int64, len(both))

    def _take(self, row: Any, endpoint: int, quote: Any) -> None:
        is_connect = endpoint == ORIG and quote.seq == row.orig_isn and row.established_time < 0
        own, peer = ("orig", "resp") if endpoint == ORIG else ("resp", "orig")
        key = (int(row[f"{own}_ip_hi"]), int(row[f"{own}_ip_lo"]), int(row[f"{peer}_ip_hi"]), int(row[f"{peer}_ip_lo"]),
               int(row.resp_port), *quote.router, quote.error, is_connect)  # fmt: skip
        found = self._rows.get(key)
        if found is None:
            if len(self._rows) == MOST_KINDS:
                self.refused += 1
                return
            found = self._rows[key] = _new(row, endpoint, own, peer, quote)
            found.is_connect = is_connect
        if quote.frame < found.frame:
            found.time, found.frame = quote.time, quote.frame
        if row.connection_id != found.last_id:
            found.connections += 1
            found.last_id = row.connection_id
        if row.connection_id <= found.connection_id:
            found.connection_id, found.endpoint = row.connection_id, endpoint
            found.port, found.peer_port = row[f"{own}_port"], row[f"{peer}_port"]
        found.end_time = max(int(found.end_time), quote.time)
        found.errors += 1
        found.most_retries = max(int(found.most_retries), int(row.syn_retries))
        if quote.mtu:
            found.mtu = min(int(found.mtu), quote.mtu) if found.mtu else quote.mtu

    def close(self, scanners: set[tuple[int, int]]) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture; ``scanners``: the clients that try many services in vain."""
        if not self._rows:
            return
        rows: Any = np.zeros(len(self._rows), ICMP_ERRORS.dtype).view(np.recarray)
        for place, found in enumerate(self._rows.values()):
            for name in ICMP_ERRORS.dtype.names or ():
                if name in found.dtype.names:
                    rows[name][place] = found[name]
            rows.is_scan[place] = (int(found.ip_hi), int(found.ip_lo)) in scanners
        yield ICMP_ERRORS, rows[np.lexsort((rows.frame, rows.connection_id))]

    def connects(self) -> set[Key]:
        """Client and service of every connect that an error was about."""
        return {key[:5] for key in self._rows if key[-1]}


def _new(row: Any, endpoint: int, own: str, peer: str, quote: Any) -> Any:
    names = (*(ICMP_ERRORS.dtype.names or ()), "last_id")
    one: Any = np.zeros(1, [(name, "i8") for name in names]).view(np.recarray)[0]
    one.connection_id, one.endpoint = row.connection_id, endpoint
    for end, side in (("", own), ("peer_", peer)):
        one[f"{end}ip_hi"], one[f"{end}ip_lo"] = row[f"{side}_ip_hi"], row[f"{side}_ip_lo"]
        one[f"{end}port"] = row[f"{side}_port"]
    one.router_ip_hi, one.router_ip_lo = quote.router
    one.time, one.end_time, one.frame, one.error = quote.time, quote.time, quote.frame, quote.error
    one.last_id = -1
    return one
