"""Frames that are the same segment captured again: ``-i any``, a mirror port of both directions, bridge and veth.

A copy has the same tuple, numbers, flags, length and timestamps, and the same IP identification, and comes within
20 ms; its TTL may be lower, if a router lies between. Where the identification is 0 (IPv6, SYN+ACK and RST of Linux)
the TCP checksum must be the same, too, and only handshake segments and data are taken for copies at once: two pure
ACKs, or bare RSTs, may rightly be identical, and are dropped only where more than a fifth of the data came twice. With
an identification the checksum does not count: the sender's hardware fills it in behind the first tap.

What is remembered and counted for that belongs to the shard of the 4-tuple (``schema.segments``): whether a segment is
a copy does not depend on 4-tuples of other shards, and an archive can be dealt by shards. Where a shard forgets more
than one segment in a thousand that may still be copied, it takes twice as many places.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.schema.columns import ACK, FIN, REPEATED, RST, SYN
from tcptrace_tw.schema.segments import PRINT_PLACES, SHARD_BITS, SHARDS, Seg
from tcptrace_tw.tcp.facts.anomalies import note_first
from tcptrace_tw.tcp.store.access import seen_at
from tcptrace_tw.tcp.store.records import (
    DATA_DUPLICATES,
    DATA_FRAMES,
    DUPLICATE_FRAME,
    DUPLICATES,
    FORGOTTEN,
    KEEP_DUPLICATES,
    MOST_SEEN_MASK,
    NOW,
    SEEN_MASK,
    SEEN_SINCE,
    SHARD_WORDS,
    WAYS,
    KernelState,
)

WITHIN_NS = 20_000_000
"""A copy comes at most this much later."""

FEW = 1024
"""One segment of so many may be forgotten before that: room for all of them would be more than caches hold."""


@kernel
def is_often_identical(flags: int) -> bool:
    """A pure ACK, or the RST of a host without a socket: one for each of several segments, all alike."""
    return flags & (SYN | FIN | RST) == 0 or flags & (RST | ACK) == RST


@kernel
def shard_of_print(h: int) -> int:
    """Where the words of the shard begin that a fingerprint belongs to."""
    return (h & (SHARDS - 1)) * SHARD_WORDS


@kernel
def first_place(st: KernelState, h: int) -> int:
    """The first of the places where a fingerprint lies or may lie."""
    return (h & (PRINT_PLACES - 1) & st.shards[shard_of_print(h) + SEEN_MASK]) * WAYS


@kernel
def place_of(st: KernelState, h: int) -> int:
    """Where a fingerprint lies, or may lie: the oldest of its places makes room, unless it may still be asked for."""
    while True:
        first = first_place(st, h)
        place, oldest = first, seen_at(st, first).time
        for at in range(first, first + WAYS):
            before = seen_at(st, at)
            if before.fingerprint == h:
                return at
            if before.time < oldest:
                place, oldest = at, before.time
        is_free = seen_at(st, place).fingerprint == 0 or st.counters[NOW] - oldest > WITHIN_NS
        if is_free or not is_too_full(st, shard_of_print(h)) or not spread(st, h & (SHARDS - 1)):
            return place


@kernel
def is_too_full(st: KernelState, shard: int) -> bool:
    """Whether a shard, which is about to forget a segment too early, has done so too often."""
    st.shards[shard + FORGOTTEN] += 1
    return st.shards[shard + FORGOTTEN] * FEW > st.shards[shard + SEEN_SINCE]


@kernel
def spread(st: KernelState, shard: int) -> bool:
    """Let a shard use twice as many places; returns whether it did."""
    mask = st.shards[shard * SHARD_WORDS + SEEN_MASK]
    if mask >= MOST_SEEN_MASK:
        return False
    more = mask + 1
    st.shards[shard * SHARD_WORDS + SEEN_MASK] = mask | more
    st.shards[shard * SHARD_WORDS + SEEN_SINCE] = 0
    st.shards[shard * SHARD_WORDS + FORGOTTEN] = 0
    for place in range(shard, more, 1 << SHARD_BITS):
        for way in range(WAYS):
            old = seen_at(st, place * WAYS + way)
            if old.fingerprint & more:
                new = seen_at(st, (place | more) * WAYS + way)
                new.fingerprint = old.fingerprint
                new.time = old.time
                old.fingerprint = 0
                old.time = 0
    return True


@kernel
def is_duplicate_frame(st: KernelState, seg: Seg) -> bool:
    """Whether a segment was captured before; remembers its fingerprint otherwise."""
    h = seg.print
    before = seen_at(st, place_of(st, h))
    shards, shard = st.shards, shard_of_print(h)
    shards[shard + SEEN_SINCE] += 1
    again_whole = seg.options & REPEATED != 0
    is_data = seg.payload_len > 0
    if is_data:
        shards[shard + DATA_FRAMES] += 1
    again = before.fingerprint == h and st.counters[NOW] - before.time <= WITHIN_NS
    before.fingerprint = h
    before.time = st.counters[NOW]
    if not again and not again_whole:
        return False
    if again_whole:
        pass
    elif is_data:
        shards[shard + DATA_DUPLICATES] += 1
    elif seg.ip_id == 0 and is_often_identical(seg.flags):
        if shards[shard + DATA_DUPLICATES] * 5 <= shards[shard + DATA_FRAMES]:
            return False
    if st.params[KEEP_DUPLICATES]:
        return False
    note_first(st.counters, DUPLICATE_FRAME, seg.frame)
    st.counters[DUPLICATES] += 1
    return True
