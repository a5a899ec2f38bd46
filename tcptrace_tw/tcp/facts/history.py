"""What is only counted: segments, bytes, Zeek's history, Wireshark's completeness, the answer times of an endpoint."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_le
from tcptrace_tw.schema.columns import ACK, BEHIND, FIN, HAS_TS, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.zeek import (
    HISTORY_ACK,
    HISTORY_DATA,
    HISTORY_FIN,
    HISTORY_FIN_RST,
    HISTORY_RETRANSMIT,
    HISTORY_RST,
    HISTORY_SYN,
    HISTORY_SYN_ACK,
    HISTORY_SYN_FIN,
    HISTORY_ZERO_WINDOW,
)
from tcptrace_tw.tcp.store.history_letters import (
    DONE_ACK,
    DONE_DATA,
    DONE_FIN,
    DONE_RST,
    DONE_SYN,
    DONE_SYN_ACK,
    append_letter,
)
from tcptrace_tw.tcp.store.records import (
    ACKED,
    IP_ID_STEPS,
    NXT_ACKED,
    NXT_KNOWN,
    SENT_BEHIND,
    WINDOW_CLOSED,
    WINDOW_LOW,
    WSCALE_ON_SYN,
    Conn,
    Tcb,
)

SMALL_STEP = 64
"""A counter of identifications rises by so much at the most from segment to segment of one connection."""


@kernel
def count_segment(snd: Tcb, rcv: Tcb, seg: Seg, now: int) -> None:
    """Add one segment to the counters of the endpoint that sent it."""
    flags = seg.flags
    length = seg.payload_len
    if flags & ACK and rcv.last_frame >= 0 and now >= rcv.last_time:
        note_rtt(snd, rcv, seg.ack, now)
    snd.segments += 1
    if length:
        snd.payload_bytes += length
        snd.payload_time = now
    if seg.options & HAS_TS:
        snd.ts_run = min(snd.ts_run + 1, 255)
    elif flags & RST == 0:
        snd.ts_run = 0
    if flags & RST == 0:
        shift = snd.wscale if flags & SYN == 0 and rcv.bits & WSCALE_ON_SYN else 0
        note_window(snd, rcv, seg.window, shift)
        note_ip_id(snd, seg.ip_id)
        if seg.ttl != snd.ttl:
            note_ttl(snd, seg.ttl)
            snd.ttl = seg.ttl
    if seg.options & BEHIND:
        snd.bits |= SENT_BEHIND
    elif snd.bits & SENT_BEHIND:
        snd.bits &= ~SENT_BEHIND
    snd.last_time = now
    snd.last_frame = seg.frame
    snd.last_seq = seg.seq
    snd.last_len = length
    snd.last_flags = flags
    if flags & ACK:
        snd.last_ack = seg.ack


USUAL_MSS = 1460
"""Where the handshake was not captured."""


@kernel
def forget_earlier(tcb: Tcb) -> None:
    """Both FINs are acknowledged: no earlier segment waits for an answer, and the records pack better."""
    tcb.earlier_ack = 0
    tcb.earlier_frame = -1
    tcb.earlier_time = -1


@kernel
def note_window(snd: Tcb, rcv: Tcb, window: int, shift: int) -> None:
    """The largest window, and whether this one is 0, or lacks at least a segment of the peer.

    That of a SYN is not scaled, and some stacks have another one afterwards: it counts until the next.
    """
    scaled = window << shift
    most = scaled if snd.last_flags & SYN else max(snd.window_max, scaled)
    snd.window_max = most
    bits = snd.bits
    new = bits & ~(WINDOW_CLOSED | WINDOW_LOW)
    if window == 0:
        new |= WINDOW_CLOSED
    if most - scaled >= mss_of(rcv):
        new |= WINDOW_LOW
    if new != bits:
        snd.bits = new


@kernel
def mss_of(tcb: Tcb) -> int:
    """The largest segment that endpoint ``tcb`` may send, rounded up."""
    return tcb.mss_256 << 8 if tcb.mss_256 else USUAL_MSS


@kernel
def note_ttl(snd: Tcb, ttl: int) -> None:
    """The lowest and the highest TTL of a sender: several ways, or several machines behind one address."""
    low = snd.ttl_low
    snd.ttl_low = min(low, ttl) if low else ttl
    snd.ttl_high = max(snd.ttl_high, ttl)


@kernel
def note_earlier(snd: Tcb, seg: Seg) -> None:
    """The ACK field of a sender changes: remember the last segment with the one before."""
    flags = snd.last_flags
    if seg.flags & ACK == 0 or snd.bits & ACKED == 0 or seg.ack == snd.last_ack:
        return
    if flags & ACK and flags & RST == 0:
        snd.earlier_ack = snd.last_ack
        snd.earlier_frame = snd.last_frame
        snd.earlier_time = snd.last_time


@kernel
def note_history(conn: Conn, snd: Tcb, rcv: Tcb, side: int, seg: Seg) -> None:
    """Zeek's letters and Wireshark's bits for one segment; both endpoints are still as they were before it."""
    flags = seg.flags
    length = seg.payload_len
    if flags & (SYN | FIN | RST) == 0:
        if length:
            letter(conn, snd, side, HISTORY_DATA)
        elif flags & ACK:
            letter(conn, snd, side, HISTORY_ACK)
    elif flags & FIN and flags & RST:
        letter(conn, snd, side, HISTORY_FIN_RST)
    elif flags & SYN and flags & (FIN | RST):
        letter(conn, snd, side, HISTORY_SYN_FIN)
    else:
        control_letter(conn, snd, side, flags, seg.seq, length)
    if flags & RST == 0 and snd.history_seen & (1 << HISTORY_RST) == 0:
        trouble_letters(conn, snd, rcv, side, seg)
    note_completeness(conn, flags, length)


@kernel
def trouble_letters(conn: Conn, snd: Tcb, rcv: Tcb, side: int, seg: Seg) -> None:
    """Zero windows and repeated text, which Zeek writes at the 1st, 10th, 100th ... time."""
    # What a window says to a peer that has sent its FIN does not matter.
    if seg.window == 0 and rcv.history_seen & (1 << HISTORY_FIN) == 0:
        snd.zero_windows = min(snd.zero_windows + 1, 0xFFFFFFFF)
        scaled_letter(conn, side, HISTORY_ZERO_WINDOW, snd.zero_windows)
    if is_text_again(snd, seg):
        snd.retransmits += 1
        scaled_letter(conn, side, HISTORY_RETRANSMIT, snd.retransmits)


@kernel
def is_text_again(snd: Tcb, seg: Seg) -> bool:
    """Whether a segment has text and ends where its sender had been before."""
    length = seg.payload_len
    if length == 0 or snd.bits & NXT_KNOWN == 0 or snd.bits & NXT_ACKED:
        return False
    flags = seg.flags
    end = seg.seq + length + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)
    return seq_le(end & MASK, snd.snd_nxt)


@kernel
def count_text_again(snd: Tcb, rcv: Tcb, length: int) -> None:
    """Count text that is sent again since the peer's last segment, the first time too."""
    if length == 0:
        return
    is_next = snd.again_since == rcv.last_frame
    snd.again = min(snd.again + 1, 65535) if is_next else 1
    snd.again_since = rcv.last_frame


@kernel
def note_completeness(conn: Conn, flags: int, length: int) -> None:
    """Wireshark's bits for one segment."""
    done = DONE_DATA if length else 0
    if flags & SYN:
        done |= DONE_SYN_ACK if flags & ACK else DONE_SYN
    elif flags & ACK and length == 0:
        done |= DONE_ACK
    if flags & (FIN | ACK) == FIN | ACK:
        done |= DONE_FIN
    if flags & RST:
        done |= DONE_RST
    conn.completeness |= done


@kernel
def control_letter(conn: Conn, snd: Tcb, side: int, flags: int, seq: int, length: int) -> None:
    """SYN, SYN+ACK, FIN and RST: once for each number that they carry. SYN and SYN+ACK of one number are one."""
    if flags & SYN:
        code, mark = (HISTORY_SYN_ACK if flags & ACK else HISTORY_SYN), HISTORY_SYN
        is_same = seq == snd.iss
    elif flags & FIN:
        code, mark = HISTORY_FIN, HISTORY_FIN
        is_same = (seq + length) & MASK == snd.fin_seq
    else:
        code, mark = HISTORY_RST, HISTORY_RST
        is_same = snd.last_flags & RST != 0 and seq == snd.last_seq
    if snd.history_seen & (1 << mark) and is_same:
        return
    snd.history_seen |= 1 << mark
    append_letter(conn, side, code)


@kernel
def letter(conn: Conn, snd: Tcb, side: int, code: int) -> None:
    """Add a letter to the history, once for each endpoint."""
    bit = 1 << code
    if snd.history_seen & bit:
        return
    snd.history_seen |= bit
    append_letter(conn, side, code)


@kernel
def scaled_letter(conn: Conn, side: int, code: int, times: int) -> None:
    """Add a letter where ``times`` is a power of ten."""
    while times % 10 == 0:
        times //= 10
    if times == 1:
        append_letter(conn, side, code)


@kernel
def note_ip_id(snd: Tcb, ip_id: int) -> None:
    """How often in a row the identification rose by a little: so it does where it is a counter."""
    bits = snd.bits
    steps = bits >> IP_ID_STEPS & 3
    step = (ip_id - snd.last_ip_id) & 0xFFFF
    if step == 0 or step > SMALL_STEP:
        if steps:
            snd.bits = bits & ~(3 << IP_ID_STEPS)
    elif steps < 3:
        snd.bits = bits + (1 << IP_ID_STEPS)
    snd.last_ip_id = ip_id


@kernel
def note_rtt(snd: Tcb, rcv: Tcb, ack: int, now: int) -> None:
    """The least time in which the sender answered, seen at the tap: at most a round trip of its half of the path.

    Only an ACK of the peer's last segment is an answer; what was on its way already may follow it at once. An ACK that
    moves nothing after a repetition may be that of the first copy.
    """
    flags = rcv.last_flags
    length = rcv.last_len + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)
    if length == 0 or rcv.unanswered > 0 or ack != (rcv.last_seq + length) & MASK:
        return
    gap = (now - rcv.last_time) // 1000
    if gap > 4_000_000_000:
        return
    if snd.rtt_us == 0 or gap < snd.rtt_us:
        snd.rtt_us = max(gap, 1)


@kernel
def is_silent_since_probe(snd: Tcb, rcv: Tcb) -> bool:
    """Whether the sender's last keep-alive probe got no answer; a probe of the peer is none (RFC 1122 4.2.3.6)."""
    if rcv.last_frame < snd.last_frame:
        return True
    return rcv.last_seq == (rcv.snd_nxt - 1) & MASK and rcv.last_flags & (SYN | FIN) == 0


ANSWER_NS = 500_000_000
"""What a host sends at once may wait in queues; nobody may hold back even an ACK for longer (RFC 1122 4.2.3.2)."""

FIRST_ANSWER_NS = 1_000_000_000
"""Where no answer was seen: the first retransmission timeout, which most round trips do not reach (RFC 6298, 2.1)."""


@kernel
def answer_limit_ns(tcb: Tcb) -> int:
    """What endpoint ``tcb`` sends later than this after a segment does not answer that segment."""
    if tcb.rtt_us == 0:
        return FIRST_ANSWER_NS
    return 4000 * tcb.rtt_us + ANSWER_NS


UNKNOWN_RTT_NS = 200_000_000
"""Where no answer was seen: the least retransmission timeout of Linux, longer than most round trips."""


@kernel
def rtt_ns(tcb: Tcb) -> int:
    """The least time in which endpoint ``tcb`` answered, in ns; what comes sooner may have crossed."""
    return tcb.rtt_us * 1000 if tcb.rtt_us else UNKNOWN_RTT_NS
