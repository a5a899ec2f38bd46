"""Frames that are the same segment captured again: ``-i any``, a mirror port of both directions, bridge and veth.

A copy has the same tuple, numbers, flags, length, TCP checksum and timestamps, and the same IP identification, and
comes within 20 ms. Where the identification is 0 (IPv6, SYN+ACK and RST of Linux) only handshake segments and data
are taken for copies at once: two pure ACKs, or bare RSTs, may rightly be identical, and are dropped only in a capture
in which more than a fifth of the data came twice.
"""

from __future__ import annotations

import numpy as np

from tcptrace_tw.jit import kernel
from tcptrace_tw.spec.columns import ACK, FIN, RST, SYN
from tcptrace_tw.tcp.state import (
    DATA_DUPLICATES,
    DATA_FRAMES,
    DUPLICATE_FRAME,
    DUPLICATE_PLACES,
    DUPLICATES,
    KEEP_DUPLICATES,
    NOW,
)

WITHIN_NS = 20_000_000
"""A copy comes at most this much later."""


@kernel
def stir(h, x):  # type: ignore[no-untyped-def]
    """Mix up to 32 bits into a fingerprint of 62 bits; products stay below 2**63."""
    h = (h ^ x) & 0x3FFFFFFFFFFFFFFF
    low = (h & 0x7FFFFFFF) * 0x5851F42D
    high = (h >> 31) * 0x14057B7E
    return (low ^ (high << 1) ^ (high >> 29)) & 0x3FFFFFFFFFFFFFFF


@kernel
def fingerprint(seg, i, slot, direction):  # type: ignore[no-untyped-def]
    """What two captures of one segment have in common."""
    h = stir((slot << 1) | direction, np.int64(seg.seq[i]))
    h = stir(h, np.int64(seg.ack[i]) << 9 | np.int64(seg.flags[i]))
    h = stir(h, (np.int64(seg.payload_len[i]) << 32) | (np.int64(seg.checksum[i]) << 16) | np.int64(seg.ip_id[i]))
    return stir(h, np.int64(seg.tsval[i]))


@kernel
def is_often_identical(flags):  # type: ignore[no-untyped-def]
    """A pure ACK, or the RST of a host without a socket: one for each of several segments, all alike."""
    return flags & (SYN | FIN | RST) == 0 or flags & (RST | ACK) == RST


@kernel
def is_duplicate_frame(st, seg, i, slot, direction):  # type: ignore[no-untyped-def]
    """Whether segment ``i`` was captured before; remembers it otherwise."""
    h = fingerprint(seg, i, slot, direction)
    place = h & (DUPLICATE_PLACES - 1)
    regs = st.regs
    is_data = np.int64(seg.payload_len[i]) > 0
    if is_data:
        regs[DATA_FRAMES] += 1
    again = st.seen[place] == h and regs[NOW] - st.seen_time[place] <= WITHIN_NS
    st.seen[place] = h
    st.seen_time[place] = regs[NOW]
    if not again:
        return False
    if is_data:
        regs[DATA_DUPLICATES] += 1
    elif np.int64(seg.ip_id[i]) == 0 and is_often_identical(np.int64(seg.flags[i])):
        if regs[DATA_DUPLICATES] * 5 <= regs[DATA_FRAMES]:
            return False
    if st.params[KEEP_DUPLICATES]:
        return False
    if regs[DUPLICATES] == 0:
        regs[DUPLICATE_FRAME] = seg.frame[i]
    regs[DUPLICATES] += 1
    return True
