"""Frames that are the same segment captured again: ``-i any``, a mirror port of both directions, bridge and veth.

A copy has the same tuple, numbers, flags, length and timestamps, and the same IP identification, and comes within
20 ms; its TTL may be lower, if a router lies between. Where the identification is 0 (IPv6, SYN+ACK and RST of Linux)
the TCP checksum must be the same, too, and only handshake segments and data are taken for copies at once: two pure
ACKs, or bare RSTs, may rightly be identical, and are dropped only in a capture in which more than a fifth of the data
came twice. With an identification the checksum does not count: the sender's hardware fills it in behind the first tap.
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.tcp.machine.capture_clock import is_repeated
from tcptrace_tw.tcp.store.access import seen_at
from tcptrace_tw.tcp.store.records import (
    DATA_DUPLICATES,
    DATA_FRAMES,
    DUPLICATE_FRAME,
    DUPLICATES,
    KEEP_DUPLICATES,
    NOW,
    PLACE_MASK,
)

WITHIN_NS = 20_000_000
"""A copy comes at most this much later."""


@kernel
def is_often_identical(flags):  # type: ignore[no-untyped-def]
    """A pure ACK, or the RST of a host without a socket: one for each of several segments, all alike."""
    return flags & (SYN | FIN | RST) == 0 or flags & (RST | ACK) == RST


@kernel
def place_of(st, h):  # type: ignore[no-untyped-def]
    """Where the fingerprint lies or may lie: one of two neighbours; what is older of the two makes room."""
    first = h & PLACE_MASK
    second = first ^ 1
    if np.int64(seen_at(st, first).fingerprint) == h:
        return first
    if np.int64(seen_at(st, second).fingerprint) == h:
        return second
    return second if np.int64(seen_at(st, second).time) < np.int64(seen_at(st, first).time) else first


@kernel
def is_duplicate_frame(st, seg):  # type: ignore[no-untyped-def]
    """Whether a segment was captured before; remembers its fingerprint otherwise."""
    h = seg.print
    before = seen_at(st, place_of(st, h))
    counters = st.counters
    again_whole = is_repeated(counters, seg)
    is_data = np.int64(seg.payload_len) > 0
    if is_data:
        counters[DATA_FRAMES] += 1
    again = np.int64(before.fingerprint) == h and counters[NOW] - np.int64(before.time) <= WITHIN_NS
    before.fingerprint = h
    before.time = counters[NOW]
    if not again and not again_whole:
        return False
    if again_whole:
        pass
    elif is_data:
        counters[DATA_DUPLICATES] += 1
    elif np.int64(seg.ip_id) == 0 and is_often_identical(np.int64(seg.flags)):
        if counters[DATA_DUPLICATES] * 5 <= counters[DATA_FRAMES]:
            return False
    if st.params[KEEP_DUPLICATES]:
        return False
    if counters[DUPLICATES] == 0:
        counters[DUPLICATE_FRAME] = seg.frame
    counters[DUPLICATES] += 1
    return True
