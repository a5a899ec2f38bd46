"""The end of the capture."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.jit import kernel
from tcptrace_tw.tcp.places import conn_at
from tcptrace_tw.tcp.retirement import retire
from tcptrace_tw.tcp.segment_arrives import is_full
from tcptrace_tw.tcp.state import CONNS_USED, RELEASED


@kernel
def finish(st, start):  # type: ignore[no-untyped-def]
    """The end of the capture: let go of every incarnation from place ``start`` on; returns the place to go on from."""
    for c in range(start, st.regs[CONNS_USED]):
        if is_full(st):
            return c
        st.regs[RELEASED] = 0
        if np.int64(conn_at(st, c).id) > 0:
            retire(st, c)
    return st.regs[CONNS_USED]
