"""One life of a tuple after the other: opening, which of two a segment belongs to, and letting go."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff
from tcptrace_tw.protocol.states import CLOSED, ESTABLISHED, LISTEN, SUPERSEDED, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.words import (
    BASIS_INFERRED,
    END_REOPENED,
    END_REUSED,
    OPENED_HANDSHAKE,
    OPENED_MIDSTREAM,
    ORIG,
    RESP,
)
from tcptrace_tw.schema.zeek import HISTORY_FLIPPED
from tcptrace_tw.tcp.facts.reuse import note_opened, note_replayed
from tcptrace_tw.tcp.machine.retirement import count_opened, forget_slot, is_forgotten, retire
from tcptrace_tw.tcp.machine.same_isn import begins_anew, forget_old_syn, is_third_ack_of_same_isn, replay_handshake
from tcptrace_tw.tcp.machine.self_connect import is_self_connected
from tcptrace_tw.tcp.machine.syn_in_time_wait import syn_meets_earlier
from tcptrace_tw.tcp.machine.time_wait import end_span, expire
from tcptrace_tw.tcp.machine.transitions import first_seen, move
from tcptrace_tw.tcp.store.access import conn_at, newest_incarnation, reuse_at, set_newest_incarnation, tcb_at
from tcptrace_tw.tcp.store.freelists import clear, new_incarnation
from tcptrace_tw.tcp.store.history_letters import append_letter
from tcptrace_tw.tcp.store.queues import enqueue
from tcptrace_tw.tcp.store.records import (
    CONNS_LIVE,
    FIN_SENT,
    ISS_KNOWN,
    LINGER,
    LIVE_PEAK,
    NEXT_CONNECTION,
    NEXT_TUPLE,
    NOW,
    NXT_KNOWN,
    ONE_SOCKET,
    SAW_PLAIN,
)

NO_CONNECTION = -1


@kernel
def incarnation_of(st, seg, slot, direction):  # type: ignore[no-untyped-def]
    """The incarnation that segment ``i`` belongs to; a new one is opened where none fits (see docs/semantics.md).

    SYN with FIN is no connection attempt: scanners and tests send it, and most stacks drop it.
    """
    c = newest_incarnation(st, slot)
    if c >= 0 and is_forgotten(st, c):
        forget_slot(st, slot)
        c = NO_CONNECTION
    flags = np.int64(seg.flags)
    if c < 0:
        return open_incarnation(st, seg, slot, direction, NO_CONNECTION)
    conn = conn_at(st, c)
    side = direction ^ np.int64(conn.orig_is_b)
    if flags & (SYN | FIN | RST | ACK) == SYN or (flags & (SYN | RST) == SYN and is_foreign_syn_ack(st, c, seg, side)):
        if flags & ACK == 0 and belongs_syn(st, c, seg, side):
            return c
        return open_after(st, c, seg, slot, direction)
    previous = np.int64(conn.previous)
    if previous < 0:
        if side == ORIG and is_third_ack_of_same_isn(st, c, seg):
            return open_again(st, c, seg, slot)
    else:
        if not fits_attempt(st, c, seg, side):
            return previous
        if flags & RST == 0 and (side == RESP or flags & SYN == 0):
            promote(st, c, seg)
    return c


@kernel
def belongs_syn(st, c, seg, side):  # type: ignore[no-untyped-def]
    """Whether a SYN without ACK is one of incarnation ``c``: sent again, captured late, or a simultaneous open."""
    seq = np.int64(seg.seq)
    t = tcb_at(st, 2 * c + side)
    peer = tcb_at(st, 2 * c + 1 - side)
    if np.int64(t.bits) & ISS_KNOWN:
        return np.int64(t.iss) == seq and not begins_anew(st, c, t, seg)
    if np.int64(conn_at(st, c).opened) == OPENED_MIDSTREAM:
        # The first captured segment of this side followed right after this SYN.
        return np.int64(t.bits) & NXT_KNOWN != 0 and seq == (np.int64(t.iss) - 1) & MASK
    return side == RESP and np.int64(peer.state) == SYN_SENT and np.int64(t.segments) == 0


@kernel
def is_foreign_syn_ack(st, c, seg, side):  # type: ignore[no-untyped-def]
    """Whether a SYN+ACK answers a SYN that was never captured: neither of its numbers is one of incarnation ``c``."""
    flags = np.int64(seg.flags)
    if flags & ACK == 0:
        return False
    conn = conn_at(st, c)
    if np.int64(conn.previous) >= 0:
        return False
    t = tcb_at(st, 2 * c + side)
    peer = tcb_at(st, 2 * c + 1 - side)
    if np.int64(peer.state) in (SYN_SENT, SYN_RECEIVED) or is_backscatter(conn, t, peer):
        return False
    ack = np.int64(seg.ack)
    if np.int64(peer.bits) & ISS_KNOWN and ack == (np.int64(peer.iss) + 1) & MASK:
        return False
    known = np.int64(t.bits) & ISS_KNOWN and np.int64(peer.bits) & ISS_KNOWN
    return known != 0 and np.int64(seg.seq) != np.int64(t.iss)


@kernel
def is_backscatter(conn, t, peer):  # type: ignore[no-untyped-def]
    """Whether endpoint ``t`` has sent SYN+ACKs that answer no SYN of its peer, and nothing came of them.

    Somebody scans or floods it with the peer's address: no life of the 4-tuple, however many they are.
    """
    is_bare = np.int64(conn.bits) & SAW_PLAIN == 0 and (np.int64(t.bits) | np.int64(peer.bits)) & FIN_SENT == 0
    return is_bare and np.int64(peer.syn_frame) < 0 and np.int64(t.syn_frame) >= 0


@kernel
def fits_attempt(st, c, seg, side):  # type: ignore[no-untyped-def]
    """Whether a segment that is no SYN carries the numbers of the new incarnation rather than those of the earlier."""
    flags = np.int64(seg.flags)
    o = tcb_at(st, 2 * c)
    if side == ORIG:
        ahead = seq_diff(np.int64(seg.seq), np.int64(o.snd_nxt))
        if flags & RST:
            return ahead == 0 and not (flags & ACK == 0 and answers_earlier(st, c, seg))
        return ahead == 0
    if flags & ACK == 0:
        return False
    if flags & (SYN | RST) == 0 and continues_earlier(st, c, seg):
        return False
    behind = seq_diff(np.int64(seg.ack), np.int64(o.iss))
    return 0 < behind <= seq_diff(np.int64(o.snd_nxt), np.int64(o.iss))


@kernel
def answers_earlier(st, c, seg):  # type: ignore[no-untyped-def]
    """Whether a bare RST of the opener carries the ACK field of the earlier incarnation's last segment towards it."""
    previous = np.int64(conn_at(st, c).previous)
    side = np.int64(conn_at(st, c).orig_is_b) ^ np.int64(conn_at(st, previous).orig_is_b) ^ 1
    return np.int64(seg.seq) == np.int64(tcb_at(st, 2 * previous + side).last_ack)


@kernel
def continues_earlier(st, c, seg):  # type: ignore[no-untyped-def]
    """Whether the answerer goes on exactly where it stood in the earlier incarnation, should both ISNs lie close."""
    previous = np.int64(conn_at(st, c).previous)
    side = np.int64(conn_at(st, c).orig_is_b) ^ np.int64(conn_at(st, previous).orig_is_b) ^ 1
    old = tcb_at(st, 2 * previous + side)
    return np.int64(old.bits) & NXT_KNOWN != 0 and np.int64(seg.seq) == np.int64(old.snd_nxt)


@kernel
def open_incarnation(st, seg, slot, direction, previous):  # type: ignore[no-untyped-def]
    """Begin a new incarnation with a segment."""
    flags = np.int64(seg.flags)
    orig_is_b = direction
    if flags & SYN == 0:
        orig_is_b = direction ^ (1 if looks_like_server(seg) else 0)
    elif flags & ACK:
        orig_is_b = direction ^ 1
    opened = OPENED_HANDSHAKE if flags & SYN else OPENED_MIDSTREAM
    c = begin_incarnation(st, slot, orig_is_b, previous, opened, st.counters[NOW], np.int64(seg.frame))
    count_opened(st, seg)
    if orig_is_b != direction:
        append_letter(conn_at(st, c), ORIG, HISTORY_FLIPPED)
    if flags & (SYN | RST) == 0:
        first_seen(st, 2 * c, ESTABLISHED, st.counters[NOW], seg.frame)
        first_seen(st, 2 * c + 1, ESTABLISHED, st.counters[NOW], seg.frame)
    return c


@kernel
def begin_incarnation(st, slot, orig_is_b, previous, opened, time, frame):  # type: ignore[no-untyped-def]
    """The records of a new incarnation, whose first segment came at ``time``."""
    counters = st.counters
    c = new_incarnation(st)
    counters[CONNS_LIVE] += 1
    counters[LIVE_PEAK] = max(counters[LIVE_PEAK], counters[CONNS_LIVE])
    clear(st, c)
    conn = conn_at(st, c)
    conn.id = counters[NEXT_CONNECTION]
    counters[NEXT_CONNECTION] += 1
    conn.slot = slot
    conn.orig_is_b = orig_is_b
    conn.previous = previous
    conn.first_time = time
    conn.first_frame = frame
    conn.opened = opened
    if is_self_connected(st, slot):
        conn.bits |= ONE_SOCKET
    if previous >= 0:
        conn.tuple_id = conn_at(st, previous).tuple_id
        conn.incarnation = np.int64(conn_at(st, previous).incarnation) + 1
    else:
        conn.tuple_id = counters[NEXT_TUPLE]
        counters[NEXT_TUPLE] += 1
        conn.incarnation = 1
    set_newest_incarnation(st, slot, c)
    enqueue(st, c, counters[NOW] + st.params[LINGER], True)
    return c


@kernel
def looks_like_server(seg):  # type: ignore[no-untyped-def]
    """Mid-stream: whether the sender of the first segment is rather the one that was connected to."""
    sport = np.int64(seg.sport)
    dport = np.int64(seg.dport)
    if (sport < 1024) != (dport < 1024):
        return sport < 1024
    if (sport < 32768) != (dport < 32768):
        return sport < 32768
    return False


@kernel
def open_after(st, c, seg, slot, direction):  # type: ignore[no-untyped-def]
    """A SYN that is not one of incarnation ``c``: keep both until it shows which of them the segments belong to."""
    conn = conn_at(st, c)
    earlier = np.int64(conn.previous)
    if earlier >= 0:
        # An attempt that nothing came of makes room for the next one.
        conn.previous = NO_CONNECTION
        set_newest_incarnation(st, slot, earlier)
        attempts = np.int64(conn.incarnation)
        retire(st, c)
        new = open_incarnation(st, seg, slot, direction, earlier)
        conn_at(st, new).incarnation = attempts + 1
        c = earlier
    else:
        new = open_incarnation(st, seg, slot, direction, c)
    for k in range(2 * c, 2 * c + 2):
        expire(st, k)
    syn_meets_earlier(st, c, new, seg, st.counters[NOW])
    supersede_sender(st, c, new, np.int64(seg.flags) & ACK != 0, st.counters[NOW], np.int64(seg.frame))
    if np.int64(seg.flags) & ACK:
        promote(st, new, seg)
    return new


@kernel
def open_again(st, c, seg, slot):  # type: ignore[no-untyped-def]
    """The third ACK of a connection with the ISN of ``c``: its SYN had been taken for an old one (see ``same_isn``)."""
    o, r = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    time, frame = np.int64(o.last_time), np.int64(o.last_frame)
    forget_old_syn(st, c)
    new = begin_incarnation(st, slot, np.int64(conn_at(st, c).orig_is_b), c, OPENED_HANDSHAKE, time, frame)
    count_opened(st, seg)
    replay_handshake(st, c, new, seg)
    syn_meets_earlier(st, c, new, seg, time)
    note_replayed(st, new, o, r)
    supersede_sender(st, c, new, False, time, frame)
    promote(st, new, seg)
    return new


@kernel
def supersede_sender(st, c, new, is_syn_ack, time, frame):  # type: ignore[no-untyped-def]
    """A holder of TIME-WAIT that sends a SYN of a new connection, or a SYN+ACK, has left it."""
    conn = conn_at(st, c)
    side = np.int64(conn_at(st, new).orig_is_b) ^ np.int64(conn.orig_is_b)
    k = 2 * c + ((1 - side) if is_syn_ack else side)
    if np.int64(tcb_at(st, k).state) == TIME_WAIT:
        end_span(st, k, time, frame, END_REUSED)
        move(st, k, SUPERSEDED, BASIS_INFERRED, time, frame)


@kernel
def promote(st, c, seg):  # type: ignore[no-untyped-def]
    """The new incarnation ``c`` lives: the earlier one is over on both ends and can be let go."""
    conn = conn_at(st, c)
    previous = np.int64(conn.previous)
    now = st.counters[NOW]
    syn_time = now
    syn_frame = np.int64(seg.frame)
    r = np.int64(conn.reuse)
    if r >= 0:
        if np.int64(reuse_at(st, r).opened_frame) < 0:
            note_opened(st, c, seg, now)
        syn_time = np.int64(reuse_at(st, r).last_syn_time)
        syn_frame = np.int64(reuse_at(st, r).last_syn_frame)
    for k in range(2 * previous, 2 * previous + 2):
        t = tcb_at(st, k)
        if np.int64(t.state) == TIME_WAIT:
            end_span(st, k, syn_time, syn_frame, END_REOPENED)
        if np.int64(t.state) not in (CLOSED, LISTEN):
            move(st, k, SUPERSEDED, BASIS_INFERRED, syn_time, syn_frame)
    conn.previous = NO_CONNECTION
    retire(st, previous)
