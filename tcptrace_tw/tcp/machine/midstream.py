"""What is known of a connection whose opening was not captured."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK
from tcptrace_tw.protocol.states import SYN_SENT
from tcptrace_tw.schema.columns import ACK
from tcptrace_tw.tcp.store.access import tcb_at
from tcptrace_tw.tcp.store.records import ISS_KNOWN, NXT_KNOWN, RCV_KNOWN, KernelState, Tcb

MOST_LOST_MIDSTREAM = 1 << 24
"""Mid-stream more than this is not bytes that were lost, but numbers that are not believed."""


@kernel
def begin_midstream(st: KernelState, c: int, side: int, seq: int, ack: int, flags: int) -> None:
    """The first numbers of an endpoint whose SYN was not captured (docs/semantics.md: missing packets)."""
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, 2 * c + 1 - side)
    if snd.bits & NXT_KNOWN == 0:
        snd.iss = seq
        snd.snd_una = seq
        snd.snd_nxt = seq
        snd.bits |= NXT_KNOWN
    if rcv.bits & RCV_KNOWN == 0:
        rcv.rcv_nxt = seq
        rcv.bits |= RCV_KNOWN
    if rcv.bits & NXT_KNOWN == 0 and flags & ACK:
        # What the sender of a SYN acknowledges first is the SYN of the peer, which was not captured, or not yet.
        rcv.iss = (ack - 1) & MASK if snd.state == SYN_SENT else ack
        rcv.snd_una = ack
        rcv.snd_nxt = ack
        rcv.bits |= NXT_KNOWN
        snd.rcv_nxt = ack
        snd.bits |= RCV_KNOWN


@kernel
def is_lost_text(tcb: Tcb, size: int) -> bool:
    """Whether bytes that the peer acknowledges are text that the capture lacks: mid-stream it may be a probe's byte."""
    if tcb.segments == 0:
        return False
    return tcb.bits & ISS_KNOWN != 0 or 1 < size <= MOST_LOST_MIDSTREAM
