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
from tcptrace_tw.kernels.marks import entry, inlined, kernel
from tcptrace_tw.kernels.wide_records import Row
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.segments import BATCH_KIND, SHARDS, Seg, Segments, segment_at, shard_of

SRC_HI, SRC_LO, DST_HI, DST_LO, SCOPE = range(5)
"""Columns of eight bytes: only there where a block has a segment outside of IPv4, or in a VLAN or tunnel."""

TIME, FRAME, SRC, DST, SEQ, ACK_NUMBER, TSVAL, TSECR, LENGTH, SACK_START, SACK_END, TIME_HIGH = range(12)
"""Columns of four bytes. Time and frame are distances from the segment before; that of the time has an upper half, too,
for pauses of more than 4.3 s. ``SRC`` and ``DST`` are the lower halves of the addresses.
"""

SPORT, DPORT, FLAGS, WINDOW, IP_ID, OPTIONS, MSS, CHECKSUM = range(8)
"""Columns of two bytes."""

WSCALE, TTL = range(2)
"""Columns of one byte."""

EIGHT, FOUR, TWO, ONE = 5, 12, 8, 2
"""How many columns there are of each width."""

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


def room_for(parts: int, size: int) -> Dealt:
    """Room for ``size`` segments of each part."""
    return Dealt(
        parts_of_shards(parts), zeros(parts, np.int64), zeros((parts, 2), np.int64), zeros((parts, 2), np.int64),
        zeros(parts, np.int64), zeros((parts, EIGHT, size), np.int64), zeros((parts, FOUR, size), np.uint32),
        zeros((parts, TWO, size), np.uint16), zeros((parts, ONE, size), np.uint8),
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
    return seg.frame - dealt.last[part, 1] <= LOW


@kernel
def put(dealt: Any, part: int, seg: Seg, clock: int) -> None:
    """Add a segment to the block of its part."""
    n = dealt.fill[part]
    dealt.fill[part] = n + 1
    four, two, one = dealt.four[part], dealt.two[part], dealt.one[part]
    since = clock - dealt.last[part, 0]
    four[TIME, n] = since & LOW
    four[TIME_HIGH, n] = since >> 32
    four[FRAME, n] = seg.frame - dealt.last[part, 1]
    dealt.last[part, 0] = clock
    dealt.last[part, 1] = seg.frame
    four[SRC, n] = seg.src_lo & LOW
    four[DST, n] = seg.dst_lo & LOW
    four[SEQ, n] = seg.seq
    four[ACK_NUMBER, n] = seg.ack
    four[TSVAL, n] = seg.tsval
    four[TSECR, n] = seg.tsecr
    four[LENGTH, n] = seg.payload_len & LOW
    four[SACK_START, n] = seg.sack_start
    four[SACK_END, n] = seg.sack_end
    two[SPORT, n] = seg.sport
    two[DPORT, n] = seg.dport
    two[FLAGS, n] = seg.flags
    two[WINDOW, n] = seg.window
    two[IP_ID, n] = seg.ip_id
    two[OPTIONS, n] = seg.options
    two[MSS, n] = seg.mss
    two[CHECKSUM, n] = seg.checksum
    one[WSCALE, n] = seg.wscale
    one[TTL, n] = seg.ttl
    if dealt.is_wide[part]:
        eight = dealt.eight[part]
        eight[SRC_HI, n] = seg.src_hi
        eight[SRC_LO, n] = seg.src_lo
        eight[DST_HI, n] = seg.dst_hi
        eight[DST_LO, n] = seg.dst_lo
        eight[SCOPE, n] = seg.scope


class Places(NamedTuple):
    """Where the columns of a block begin, by width, as indices into arrays of items of that width."""

    eight: Any
    four: Any
    two: Any
    one: Any


PLACES_KIND = bundle(Places, eight=_INTS, four=_INTS, two=_INTS, one=_INTS)


@entry(
    BATCH_KIND, INTEGER, INTEGER, _INTS, BOOLEAN, PLACES_KIND, Array(np.int64), Array(np.uint32), Array(np.uint16),
    Array(np.uint8),
)  # fmt: skip
def take_up(
    batch: Segments, start: int, size: int, first: Any, is_wide: bool, at: Places, eight: Any, four: Any, two: Any,
    one: Any,
) -> None:  # fmt: skip
    """Make segments of the ``size`` rows of a block, whose distances begin from ``first``: from row ``start`` on.

    ``eight`` to ``one`` are the same memory.
    """
    time, frame = first[0], first[1]
    for i in range(size):
        row = batch[start + i]
        time += np.int64(four[at.four[TIME_HIGH] + i]) << 32 | np.int64(four[at.four[TIME] + i])
        frame += np.int64(four[at.four[FRAME] + i])
        row.time = time
        row.frame = frame
        take_up_ends(row, i, is_wide, at, eight, four)
        row.seq = four[at.four[SEQ] + i]
        row.ack = four[at.four[ACK_NUMBER] + i]
        row.tsval = four[at.four[TSVAL] + i]
        row.tsecr = four[at.four[TSECR] + i]
        length = np.int64(four[at.four[LENGTH] + i])
        row.payload_len = length - (length >> 31 << 32)
        row.sack_start = four[at.four[SACK_START] + i]
        row.sack_end = four[at.four[SACK_END] + i]
        row.sport = two[at.two[SPORT] + i]
        row.dport = two[at.two[DPORT] + i]
        row.flags = two[at.two[FLAGS] + i]
        row.window = two[at.two[WINDOW] + i]
        row.ip_id = two[at.two[IP_ID] + i]
        row.options = two[at.two[OPTIONS] + i]
        row.mss = two[at.two[MSS] + i]
        row.checksum = two[at.two[CHECKSUM] + i]
        row.wscale = one[at.one[WSCALE] + i]
        row.ttl = one[at.one[TTL] + i]


@inlined
def take_up_ends(row: Row, i: int, is_wide: bool, at: Any, eight: Any, four: Any) -> None:
    """The addresses of a segment, and the VLAN or tunnel."""
    if is_wide:
        row.src_hi = eight[at.eight[SRC_HI] + i]
        row.src_lo = eight[at.eight[SRC_LO] + i]
        row.dst_hi = eight[at.eight[DST_HI] + i]
        row.dst_lo = eight[at.eight[DST_LO] + i]
        row.scope = eight[at.eight[SCOPE] + i]
    else:
        row.src_hi = 0
        row.src_lo = IPV4_MAPPED << 32 | np.int64(four[at.four[SRC] + i])
        row.dst_hi = 0
        row.dst_lo = IPV4_MAPPED << 32 | np.int64(four[at.four[DST] + i])
        row.scope = 0


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


@entry(Array(np.int64, layout="A"), _INTS, _INTS)
def order_by_connection(connections: Any, ends: Any, order: Any) -> None:
    """The order that sorts rows by their ``connections``; rows of one keep theirs.

    ``ends``: zeros, one for each connection from 0; they are left as the places where the rows of a connection end.
    """
    for i in range(connections.size):
        ends[connections[i]] += 1
    total = 0
    for c in range(ends.size):
        count = ends[c]
        ends[c] = total
        total += count
    for i in range(connections.size):
        c = connections[i]
        order[ends[c]] = i
        ends[c] += 1


def parts_of_shards(parts: int) -> Any:
    """The part of each shard: parts get ranges of shards, as even as can be."""
    return np.arange(SHARDS) * parts // SHARDS
