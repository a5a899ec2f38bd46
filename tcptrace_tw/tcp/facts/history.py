"""What is only counted: segments, bytes, Zeek's history, Wireshark's completeness, the answer times of an endpoint."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_le
from tcptrace_tw.schema.columns import ACK, BEHIND, FIN, HAS_TS, RST, SYN
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
)

SMALL_STEP = 64
"""A counter of identifications rises by so much at the most from segment to segment of one connection."""


@kernel
def count_segment(conn, snd, rcv, side, seg, now):  # type: ignore[no-untyped-def]
    """Add one segment to the counters of its incarnation."""
    flags = np.int64(seg.flags)
    length = np.int64(seg.payload_len)
    if flags & ACK and np.int64(rcv.last_frame) >= 0 and now >= np.int64(rcv.last_time):
        note_rtt(snd, rcv, np.int64(seg.ack), now)
    snd.segments += 1
    if length:
        snd.payload_bytes += length
        snd.payload_time = now
    if np.int64(seg.options) & HAS_TS:
        snd.ts_run = min(np.int64(snd.ts_run) + 1, 255)
    elif flags & RST == 0:
        snd.ts_run = 0
    if flags & RST == 0:
        shift = np.int64(snd.wscale) if flags & SYN == 0 and np.int64(rcv.bits) & WSCALE_ON_SYN else 0
        note_window(snd, rcv, np.int64(seg.window), shift)
        note_ip_id(snd, np.int64(seg.ip_id))
        if np.int64(seg.ttl) != np.int64(snd.ttl):
            note_ttl(snd, np.int64(seg.ttl))
            snd.ttl = seg.ttl
    if np.int64(seg.options) & BEHIND:
        snd.bits |= SENT_BEHIND
    elif np.int64(snd.bits) & SENT_BEHIND:
        snd.bits &= ~SENT_BEHIND & 0xFFFFFFFF
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
def forget_earlier(t):  # type: ignore[no-untyped-def]
    """Both FINs are acknowledged: no earlier segment waits for an answer, and the records pack better."""
    t.earlier_ack = 0
    t.earlier_frame = -1
    t.earlier_time = -1


@kernel
def note_window(snd, rcv, window, shift):  # type: ignore[no-untyped-def]
    """The largest window, and whether this one is 0, or lacks at least a segment of the peer.

    That of a SYN is not scaled, and some stacks have another one afterwards: it counts until the next.
    """
    scaled = window << shift
    most = scaled if np.int64(snd.last_flags) & SYN else max(np.int64(snd.window_max), scaled)
    snd.window_max = most
    bits = np.int64(snd.bits)
    new = bits & ~(WINDOW_CLOSED | WINDOW_LOW)
    if window == 0:
        new |= WINDOW_CLOSED
    if most - scaled >= mss_of(rcv):
        new |= WINDOW_LOW
    if new != bits:
        snd.bits = new


@kernel
def mss_of(t):  # type: ignore[no-untyped-def]
    """The largest segment that endpoint ``t`` may send, rounded up."""
    return np.int64(t.mss_256) << 8 if np.int64(t.mss_256) else np.int64(USUAL_MSS)


@kernel
def note_ttl(snd, ttl):  # type: ignore[no-untyped-def]
    """The lowest and the highest TTL of a sender: several ways, or several machines behind one address."""
    low = np.int64(snd.ttl_low)
    snd.ttl_low = min(low, ttl) if low else ttl
    snd.ttl_high = max(np.int64(snd.ttl_high), ttl)


@kernel
def note_earlier(snd, seg):  # type: ignore[no-untyped-def]
    """The ACK field of a sender changes: remember the last segment with the one before."""
    flags = np.int64(snd.last_flags)
    if np.int64(seg.flags) & ACK == 0 or np.int64(snd.bits) & ACKED == 0 or np.int64(seg.ack) == np.int64(snd.last_ack):
        return
    if flags & ACK and flags & RST == 0:
        snd.earlier_ack = snd.last_ack
        snd.earlier_frame = snd.last_frame
        snd.earlier_time = snd.last_time


@kernel
def note_history(conn, snd, rcv, side, seg):  # type: ignore[no-untyped-def]
    """Zeek's letters and Wireshark's bits for one segment; both endpoints are still as they were before it."""
    flags = np.int64(seg.flags)
    length = np.int64(seg.payload_len)
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
        control_letter(conn, snd, side, flags, np.int64(seg.seq), length)
    if flags & RST == 0 and np.int64(snd.history_seen) & (1 << HISTORY_RST) == 0:
        trouble_letters(conn, snd, rcv, side, seg)
    note_completeness(conn, flags, length)


@kernel
def trouble_letters(conn, snd, rcv, side, seg):  # type: ignore[no-untyped-def]
    """Zero windows and repeated text, which Zeek writes at the 1st, 10th, 100th ... time."""
    # What a window says to a peer that has sent its FIN does not matter.
    if np.int64(seg.window) == 0 and np.int64(rcv.history_seen) & (1 << HISTORY_FIN) == 0:
        snd.zero_windows = min(np.int64(snd.zero_windows) + 1, 0xFFFFFFFF)
        scaled_letter(conn, side, HISTORY_ZERO_WINDOW, np.int64(snd.zero_windows))
    if is_text_again(snd, seg):
        snd.retransmits += 1
        scaled_letter(conn, side, HISTORY_RETRANSMIT, np.int64(snd.retransmits))


@kernel
def is_text_again(snd, seg):  # type: ignore[no-untyped-def]
    """Whether a segment has text and ends where its sender had been before."""
    length = np.int64(seg.payload_len)
    if length == 0 or np.int64(snd.bits) & NXT_KNOWN == 0 or np.int64(snd.bits) & NXT_ACKED:
        return False
    flags = np.int64(seg.flags)
    end = np.int64(seg.seq) + length + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)
    return seq_le(end & MASK, np.int64(snd.snd_nxt))


@kernel
def count_text_again(snd, rcv, length):  # type: ignore[no-untyped-def]
    """Count text that is sent again since the peer's last segment, the first time too."""
    if length == 0:
        return
    is_next = np.int64(snd.again_since) == np.int64(rcv.last_frame)
    snd.again = min(np.int64(snd.again) + 1, 65535) if is_next else 1
    snd.again_since = rcv.last_frame


@kernel
def note_completeness(conn, flags, length):  # type: ignore[no-untyped-def]
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
def control_letter(conn, snd, side, flags, seq, length):  # type: ignore[no-untyped-def]
    """SYN, SYN+ACK, FIN and RST: once for each number that they carry. SYN and SYN+ACK of one number are one."""
    if flags & SYN:
        code, mark = (HISTORY_SYN_ACK if flags & ACK else HISTORY_SYN), HISTORY_SYN
        is_same = seq == np.int64(snd.iss)
    elif flags & FIN:
        code, mark = HISTORY_FIN, HISTORY_FIN
        is_same = (seq + length) & MASK == np.int64(snd.fin_seq)
    else:
        code, mark = HISTORY_RST, HISTORY_RST
        is_same = np.int64(snd.last_flags) & RST != 0 and seq == np.int64(snd.last_seq)
    if np.int64(snd.history_seen) & (1 << mark) and is_same:
        return
    snd.history_seen |= 1 << mark
    append_letter(conn, side, code)


@kernel
def letter(conn, snd, side, code):  # type: ignore[no-untyped-def]
    """Add a letter to the history, once for each endpoint."""
    bit = 1 << code
    if np.int64(snd.history_seen) & bit:
        return
    snd.history_seen |= bit
    append_letter(conn, side, code)


@kernel
def scaled_letter(conn, side, code, times):  # type: ignore[no-untyped-def]
    """Add a letter where ``times`` is a power of ten."""
    while times % 10 == 0:
        times //= 10
    if times == 1:
        append_letter(conn, side, code)


@kernel
def note_ip_id(snd, ip_id):  # type: ignore[no-untyped-def]
    """How often in a row the identification rose by a little: so it does where it is a counter."""
    bits = np.int64(snd.bits)
    steps = np.int64(bits >> IP_ID_STEPS & 3)
    step = (ip_id - np.int64(snd.last_ip_id)) & 0xFFFF
    if step == 0 or step > SMALL_STEP:
        if steps:
            snd.bits = bits & ~(3 << IP_ID_STEPS)
    elif steps < 3:
        snd.bits = bits + (1 << IP_ID_STEPS)
    snd.last_ip_id = ip_id


@kernel
def note_rtt(snd, rcv, ack, now):  # type: ignore[no-untyped-def]
    """The least time in which the sender answered, seen at the tap: at most a round trip of its half of the path.

    Only an ACK of the peer's last segment is an answer; what was on its way already may follow it at once. An ACK that
    moves nothing after a repetition may be that of the first copy.
    """
    flags = np.int64(rcv.last_flags)
    length = np.int64(rcv.last_len) + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)
    if length == 0 or np.int64(rcv.unanswered) > 0 or ack != (np.int64(rcv.last_seq) + length) & MASK:
        return
    gap = (now - np.int64(rcv.last_time)) // 1000
    if gap > 4_000_000_000:
        return
    if np.int64(snd.rtt_us) == 0 or gap < np.int64(snd.rtt_us):
        snd.rtt_us = max(gap, 1)


@kernel
def is_silent_since_probe(snd, rcv):  # type: ignore[no-untyped-def]
    """Whether the sender's last keep-alive probe got no answer; a probe of the peer is none (RFC 1122 4.2.3.6)."""
    if np.int64(rcv.last_frame) < np.int64(snd.last_frame):
        return True
    return np.int64(rcv.last_seq) == (np.int64(rcv.snd_nxt) - 1) & MASK and np.int64(rcv.last_flags) & (SYN | FIN) == 0


ANSWER_NS = 500_000_000
"""What a host sends at once may wait in queues; nobody may hold back even an ACK for longer (RFC 1122 4.2.3.2)."""

FIRST_ANSWER_NS = 1_000_000_000
"""Where no answer was seen: the first retransmission timeout, which most round trips do not reach (RFC 6298, 2.1)."""


@kernel
def answer_limit_ns(t):  # type: ignore[no-untyped-def]
    """What endpoint ``t`` sends later than this after a segment does not answer that segment."""
    if np.int64(t.rtt_us) == 0:
        return np.int64(FIRST_ANSWER_NS)
    return 4000 * np.int64(t.rtt_us) + ANSWER_NS


UNKNOWN_RTT_NS = 200_000_000
"""Where no answer was seen: the least retransmission timeout of Linux, longer than most round trips."""


@kernel
def rtt_ns(t):  # type: ignore[no-untyped-def]
    """The least time in which endpoint ``t`` answered, in ns; what comes sooner may have crossed."""
    return np.int64(t.rtt_us) * 1000 if np.int64(t.rtt_us) else np.int64(UNKNOWN_RTT_NS)
