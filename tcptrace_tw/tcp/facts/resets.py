"""The facts that tell who made a RST: written down before it moves anybody, and followed afterwards."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_gt
from tcptrace_tw.protocol.states import (
    LAST_ACK,
)
from tcptrace_tw.schema.columns import ACK, HAS_TS, RST
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import (
    ANSWER_NONE,
    START_ACK,
)
from tcptrace_tw.tcp.facts.echo import ECHO_EARLIER, ECHO_NONE, earlier_flags
from tcptrace_tw.tcp.facts.history import answer_limit_ns, mss_of
from tcptrace_tw.tcp.facts.rows import set_peers
from tcptrace_tw.tcp.facts.silence import SILENCE_NS, follows_unseen
from tcptrace_tw.tcp.store.access import (
    conn_at,
    newest_incarnation,
    reset_at,
    reuse_at,
    span_at,
    tcb_at,
    time_wait_since,
)
from tcptrace_tw.tcp.store.freelists import new_reset
from tcptrace_tw.tcp.store.records import (
    ACKED,
    FIN_SENT,
    IP_ID_STEPS,
    ISS_KNOWN,
    NOW,
    NXT_KNOWN,
    PROBING,
    RCV_KNOWN,
    RST_SENT,
    SAW_PLAIN,
    START,
    TWO_MSL,
    WINDOW_CLOSED,
    WINDOW_LOW,
    WSCALE_ON_SYN,
    Conn,
    KernelState,
    Row,
    Tcb,
)
from tcptrace_tw.tcp.store.reservations import MOST_RESET_ROWS


@kernel
def open_reset(
    st: KernelState,
    c: int,
    side: int,
    seg: Seg,
    echo: int,
    acceptable: bool,
    answers_syn: bool,
    is_stale_ack_answer: bool,
) -> None:
    """Write down a RST, as things stood before it moved anybody."""
    conn = conn_at(st, c)
    if conn.reset_rows >= MOST_RESET_ROWS:
        reset_at(st, conn.reset).repeats += 1
        return
    conn.reset_rows += 1
    at = new_reset(st)
    row = reset_at(st, at)
    row.next = conn.reset
    conn.reset = at
    snd, rcv = tcb_at(st, 2 * c + side), tcb_at(st, 2 * c + 1 - side)
    row.connection_id, row.endpoint = conn.id, side
    set_peers(st, row, 2 * c + side)
    note_rst(st, row, snd, rcv, seg)
    row.has_plain = 1 if conn.bits & SAW_PLAIN else 0
    note_sender(st, conn, row, snd, rcv, seg)
    note_trigger(st, row, snd, rcv, echo)
    note_silence_before(st, conn, row, snd, rcv, seg)
    note_bytes(st, row, snd, rcv)
    row.acked_bytes = acked_bytes(snd, rcv, seg)
    note_windows(row, snd, rcv, seg)
    note_ip_id_of_reset(row, snd, seg)
    note_time_wait(st, 2 * c + side, row)
    note_rst_burst(st, c, row, snd)
    note_twin(st, c, row)
    row.two_msl_ns = st.params[TWO_MSL]
    row.is_accepted = 1 if acceptable else 0
    row.is_stale_ack_answer = 1 if is_stale_ack_answer else 0
    note_syn_before(st, c, row, answers_syn)
    nothing_followed(row)


@kernel
def note_syn_before(st: KernelState, c: int, row: Row, answers_syn: bool) -> None:
    """Whether a RST answers a SYN, and in which state that SYN met the earlier incarnation."""
    row.is_syn_answer = 1 if answers_syn else 0
    row.earlier_state = earlier_state(st, conn_at(st, c)) if answers_syn else 255
    row.is_syn_pending = 1 if is_syn_pending(st, c) else 0


@kernel
def note_rst(st: KernelState, row: Row, snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """The segment itself, and where its numbers lie."""
    flags = seg.flags
    seq = seg.seq
    row.time = st.counters[NOW]
    row.frame = seg.frame
    row.seq = seq
    row.sender_state = snd.state
    row.receiver_state = rcv.state
    row.seq_delta = seq_diff(seq, rcv.rcv_nxt) if rcv.bits & RCV_KNOWN else 0
    row.ack_delta = 0
    if flags & ACK and snd.bits & RCV_KNOWN:
        row.ack_delta = seq_diff(seg.ack, snd.rcv_nxt)
    row.is_bare = 1 if flags & ACK == 0 else 0
    row.tcp_flags = flags
    row.most_acked = most_acked(snd, seg)
    row.has_ts = 1 if seg.options & HAS_TS else 0
    row.window = seg.window
    row.sender_seq_delta = seq_diff(seq, snd.snd_nxt) if snd.bits & NXT_KNOWN else 0


@kernel
def most_acked(snd: Tcb, seg: Seg) -> int:
    """The highest ACK field that the sender of a RST has sent: that of the RST, or one before."""
    if seg.flags & ACK == 0:
        return snd.last_ack
    is_less = snd.bits & ACKED != 0 and seq_gt(snd.last_ack, seg.ack)
    return snd.last_ack if is_less else seg.ack


@kernel
def note_sender(st: KernelState, conn: Conn, row: Row, snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """What its sender had done before."""
    row.was_window_closed = 1 if snd.bits & WINDOW_CLOSED else 0
    row.is_repeat = 1 if snd.bits & RST_SENT else 0
    row.ttl_delta = ttl_outside(snd, seg.ttl)
    row.is_ttl_steady = 1 if snd.segments > 1 and snd.ttl_low == snd.ttl_high else 0
    row.own_gap_ns = st.counters[NOW] - snd.last_time if snd.last_frame >= 0 else -1
    row.rtt_ns = snd.rtt_us * 1000 if snd.rtt_us else -1
    row.sender_segments = snd.segments
    row.fin_gap_ns = fin_gap_ns(st, conn, snd, rcv)
    fin_acked_time = snd.fin_acked_time
    row.fin_acked_gap_ns = st.counters[NOW] - fin_acked_time if fin_acked_time >= 0 else -1
    row.fin_frame = snd.fin_frame


@kernel
def fin_gap_ns(st: KernelState, conn: Conn, snd: Tcb, rcv: Tcb) -> int:
    """Time since the sender's own FIN: exact where that was its last segment, else known to 1 ms, of the first FIN."""
    fin_frame = snd.fin_frame
    if fin_frame < 0:
        return -1
    if snd.last_frame == fin_frame:
        return st.counters[NOW] - snd.last_time
    is_first = rcv.fin_frame < 0 or fin_frame < rcv.fin_frame
    fin_ms = conn.fin_ms
    if not is_first or fin_ms == 0 or fin_ms == MASK:
        return -1
    return st.counters[NOW] - st.counters[START] - (fin_ms - 1) * 1_000_000


@kernel
def ttl_outside(snd: Tcb, ttl: int) -> int:
    """How far a TTL lies outside of those that the sender's segments had."""
    low, high = snd.ttl_low, snd.ttl_high
    if high == 0 or low <= ttl <= high:
        return 0
    return ttl - high if ttl > high else ttl - low


@kernel
def note_trigger(st: KernelState, row: Row, snd: Tcb, rcv: Tcb, echo: int) -> None:
    """The segment of the other side that the RST answers, or may answer."""
    now = st.counters[NOW]
    row.is_echo = 1 if echo != ECHO_NONE else 0
    row.peer_fin_frame = rcv.fin_frame
    row.trigger_frame = rcv.last_frame
    row.trigger_len = rcv.last_len
    row.trigger_flags = rcv.last_flags
    time = rcv.last_time
    if echo >= ECHO_EARLIER:
        time = rcv.earlier_time
        frame = rcv.earlier_frame
        row.trigger_frame = frame if echo == ECHO_EARLIER else -1
        row.trigger_len = 0
        row.trigger_flags = earlier_flags(rcv, frame) if echo == ECHO_EARLIER else ACK
    row.trigger_gap_ns = now - time if rcv.last_frame >= 0 else -1
    waited = time - snd.fin_acked_time
    has_both = snd.fin_acked_time >= 0 and echo != ECHO_NONE
    row.fin_wait_2_ns = waited if has_both and waited >= 0 else -1


@kernel
def note_silence_before(st: KernelState, conn: Conn, row: Row, snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """How long both sides had been silent: before the segment that drew the RST, or before the RST where none did.

    What came since the silence ended is part of the same run of segments.
    """
    now = st.counters[NOW]
    own, others = snd.last_time, rcv.last_time
    is_drawn = others > own and now - others <= answer_limit_ns(snd) and rcv.last_flags & RST == 0
    if is_drawn or row.is_echo:
        ended = conn.silence_time
        is_before = ended > own and 0 <= now - row.trigger_gap_ns - ended < SILENCE_NS
        row.silence_ns = conn.silence_ns if ended >= 0 and is_before else -1
    else:
        last = max(own, others)
        is_silence = last >= 0 and now - last >= SILENCE_NS and not follows_unseen(snd, rcv, seg)
        row.silence_ns = now - last if is_silence else -1


TWIN_NS = 1_000_000
"""RSTs with both source addresses, one so soon after the other, have one sender."""


@kernel
def note_twin(st: KernelState, c: int, row: Row) -> None:
    """A RST of the other side just before."""
    row.twin_gap_ns = -1
    at = conn_at(st, c).reset
    while at >= 0:
        other = reset_at(st, at)
        gap = row.time - other.time
        if other.endpoint != row.endpoint and gap <= TWIN_NS:
            row.twin_gap_ns = gap
            other.twin_gap_ns = gap
            row.silence_ns = max(row.silence_ns, other.silence_ns)
        at = other.next


@kernel
def note_bytes(st: KernelState, row: Row, snd: Tcb, rcv: Tcb) -> None:
    """What the sender of the RST had received, sent, and not yet acknowledged."""
    in_flight = snd.bits & NXT_KNOWN != 0 and snd.bits & ISS_KNOWN != 0
    row.bytes_in_flight = max(seq_diff(snd.snd_nxt, snd.snd_una), 0) if in_flight else 0
    row.unacked_bytes = unacked_bytes(snd, rcv)
    row.received_bytes = rcv.payload_bytes
    row.received_gap_ns = st.counters[NOW] - rcv.payload_time if rcv.payload_time >= 0 else -1
    row.sent_bytes = snd.payload_bytes
    is_probing = snd.bits & PROBING != 0
    row.retransmits = 0 if is_probing else snd.unanswered
    row.probes = snd.probes if is_probing else 0


@kernel
def nothing_followed(row: Row) -> None:
    """What follows the RST is not known yet."""
    row.continued_frame = -1
    row.continued_data_frame = -1
    row.alien_frame = -1
    row.challenge_frame = -1
    row.vain_segments = 0
    row.vain_ns = -1
    row.repeats = 0
    row.verdict = 255


@kernel
def note_windows(row: Row, snd: Tcb, rcv: Tcb, seg: Seg) -> None:
    """How much of the sender's receive buffer was full: Linux subtracts the unread bytes from the window of its RST."""
    shift = snd.wscale if rcv.bits & WSCALE_ON_SYN else 0
    row.window_unit = 1 << shift
    row.window_missing = snd.window_max - (seg.window << shift)
    is_known = snd.bits & rcv.bits & ISS_KNOWN != 0
    row.receive_window = rcv.window_max if is_known else max(rcv.window_max, 65535)
    row.is_window_low = 1 if snd.bits & WINDOW_LOW else 0
    row.mss = mss_of(rcv)


@kernel
def note_ip_id_of_reset(row: Row, snd: Tcb, seg: Seg) -> None:
    """How far the identification leaps from those of the sender; Linux has 0 where it has no socket."""
    ip_id = seg.ip_id
    leap = (ip_id - snd.last_ip_id) & 0xFFFF
    row.ip_id_delta = leap - 65536 if leap > 32767 else leap
    row.is_ip_id_counter = 1 if ip_id and snd.bits >> IP_ID_STEPS == 3 else 0


@kernel
def note_time_wait(st: KernelState, k: int, row: Row) -> None:
    """The TIME-WAIT of the RST's sender: since when, and whether it is certain."""
    row.time_wait_gap_ns = -1
    row.is_time_wait_proved = 0
    at = tcb_at(st, k).span
    if at >= 0:
        row.time_wait_gap_ns = st.counters[NOW] - time_wait_since(st, k)
        row.is_time_wait_proved = 1 if span_at(st, at).start_basis == START_ACK else 0


@kernel
def note_rst_burst(st: KernelState, c: int, row: Row, snd: Tcb) -> None:
    """A RST above all that its sender sent, right after another one: a device tries the numbers of a whole window."""
    row.ladder_frame = -1
    if conn_at(st, c).bits & SAW_PLAIN == 0:
        return  # what its sender sent before was not captured
    if snd.last_flags & RST == 0 or row.sender_seq_delta <= 0 or row.is_echo:
        return
    at = conn_at(st, c).reset
    while at >= 0:
        other = reset_at(st, at)
        is_below = seq_diff(row.seq, other.seq) > 0
        if other.endpoint == row.endpoint and other.ladder_frame < 0 and is_below:
            other.ladder_frame = row.frame
        at = other.next


@kernel
def unacked_bytes(snd: Tcb, rcv: Tcb) -> int:
    """Text of the other side that the sender of a RST had never acknowledged."""
    if snd.bits & ACKED == 0 or rcv.bits & NXT_KNOWN == 0:
        return 0
    end = rcv.fin_seq if rcv.bits & FIN_SENT else rcv.snd_nxt
    return max(seq_diff(end, snd.last_ack), 0)


@kernel
def acked_bytes(snd: Tcb, rcv: Tcb, seg: Seg) -> int:
    """Text of the other side that a RST acknowledges and no ACK of its sender had: what is in flight is none of it."""
    if seg.flags & ACK == 0 or snd.bits & ACKED == 0:
        return 0
    ack = seg.ack
    acked = seq_diff(ack, snd.last_ack)
    if rcv.bits & NXT_KNOWN:
        acked = min(acked, seq_diff(ack, rcv.snd_una))
    if rcv.bits & FIN_SENT and seq_gt(ack, rcv.fin_seq):
        acked -= 1
    return max(acked, 0)


@kernel
def earlier_state(st: KernelState, conn: Conn) -> int:
    """In which state of the earlier incarnation a SYN met its receiver, if this RST is the first answer to it."""
    if conn.reuse < 0:
        return 255
    met = reuse_at(st, conn.reuse)
    if met.answer != ANSWER_NONE:
        return 255
    if met.is_last_ack_lost or met.is_last_ack_likely:
        return LAST_ACK
    return met.receiver_state


@kernel
def is_syn_pending(st: KernelState, c: int) -> bool:
    """Whether a SYN waits for its answer while the earlier incarnation ``c`` gets this RST."""
    head = newest_incarnation(st, conn_at(st, c).slot)
    return head != c
