"""Deals segments to parts by the shard of their 4-tuple, and writes them down column by column; and the way back.

A part gets whole shards, so whatever belongs to one 4-tuple comes to one part, in the order of the file. The time of a
segment is replaced by the clock of its file, which never goes back (see ``capture.merge``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcptrace_tw.flow import is_swapped, lesser
from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.kinds import BOOLEAN, INTEGER, Array, bundle
from tcptrace_tw.kernels.marks import entry, kernel
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.segments import BATCH_KIND, SHARDS, Seg, Segments, segment_at, shard_of

FOUR = ("time", "frame", "src_lo", "dst_lo", "seq", "ack", "tsval", "tsecr", "payload_len", "sack_start", "sack_end")
TWO = ("sport", "dport", "flags", "window", "ip_id", "options", "mss", "checksum")
ONE = ("wscale", "ttl")
EIGHT = ("src_hi", "src_lo", "dst_hi", "dst_lo", "scope")
"""Columns by their width. Time and frame are distances from the segment before; those of eight bytes are only there
where a block has a segment outside of IPv4, or in a VLAN or tunnel: it has the lower halves of the addresses otherwise.
"""

IPV4_MAPPED = 0xFFFF
LOW = 0xFFFFFFFF

NEXT, LATEST, FIRST_TIME, FIRST_ACK, FULL, DEALT = range(6)
"""Words that the kernel keeps: the next segment, the clock, when it began, the first plain ACK, the part to flush."""

NOTHING = -1


class Dealt(NamedTuple):
    """Room for the segments of each part, by width: part, column, place. ``fill``: how many there are of each.

    ``first``: time and frame that the distances of a block begin from; ``last``: those of its last segment.
    ``is_wide``: whether the block of a part has columns of eight bytes.
    """

    part_of: Any
    fill: Any
    first: Any
    last: Any
    is_wide: Any
    eight: Any
    four: Any
    two: Any
    one: Any


_INTS = Array(np.int64)
DEALT_KIND = bundle(
    Dealt, part_of=_INTS, fill=_INTS, first=Array(np.int64, ndim=2), last=Array(np.int64, ndim=2), is_wide=_INTS,
    eight=Array(np.int64, ndim=3), four=Array(np.uint32, ndim=3), two=Array(np.uint16, ndim=3),
    one=Array(np.uint8, ndim=3),
)  # fmt: skip


def room_for(part_of: Any, parts: int, size: int) -> Dealt:
    """Room for ``size`` segments of each part."""
    return Dealt(
        np.asarray(part_of, np.int64), zeros(parts, np.int64), zeros((parts, 2), np.int64), zeros((parts, 2), np.int64),
        zeros(parts, np.int64), zeros((parts, len(EIGHT), size), np.int64), zeros((parts, len(FOUR), size), np.uint32),
        zeros((parts, len(TWO), size), np.uint16), zeros((parts, len(ONE), size), np.uint8),
    )  # fmt: skip


@entry(BATCH_KIND, INTEGER, _INTS, DEALT_KIND)
def deal(batch: Segments, size: int, words: Any, dealt: Any) -> None:
    """Deal the segments of a batch from ``words[NEXT]`` on; ``words[FULL]`` is the part that must be flushed first."""
    words[FULL] = NOTHING
    for i in range(words[NEXT], size):
        seg = segment_at(batch, i)
        swapped = is_swapped(seg)
        sport, dport = seg.sport, seg.dport
        a_lo, b_lo = lesser(seg.src_lo, seg.dst_lo, swapped), lesser(seg.dst_lo, seg.src_lo, swapped)
        a_hi, b_hi = lesser(seg.src_hi, seg.dst_hi, swapped), lesser(seg.dst_hi, seg.src_hi, swapped)
        ports = lesser(sport, dport, swapped) << 16 | lesser(dport, sport, swapped)
        part = dealt.part_of[shard_of(a_lo, b_lo, ports, a_hi, b_hi, seg.scope)]
        clock = max(words[LATEST], seg.time)
        if not has_room(dealt, part, seg, clock):
            words[NEXT] = i
            words[FULL] = part
            return
        words[LATEST] = clock
        note_clock(words, seg, clock)
        put(dealt, part, seg, clock)
    words[NEXT] = size


@kernel
def note_clock(words: Any, seg: Seg, clock: int) -> None:
    """When the file begins, and when it shows the first ACK that carries nothing else."""
    words[DEALT] += 1
    if words[FIRST_TIME] < 0:
        words[FIRST_TIME] = clock
    if words[FIRST_ACK] < 0 and seg.payload_len == 0 and seg.flags & (SYN | FIN | RST | ACK) == ACK:
        words[FIRST_ACK] = clock


@kernel
def is_plain(seg: Seg) -> bool:
    """Whether both addresses are of IPv4, outside of VLANs and tunnels."""
    high = seg.src_hi | seg.dst_hi | seg.scope
    return high == 0 and seg.src_lo >> 32 == IPV4_MAPPED and seg.dst_lo >> 32 == IPV4_MAPPED


@kernel
def has_room(dealt: Any, part: int, seg: Seg, clock: int) -> bool:
    """Whether a segment can be added to the block of its part; a block that is empty takes any."""
    n = dealt.fill[part]
    if n == 0:
        if not is_plain(seg):
            dealt.is_wide[part] = 1
        dealt.first[part, 0] = clock
        dealt.first[part, 1] = seg.frame
        dealt.last[part, 0] = clock
        dealt.last[part, 1] = seg.frame
        return True
    if n == dealt.four.shape[2] or (dealt.is_wide[part] == 0 and not is_plain(seg)):
        return False
    return clock - dealt.last[part, 0] <= LOW and seg.frame - dealt.last[part, 1] <= LOW


@kernel
def put(dealt: Any, part: int, seg: Seg, clock: int) -> None:
    """Add a segment to the block of its part."""
    n = dealt.fill[part]
    dealt.fill[part] = n + 1
    four, two, one = dealt.four[part], dealt.two[part], dealt.one[part]
    four[0, n] = clock - dealt.last[part, 0]
    four[1, n] = seg.frame - dealt.last[part, 1]
    dealt.last[part, 0] = clock
    dealt.last[part, 1] = seg.frame
    four[2, n] = seg.src_lo & LOW
    four[3, n] = seg.dst_lo & LOW
    four[4, n] = seg.seq
    four[5, n] = seg.ack
    four[6, n] = seg.tsval
    four[7, n] = seg.tsecr
    four[8, n] = seg.payload_len & LOW
    four[9, n] = seg.sack_start
    four[10, n] = seg.sack_end
    two[0, n] = seg.sport
    two[1, n] = seg.dport
    two[2, n] = seg.flags
    two[3, n] = seg.window
    two[4, n] = seg.ip_id
    two[5, n] = seg.options
    two[6, n] = seg.mss
    two[7, n] = seg.checksum
    one[0, n] = seg.wscale
    one[1, n] = seg.ttl
    if dealt.is_wide[part]:
        eight = dealt.eight[part]
        eight[0, n] = seg.src_hi
        eight[1, n] = seg.src_lo
        eight[2, n] = seg.dst_hi
        eight[3, n] = seg.dst_lo
        eight[4, n] = seg.scope


@entry(
    BATCH_KIND, INTEGER, _INTS, BOOLEAN, Array(np.int64, ndim=2), Array(np.uint32, ndim=2), Array(np.uint16, ndim=2),
    Array(np.uint8, ndim=2),
)  # fmt: skip
def take_up(batch: Segments, size: int, first: Any, is_wide: bool, eight: Any, four: Any, two: Any, one: Any) -> None:
    """Make segments of the ``size`` columns of a block, whose distances begin from ``first``."""
    time, frame = first[0], first[1]
    for i in range(size):
        row = batch[i]
        time += np.int64(four[0, i])
        frame += np.int64(four[1, i])
        row.time = time
        row.frame = frame
        if is_wide:
            row.src_hi = eight[0, i]
            row.src_lo = eight[1, i]
            row.dst_hi = eight[2, i]
            row.dst_lo = eight[3, i]
            row.scope = eight[4, i]
        else:
            row.src_hi = 0
            row.src_lo = IPV4_MAPPED << 32 | np.int64(four[2, i])
            row.dst_hi = 0
            row.dst_lo = IPV4_MAPPED << 32 | np.int64(four[3, i])
            row.scope = 0
        row.seq = four[4, i]
        row.ack = four[5, i]
        row.tsval = four[6, i]
        row.tsecr = four[7, i]
        length = np.int64(four[8, i])
        row.payload_len = length - (length >> 31 << 32)
        row.sack_start = four[9, i]
        row.sack_end = four[10, i]
        row.sport = two[0, i]
        row.dport = two[1, i]
        row.flags = two[2, i]
        row.window = two[3, i]
        row.ip_id = two[4, i]
        row.options = two[5, i]
        row.mss = two[6, i]
        row.checksum = two[7, i]
        row.wscale = one[0, i]
        row.ttl = one[1, i]


@entry(BATCH_KIND, INTEGER, INTEGER, Array(np.int64, ndim=2))
def note_births(batch: Segments, size: int, known: int, births: Any) -> int:
    """Put down clock and frame of the segments that opened the connections above ``known``; returns the last of them.

    Connections are numbered in the order in which they are opened, each by its own segment.
    """
    found = 0
    for i in range(size):
        seg = segment_at(batch, i)
        if seg.connection_id > known + found:
            births[found, 0] = seg.time
            births[found, 1] = seg.frame
            found += 1
    return known + found


def parts_of_shards(parts: int) -> Any:
    """The part of each shard: parts get ranges of shards, as even as can be."""
    return np.arange(SHARDS) * parts // SHARDS
