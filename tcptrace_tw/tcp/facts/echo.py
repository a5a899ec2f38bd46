"""What a RST without ACK answers: a host without a socket sends back the ACK field of the segment (RFC 9293 3.5.2)."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import seq_diff
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.tcp.facts.history import answer_limit_ns
from tcptrace_tw.tcp.store.records import ACKED, ISS_KNOWN, NOW

ECHO_NONE, ECHO_LAST, ECHO_EARLIER, ECHO_OLDER = range(4)
"""What a bare RST carries: no ACK field of the peer, that of its last segment, the one before it, or an older one."""

OLDEST_ECHO = 1 << 20
"""Mid-stream: how far below its peer's ACK field a RST may lie and still echo an older one."""


@kernel
def echo_of(st, snd, rcv, seg):  # type: ignore[no-untyped-def]
    """Which segment of the peer a RST without ACK may answer: a host without a socket sends back its ACK field.

    Any segment that is still unanswered may be it, not only the last one: others were on their way (3.5.2, group 1).
    """
    if np.int64(seg.flags) & ACK or np.int64(rcv.last_frame) < 0:
        return ECHO_NONE
    seq = np.int64(seg.seq)
    now = st.counters[NOW]
    limit = answer_limit_ns(snd)
    if np.int64(rcv.last_flags) & ACK and seq == np.int64(rcv.last_ack):
        is_late = now - np.int64(rcv.last_time) > limit
        return ECHO_NONE if is_late or has_answered(snd, rcv) else ECHO_LAST
    if np.int64(rcv.earlier_frame) < 0 or now - np.int64(rcv.earlier_time) > limit:
        return ECHO_NONE
    if np.int64(snd.last_time) - np.int64(rcv.earlier_time) > limit and np.int64(snd.last_flags) & RST == 0:
        return ECHO_NONE
    behind = seq_diff(np.int64(rcv.earlier_ack), seq)
    if behind == 0:
        return ECHO_EARLIER
    most = seq_diff(np.int64(rcv.earlier_ack), np.int64(snd.iss)) if np.int64(snd.bits) & ISS_KNOWN else OLDEST_ECHO
    return ECHO_OLDER if 0 < behind < most else ECHO_NONE


@kernel
def has_answered(snd, rcv):  # type: ignore[no-untyped-def]
    """Whether the sender has acknowledged the other side's last segment: a host without a socket does not."""
    end = np.int64(rcv.last_seq) + np.int64(rcv.last_len) + (1 if np.int64(rcv.last_flags) & FIN else 0)
    if end == np.int64(rcv.last_seq) or np.int64(snd.bits) & ACKED == 0 or np.int64(snd.last_flags) & RST:
        return False
    return np.int64(snd.last_frame) > np.int64(rcv.last_frame) and seq_diff(np.int64(snd.last_ack), end) >= 0


@kernel
def earlier_flags(rcv, frame):  # type: ignore[no-untyped-def]
    """What is known of the flags of an earlier segment of the peer."""
    if frame == np.int64(rcv.fin_frame) or frame == np.int64(rcv.fin_repeat_frame):
        return ACK | FIN
    return ACK | SYN if frame == np.int64(rcv.syn_frame) else ACK
