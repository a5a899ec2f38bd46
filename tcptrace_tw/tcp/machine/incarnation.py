"""One life of a tuple after the other: opening, which of two a segment belongs to, and letting go."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff
from tcptrace_tw.protocol.states import CLOSED, ESTABLISHED, LISTEN, SUPERSEDED, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.segments import Seg
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
from tcptrace_tw.tcp.machine.retirement import count_opened, is_forgotten, retire
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
    Conn,
    KernelState,
    Tcb,
)

NO_CONNECTION = -1


@kernel
def incarnation_of(st: KernelState, seg: Seg, slot: int, direction: int) -> int:
    """The incarnation that segment ``i`` belongs to; a new one is opened where none fits (see docs/semantics.md).

    SYN with FIN is no connection attempt: scanners and tests send it, and most stacks drop it.
    """
    c = newest_incarnation(st, slot)
    while c >= 0 and is_forgotten(st, c):  # but not one before it that lives on: a SYN that met it got no answer
        retire(st, c)
        c = newest_incarnation(st, slot)
    flags = seg.flags
    if c < 0:
        return open_incarnation(st, seg, slot, direction, NO_CONNECTION)
    conn = conn_at(st, c)
    side = direction ^ conn.orig_is_b
    if flags & (SYN | FIN | RST | ACK) == SYN or (flags & (SYN | RST) == SYN and is_foreign_syn_ack(st, c, seg, side)):
        if flags & ACK == 0 and belongs_syn(st, c, seg, side):
            return c
        return open_after(st, c, seg, slot, direction)
    previous = conn.previous
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
def belongs_syn(st: KernelState, c: int, seg: Seg, side: int) -> bool:
    """Whether a SYN without ACK is one of incarnation ``c``: sent again, captured late, or a simultaneous open."""
    seq = seg.seq
    tcb = tcb_at(st, 2 * c + side)
    peer = tcb_at(st, 2 * c + 1 - side)
    if tcb.bits & ISS_KNOWN:
        return tcb.iss == seq and not begins_anew(st, c, tcb, seg)
    if conn_at(st, c).opened == OPENED_MIDSTREAM:
        # The first captured segment of this side followed right after this SYN.
        return tcb.bits & NXT_KNOWN != 0 and seq == (tcb.iss - 1) & MASK
    return side == RESP and peer.state == SYN_SENT and tcb.segments == 0


@kernel
def is_foreign_syn_ack(st: KernelState, c: int, seg: Seg, side: int) -> bool:
    """Whether a SYN+ACK answers a SYN that was never captured: neither of its numbers is one of incarnation ``c``."""
    flags = seg.flags
    if flags & ACK == 0:
        return False
    conn = conn_at(st, c)
    if conn.previous >= 0:
        return False
    tcb = tcb_at(st, 2 * c + side)
    peer = tcb_at(st, 2 * c + 1 - side)
    if peer.state in (SYN_SENT, SYN_RECEIVED) or is_backscatter(conn, tcb, peer):
        return False
    ack = seg.ack
    if peer.bits & ISS_KNOWN and ack == (peer.iss + 1) & MASK:
        return False
    known = tcb.bits & ISS_KNOWN and peer.bits & ISS_KNOWN
    return known != 0 and seg.seq != tcb.iss


@kernel
def is_backscatter(conn: Conn, tcb: Tcb, peer: Tcb) -> bool:
    """Whether endpoint ``tcb`` has sent SYN+ACKs that answer no SYN of its peer, and nothing came of them.

    Somebody scans or floods it with the peer's address: no life of the 4-tuple, however many they are.
    """
    is_bare = conn.bits & SAW_PLAIN == 0 and (tcb.bits | peer.bits) & FIN_SENT == 0
    return is_bare and peer.syn_frame < 0 and tcb.syn_frame >= 0


@kernel
def fits_attempt(st: KernelState, c: int, seg: Seg, side: int) -> bool:
    """Whether a segment that is no SYN carries the numbers of the new incarnation rather than those of the earlier."""
    flags = seg.flags
    orig = tcb_at(st, 2 * c)
    if side == ORIG:
        ahead = seq_diff(seg.seq, orig.snd_nxt)
        if flags & RST:
            return ahead == 0 and not (flags & ACK == 0 and answers_earlier(st, c, seg))
        return ahead == 0
    if flags & ACK == 0:
        return False
    if flags & (SYN | RST) == 0 and continues_earlier(st, c, seg):
        return False
    behind = seq_diff(seg.ack, orig.iss)
    return 0 < behind <= seq_diff(orig.snd_nxt, orig.iss)


@kernel
def answers_earlier(st: KernelState, c: int, seg: Seg) -> bool:
    """Whether a bare RST of the opener carries the ACK field of the earlier incarnation's last segment towards it."""
    previous = conn_at(st, c).previous
    side = conn_at(st, c).orig_is_b ^ conn_at(st, previous).orig_is_b ^ 1
    return seg.seq == tcb_at(st, 2 * previous + side).last_ack


@kernel
def continues_earlier(st: KernelState, c: int, seg: Seg) -> bool:
    """Whether the answerer goes on exactly where it stood in the earlier incarnation, should both ISNs lie close."""
    previous = conn_at(st, c).previous
    side = conn_at(st, c).orig_is_b ^ conn_at(st, previous).orig_is_b ^ 1
    old = tcb_at(st, 2 * previous + side)
    return old.bits & NXT_KNOWN != 0 and seg.seq == old.snd_nxt


@kernel
def open_incarnation(st: KernelState, seg: Seg, slot: int, direction: int, previous: int) -> int:
    """Begin a new incarnation with a segment."""
    flags = seg.flags
    orig_is_b = direction
    if flags & SYN == 0:
        orig_is_b = direction ^ (1 if looks_like_server(seg) else 0)
    elif flags & ACK:
        orig_is_b = direction ^ 1
    opened = OPENED_HANDSHAKE if flags & SYN else OPENED_MIDSTREAM
    c = begin_incarnation(st, slot, orig_is_b, previous, opened, st.counters[NOW], seg.frame)
    count_opened(st, seg)
    if orig_is_b != direction:
        append_letter(conn_at(st, c), ORIG, HISTORY_FLIPPED)
    if flags & (SYN | RST) == 0:
        first_seen(st, 2 * c, ESTABLISHED, st.counters[NOW], seg.frame)
        first_seen(st, 2 * c + 1, ESTABLISHED, st.counters[NOW], seg.frame)
    return c


@kernel
def begin_incarnation(
    st: KernelState, slot: int, orig_is_b: int, previous: int, opened: int, time: int, frame: int
) -> int:
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
        conn.incarnation = conn_at(st, previous).incarnation + 1
    else:
        conn.tuple_id = counters[NEXT_TUPLE]
        counters[NEXT_TUPLE] += 1
        conn.incarnation = 1
    set_newest_incarnation(st, slot, c)
    enqueue(st, c, counters[NOW] + st.params[LINGER], True)
    return c


@kernel
def looks_like_server(seg: Seg) -> bool:
    """Mid-stream: whether the sender of the first segment is rather the one that was connected to."""
    sport = seg.sport
    dport = seg.dport
    if (sport < 1024) != (dport < 1024):
        return sport < 1024
    if (sport < 32768) != (dport < 32768):
        return sport < 32768
    return False


@kernel
def open_after(st: KernelState, c: int, seg: Seg, slot: int, direction: int) -> int:
    """A SYN that is not one of incarnation ``c``: keep both until it shows which of them the segments belong to."""
    conn = conn_at(st, c)
    earlier = conn.previous
    if earlier >= 0:
        # An attempt that nothing came of makes room for the next one.
        conn.previous = NO_CONNECTION
        set_newest_incarnation(st, slot, earlier)
        attempts = conn.incarnation
        retire(st, c)
        new = open_incarnation(st, seg, slot, direction, earlier)
        conn_at(st, new).incarnation = attempts + 1
        c = earlier
    else:
        new = open_incarnation(st, seg, slot, direction, c)
    for k in range(2 * c, 2 * c + 2):
        expire(st, k)
    syn_meets_earlier(st, c, new, seg, st.counters[NOW])
    supersede_sender(st, c, new, seg.flags & ACK != 0, st.counters[NOW], seg.frame)
    if seg.flags & ACK:
        promote(st, new, seg)
    return new


@kernel
def open_again(st: KernelState, c: int, seg: Seg, slot: int) -> int:
    """The third ACK of a connection with the ISN of ``c``: its SYN had been taken for an old one (see ``same_isn``)."""
    orig, resp = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    time, frame = orig.last_time, orig.last_frame
    forget_old_syn(st, c)
    new = begin_incarnation(st, slot, conn_at(st, c).orig_is_b, c, OPENED_HANDSHAKE, time, frame)
    count_opened(st, seg)
    replay_handshake(st, c, new, seg)
    syn_meets_earlier(st, c, new, seg, time)
    note_replayed(st, new, orig, resp)
    supersede_sender(st, c, new, False, time, frame)
    promote(st, new, seg)
    return new


@kernel
def supersede_sender(st: KernelState, c: int, new: int, is_syn_ack: bool, time: int, frame: int) -> None:
    """A holder of TIME-WAIT that sends a SYN of a new connection, or a SYN+ACK, has left it."""
    conn = conn_at(st, c)
    side = conn_at(st, new).orig_is_b ^ conn.orig_is_b
    k = 2 * c + ((1 - side) if is_syn_ack else side)
    if tcb_at(st, k).state == TIME_WAIT:
        end_span(st, k, time, frame, END_REUSED)
        move(st, k, SUPERSEDED, BASIS_INFERRED, time, frame)


@kernel
def promote(st: KernelState, c: int, seg: Seg) -> None:
    """The new incarnation ``c`` lives: the earlier one is over on both ends and can be let go."""
    conn = conn_at(st, c)
    previous = conn.previous
    now = st.counters[NOW]
    syn_time = now
    syn_frame = seg.frame
    reuse = conn.reuse
    if reuse >= 0:
        if reuse_at(st, reuse).opened_frame < 0:
            note_opened(st, c, seg, now)
        syn_time = reuse_at(st, reuse).last_syn_time
        syn_frame = reuse_at(st, reuse).last_syn_frame
    for k in range(2 * previous, 2 * previous + 2):
        tcb = tcb_at(st, k)
        if tcb.state == TIME_WAIT:
            end_span(st, k, syn_time, syn_frame, END_REOPENED)
        if tcb.state not in (CLOSED, LISTEN):
            move(st, k, SUPERSEDED, BASIS_INFERRED, syn_time, syn_frame)
    conn.previous = NO_CONNECTION
    retire(st, previous)
