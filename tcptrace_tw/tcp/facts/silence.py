"""Silence: how long nobody sent anything, who broke it, and what came of that (docs/semantics.md: silence).

A silence that was broken waits for an answer: with an acknowledgment it was survived; without one, or with a RST, the
connection had died in it. A FIN or RST after a silence needs no answer: it is the end.
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_ge, seq_gt
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.words import (
    DATA_LOST,
    DATA_NONE,
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
    START,
)

SILENCE_NS = 1_000_000_000
"""What is shorter is no silence: programs think, and segments are lost."""

MS = 1_000_000

FAREWELL = 32
"""A close_notify of TLS is no longer (RFC 8446 6.1): many programs answer a FIN with it."""

UNANSWERED = 3
"""So many retransmissions without an answer are no chance."""


@kernel
def note_silence(st, c, side, seg, last):  # type: ignore[no-untyped-def]
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
    flags = np.int64(seg.flags)
    if np.int64(rcv.bits) & BROKE_SILENCE and is_answer(rcv, flags, np.int64(seg.ack)):
        rcv.survived_ms = max(np.int64(rcv.survived_ms), np.int64(rcv.silence_ms))
        rcv.silence_ms = 0
        rcv.bits &= ~BROKE_SILENCE & MASK
    if np.int64(snd.bits) & BROKE_SILENCE and flags & FIN and np.int64(snd.unanswered) < UNANSWERED:
        snd.bits &= ~BROKE_SILENCE & MASK  # a farewell before the FIN, as of TLS, is no attempt to go on
    elif is_after_silence and flags & SYN == 0 and is_idle(conn, snd, rcv):
        snd.silence_ms = min((st.counters[NOW] - last) // MS, MASK)
        snd.unanswered = 0
        if flags & (FIN | RST) == 0:
            snd.bits |= BROKE_SILENCE


@kernel
def follows_unseen(snd, rcv, seg):  # type: ignore[no-untyped-def]
    """Whether a segment's numbers do not show that nothing passed unseen before it: no silence can be told then."""
    both = np.int64(snd.bits) & np.int64(rcv.bits)
    if both & NXT_KNOWN == 0 or seq_gt(np.int64(seg.seq), np.int64(snd.snd_nxt)):
        return True
    return np.int64(seg.flags) & ACK != 0 and seq_gt(np.int64(seg.ack), np.int64(rcv.snd_nxt))


@kernel
def is_sent_again(snd, rcv, seg):  # type: ignore[no-untyped-def]
    """Whether a segment comes only because the first one got no answer: it breaks no silence."""
    flags = np.int64(seg.flags)
    if flags & (SYN | RST) or (flags & FIN and np.int64(snd.bits) & FIN_SENT):
        return True
    if np.int64(snd.unanswered) > 0 and np.int64(rcv.last_frame) < np.int64(snd.last_frame):
        return True
    return is_text_again(snd, seg)


@kernel
def is_idle(conn, snd, rcv):  # type: ignore[no-untyped-def]
    """Whether the connection was open, nothing was on its way, and nobody had ended it or tried to go on."""
    if np.int64(conn.established_time) < 0 and np.int64(conn.opened) != OPENED_MIDSTREAM:
        return False
    both = np.int64(snd.bits) | np.int64(rcv.bits)
    return both & (FIN_SENT | RST_SENT | BROKE_SILENCE) == 0 and is_all_acked(snd) and is_all_acked(rcv)


@kernel
def is_all_acked(t):  # type: ignore[no-untyped-def]
    """Whether nothing of endpoint ``t`` is on its way: where something is, it is waited for, not silent."""
    return np.int64(t.snd_una) == np.int64(t.snd_nxt)


@kernel
def is_answer(t, flags, ack):  # type: ignore[no-untyped-def]
    """Whether a segment towards endpoint ``t`` acknowledges what broke the silence, be it a probe without new bytes."""
    if flags & RST or flags & ACK == 0:
        return False
    return seq_gt(ack, np.int64(t.snd_una)) or ack == np.int64(t.snd_nxt)


@kernel
def write_silence(row, o, r):  # type: ignore[no-untyped-def]
    """Write the numbers of both ends, the longest silence that was survived, and the one that was the end."""
    row.orig_isn = o.iss
    row.resp_isn = r.iss
    row.orig_nxt = o.snd_nxt
    row.resp_nxt = r.snd_nxt
    survived = max(np.int64(o.survived_ms), np.int64(r.survived_ms))
    row.survived_ns = survived * MS if survived else -1
    row.silence_ns = -1
    row.silence_end = NULL_WORD
    row.silence_by = NULL_WORD
    breaker = ORIG if np.int64(o.silence_ms) else RESP
    t = o if breaker == ORIG else r
    if np.int64(t.silence_ms) == 0:
        return
    end = end_of_silence(t, r if breaker == ORIG else o)
    if end != NULL_WORD:
        row.silence_ns = np.int64(t.silence_ms) * MS
        row.silence_end = end
        row.silence_by = breaker


@kernel
def end_of_silence(t, peer):  # type: ignore[no-untyped-def]
    """What endpoint ``t`` broke the silence with, or what came of it; null where that cannot be told."""
    if np.int64(t.bits) & BROKE_SILENCE == 0:
        return SILENCE_FIN if np.int64(t.bits) & FIN_SENT else SILENCE_RESET
    if np.int64(peer.last_flags) & RST and np.int64(peer.last_time) >= np.int64(t.last_time):
        has_taken = np.int64(peer.last_flags) & ACK and seq_ge(np.int64(peer.last_ack), np.int64(t.snd_nxt))
        return NULL_WORD if has_taken else SILENCE_ANSWERED_BY_RESET
    if np.int64(t.unanswered) >= UNANSWERED and np.int64(peer.last_time) < np.int64(t.last_time):
        return SILENCE_UNANSWERED
    return NULL_WORD


@kernel
def is_race(snd, rcv, seg, ahead):  # type: ignore[no-untyped-def]
    """Whether new data follow a FIN or RST that came after a silence, and are no farewell in answer to it.

    A FIN that was repeated in vain crosses nothing; and what was never used was not kept alive.
    """
    length = np.int64(seg.payload_len)
    if length == 0 or ahead <= 0 or np.int64(rcv.silence_ms) == 0 or np.int64(rcv.fin_repeats) > 0:
        return False
    if np.int64(snd.payload_bytes) + np.int64(rcv.payload_bytes) == 0:
        return False
    bits = np.int64(rcv.bits)
    if bits & (FIN_SENT | RST_SENT) == 0 or bits & BROKE_SILENCE or np.int64(snd.bits) & FIN_SENT:
        return False
    has_seen_fin = bits & FIN_SENT and seq_gt(np.int64(seg.ack), np.int64(rcv.fin_seq))
    return length > FAREWELL or not has_seen_fin


@kernel
def note_race(row, st, c, side, rcv, seg):  # type: ignore[no-untyped-def]
    """Remember the first data of endpoint ``side`` that crossed the end of the connection."""
    if np.int64(row.race_frame) < 0:
        row.race_frame = seg.frame
        row.race_idle_ns = np.int64(rcv.silence_ms) * MS
        row.race_gap_ns = st.counters[NOW] - end_time(st, c, 1 - side, rcv)


@kernel
def is_crossing_fin(snd, rcv, seg, now):  # type: ignore[no-untyped-def]
    """Whether a FIN left before the data arrived that had just broken a silence: on the wire they crossed."""
    if np.int64(rcv.bits) & BROKE_SILENCE == 0 or np.int64(snd.bits) & FIN_SENT:
        return False
    if np.int64(seg.flags) & (FIN | RST | ACK) != FIN | ACK:
        return False
    if now - np.int64(rcv.last_time) >= 1000 * np.int64(snd.rtt_us):
        return False  # within a round trip it can be no answer to the data
    waiting = seq_diff(np.int64(rcv.snd_nxt), np.int64(rcv.snd_una))
    if waiting <= 0 or np.int64(seg.ack) != np.int64(rcv.snd_una):
        return False
    return np.int64(snd.payload_bytes) + np.int64(rcv.payload_bytes) > waiting


@kernel
def note_crossing(row, snd, rcv, now):  # type: ignore[no-untyped-def]
    """The endpoint that sends the FIN has ended the silence, not the data of its peer; the row is of the peer."""
    gap = now - np.int64(rcv.last_time)
    idle = np.int64(rcv.silence_ms) * MS + gap
    row.race_frame = rcv.last_frame
    row.race_idle_ns = idle
    row.race_gap_ns = gap
    row.is_race_crossed = 1
    snd.silence_ms = min(idle // MS, MASK)
    rcv.silence_ms = 0
    rcv.bits &= ~BROKE_SILENCE & MASK


@kernel
def end_time(st, c, side, t):  # type: ignore[no-untyped-def]
    """When endpoint ``t``, on ``side``, sent its first FIN or RST; a FIN that it did not send last is known to 1 ms."""
    conn = conn_at(st, c)
    if np.int64(t.bits) & FIN_SENT and np.int64(t.last_frame) != np.int64(t.fin_frame):
        return st.counters[START] + (np.int64(conn.fin_ms) - 1) * MS
    time = np.int64(t.last_time)
    s = np.int64(conn.reset) if np.int64(t.bits) & FIN_SENT == 0 else np.int64(-1)
    while s >= 0:
        row = reset_at(st, s)
        if np.int64(row.endpoint) == side:
            time = min(time, np.int64(row.time))
        s = np.int64(row.next)
    return time


@kernel
def is_unanswered(t, peer):  # type: ignore[no-untyped-def]
    """Whether endpoint ``t`` has sent data again and again, and its peer, which had spoken before, is silent."""
    if np.int64(t.unanswered) < UNANSWERED or np.int64(t.bits) & RST_SENT or np.int64(peer.segments) == 0:
        return False
    if np.int64(peer.bits) & NXT_ACKED or np.int64(t.last_seq) != np.int64(t.snd_una):
        return False  # it acknowledges what was not captured, or its last segment is no retransmission
    fin = 1 if np.int64(t.bits) & FIN_SENT else 0
    if seq_diff(np.int64(t.snd_nxt), np.int64(t.snd_una)) <= fin:
        return False
    return np.int64(peer.last_frame) < np.int64(t.last_frame) and np.int64(peer.last_time) < np.int64(t.last_time)


@kernel
def is_deaf(t, peer):  # type: ignore[no-untyped-def]
    """Whether endpoint ``t`` sent a SYN and never acknowledged the SYN+ACK of its peer."""
    is_opened = np.int64(t.bits) & ISS_KNOWN and np.int64(t.syn_frame) >= 0 and np.int64(peer.syn_frame) >= 0
    return is_opened and np.int64(t.bits) & (ACKED | RST_SENT | FIN_SENT) == 0 and np.int64(peer.bits) & RST_SENT == 0


@kernel
def make_blank_silence(row):  # type: ignore[no-untyped-def]
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
    row.first_data = NULL_WORD
    row.peer_retransmits = 0


@kernel
def finish_silence(row, t, peer):  # type: ignore[no-untyped-def]
    """What the end of the incarnation shows: whether somebody stayed deaf, or silent, and who lost data."""
    if np.int64(row.unheard_syns) and is_deaf(t, peer):
        row.is_deaf = 1
    if is_unanswered(t, peer):
        is_counted = np.int64(t.again_since) == np.int64(peer.last_frame)
        row.unanswered = t.again if is_counted else t.unanswered
        silence = np.int64(t.silence_ms) * MS if np.int64(t.bits) & BROKE_SILENCE else np.int64(0)
        row.unanswered_ns = max(np.int64(t.last_time) - np.int64(peer.last_time) - silence, 0)
        row.unanswered_frame = peer.last_frame
        row.unanswered_silence_ns = silence if silence else -1
        row.is_peer_gone = 1 if np.int64(peer.bits) & RST_SENT else 0
    if np.int64(row.race_frame) >= 0:
        is_reset = np.int64(peer.last_flags) & RST and np.int64(peer.last_frame) > np.int64(row.race_frame)
        row.is_race_lost = 1 if is_reset else 0
    if np.int64(row.synack_repeats):
        row.peer_retransmits = peer.retransmits
        if np.int64(row.first_data) == NULL_WORD:
            row.first_data = DATA_TAKEN if np.int64(peer.payload_bytes) else DATA_NONE
        elif is_data_waiting(peer):
            row.first_data = DATA_LOST


@kernel
def is_data_waiting(t):  # type: ignore[no-untyped-def]
    """Whether endpoint ``t`` has sent data, and none of them has been acknowledged."""
    return np.int64(t.payload_bytes) > 0 and seq_diff(np.int64(t.snd_una), np.int64(t.iss)) <= 1
