"""A segment of the earlier incarnation that comes into the next one, and whether its bytes were taken (RFC 1337).

Most give themselves away: their numbers lie where the earlier incarnation was and this one is not, or their ACK field
does. What became of them the receiver says: an ACK or a SACK block of bytes that this incarnation never sent, or an
ACK or a D-SACK (RFC 2883) that stays below them. Where the numbers fit both incarnations, only the alleged sender can
tell: it goes on from before the segment although the peer has acknowledged it (RFC 9293 3.10.7.4, fifth check).
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff, seq_ge, seq_gt, seq_le
from tcptrace_tw.schema.columns import ACK, HAS_SACK, HAS_TS, RST, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.schema.words import ORIG
from tcptrace_tw.tcp.store.access import conn_at, reuse_at, tcb_at
from tcptrace_tw.tcp.store.records import KernelState, Row, Tcb

REACH = 65535
"""How far above SND.NXT the earlier incarnation may have sent what the tap did not see."""


@kernel
def note_old_duplicate(st: KernelState, c: int, seg: Seg, side: int) -> bool:
    """Whether data carries the numbers of the earlier incarnation and not those of this one; what protects the new.

    Called before the segment moves SND.NXT: old data lies below this incarnation's ISN, or jumps ahead of SND.NXT.
    """
    reuse = conn_at(st, c).reuse
    if reuse < 0 or seg.payload_len == 0:
        return False
    row = reuse_at(st, reuse)
    if row.opened_frame < 0 or row.previous_connection_id < 0:
        return False
    tcb = tcb_at(st, 2 * c + side)
    peer = tcb_at(st, 2 * c + 1 - side)
    by_opener = (side ^ conn_at(st, c).orig_is_b) == row.sender_is_b
    above, reach = old_place(row, by_opener, seg.seq)
    if above < 0 or above >= reach + REACH:
        return False
    acks_old, acks_new = acked_of(row, peer, by_opener, seg)
    ahead = seq_diff(seg.seq, tcb.snd_nxt)
    is_of_new = seq_diff(seg.seq, tcb.iss) > 0 and ahead <= 0
    if (above < reach and not is_of_new) or (acks_old and not acks_new):
        open_old_duplicate(row, peer, by_opener, side, seg)
        if row.old_duplicates == 1:
            place_in_stream(row, tcb.iss)
        return True
    if acks_old and ahead == 0 and row.old_duplicates == 0:
        suspect(row, side, seg)
    return False


@kernel
def old_place(row: Row, by_opener: bool, seq: int) -> tuple[int, int]:
    """How far a sequence number lies above the old ISN of its sender, and how far the old SND.NXT does."""
    low = row.old_sender_iss if by_opener else row.old_responder_iss
    high = row.old_sender_nxt if by_opener else row.old_responder_nxt
    return seq_diff(seq, low), seq_diff(high, low)


@kernel
def acked_of(row: Row, peer: Tcb, by_opener: bool, seg: Seg) -> tuple[int, int]:
    """Whether the ACK field is one of the earlier incarnation, and whether it is one of this."""
    if seg.flags & ACK == 0:
        return False, False
    ack = seg.ack
    above, reach = old_place(row, not by_opener, ack)
    of_new = seq_diff(ack, peer.iss)
    return 0 < above <= reach, 0 < of_new <= seq_diff(peer.snd_nxt, peer.iss)


@kernel
def suspect(row: Row, side: int, seg: Seg) -> None:
    """Keep a segment in doubt, to see what the receiver makes of it."""
    row.suspect_frame = seg.frame
    row.suspect_seq = seg.seq
    row.suspect_end = (seg.seq + seg.payload_len) & MASK
    row.suspect_side = side
    row.suspect_taken_frame = -1


@kernel
def open_old_duplicate(row: Row, peer: Tcb, by_opener: bool, side: int, seg: Seg) -> None:
    """Write down an old duplicate; only the first one is followed."""
    row.old_duplicates += 1
    if row.old_duplicates > 1:
        return
    seq = seg.seq
    end = (seq + seg.payload_len) & MASK
    stale = False
    if seg.options & HAS_TS and row.has_ts:
        limit = row.tsval if by_opener else row.responder_tsval
        stale = seq_diff(seg.tsval, limit) < 0
    window = max(peer.window_max, 65535)
    is_in_window = seq_gt(end, peer.rcv_nxt) and seq_diff(seq, peer.rcv_nxt) < window
    row.old_duplicate_frame = seg.frame
    row.is_old_duplicate_in_window = 1 if is_in_window else 0
    row.is_old_duplicate_rejected = 1 if stale else 0
    suspect(row, side, seg)


@kernel
def place_in_stream(row: Row, iss: int) -> None:
    """How many bytes the old duplicate has, and where they lie in the stream that begins after ``iss``."""
    row.old_duplicate_bytes = (row.suspect_end - row.suspect_seq) & MASK
    row.old_duplicate_offset = (row.suspect_seq - iss - 1) & MASK


@kernel
def follow_old_duplicate(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """A later segment of an incarnation that may hold bytes of the earlier one."""
    row = reuse_at(st, conn_at(st, c).reuse)
    if row.completed_frame < 0 and side == ORIG and is_plain_ack(seg) and row.opened_frame >= 0:
        row.completed_frame = seg.frame
    if row.suspect_frame < 0 or seg.flags & SYN:
        return
    if row.suspect_side == side:
        if row.old_duplicates == 0:
            judge_by_sender(row, tcb_at(st, 2 * c + side).iss, seg)
    elif seg.flags & ACK and row.suspect_taken_frame < 0:
        judge_by_receiver(st, c, row, seg)


@kernel
def is_plain_ack(seg: Seg) -> bool:
    """Whether it acknowledges, and is neither SYN nor RST."""
    return seg.flags & (ACK | SYN | RST) == ACK


@kernel
def judge_by_sender(row: Row, iss: int, seg: Seg) -> None:
    """The alleged sender of a segment whose numbers fit both incarnations: has it sent those bytes?"""
    seq = seg.seq
    end = (seq + seg.payload_len) & MASK
    if seq_ge(end, row.suspect_end):
        row.suspect_frame = -1  # it goes on behind them, or sends them again
    elif seq == row.suspect_seq and row.suspect_taken_frame >= 0:
        row.old_duplicates = 1
        row.old_duplicate_frame = row.suspect_frame
        row.old_duplicate_taken_frame = row.suspect_taken_frame
        row.is_old_duplicate_in_window = 1
        row.is_old_duplicate_disowned = 1
        place_in_stream(row, iss)
        row.suspect_frame = -1


@kernel
def judge_by_receiver(st: KernelState, c: int, row: Row, seg: Seg) -> None:
    """What the receiver acknowledges, and what not."""
    ack = seg.ack
    start = row.suspect_seq
    end = row.suspect_end
    tcb = tcb_at(st, 2 * c + row.suspect_side)
    is_open = row.old_duplicates > 0 and row.old_duplicate_refused_frame < 0
    if is_open and seg.options & HAS_SACK and names(seg, start, end):
        if seq_le(seg.sack_end, ack):  # a D-SACK: not wanted
            refuse_bytes(row, seg)
        else:
            take_bytes(row, seg)
    elif seq_ge(ack, end) and seq_le(start, ack):
        if row.old_duplicates == 0:
            row.suspect_taken_frame = seg.frame
        elif is_open and seq_gt(end, tcb.snd_nxt) and seq_gt(end, tcb.iss):
            take_bytes(row, seg)
            tcb.snd_nxt = end  # nothing is missing in the capture
    elif is_open and ack == start and seg.payload_len == 0:
        refuse_bytes(row, seg)


@kernel
def names(seg: Seg, start: int, end: int) -> bool:
    """Whether the first SACK block contains the bytes in doubt (RFC 2018, section 4; RFC 2883)."""
    return seq_le(seg.sack_start, start) and seq_ge(seg.sack_end, end)


@kernel
def take_bytes(row: Row, seg: Seg) -> None:
    """The receiver has bytes that this incarnation never sent."""
    row.old_duplicate_taken_frame = seg.frame
    row.suspect_frame = -1


@kernel
def refuse_bytes(row: Row, seg: Seg) -> None:
    """The receiver answers without having taken the bytes."""
    row.old_duplicate_refused_frame = seg.frame
    row.suspect_frame = -1
