"""Records of what is rare (reuses, stale segments, resets): taken from a pool, chained to their incarnation.

``copy_reuse`` and its siblings, and what makes the record of an endpoint as new, are made from the declarations of the
records, so a new column or field needs no line here. A new field of ``CONNECTION`` needs one in ``_NEW_CONNECTION``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.states import CLOSED
from tcptrace_tw.schema.columns import ANOMALIES, RESETS, REUSES, STALE_SEGMENTS, Table
from tcptrace_tw.tcp.store.access import (
    anomaly_at,
    conn_at,
    reset_at,
    reuse_at,
    set_released,
    span_at,
    stale_at,
    tcb_at,
)
from tcptrace_tw.tcp.store.records import (
    ANOMALIES_FREE,
    ANOMALIES_USED,
    CONNS_FREE,
    CONNS_USED,
    RELEASED,
    RESETS_FREE,
    RESETS_USED,
    REUSES_FREE,
    REUSES_USED,
    SPANS_FREE,
    SPANS_USED,
    STALES_FREE,
    STALES_USED,
    TCB,
    KernelState,
)


def _written(name: str, arguments: str, lines: Iterable[str]) -> Callable[..., None]:
    """A kernel of these lines; numba needs the fields of a record spelt out."""
    scope: dict[str, Any] = {}
    exec(compile("\n".join([f"def {name}({arguments}):", *(f"    {line}" for line in lines)]), __file__, "exec"), scope)
    function: Callable[..., None] = scope[name]
    function.__module__ = __name__
    return kernel(function)


def _copier(table: Table) -> Callable[[Any, Any], None]:
    """A kernel that copies the fields of ``table`` from one record to another."""
    return _written(
        f"copy_{table.name}", "to, source", (f"to.{name} = source.{name}" for name in table.dtype.names or ())
    )


def _writer(name: str, values: Mapping[str, int]) -> Callable[[Any], None]:
    """A kernel that writes these values into the fields of a record."""
    return _written(name, "record", (f"record.{field} = {value}" for field, value in values.items()))


copy_reuse = _copier(REUSES)
copy_stale = _copier(STALE_SEGMENTS)
copy_reset = _copier(RESETS)
copy_anomaly = _copier(ANOMALIES)


@kernel
def take(counters: Any, used: int, free: int, following: int) -> int:
    """The place of a record that nobody uses; ``following`` is the next free one. The caller has made sure of room."""
    place = counters[free]
    if place >= 0:
        counters[free] = following
    else:
        place = counters[used]
        counters[used] = place + 1
    return place


@kernel
def new_incarnation(st: KernelState) -> int:
    """A place for an incarnation and its two endpoints; a free one is chained by ``previous``."""
    free = st.counters[CONNS_FREE]
    return take(st.counters, CONNS_USED, CONNS_FREE, conn_at(st, free).previous if free >= 0 else -1)


@kernel
def free_incarnation(st: KernelState, c: int) -> None:
    """Give the records of incarnation ``c`` back."""
    conn = conn_at(st, c)
    conn.id = 0
    conn.previous = st.counters[CONNS_FREE]
    st.counters[CONNS_FREE] = c


@kernel
def release_slot(st: KernelState, slot: int) -> None:
    """Nothing lives in a slot of the flow table any more."""
    n = st.counters[RELEASED]
    set_released(st, n, slot)
    st.counters[RELEASED] = n + 1


_NEW_CONNECTION = {
    **dict.fromkeys(("rst_frame", "established_time", "old_syn_frame", "silence_time"), -1),
    **dict.fromkeys(("reuse", "stale", "reset", "anomaly"), -1),
    **dict.fromkeys(
        ("history_lo", "history_hi", "history_len", "fin_ms", "duplicates", "transitions", "silence_ns"), 0
    ),
    **dict.fromkeys(("stale_rows", "reset_rows", "bits", "completeness"), 0),
}
"""The fields of an incarnation that begin alike; whoever opens it sets the others."""

_NEW_TCB = {
    **dict.fromkeys((name for name in TCB.names or () if name not in ("pending_event", "pending_from")), 0),
    **dict.fromkeys((name for name in TCB.names or () if name.endswith(("_time", "_frame"))), -1),
    **dict.fromkeys(("again_since", "span"), -1),
    **dict.fromkeys(("state", "reset_state"), CLOSED),
}
"""The same of an endpoint: times, frames and places are not known, the state is CLOSED, and all else is 0."""

_clear_connection = _writer("clear_connection", _NEW_CONNECTION)
_clear_tcb = _writer("clear_tcb", _NEW_TCB)


@kernel
def clear(st: KernelState, c: int) -> None:
    """Make the records of incarnation ``c`` as new."""
    _clear_connection(conn_at(st, c))
    _clear_tcb(tcb_at(st, 2 * c))
    _clear_tcb(tcb_at(st, 2 * c + 1))


@kernel
def new_span(st: KernelState) -> int:
    """A place for a TIME-WAIT span."""
    free = st.counters[SPANS_FREE]
    return take(st.counters, SPANS_USED, SPANS_FREE, span_at(st, free).next if free >= 0 else -1)


@kernel
def new_reuse(st: KernelState) -> int:
    """A place for the facts of a reuse."""
    free = st.counters[REUSES_FREE]
    return take(st.counters, REUSES_USED, REUSES_FREE, reuse_at(st, free).next if free >= 0 else -1)


@kernel
def new_stale(st: KernelState) -> int:
    """A place for the facts of a stale segment."""
    free = st.counters[STALES_FREE]
    return take(st.counters, STALES_USED, STALES_FREE, stale_at(st, free).next if free >= 0 else -1)


@kernel
def new_reset(st: KernelState) -> int:
    """A place for the facts of a RST."""
    free = st.counters[RESETS_FREE]
    return take(st.counters, RESETS_USED, RESETS_FREE, reset_at(st, free).next if free >= 0 else -1)


@kernel
def new_anomaly(st: KernelState) -> int:
    """A place for what is rare about an endpoint."""
    free = st.counters[ANOMALIES_FREE]
    return take(st.counters, ANOMALIES_USED, ANOMALIES_FREE, anomaly_at(st, free).next if free >= 0 else -1)
