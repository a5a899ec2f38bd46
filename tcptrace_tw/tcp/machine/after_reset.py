"""What follows a RST: an endpoint that goes on never sent it, or never took it."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.states import CLOSED, TIME_WAIT
from tcptrace_tw.schema.columns import FIN, RST
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import END_CAPTURE
from tcptrace_tw.tcp.facts.after_resets import follow_resets, reset_time
from tcptrace_tw.tcp.facts.history import rtt_ns
from tcptrace_tw.tcp.facts.stale_segments import believe_stale
from tcptrace_tw.tcp.machine.time_wait import restart
from tcptrace_tw.tcp.machine.transitions import RETRACT_RESET, retract
from tcptrace_tw.tcp.store.access import conn_at, span_at, tcb_at
from tcptrace_tw.tcp.store.records import ABORTED, IGNORES_RST, NOW, RST_SENT, RST_TAKEN, KernelState, Tcb

ON_ITS_WAY_NS = 50_000_000
"""Queues hold segments back for so long, and for some round trips."""


@kernel
def still_on_its_way_ns(tcb: Tcb) -> int:
    """How long after a RST towards endpoint ``tcb`` segments may come that it had sent before."""
    some = 4 if tcb.rtt_us else 1  # a round trip that is not known is taken long enough
    return some * rtt_ns(tcb) + ON_ITS_WAY_NS


@kernel
def after_reset(st: KernelState, c: int, side: int, seg: Seg, end: int) -> None:
    """Segments after a RST: an endpoint that goes on in sequence never sent it, or never took it."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    now = st.counters[NOW]
    frame = seg.frame
    is_new = end != seg.seq and seg.seq == snd.snd_nxt
    goes_on = follow_resets(st, c, side, seg, is_new, snd.last_ack)
    if goes_on and snd.bits & RST_SENT:
        for e in range(2 * c, 2 * c + 2):
            bring_back(st, e, now, frame)
        snd.bits &= ~RST_SENT
    elif snd.bits & RST_TAKEN and snd.state == CLOSED:
        # A host that had taken the RST would answer with RST, or not at all; what it sent before may still come.
        since = reset_time(st, c, 1 - side)
        peer = tcb_at(st, p)
        is_asked = peer.last_flags & RST == 0 and peer.last_time > since
        if now - since > (rtt_ns(snd) if is_asked else still_on_its_way_ns(snd)):
            bring_back(st, k, now, frame)
    if (tcb_at(st, p).bits | snd.bits) & (RST_SENT | RST_TAKEN) == 0:
        conn_at(st, c).bits &= ~ABORTED


@kernel
def bring_back(st: KernelState, k: int, time: int, frame: int) -> None:
    """Endpoint ``k`` lives on after a RST."""
    tcb = tcb_at(st, k)
    tcb.bits &= ~RST_TAKEN
    if retract(st, k, CLOSED, tcb.reset_state, time, frame, RETRACT_RESET):
        if tcb.state == TIME_WAIT and tcb.span >= 0:
            span = span_at(st, tcb.span)
            span.end = -1
            span.end_frame = -1
            span.end_reason = END_CAPTURE
            tcb.bits |= IGNORES_RST
            believe_stale(st, k >> 1)
            peer = tcb_at(st, k ^ 1)
            restart(st, k, peer.last_time, peer.last_frame)
            if peer.last_flags & FIN:
                span.fin_repeats += 1
