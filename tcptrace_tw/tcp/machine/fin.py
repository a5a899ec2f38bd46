"""A FIN that was captured but not received: what its receiver goes back to."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.states import FIN_WAIT_1, RCV_ACK_OF_FIN, RCV_FIN, TIME_WAIT
from tcptrace_tw.tcp.machine.time_wait import drop_span
from tcptrace_tw.tcp.machine.transitions import is_pending, receive, take_back
from tcptrace_tw.tcp.store.access import tcb_at
from tcptrace_tw.tcp.store.records import FIN_ACKED

UNANSWERED_FINS = 3
"""A FIN repeated so often without any ACK was never received: a host in TIME-WAIT answers each of them."""


@kernel
def fin_not_received(st, k):  # type: ignore[no-untyped-def]
    """Endpoint ``k`` never got its peer's FIN. An ACK of its own FIN that came after it still counts.

    Returns whether a receipt fell.
    """
    if not is_pending(st, k, RCV_FIN):
        return False
    t = tcb_at(st, k)
    take_back(st, k, RCV_FIN)
    if np.int64(t.span) >= 0 and np.int64(t.state) != TIME_WAIT:
        drop_span(st, k)
    if np.int64(t.state) == FIN_WAIT_1 and np.int64(t.bits) & FIN_ACKED and np.int64(t.fin_acked_time) >= 0:
        receive(st, k, RCV_ACK_OF_FIN, np.int64(t.fin_acked_time), np.int64(t.fin_acked_frame), -1)
    return True
