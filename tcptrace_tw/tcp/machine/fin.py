"""A FIN that was captured but not received: what its receiver goes back to."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.states import FIN_WAIT_1, RCV_ACK_OF_FIN, RCV_FIN, TIME_WAIT
from tcptrace_tw.tcp.machine.time_wait import drop_span
from tcptrace_tw.tcp.machine.transitions import is_pending, receive, take_back
from tcptrace_tw.tcp.store.access import tcb_at
from tcptrace_tw.tcp.store.records import FIN_ACKED, KernelState

UNANSWERED_FINS = 3
"""A FIN repeated so often without any ACK was never received: a host in TIME-WAIT answers each of them."""


@kernel
def fin_not_received(st: KernelState, k: int) -> bool:
    """Endpoint ``k`` never got its peer's FIN. An ACK of its own FIN that came after it still counts.

    Returns whether a receipt fell.
    """
    if not is_pending(st, k, RCV_FIN):
        return False
    tcb = tcb_at(st, k)
    take_back(st, k, RCV_FIN)
    if tcb.span >= 0 and tcb.state != TIME_WAIT:
        drop_span(st, k)
    if tcb.state == FIN_WAIT_1 and tcb.bits & FIN_ACKED and tcb.fin_acked_time >= 0:
        receive(st, k, RCV_ACK_OF_FIN, tcb.fin_acked_time, tcb.fin_acked_frame, -1)
    return True
