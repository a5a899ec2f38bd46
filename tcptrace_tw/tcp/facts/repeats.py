"""What an endpoint sends again, or probes with, while its peer is silent (RFC 9293 3.8.1, RFC 1122 4.2.3.6)."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.schema.columns import FIN, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.tcp.facts.history import is_silent_since_probe
from tcptrace_tw.tcp.store.records import PROBING, Tcb


@kernel
def is_keep_alive_probe(snd: Tcb, seg: Seg, ahead: int) -> bool:
    """Whether a segment has no text, or one byte, right below SND.NXT, and everything before was acknowledged.

    ``ahead``: its end against SND.NXT.
    """
    if seg.flags & (SYN | FIN):
        return False
    if seg.payload_len == 0:
        return ahead == -1
    return seg.payload_len == 1 and ahead == 0 and snd.snd_una == snd.snd_nxt


@kernel
def note_retransmission(snd: Tcb, rcv: Tcb) -> None:
    """Count what is sent again while the peer is silent."""
    if snd.last_flags & RST or rcv.last_frame >= snd.last_frame:
        return
    count = 0 if snd.bits & PROBING else snd.unanswered
    snd.bits &= ~PROBING
    snd.probes = 0
    snd.unanswered = min(count + 1, 65535)


@kernel
def note_probe(snd: Tcb, rcv: Tcb) -> None:
    """Count keep-alive probes that get no answer."""
    is_next = snd.bits & PROBING != 0 and is_silent_since_probe(snd, rcv)
    snd.probes = min(snd.probes + 1, 65535)
    snd.bits |= PROBING
    snd.unanswered = min(snd.unanswered + 1, 65535) if is_next else 1
