"""What a RST without ACK answers: a host without a socket sends back the ACK field of the segment (RFC 9293 3.5.2)."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import seq_diff
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.tcp.facts.history import answer_limit_ns
from tcptrace_tw.tcp.store.records import ACKED, ISS_KNOWN, NOW, KernelState, Tcb

ECHO_NONE, ECHO_LAST, ECHO_EARLIER, ECHO_OLDER = range(4)
"""What a bare RST carries: no ACK field of the peer, that of its last segment, the one before it, or an older one."""

OLDEST_ECHO = 1 << 20
"""Mid-stream: how far below its peer's ACK field a RST may lie and still echo an older one."""


@kernel
def echo_of(st: KernelState, snd: Tcb, rcv: Tcb, seg: Seg) -> int:
    """Which segment of the peer a RST without ACK may answer: a host without a socket sends back its ACK field.

    Any segment that is still unanswered may be it, not only the last one: others were on their way (3.5.2, group 1).
    """
    if seg.flags & ACK or rcv.last_frame < 0:
        return ECHO_NONE
    seq = seg.seq
    now = st.counters[NOW]
    limit = answer_limit_ns(snd)
    if rcv.last_flags & ACK and seq == rcv.last_ack:
        is_late = now - rcv.last_time > limit
        return ECHO_NONE if is_late or has_answered(snd, rcv) else ECHO_LAST
    if rcv.earlier_frame < 0 or now - rcv.earlier_time > limit:
        return ECHO_NONE
    if snd.last_time - rcv.earlier_time > limit and snd.last_flags & RST == 0:
        return ECHO_NONE
    behind = seq_diff(rcv.earlier_ack, seq)
    if behind == 0:
        return ECHO_EARLIER
    most = seq_diff(rcv.earlier_ack, snd.iss) if snd.bits & ISS_KNOWN else OLDEST_ECHO
    return ECHO_OLDER if 0 < behind < most else ECHO_NONE


@kernel
def has_answered(snd: Tcb, rcv: Tcb) -> bool:
    """Whether the sender has acknowledged the other side's last segment: a host without a socket does not."""
    end = rcv.last_seq + rcv.last_len + (1 if rcv.last_flags & FIN else 0)
    if end == rcv.last_seq or snd.bits & ACKED == 0 or snd.last_flags & RST:
        return False
    return snd.last_frame > rcv.last_frame and seq_diff(snd.last_ack, end) >= 0


@kernel
def earlier_flags(rcv: Tcb, frame: int) -> int:
    """What is known of the flags of an earlier segment of the peer."""
    if frame == rcv.fin_frame or frame == rcv.fin_repeat_frame:
        return ACK | FIN
    return ACK | SYN if frame == rcv.syn_frame else ACK
