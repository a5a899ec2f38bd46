"""Records of what is rare (reuses, stale segments, resets): taken from a pool, chained to their incarnation.

``copy_reuse`` and its siblings are made from the table declarations, so a new column needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tcptrace_tw.jit import kernel
from tcptrace_tw.spec.columns import ODDITIES, RESETS, REUSES, STALE_SEGMENTS, Table
from tcptrace_tw.tcp.places import conn_at, oddity_at, reset_at, reuse_at, span_at, stale_at
from tcptrace_tw.tcp.state import (
    CONNS_FREE,
    CONNS_USED,
    ODDITIES_FREE,
    ODDITIES_USED,
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
copy_oddity = _copier(ODDITIES)


@kernel
def take(regs, used, free, following):  # type: ignore[no-untyped-def]
    """The place of a record that nobody uses; ``following`` is the next free one. The caller has made sure of room."""
    place = regs[free]
    if place >= 0:
        regs[free] = following
    else:
        place = regs[used]
        regs[used] = place + 1
    return place


@kernel
def new_incarnation(st):  # type: ignore[no-untyped-def]
    """A place for an incarnation and its two endpoints; a free one is chained by ``previous``."""
    free = st.regs[CONNS_FREE]
    return take(st.regs, CONNS_USED, CONNS_FREE, np.int64(conn_at(st, free).previous) if free >= 0 else np.int64(-1))


@kernel
def new_span(st):  # type: ignore[no-untyped-def]
    """A place for a TIME-WAIT span."""
    free = st.regs[SPANS_FREE]
    return take(st.regs, SPANS_USED, SPANS_FREE, np.int64(span_at(st, free).next) if free >= 0 else np.int64(-1))


@kernel
def new_reuse(st):  # type: ignore[no-untyped-def]
    """A place for the facts of a reuse."""
    free = st.regs[REUSES_FREE]
    return take(st.regs, REUSES_USED, REUSES_FREE, np.int64(reuse_at(st, free).next) if free >= 0 else np.int64(-1))


@kernel
def new_stale(st):  # type: ignore[no-untyped-def]
    """A place for the facts of a stale segment."""
    free = st.regs[STALES_FREE]
    return take(st.regs, STALES_USED, STALES_FREE, np.int64(stale_at(st, free).next) if free >= 0 else np.int64(-1))


@kernel
def new_reset(st):  # type: ignore[no-untyped-def]
    """A place for the facts of a RST."""
    free = st.regs[RESETS_FREE]
    return take(st.regs, RESETS_USED, RESETS_FREE, np.int64(reset_at(st, free).next) if free >= 0 else np.int64(-1))


@kernel
def new_oddity(st):  # type: ignore[no-untyped-def]
    """A place for what is rare about an endpoint."""
    free = st.regs[ODDITIES_FREE]
    return take(
        st.regs, ODDITIES_USED, ODDITIES_FREE, np.int64(oddity_at(st, free).next) if free >= 0 else np.int64(-1)
    )
