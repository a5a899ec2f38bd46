"""What the sender of a SYN does not take: ACKs of other numbers, and echoes of another time (RFC 9293 3.10.7.3).

Its answer is a RST without ACK, and it stays in SYN-SENT; that RST is no end of a connection.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import seq_diff, seq_gt
from tcptrace_tw.schema.columns import ACK, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.tcp.store.records import ECHO_VALID, ISS_KNOWN, TS_ON_SYN, Tcb

FARTHEST_UNSEEN = 1 << 20
"""An ACK may be so far above a SYN because the tap lost what the SYN's sender sent next."""


@kernel
def is_of_other_numbers(rcv: Tcb, ack: int) -> bool:
    """Whether an ACK field cannot be of the SYN of ``rcv``, which is in SYN-SENT (RFC 9293 3.10.7.3, first)."""
    if rcv.bits & ISS_KNOWN == 0:
        return False
    ahead = seq_diff(ack, rcv.iss)
    return ahead <= 0 or ahead > seq_diff(rcv.snd_nxt, rcv.iss) + FARTHEST_UNSEEN


@kernel
def answers_unfit(snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """Whether a RST out of SYN-SENT answers an ACK of numbers that are not this connection's (RFC 9293 3.10.7.3).

    That ACK need not have been captured: SYN-SENT sends no other RST with such a number.
    """
    if seg.seq == snd.snd_nxt:
        return False
    return rcv.segments == 0 or seg.seq == rcv.last_ack


@kernel
def refuses_echo(snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """Whether a RST answers a SYN+ACK whose TSecr the SYN's sender never sent: Linux stays in SYN-SENT (PAWSActive).

    It is older than the SYN, or newer, where that was sent once.
    """
    if snd.bits & TS_ON_SYN == 0 or rcv.bits & ECHO_VALID == 0:
        return False
    if snd.last_flags & (SYN | ACK) != SYN or rcv.last_flags & (SYN | ACK) != SYN | ACK:
        return False
    echoed = rcv.ts_echoed
    is_older = seq_gt(snd.first_tsval, echoed)
    is_newer = snd.syn_repeats == 0 and seq_gt(echoed, snd.first_tsval)
    return seg.seq == rcv.last_ack and echoed != 0 and (is_older or is_newer)
