"""Who closes first at each service, and which servers never close at all (docs/semantics.md: TIME-WAIT)."""

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
from tcptrace_tw.measure.keys import KEYS_KIND, Keys, KeyTable, number_of
from tcptrace_tw.measure.silent_services import SilentServices
from tcptrace_tw.schema.columns import ANOMALIES, SERVICES, Table
from tcptrace_tw.schema.words import NONE, OPENED_HANDSHAKE, ORIG, RESP

MOST_SERVICES = 1 << 16

NEVER = np.iinfo(np.int64).max


class ServiceTables(NamedTuple):
    """What the kernels take."""

    keys: KeyTable
    rows: Any


SERVICES_KIND = bundle(ServiceTables, keys=KEYS_KIND, rows=Array(SERVICES.dtype))


class Services:
    """Fed with rows of ``connections`` and ``anomalies``; gives one row of ``services`` for each server and port."""

    def __init__(self, *, compiled: bool, seed: Seed) -> None:
        self._keys = Keys(MOST_SERVICES, compiled=compiled, seed=seed)
        self._rows = zeros(MOST_SERVICES, SERVICES.dtype).view(np.recarray)
        self.tables = ServiceTables(self._keys.table, self._rows)
        self._count_left_open = load(count_left_open, compiled=compiled)
        self._silent = SilentServices()

    def see(self, table: str, rows: Any) -> None:
        """Take finished rows; those of ``connections`` are counted apart (``count_closes``)."""
        if table == "anomalies":
            self._count_left_open(rows, self.tables)
        elif table == "connections":
            self._silent.see(rows)

    @property
    def refused(self) -> int:
        """How many rows are those of services for which there was no room."""
        return self._keys.refused

    def close(self, end_time: int) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture, which was at ``end_time``."""
        if not len(self._keys):
            return
        rows = self._rows[: len(self._keys)]
        for word, name in enumerate(("ip_hi", "ip_lo", "", "", "port")):
            if name:
                rows[name] = self._keys.column(word)
        for name in ("connection_id", "time"):
            rows[name][rows[name] == NEVER] = -1
        self._silent.fill_in(rows, end_time)
        yield SERVICES, rows


@kernel
def count_closes(rows: Rows, services: Any) -> None:
    """Take rows of ``connections``: those whose handshake was captured whole."""
    for i in range(rows.size):
        r = record_of(rows, i)
        if r.opened != OPENED_HANDSHAKE or r.established_time < 0:
            continue
        number = number_of(services.keys, r.resp_ip_hi, r.resp_ip_lo, 0, 0, r.resp_port)
        if number < 0:
            continue
        service = record_of(services.rows, number)
        begin(service)
        service.connections += 1
        widen(service, r.first_time, r.last_time)
        closer = r.active_closer
        if closer != NONE:
            service.closed += 1
        if closer == RESP:
            service.closed_by_server += 1
            service.connection_id = min(service.connection_id, r.connection_id)


@entry(Array(ANOMALIES.dtype), SERVICES_KIND)
def count_left_open(rows: Rows, services: Any) -> None:
    """Take rows of ``anomalies``: clients whose FIN the server never answered with its own."""
    for i in range(rows.size):
        r = record_of(rows, i)
        if r.is_left_open == 0 or r.endpoint != ORIG:
            continue
        number = number_of(services.keys, r.peer_ip_hi, r.peer_ip_lo, 0, 0, r.peer_port)
        if number >= 0:
            service = record_of(services.rows, number)
            begin(service)
            widen(service, r.time, r.end_time)  # it may have been left open by a connection from mid-stream
            service.left_in_close_wait += 1
            service.connection_id = min(service.connection_id, r.connection_id)
            if service.fin_frame < 0 or r.fin_frame < service.fin_frame:
                service.fin_frame = r.fin_frame


@kernel
def begin(service: Any) -> None:
    """Nothing is known of a service before its first row."""
    if service.connections == 0 and service.left_in_close_wait == 0:
        service.connection_id = NEVER
        service.time = NEVER
        service.fin_frame = -1


@kernel
def widen(service: Any, first_time: int, last_time: int) -> None:
    """From the first connection to the last segment."""
    service.time = min(service.time, first_time)
    service.end_time = max(service.end_time, last_time)
