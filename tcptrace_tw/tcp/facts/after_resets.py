"""What follows a RST: its alleged sender goes on, or the receiver challenges it, or sends on into nothing."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import seq_ge, seq_gt
from tcptrace_tw.schema.columns import ACK, FIN, SYN
from tcptrace_tw.tcp.store.access import conn_at, reset_at, tcb_at
from tcptrace_tw.tcp.store.records import NOW

KNOWN_SEGMENTS = 3
"""So many segments of one TTL make it that of the endpoint."""


@kernel
def follow_resets(st, c, side, seg, is_new, last_ack):  # type: ignore[no-untyped-def]
    """A later segment of an incarnation with RSTs: the alleged sender goes on, or the receiver does.

    ``is_new``: it has text or a FIN in sequence. ``last_ack``: the ACK field of its sender before it.
    Returns whether the sender of the last RST goes on.
    """
    goes_on = False
    is_last = True
    s = np.int64(conn_at(st, c).reset)
    while s >= 0:
        row = reset_at(st, s)
        s = np.int64(row.next)
        if np.int64(row.endpoint) != side:
            follow_receiver(st, row, seg, last_ack)
            continue
        if is_last:
            goes_on = is_new or acks_more(row, seg)
            is_last = False
        if np.int64(row.is_stale_ack_answer) == 0:
            follow_sender(row, seg, is_new)
            note_alien(st, c, side, row, seg)
    return goes_on


@kernel
def acks_more(row, seg):  # type: ignore[no-untyped-def]
    """Whether a segment acknowledges more than the RST's sender ever had before; copies and strays do not."""
    return np.int64(seg.flags) & ACK != 0 and seq_gt(np.int64(seg.ack), np.int64(row.most_acked))


@kernel
def follow_sender(row, seg, is_new):  # type: ignore[no-untyped-def]
    """A segment with the RST's source address: does it go on in sequence?"""
    if np.int64(row.continued_frame) < 0 and (is_new or acks_more(row, seg)):
        row.continued_frame = seg.frame
    if np.int64(row.continued_data_frame) < 0 and is_new and np.int64(seg.payload_len) > 0:
        if seq_ge(np.int64(seg.seq), np.int64(row.seq)):
            row.continued_data_frame = seg.frame
    row.vain_segments = 0
    row.vain_ns = -1


@kernel
def note_alien(st, c, side, row, seg):  # type: ignore[no-untyped-def]
    """Text with the RST's source address that neither has a TTL of the endpoint nor follows what that had sent."""
    snd = tcb_at(st, 2 * c + side)
    is_steady = np.int64(snd.segments) > KNOWN_SEGMENTS and np.int64(snd.ttl_low) == np.int64(snd.ttl_high)
    is_apart = np.int64(seg.ttl) != np.int64(snd.ttl_high) and seq_gt(np.int64(seg.seq), np.int64(snd.snd_nxt))
    if np.int64(row.alien_frame) < 0 and np.int64(seg.payload_len) > 0 and is_steady and is_apart:
        row.alien_frame = seg.frame


@kernel
def follow_receiver(st, row, seg, last_ack):  # type: ignore[no-untyped-def]
    """A segment of the RST's receiver: it challenges the RST with an ACK that moves nothing, or sends into nothing."""
    flags = np.int64(seg.flags)
    length = np.int64(seg.payload_len)
    plain = flags & (SYN | FIN) == 0 and length == 0 and np.int64(seg.ack) == last_ack
    if plain and np.int64(row.is_accepted) == 0 and np.int64(row.challenge_frame) < 0:
        row.challenge_frame = seg.frame
    if flags & ACK and seq_gt(np.int64(seg.ack), last_ack):
        row.vain_segments = 0  # something came that was not captured
        row.vain_ns = -1
    elif length > 0:
        row.vain_segments += 1
        row.vain_ns = st.counters[NOW] - np.int64(row.time)


@kernel
def last_reset(st, c, side):  # type: ignore[no-untyped-def]
    """The row of the last RST of endpoint ``side`` that was acceptable, or -1."""
    s = np.int64(conn_at(st, c).reset)
    while s >= 0:
        row = reset_at(st, s)
        if np.int64(row.endpoint) == side and np.int64(row.is_accepted):
            return s
        s = np.int64(row.next)
    return np.int64(-1)


@kernel
def reset_time(st, c, side):  # type: ignore[no-untyped-def]
    """When endpoint ``side`` sent its last RST that was acceptable."""
    s = last_reset(st, c, side)
    return np.int64(reset_at(st, s).time) if s >= 0 else st.counters[NOW]
