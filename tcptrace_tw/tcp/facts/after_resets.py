"""What follows a RST: its alleged sender goes on, or the receiver challenges it, or sends on into nothing."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import seq_ge, seq_gt
from tcptrace_tw.schema.columns import ACK, FIN, SYN
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.tcp.store.access import conn_at, reset_at, tcb_at
from tcptrace_tw.tcp.store.records import NOW, KernelState, Row

KNOWN_SEGMENTS = 3
"""So many segments of one TTL make it that of the endpoint."""


@kernel
def follow_resets(st: KernelState, c: int, side: int, seg: Seg, is_new: bool, last_ack: int) -> int:
    """A later segment of an incarnation with RSTs: the alleged sender goes on, or the receiver does.

    ``is_new``: it has text or a FIN in sequence. ``last_ack``: the ACK field of its sender before it.
    Returns whether the sender of the last RST goes on.
    """
    goes_on = False
    is_last = True
    at = conn_at(st, c).reset
    while at >= 0:
        row = reset_at(st, at)
        at = row.next
        if row.endpoint != side:
            follow_receiver(st, row, seg, last_ack)
            continue
        if is_last:
            goes_on = is_new or acks_more(row, seg)
            is_last = False
        if row.is_stale_ack_answer == 0:
            follow_sender(row, seg, is_new)
            note_alien(st, c, side, row, seg)
    return goes_on


@kernel
def acks_more(row: Row, seg: Seg) -> bool:
    """Whether a segment acknowledges more than the RST's sender ever had before; copies and strays do not."""
    return seg.flags & ACK != 0 and seq_gt(seg.ack, row.most_acked)


@kernel
def follow_sender(row: Row, seg: Seg, is_new: bool) -> None:
    """A segment with the RST's source address: does it go on in sequence?"""
    if row.continued_frame < 0 and (is_new or acks_more(row, seg)):
        row.continued_frame = seg.frame
    if row.continued_data_frame < 0 and is_new and seg.payload_len > 0:
        if seq_ge(seg.seq, row.seq):
            row.continued_data_frame = seg.frame
    row.vain_segments = 0
    row.vain_ns = -1


@kernel
def note_alien(st: KernelState, c: int, side: int, row: Row, seg: Seg) -> None:
    """Text with the RST's source address that neither has a TTL of the endpoint nor follows what that had sent."""
    snd = tcb_at(st, 2 * c + side)
    is_steady = snd.segments > KNOWN_SEGMENTS and snd.ttl_low == snd.ttl_high
    is_apart = seg.ttl != snd.ttl_high and seq_gt(seg.seq, snd.snd_nxt)
    if row.alien_frame < 0 and seg.payload_len > 0 and is_steady and is_apart:
        row.alien_frame = seg.frame


@kernel
def follow_receiver(st: KernelState, row: Row, seg: Seg, last_ack: int) -> None:
    """A segment of the RST's receiver: it challenges the RST with an ACK that moves nothing, or sends into nothing."""
    flags = seg.flags
    length = seg.payload_len
    plain = flags & (SYN | FIN) == 0 and length == 0 and seg.ack == last_ack
    if plain and row.is_accepted == 0 and row.challenge_frame < 0:
        row.challenge_frame = seg.frame
    if flags & ACK and seq_gt(seg.ack, last_ack):
        row.vain_segments = 0  # something came that was not captured
        row.vain_ns = -1
    elif length > 0:
        row.vain_segments += 1
        row.vain_ns = st.counters[NOW] - row.time


@kernel
def last_reset(st: KernelState, c: int, side: int) -> int:
    """The row of the last RST of endpoint ``side`` that was acceptable, or -1."""
    at = conn_at(st, c).reset
    while at >= 0:
        row = reset_at(st, at)
        if row.endpoint == side and row.is_accepted:
            return at
        at = row.next
    return -1


@kernel
def reset_time(st: KernelState, c: int, side: int) -> int:
    """When endpoint ``side`` sent its last RST that was acceptable."""
    at = last_reset(st, c, side)
    return reset_at(st, at).time if at >= 0 else st.counters[NOW]
