"""Silence: how long nobody sent anything, who broke it, and what came of that (docs/semantics.md: silence).

A silence that was broken waits for an answer: with an acknowledgment it was survived; without one, or with a RST, the
connection had died in it. A FIN or RST after a silence needs no answer: it is the end.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_ge, seq_gt
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import (
    DATA_LOST,
    DATA_NONE,
    DATA_REFUSED,
    DATA_TAKEN,
    NULL_WORD,
    OPENED_MIDSTREAM,
    ORIG,
    RESP,
    SILENCE_ANSWERED_BY_RESET,
    SILENCE_FIN,
    SILENCE_RESET,
    SILENCE_UNANSWERED,
)
from tcptrace_tw.tcp.facts.history import is_text_again
from tcptrace_tw.tcp.facts.repeats import is_keep_alive_probe
from tcptrace_tw.tcp.store.access import conn_at, reset_at, tcb_at
from tcptrace_tw.tcp.store.records import (
    ACKED,
    BROKE_SILENCE,
    FIN_SENT,
    ISS_KNOWN,
    NOW,
    NXT_ACKED,
    NXT_KNOWN,
    RST_SENT,
    SACKED_BEYOND,
    START,
    Conn,
    KernelState,
    Row,
    Tcb,
)

SILENCE_NS = 1_000_000_000
"""What is shorter is no silence: programs think, and segments are lost."""

MS = 1_000_000

FAREWELL = 32
"""A close_notify of TLS is no longer (RFC 8446 6.1): many programs answer a FIN with it."""

FAREWELLS = 160
"""Nor are a close_notify in any cipher and what HTTP/2 says before it (GOAWAY), if the FIN of their sender follows."""

UNANSWERED = 3
"""So many retransmissions without an answer are no chance."""


@kernel
def note_silence(st: KernelState, c: int, side: int, seg: Seg, last: int) -> None:
    """A segment, before it moves anybody: it may answer what broke a silence, or break one itself.

    ``last``: when the last segment of either end came, or -1. Only called where there is one of the two to note.
    """
    conn = conn_at(st, c)
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, 2 * c + 1 - side)
    is_after_silence = last >= 0 and st.counters[NOW] - last >= SILENCE_NS and not follows_unseen(snd, rcv, seg)
    if is_after_silence and not is_sent_again(snd, rcv, seg):
        conn.silence_ns = st.counters[NOW] - last
        conn.silence_time = st.counters[NOW]
    flags = seg.flags
    if rcv.bits & BROKE_SILENCE and is_answer(rcv, flags, seg.ack):
        rcv.survived_ms = max(rcv.survived_ms, rcv.silence_ms)
        rcv.silence_ms = 0
        rcv.bits &= ~BROKE_SILENCE & MASK
    if snd.bits & BROKE_SILENCE and flags & FIN and snd.unanswered < UNANSWERED:
        snd.bits &= ~BROKE_SILENCE & MASK  # a farewell before the FIN, as of TLS, is no attempt to go on
    elif is_after_silence and flags & SYN == 0 and is_idle(conn, snd, rcv):
        snd.silence_ms = min((st.counters[NOW] - last) // MS, MASK)
        snd.unanswered = 0
        if flags & (FIN | RST) == 0:
            snd.bits |= BROKE_SILENCE


@kernel
def follows_unseen(snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """Whether a segment's numbers do not show that nothing passed unseen before it: no silence can be told then."""
    both = snd.bits & rcv.bits
    if both & NXT_KNOWN == 0 or seq_gt(seg.seq, snd.snd_nxt):
        return True
    return seg.flags & ACK != 0 and seq_gt(seg.ack, rcv.snd_nxt)


@kernel
def is_sent_again(snd: Tcb, rcv: Tcb, seg: Seg) -> bool:
    """Whether a segment comes only because the first one got no answer: it breaks no silence."""
    flags = seg.flags
    if flags & (SYN | RST) or (flags & FIN and snd.bits & FIN_SENT):
        return True
    if snd.unanswered > 0 and rcv.last_frame < snd.last_frame:
        return True
    ahead = seq_diff((seg.seq + seg.payload_len) & MASK, snd.snd_nxt)
    return is_text_again(snd, seg) and not is_keep_alive_probe(snd, seg, ahead)


@kernel
def is_idle(conn: Conn, snd: Tcb, rcv: Tcb) -> bool:
    """Whether the connection was open, nothing was on its way, and nobody had ended it or tried to go on."""
    if conn.established_time < 0 and conn.opened != OPENED_MIDSTREAM:
        return False
    both = snd.bits | rcv.bits
    return both & (FIN_SENT | RST_SENT | BROKE_SILENCE) == 0 and is_all_acked(snd) and is_all_acked(rcv)


@kernel
def is_all_acked(tcb: Tcb) -> bool:
    """Whether nothing of endpoint ``tcb`` is on its way: where something is, it is waited for, not silent."""
    return tcb.snd_una == tcb.snd_nxt


@kernel
def is_answer(tcb: Tcb, flags: int, ack: int) -> bool:
    """Whether a segment towards ``tcb`` acknowledges what broke the silence, be it a probe without new bytes."""
    if flags & RST or flags & ACK == 0:
        return False
    return seq_gt(ack, tcb.snd_una) or ack == tcb.snd_nxt


@kernel
def write_silence(row: Row, orig: Tcb, resp: Tcb) -> None:
    """Write the numbers of both ends, the longest silence that was survived, and the one that was the end."""
    row.orig_isn = orig.iss
    row.resp_isn = resp.iss
    row.orig_nxt = orig.snd_nxt
    row.resp_nxt = resp.snd_nxt
    survived = max(orig.survived_ms, resp.survived_ms)
    row.survived_ns = survived * MS if survived else -1
    row.silence_ns = -1
    row.silence_end = NULL_WORD
    row.silence_by = NULL_WORD
    breaker = ORIG if orig.silence_ms else RESP
    tcb = orig if breaker == ORIG else resp
    if tcb.silence_ms == 0:
        return
    end = end_of_silence(tcb, resp if breaker == ORIG else orig)
    if end != NULL_WORD:
        row.silence_ns = tcb.silence_ms * MS
        row.silence_end = end
        row.silence_by = breaker


@kernel
def end_of_silence(tcb: Tcb, peer: Tcb) -> int:
    """What endpoint ``tcb`` broke the silence with, or what came of it; null where that cannot be told."""
    if is_farewell_lost(tcb) and peer.last_time < tcb.last_time:
        return SILENCE_UNANSWERED
    if tcb.bits & BROKE_SILENCE == 0:
        return SILENCE_FIN if tcb.bits & FIN_SENT else SILENCE_RESET
    if peer.last_flags & RST and peer.last_time >= tcb.last_time:
        has_taken = peer.last_flags & ACK and seq_ge(peer.last_ack, tcb.snd_nxt)
        return NULL_WORD if has_taken else SILENCE_ANSWERED_BY_RESET
    if tcb.unanswered >= UNANSWERED and peer.last_time < tcb.last_time:
        return SILENCE_UNANSWERED
    return NULL_WORD


@kernel
def is_farewell_lost(tcb: Tcb) -> bool:
    """Whether text broke the silence, a FIN followed it, and nothing answered: the connection was gone by then."""
    is_ended = tcb.bits & (BROKE_SILENCE | FIN_SENT) == FIN_SENT and tcb.silence_ms > 0
    return is_ended and tcb.unanswered >= UNANSWERED and seq_diff(tcb.snd_nxt, tcb.snd_una) > 1


@kernel
def is_race(snd: Tcb, rcv: Tcb, seg: Seg, ahead: int) -> bool:
    """Whether new data follow a FIN or RST that came after a silence, and are no farewell in answer to it.

    A FIN that was repeated in vain crosses nothing; and what was never used was not kept alive.
    """
    length = seg.payload_len
    if length == 0 or ahead <= 0 or rcv.silence_ms == 0 or rcv.fin_repeats > 0:
        return False
    if snd.payload_bytes + rcv.payload_bytes == 0:
        return False
    bits = rcv.bits
    if bits & (FIN_SENT | RST_SENT) == 0 or bits & BROKE_SILENCE or snd.bits & FIN_SENT:
        return False
    has_seen_fin = bits & FIN_SENT and seq_gt(seg.ack, rcv.fin_seq)
    return length > FAREWELL or not has_seen_fin


@kernel
def note_race(row: Row, st: KernelState, c: int, side: int, rcv: Tcb, seg: Seg) -> None:
    """Remember the first data of endpoint ``side`` that crossed the end of the connection."""
    if row.race_frame < 0:
        row.race_frame = seg.frame
        row.race_idle_ns = rcv.silence_ms * MS
        row.race_gap_ns = st.counters[NOW] - end_time(st, c, 1 - side, rcv)
        row.has_race_seen_fin = 1 if rcv.bits & FIN_SENT and seq_gt(seg.ack, rcv.fin_seq) else 0


@kernel
def is_crossing_fin(snd: Tcb, rcv: Tcb, seg: Seg, now: int) -> bool:
    """Whether a FIN left before the data arrived that had just broken a silence: on the wire they crossed."""
    if rcv.bits & BROKE_SILENCE == 0 or snd.bits & FIN_SENT:
        return False
    if seg.flags & (FIN | RST | ACK) != FIN | ACK:
        return False
    if now - rcv.last_time >= 1000 * snd.rtt_us:
        return False  # within a round trip it can be no answer to the data
    waiting = seq_diff(rcv.snd_nxt, rcv.snd_una)
    if waiting <= 0 or seg.ack != rcv.snd_una:
        return False
    return snd.payload_bytes + rcv.payload_bytes > waiting


@kernel
def note_crossing(row: Row, snd: Tcb, rcv: Tcb, now: int) -> None:
    """The endpoint that sends the FIN has ended the silence, not the data of its peer; the row is of the peer."""
    gap = now - rcv.last_time
    idle = rcv.silence_ms * MS + gap
    row.race_frame = rcv.last_frame
    row.race_idle_ns = idle
    row.race_gap_ns = gap
    row.is_race_crossed = 1
    snd.silence_ms = min(idle // MS, MASK)
    rcv.silence_ms = 0
    rcv.bits &= ~BROKE_SILENCE & MASK


@kernel
def end_time(st: KernelState, c: int, side: int, tcb: Tcb) -> int:
    """When ``tcb``, on ``side``, sent its first FIN or RST; a FIN that it did not send last is known to 1 ms."""
    conn = conn_at(st, c)
    if tcb.bits & FIN_SENT and tcb.last_frame != tcb.fin_frame:
        return st.counters[START] + (conn.fin_ms - 1) * MS
    time = tcb.last_time
    at = conn.reset if tcb.bits & FIN_SENT == 0 else -1
    while at >= 0:
        row = reset_at(st, at)
        if row.endpoint == side:
            time = min(time, row.time)
        at = row.next
    return time


@kernel
def is_unanswered(tcb: Tcb, peer: Tcb) -> bool:
    """Whether endpoint ``tcb`` has sent data again and again, and its peer, which had spoken before, is silent."""
    if tcb.unanswered < UNANSWERED or tcb.bits & RST_SENT or peer.segments == 0:
        return False
    if peer.bits & NXT_ACKED or tcb.last_seq != tcb.snd_una:
        return False  # it acknowledges what was not captured, or its last segment is no retransmission
    has_less = tcb.bits & SACKED_BEYOND or is_too_large(tcb)
    if tcb.again_since == peer.last_frame and tcb.again < UNANSWERED and not has_less:
        return False  # the peer has spoken meanwhile
    fin = 1 if tcb.bits & FIN_SENT else 0
    if seq_diff(tcb.snd_nxt, tcb.snd_una) <= fin:
        return False
    return peer.last_frame < tcb.last_frame and peer.last_time < tcb.last_time


@kernel
def is_deaf(tcb: Tcb, peer: Tcb) -> bool:
    """Whether endpoint ``tcb`` sent a SYN and never acknowledged the SYN+ACK of its peer."""
    is_opened = tcb.bits & ISS_KNOWN and tcb.syn_frame >= 0 and peer.syn_frame >= 0
    return is_opened and tcb.bits & (ACKED | RST_SENT | FIN_SENT) == 0 and peer.bits & RST_SENT == 0


@kernel
def is_farewell(row: Row, tcb: Tcb) -> bool:
    """Whether the data after the peer's FIN were few, and knew of it, and the FIN of their sender followed them."""
    has_closed = tcb.bits & FIN_SENT and tcb.fin_frame > row.race_frame
    return row.has_race_seen_fin != 0 and has_closed != 0 and seq_diff(tcb.fin_seq, tcb.snd_una) <= FAREWELLS


@kernel
def is_first_large(tcb: Tcb) -> bool:
    """Whether less had been acknowledged before than the unanswered segment has: none as large as that."""
    return tcb.bits & ISS_KNOWN != 0 and seq_diff(tcb.snd_una, tcb.iss) - 1 < tcb.last_len


@kernel
def is_too_large(tcb: Tcb) -> bool:
    """Whether nothing as large as the unanswered segment has passed: what SACK blocks hold behind it is less."""
    return 0 < tcb.sacked_len < tcb.last_len and is_first_large(tcb)


@kernel
def make_blank_silence(row: Row) -> None:
    """Nobody is deaf or silent yet."""
    row.unheard_frame = -1
    row.unheard_syns = 0
    row.is_deaf = 0
    row.unanswered = 0
    row.unanswered_ns = -1
    row.unanswered_frame = -1
    row.unanswered_silence_ns = -1
    row.is_peer_gone = 0
    row.race_frame = -1
    row.race_idle_ns = -1
    row.race_gap_ns = -1
    row.is_race_crossed = 0
    row.is_race_lost = 0
    row.has_race_seen_fin = 0
    row.is_sacked_beyond = 0
    row.unanswered_bytes = 0
    row.first_data = NULL_WORD
    row.peer_retransmits = 0


@kernel
def finish_silence(row: Row, tcb: Tcb, peer: Tcb) -> None:
    """What the end of the incarnation shows: whether somebody stayed deaf, or silent, and who lost data."""
    if row.unheard_syns and is_deaf(tcb, peer):
        row.is_deaf = 1
    if is_unanswered(tcb, peer):
        is_counted = tcb.again_since == peer.last_frame
        row.unanswered = tcb.again if is_counted and tcb.again >= UNANSWERED else tcb.unanswered
        silence = tcb.silence_ms * MS if tcb.bits & BROKE_SILENCE or is_farewell_lost(tcb) else 0
        row.unanswered_ns = max(tcb.last_time - peer.last_time - silence, 0)
        row.unanswered_frame = peer.last_frame
        row.unanswered_silence_ns = silence if silence else -1
        row.is_peer_gone = 1 if peer.bits & RST_SENT else 0
        row.is_sacked_beyond = 1 if is_too_large(tcb) else 0
        row.unanswered_bytes = max(tcb.last_len, 0)
    if row.race_frame >= 0:
        is_reset = peer.last_flags & RST and peer.last_frame > row.race_frame
        row.is_race_lost = 1 if is_reset and not is_farewell(row, tcb) else 0
    if row.synack_repeats:
        row.peer_retransmits = peer.retransmits
        if row.first_data == NULL_WORD:
            row.first_data = first_data(tcb, peer)
        elif is_data_waiting(peer):
            row.first_data = DATA_LOST


@kernel
def first_data(tcb: Tcb, peer: Tcb) -> int:
    """What became of the data that ``peer`` sent only after the last SYN+ACK of ``tcb``."""
    if peer.payload_bytes == 0:
        return DATA_NONE
    return DATA_REFUSED if tcb.bits & RST_SENT and is_data_waiting(peer) else DATA_TAKEN


@kernel
def is_data_waiting(tcb: Tcb) -> bool:
    """Whether endpoint ``tcb`` has sent data, and none of them has been acknowledged."""
    return tcb.payload_bytes > 0 and seq_diff(tcb.snd_una, tcb.iss) <= 1
