"""What follows a RST: an endpoint that goes on never sent it, or never took it."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.states import CLOSED, TIME_WAIT
from tcptrace_tw.schema.columns import FIN, RST
from tcptrace_tw.schema.words import END_CAPTURE
from tcptrace_tw.tcp.facts.after_resets import follow_resets, reset_time
from tcptrace_tw.tcp.facts.history import rtt_ns
from tcptrace_tw.tcp.facts.stale_segments import believe_stale
from tcptrace_tw.tcp.machine.time_wait import restart
from tcptrace_tw.tcp.machine.transitions import RETRACT_RESET, retract
from tcptrace_tw.tcp.store.access import conn_at, span_at, tcb_at
from tcptrace_tw.tcp.store.records import ABORTED, IGNORES_RST, NOW, RST_SENT, RST_TAKEN

ON_ITS_WAY_NS = 50_000_000
"""Queues hold segments back for so long, and for some round trips."""


@kernel
def still_on_its_way_ns(t):  # type: ignore[no-untyped-def]
    """How long after a RST towards endpoint ``t`` segments may come that it had sent before."""
    some = 4 if np.int64(t.rtt_us) else 1  # a round trip that is not known is taken long enough
    return some * rtt_ns(t) + ON_ITS_WAY_NS


@kernel
def after_reset(st, c, side, seg, end):  # type: ignore[no-untyped-def]
    """Segments after a RST: an endpoint that goes on in sequence never sent it, or never took it."""
    k = 2 * c + side
    p = 2 * c + 1 - side
    snd = tcb_at(st, k)
    now = st.counters[NOW]
    frame = np.int64(seg.frame)
    is_new = end != np.int64(seg.seq) and np.int64(seg.seq) == np.int64(snd.snd_nxt)
    goes_on = follow_resets(st, c, side, seg, is_new, np.int64(snd.last_ack))
    if goes_on and np.int64(snd.bits) & RST_SENT:
        for e in range(2 * c, 2 * c + 2):
            bring_back(st, e, now, frame)
        snd.bits &= ~RST_SENT & 0xFFFFFFFF
    elif np.int64(snd.bits) & RST_TAKEN and np.int64(snd.state) == CLOSED:
        # A host that had taken the RST would answer with RST, or not at all; what it sent before may still come.
        since = reset_time(st, c, 1 - side)
        peer = tcb_at(st, p)
        is_asked = np.int64(peer.last_flags) & RST == 0 and np.int64(peer.last_time) > since
        if now - since > (rtt_ns(snd) if is_asked else still_on_its_way_ns(snd)):
            bring_back(st, k, now, frame)
    if (np.int64(tcb_at(st, p).bits) | np.int64(snd.bits)) & (RST_SENT | RST_TAKEN) == 0:
        conn_at(st, c).bits &= ~ABORTED & 0xFFFF


@kernel
def bring_back(st, k, time, frame):  # type: ignore[no-untyped-def]
    """Endpoint ``k`` lives on after a RST."""
    t = tcb_at(st, k)
    t.bits &= ~RST_TAKEN & 0xFFFFFFFF
    if retract(st, k, CLOSED, np.int64(t.reset_state), time, frame, RETRACT_RESET):
        if np.int64(t.state) == TIME_WAIT and np.int64(t.span) >= 0:
            span = span_at(st, np.int64(t.span))
            span.end = -1
            span.end_frame = -1
            span.end_reason = END_CAPTURE
            t.bits |= IGNORES_RST
            believe_stale(st, k >> 1)
            peer = tcb_at(st, k ^ 1)
            restart(st, k, np.int64(peer.last_time), np.int64(peer.last_frame))
            if np.int64(peer.last_flags) & FIN:
                span.fin_repeats += 1
