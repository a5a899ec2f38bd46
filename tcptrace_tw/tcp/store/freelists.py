"""Records of what is rare (reuses, stale segments, resets): taken from a pool, chained to their incarnation.

``copy_reuse`` and its siblings are made from the table declarations, so a new column needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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
)


def _copier(table: Table) -> Callable[[Any, Any], None]:
    """A kernel that copies the fields of ``table`` from one record to another; numba needs them spelt out."""
    name = f"copy_{table.name}"
    lines = [f"def {name}(to, source):", *(f"    to.{field} = source.{field}" for field in table.dtype.names or ())]
    scope: dict[str, Any] = {}
    exec(compile("\n".join(lines), __file__, "exec"), scope)
    function = scope[name]
    function.__module__ = __name__
    return kernel(function)


copy_reuse = _copier(REUSES)
copy_stale = _copier(STALE_SEGMENTS)
copy_reset = _copier(RESETS)
copy_anomaly = _copier(ANOMALIES)


@kernel
def take(counters, used, free, following):  # type: ignore[no-untyped-def]
    """The place of a record that nobody uses; ``following`` is the next free one. The caller has made sure of room."""
    place = counters[free]
    if place >= 0:
        counters[free] = following
    else:
        place = counters[used]
        counters[used] = place + 1
    return place


@kernel
def new_incarnation(st):  # type: ignore[no-untyped-def]
    """A place for an incarnation and its two endpoints; a free one is chained by ``previous``."""
    free = st.counters[CONNS_FREE]
    return take(
        st.counters, CONNS_USED, CONNS_FREE, np.int64(conn_at(st, free).previous) if free >= 0 else np.int64(-1)
    )


@kernel
def free_incarnation(st, c):  # type: ignore[no-untyped-def]
    """Give the records of incarnation ``c`` back."""
    conn = conn_at(st, c)
    conn.id = 0
    conn.previous = st.counters[CONNS_FREE]
    st.counters[CONNS_FREE] = c


@kernel
def release_slot(st, slot):  # type: ignore[no-untyped-def]
    """Nothing lives in a slot of the flow table any more."""
    n = st.counters[RELEASED]
    set_released(st, n, slot)
    st.counters[RELEASED] = n + 1


@kernel
def clear(st, c):  # type: ignore[no-untyped-def]
    """Make the records of incarnation ``c`` as new."""
    conn = conn_at(st, c)
    conn.rst_frame = -1
    conn.established_time = -1
    conn.old_syn_frame = -1
    conn.history_lo = 0
    conn.history_hi = 0
    conn.reuse = -1
    conn.stale = -1
    conn.reset = -1
    conn.anomaly = -1
    conn.fin_ms = 0
    conn.duplicates = 0
    conn.transitions = 0
    conn.silence_ns = 0
    conn.silence_time = -1
    conn.stale_rows = 0
    conn.reset_rows = 0
    conn.bits = 0
    conn.history_len = 0
    conn.completeness = 0
    for k in range(2 * c, 2 * c + 2):
        t = tcb_at(st, k)
        t.last_time = -1
        t.last_frame = -1
        t.payload_bytes = 0
        t.payload_time = -1
        t.syn_frame = -1
        t.fin_frame = -1
        t.fin_acked_time = -1
        t.fin_acked_frame = -1
        t.fin_repeat_frame = -1
        t.earlier_time = -1
        t.earlier_frame = -1
        t.earlier_ack = 0
        t.again = 0
        t.again_since = -1
        t.ttl_low = 0
        t.ttl_high = 0
        t.ts_recent_frame = -1
        t.echo_frame = -1
        t.iss = 0
        t.snd_una = 0
        t.snd_nxt = 0
        t.rcv_nxt = 0
        t.fin_seq = 0
        t.last_ack = 0
        t.last_seq = 0
        t.first_tsval = 0
        t.last_tsval = 0
        t.ts_recent = 0
        t.ts_echoed = 0
        t.ts_echoed_s = 0
        t.rtt_us = 0
        t.segments = 0
        t.retransmits = 0
        t.zero_windows = 0
        t.stale_segments = 0
        t.silence_ms = 0
        t.survived_ms = 0
        t.window_max = 0
        t.last_len = 0
        t.span = -1
        t.bits = 0
        t.last_flags = 0
        t.last_ip_id = 0
        t.history_seen = 0
        t.unanswered = 0
        t.probes = 0
        t.syn_repeats = 0
        t.fin_repeats = 0
        t.unacceptable_run = 0
        t.state = CLOSED
        t.reset_state = CLOSED
        t.wscale = 0
        t.ttl = 0
        t.pending = 0
        t.ts_run = 0
        t.mss_256 = 0


@kernel
def new_span(st):  # type: ignore[no-untyped-def]
    """A place for a TIME-WAIT span."""
    free = st.counters[SPANS_FREE]
    return take(st.counters, SPANS_USED, SPANS_FREE, np.int64(span_at(st, free).next) if free >= 0 else np.int64(-1))


@kernel
def new_reuse(st):  # type: ignore[no-untyped-def]
    """A place for the facts of a reuse."""
    free = st.counters[REUSES_FREE]
    return take(st.counters, REUSES_USED, REUSES_FREE, np.int64(reuse_at(st, free).next) if free >= 0 else np.int64(-1))


@kernel
def new_stale(st):  # type: ignore[no-untyped-def]
    """A place for the facts of a stale segment."""
    free = st.counters[STALES_FREE]
    return take(st.counters, STALES_USED, STALES_FREE, np.int64(stale_at(st, free).next) if free >= 0 else np.int64(-1))


@kernel
def new_reset(st):  # type: ignore[no-untyped-def]
    """A place for the facts of a RST."""
    free = st.counters[RESETS_FREE]
    return take(st.counters, RESETS_USED, RESETS_FREE, np.int64(reset_at(st, free).next) if free >= 0 else np.int64(-1))


@kernel
def new_anomaly(st):  # type: ignore[no-untyped-def]
    """A place for what is rare about an endpoint."""
    free = st.counters[ANOMALIES_FREE]
    return take(
        st.counters, ANOMALIES_USED, ANOMALIES_FREE, np.int64(anomaly_at(st, free).next) if free >= 0 else np.int64(-1)
    )
