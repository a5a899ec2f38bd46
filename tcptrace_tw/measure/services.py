"""Who closes first at each service, and which servers never close at all (semantics: TW002, TW012)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.measure.keys import Keys
from tcptrace_tw.spec.columns import SERVICES, Table
from tcptrace_tw.spec.words import NONE, OPENED_HANDSHAKE, ORIG, RESP

MOST_KEYS = 1 << 16


class Services:
    """Fed with rows of ``connections`` and ``oddities``; gives one row of ``services`` for each server and port."""

    def __init__(self) -> None:
        self._keys = Keys(MOST_KEYS)
        self._rows = np.zeros(MOST_KEYS, SERVICES.dtype)
        self._rows["connection_id"] = np.iinfo(np.int64).max
        self._rows["time"] = np.iinfo(np.int64).max

    def see(self, table: str, rows: Any) -> None:
        """Take finished rows."""
        if table == "connections":
            r = rows[(rows.opened == OPENED_HANDSHAKE) & (rows.established_time >= 0)]
            key = self._number(r.resp_ip_hi, r.resp_ip_lo, r.resp_port, r)
            self._add("connections", key, np.ones(r.size, np.int64))
            self._add("closed", key, r.active_closer != NONE)
            self._add("closed_by_server", key, r.active_closer == RESP)
            by_server = r.active_closer == RESP
            known = by_server & (key >= 0)
            np.minimum.at(self._rows["connection_id"], key[known], r.connection_id[known])
            self._widen(key, r.first_time, r.last_time)
        elif table == "oddities":
            r = rows[(rows.is_left_open != 0) & (rows.endpoint == ORIG)]
            key = self._number(r.peer_ip_hi, r.peer_ip_lo, r.peer_port, r)
            self._add("left_in_close_wait", key, np.ones(r.size, np.int64))
            known = key >= 0
            np.minimum.at(self._rows["connection_id"], key[known], r.connection_id[known])
            self._rows["fin_frame"][key[known]] = r.fin_frame[known]
            self._widen(key, r.time, r.end_time)  # it may have been left open by a connection from mid-stream

    def _widen(self, key: NDArray[np.int64], first_time: Any, last_time: Any) -> None:
        known = key >= 0
        np.minimum.at(self._rows["time"], key[known], first_time[known])
        np.maximum.at(self._rows["end_time"], key[known], last_time[known])

    def _number(self, hi: Any, lo: Any, port: Any, rows: Any) -> NDArray[np.int64]:
        if not rows.size:
            return np.zeros(0, np.int64)
        return self._keys.number(hi, lo, port)

    def _add(self, name: str, key: NDArray[np.int64], count: Any) -> None:
        known = key >= 0
        np.add.at(self._rows[name], key[known], count[known])

    def close(self) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture."""
        if not len(self._keys):
            return
        rows = self._rows[: len(self._keys)]
        for index, name in enumerate(("ip_hi", "ip_lo", "port")):
            rows[name] = self._keys.column(index)
        for name in ("connection_id", "time"):
            rows[name][rows[name] == np.iinfo(np.int64).max] = -1
        rows["fin_frame"][rows["left_in_close_wait"] == 0] = -1
        yield SERVICES, rows
