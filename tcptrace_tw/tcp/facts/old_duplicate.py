"""A segment of the earlier incarnation that comes into the next one, and whether its bytes were taken (RFC 1337).

Most give themselves away: their numbers lie where the earlier incarnation was and this one is not, or their ACK field
does. What became of them the receiver says: an ACK or a SACK block of bytes that this incarnation never sent, or an
ACK or a D-SACK (RFC 2883) that stays below them. Where the numbers fit both incarnations, only the alleged sender can
tell: it goes on from before the segment although the peer has acknowledged it (RFC 9293 3.10.7.4, fifth check).
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_ge, seq_gt, seq_le
from tcptrace_tw.schema.columns import ACK, HAS_SACK, HAS_TS, RST, SYN
from tcptrace_tw.schema.words import ORIG
from tcptrace_tw.tcp.store.access import conn_at, reuse_at, tcb_at

REACH = 65535
"""How far above SND.NXT the earlier incarnation may have sent what the tap did not see."""


@kernel
def note_old_duplicate(st, c, seg, side):  # type: ignore[no-untyped-def]
    """Whether data carries the numbers of the earlier incarnation and not those of this one; what protects the new.

    Called before the segment moves SND.NXT: old data lies below this incarnation's ISN, or jumps ahead of SND.NXT.
    """
    r = np.int64(conn_at(st, c).reuse)
    if r < 0 or np.int64(seg.payload_len) == 0:
        return False
    row = reuse_at(st, r)
    if np.int64(row.opened_frame) < 0 or np.int64(row.previous_connection_id) < 0:
        return False
    t = tcb_at(st, 2 * c + side)
    peer = tcb_at(st, 2 * c + 1 - side)
    by_opener = (side ^ np.int64(conn_at(st, c).orig_is_b)) == np.int64(row.sender_is_b)
    above, reach = old_place(row, by_opener, np.int64(seg.seq))
    if above < 0 or above >= reach + REACH:
        return False
    acks_old, acks_new = acked_of(row, peer, by_opener, seg)
    ahead = seq_diff(np.int64(seg.seq), np.int64(t.snd_nxt))
    is_of_new = seq_diff(np.int64(seg.seq), np.int64(t.iss)) > 0 and ahead <= 0
    if (above < reach and not is_of_new) or (acks_old and not acks_new):
        open_old_duplicate(row, peer, by_opener, side, seg)
        if np.int64(row.old_duplicates) == 1:
            place_in_stream(row, np.int64(t.iss))
        return True
    if acks_old and ahead == 0 and np.int64(row.old_duplicates) == 0:
        suspect(row, side, seg)
    return False


@kernel
def old_place(row, by_opener, seq):  # type: ignore[no-untyped-def]
    """How far a sequence number lies above the old ISN of its sender, and how far the old SND.NXT does."""
    low = np.int64(row.old_sender_iss) if by_opener else np.int64(row.old_responder_iss)
    high = np.int64(row.old_sender_nxt) if by_opener else np.int64(row.old_responder_nxt)
    return seq_diff(seq, low), seq_diff(high, low)


@kernel
def acked_of(row, peer, by_opener, seg):  # type: ignore[no-untyped-def]
    """Whether the ACK field is one of the earlier incarnation, and whether it is one of this."""
    if np.int64(seg.flags) & ACK == 0:
        return False, False
    ack = np.int64(seg.ack)
    above, reach = old_place(row, not by_opener, ack)
    of_new = seq_diff(ack, np.int64(peer.iss))
    return 0 < above <= reach, 0 < of_new <= seq_diff(np.int64(peer.snd_nxt), np.int64(peer.iss))


@kernel
def suspect(row, side, seg):  # type: ignore[no-untyped-def]
    """Keep a segment in doubt, to see what the receiver makes of it."""
    row.suspect_frame = seg.frame
    row.suspect_seq = seg.seq
    row.suspect_end = (np.int64(seg.seq) + np.int64(seg.payload_len)) & MASK
    row.suspect_side = side
    row.suspect_taken_frame = -1


@kernel
def open_old_duplicate(row, peer, by_opener, side, seg):  # type: ignore[no-untyped-def]
    """Write down an old duplicate; only the first one is followed."""
    row.old_duplicates += 1
    if np.int64(row.old_duplicates) > 1:
        return
    seq = np.int64(seg.seq)
    end = (seq + np.int64(seg.payload_len)) & MASK
    stale = False
    if np.int64(seg.options) & HAS_TS and np.int64(row.has_ts):
        limit = np.int64(row.tsval) if by_opener else np.int64(row.responder_tsval)
        stale = seq_diff(np.int64(seg.tsval), limit) < 0
    window = max(np.int64(peer.window_max), 65535)
    is_in_window = seq_gt(end, np.int64(peer.rcv_nxt)) and seq_diff(seq, np.int64(peer.rcv_nxt)) < window
    row.old_duplicate_frame = seg.frame
    row.is_old_duplicate_in_window = 1 if is_in_window else 0
    row.is_old_duplicate_rejected = 1 if stale else 0
    suspect(row, side, seg)


@kernel
def place_in_stream(row, iss):  # type: ignore[no-untyped-def]
    """How many bytes the old duplicate has, and where they lie in the stream that begins after ``iss``."""
    row.old_duplicate_bytes = (np.int64(row.suspect_end) - np.int64(row.suspect_seq)) & MASK
    row.old_duplicate_offset = (np.int64(row.suspect_seq) - iss - 1) & MASK


@kernel
def follow_old_duplicate(st, c, side, seg):  # type: ignore[no-untyped-def]
    """A later segment of an incarnation that may hold bytes of the earlier one."""
    row = reuse_at(st, np.int64(conn_at(st, c).reuse))
    if np.int64(row.completed_frame) < 0 and side == ORIG and is_plain_ack(seg) and np.int64(row.opened_frame) >= 0:
        row.completed_frame = seg.frame
    if np.int64(row.suspect_frame) < 0 or np.int64(seg.flags) & SYN:
        return
    if np.int64(row.suspect_side) == side:
        if np.int64(row.old_duplicates) == 0:
            judge_by_sender(row, np.int64(tcb_at(st, 2 * c + side).iss), seg)
    elif np.int64(seg.flags) & ACK and np.int64(row.suspect_taken_frame) < 0:
        judge_by_receiver(st, c, row, seg)


@kernel
def is_plain_ack(seg):  # type: ignore[no-untyped-def]
    """Whether it acknowledges, and is neither SYN nor RST."""
    return np.int64(seg.flags) & (ACK | SYN | RST) == ACK


@kernel
def judge_by_sender(row, iss, seg):  # type: ignore[no-untyped-def]
    """The alleged sender of a segment whose numbers fit both incarnations: has it sent those bytes?"""
    seq = np.int64(seg.seq)
    end = (seq + np.int64(seg.payload_len)) & MASK
    if seq_ge(end, np.int64(row.suspect_end)):
        row.suspect_frame = -1  # it goes on behind them, or sends them again
    elif seq == np.int64(row.suspect_seq) and np.int64(row.suspect_taken_frame) >= 0:
        row.old_duplicates = 1
        row.old_duplicate_frame = row.suspect_frame
        row.old_duplicate_taken_frame = row.suspect_taken_frame
        row.is_old_duplicate_in_window = 1
        row.is_old_duplicate_disowned = 1
        place_in_stream(row, iss)
        row.suspect_frame = -1


@kernel
def judge_by_receiver(st, c, row, seg):  # type: ignore[no-untyped-def]
    """What the receiver acknowledges, and what not."""
    ack = np.int64(seg.ack)
    start = np.int64(row.suspect_seq)
    end = np.int64(row.suspect_end)
    t = tcb_at(st, 2 * c + np.int64(row.suspect_side))
    is_open = np.int64(row.old_duplicates) > 0 and np.int64(row.old_duplicate_refused_frame) < 0
    if is_open and np.int64(seg.options) & HAS_SACK and names(seg, start, end):
        if seq_le(np.int64(seg.sack_end), ack):  # a D-SACK: not wanted
            refuse_bytes(row, seg)
        else:
            take_bytes(row, seg)
    elif seq_ge(ack, end) and seq_le(start, ack):
        if np.int64(row.old_duplicates) == 0:
            row.suspect_taken_frame = seg.frame
        elif is_open and seq_gt(end, np.int64(t.snd_nxt)) and seq_gt(end, np.int64(t.iss)):
            take_bytes(row, seg)
            t.snd_nxt = end  # nothing is missing in the capture
    elif is_open and ack == start and np.int64(seg.payload_len) == 0:
        refuse_bytes(row, seg)


@kernel
def names(seg, start, end):  # type: ignore[no-untyped-def]
    """Whether the first SACK block contains the bytes in doubt (RFC 2018, section 4; RFC 2883)."""
    return seq_le(np.int64(seg.sack_start), start) and seq_ge(np.int64(seg.sack_end), end)


@kernel
def take_bytes(row, seg):  # type: ignore[no-untyped-def]
    """The receiver has bytes that this incarnation never sent."""
    row.old_duplicate_taken_frame = seg.frame
    row.suspect_frame = -1


@kernel
def refuse_bytes(row, seg):  # type: ignore[no-untyped-def]
    """The receiver answers without having taken the bytes."""
    row.old_duplicate_refused_frame = seg.frame
    row.suspect_frame = -1
