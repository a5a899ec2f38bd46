"""The end of the capture."""

from __future__ import annotations

from tcptrace_tw.kernels.kinds import INTEGER
from tcptrace_tw.kernels.marks import entry
from tcptrace_tw.tcp.machine.retirement import retire, retire_attempt
from tcptrace_tw.tcp.store.access import STATE_KIND, conn_at
from tcptrace_tw.tcp.store.archive import oldest_archived, unpack
from tcptrace_tw.tcp.store.attempts import oldest_attempt
from tcptrace_tw.tcp.store.records import CONNS_USED, RELEASED, KernelState
from tcptrace_tw.tcp.store.reservations import segments_with_room


@entry(STATE_KIND, INTEGER)
def finish(st: KernelState, start: int) -> int:
    """The end of the capture: let go of the archived incarnations, and of those from ``start`` on.

    Returns the incarnation to go on with, ``CONNS_USED`` when none is left: less when there is not enough room for
    what one more of them can cause, which is less than what a segment can cause.
    """
    counters = st.counters
    at = oldest_attempt(st)
    while at >= 0:
        if segments_with_room(counters) <= 0:
            return start
        retire_attempt(st, at)
        at = oldest_attempt(st)
    at = oldest_archived(st)
    while at >= 0:
        if segments_with_room(counters) <= 0:
            return start
        counters[RELEASED] = 0
        retire(st, unpack(st, at))
        at = oldest_archived(st)
    for c in range(start, counters[CONNS_USED]):
        if segments_with_room(counters) <= 0:
            return c
        counters[RELEASED] = 0
        if conn_at(st, c).id > 0:
            retire(st, c)
    return counters[CONNS_USED]
