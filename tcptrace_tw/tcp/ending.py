"""The end of the capture."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.jit import kernel
from tcptrace_tw.tcp.places import conn_at
from tcptrace_tw.tcp.retirement import retire
from tcptrace_tw.tcp.segment_arrives import is_full
from tcptrace_tw.tcp.state import CONNS_USED, RELEASED
from tcptrace_tw.tcp.tombstone import oldest, unpack


@kernel
def finish(st, start):  # type: ignore[no-untyped-def]
    """The end of the capture: let go of the buried, and of those from place ``start`` on; returns where to go on."""
    at = oldest(st)
    while at >= 0:
        if is_full(st):
            return start
        st.regs[RELEASED] = 0
        retire(st, unpack(st, at))
        at = oldest(st)
    for c in range(start, st.regs[CONNS_USED]):
        if is_full(st):
            return c
        st.regs[RELEASED] = 0
        if np.int64(conn_at(st, c).id) > 0:
            retire(st, c)
    return st.regs[CONNS_USED]
