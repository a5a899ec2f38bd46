"""Frames that are the same segment captured again: ``-i any``, a mirror port of both directions, bridge and veth.

A copy has the same tuple, numbers, flags, length, TCP checksum and timestamps, and the same IP identification, and
comes within 20 ms. Where the identification is 0 (IPv6, SYN+ACK and RST of Linux) only handshake segments and data
are taken for copies at once: two pure ACKs, or bare RSTs, may rightly be identical, and are dropped only in a capture
in which more than a fifth of the data came twice.
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
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
def is_duplicate_frame(st, seg):  # type: ignore[no-untyped-def]
    """Whether a segment was captured before; remembers its fingerprint otherwise."""
    h = seg.print
    before = seen_at(st, h & PLACE_MASK)
    counters = st.counters
    is_data = np.int64(seg.payload_len) > 0
    if is_data:
        counters[DATA_FRAMES] += 1
    again = np.int64(before.fingerprint) == h and counters[NOW] - np.int64(before.time) <= WITHIN_NS
    before.fingerprint = h
    before.time = counters[NOW]
    if not again:
        return False
    if is_data:
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
