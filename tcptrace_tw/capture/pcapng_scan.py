"""The scan of a pcapng file: a kernel that notes packets, and passes over blocks that nobody reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcptrace_tw.capture.byte_reader import OCTETS_KIND, Octets, file_u16, file_u32
from tcptrace_tw.capture.frames import BLOCK, DAMAGED, DRY, FRAMES_KIND, FULL, WIRELEN_MAX
from tcptrace_tw.capture.interfaces import (
    INTERFACE,
    INTERFACES_MAX,
    OLD_PACKET,
    PACKET,
    ROW,
    SECTION,
    SIMPLE_PACKET,
    STATISTICS,
    time_of,
)
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import BOOLEAN, INTEGER, Array
from tcptrace_tw.kernels.marks import entry, inlined

BLOCK_MIN = 12
HEAD, SIMPLE_HEAD = 28, 12
"""Bytes of a block before its packet."""
PASSED = 4
"""Beside the ways in which a scan ends (``frames``): the block is none that is read."""
NOT_COUNTED = 0xFFFF
"""In the obsolete Packet Block: how many frames were lost before it is not known."""
BLOCK_MAX = 1 << 24
"""A longer packet, section, interface or statistics block is damage."""


@inlined
def look_at(data: Octets, at: int, end: int, is_big: bool, known: int) -> tuple[int, int, int]:
    """What to do with the block at ``at``, its type, and its length.

    ``FULL``: take its packet; ``PASSED``: pass over it; else it ends the scan.
    """
    if at + BLOCK_MIN > end:
        return DRY, 0, 0
    kind = file_u32(data, at, is_big)
    if kind == SECTION:
        return BLOCK, kind, 0
    length = file_u32(data, at + 4, is_big)
    step = (length + 3) & ~3
    if kind not in (PACKET, SIMPLE_PACKET, OLD_PACKET):
        is_read = kind == STATISTICS or (kind == INTERFACE and known < INTERFACES_MAX)
        return BLOCK if is_read or length < BLOCK_MIN or at + step > end else PASSED, kind, length
    if length < (SIMPLE_HEAD if kind == SIMPLE_PACKET else HEAD) + 4 or length > BLOCK_MAX:
        return DAMAGED, kind, length
    if at + step > end:
        return DRY, kind, length
    is_whole = file_u32(data, at + step - 4, is_big) == length
    return FULL if is_whole else DAMAGED, kind, length


@inlined
def packet_lengths(data: Octets, at: int, kind: int, is_big: bool, most: int) -> tuple[int, int, int]:
    """The interface of a packet, how many of its bytes were captured, and how many there were."""
    if kind == SIMPLE_PACKET:
        wirelen = file_u32(data, at + 8, is_big)
        return 0, min(wirelen, most), wirelen
    which = file_u32(data, at + 8, is_big) if kind == PACKET else file_u16(data, at + 8, is_big)
    return which, file_u32(data, at + 20, is_big), file_u32(data, at + 24, is_big)


@inlined
def packet_time(data: Octets, at: int, is_big: bool, interface: Any) -> int:
    """The time of a packet, by the clock of its interface."""
    return time_of(
        file_u32(data, at + 12, is_big),
        file_u32(data, at + 16, is_big),
        int(interface.shift),
        int(interface.multiplier),
        int(interface.divisor),
        int(interface.offset_ns),
    )


@inlined
def lost_before(data: Octets, at: int, is_big: bool) -> int:
    """How many frames an obsolete packet block reports lost before its packet."""
    drops = file_u16(data, at + 10, is_big)
    return drops if drops != NOT_COUNTED else 0


@inlined
def take_packet(
    data: Octets,
    at: int,
    kind: int,
    length: int,
    is_big: bool,
    interfaces: Any,
    known: int,
    last_time: int,
    frames: Any,
    count: int,
    dropped: Any,
) -> tuple[bool, int]:
    """Note the packet of a block as frame ``count``; whether its fields fit the block, and its time."""
    head = SIMPLE_HEAD if kind == SIMPLE_PACKET else HEAD
    which, caplen, wirelen = packet_lengths(data, at, kind, is_big, length - head - 4)
    if which >= known or caplen > length - head - 4:
        return False, last_time
    interface = record_of(interfaces, which)
    time = last_time
    if kind == SIMPLE_PACKET:
        caplen = min(caplen, interface.snaplen) if interface.snaplen else caplen
    else:
        time = packet_time(data, at, is_big, interface)
    if kind == OLD_PACKET:
        dropped[0] += lost_before(data, at, is_big)
    frames.time[count] = time
    frames.at[count] = at + head
    frames.caplen[count] = caplen
    frames.wirelen[count] = min(wirelen, WIRELEN_MAX)
    frames.link[count] = interface.link
    return True, time


@entry(
    OCTETS_KIND, INTEGER, INTEGER, BOOLEAN, Array(ROW), INTEGER, INTEGER, FRAMES_KIND, INTEGER, Array(np.int64)
)  # fmt: skip
def scan_pcapng(
    data: Octets,
    at: int,
    end: int,
    is_big: bool,
    interfaces: Any,
    known: int,
    last_time: int,
    found: Any,
    room: int,
    dropped: Any,
) -> tuple[int, int, int]:
    """Note up to ``room`` packets of ``data[at:end]``; return the next offset, their number, and why it ended.

    ``BLOCK``: the next block is not for the kernel. ``known`` is the number of interfaces; ``last_time`` is for
    simple packets, which have no time of their own. ``dropped[0]`` adds up the frames that packet blocks report lost.
    A time may be one that is not believed (see ``frames.survey``).
    """
    frames = found[0]
    count = 0
    while count < room:
        outcome, kind, length = look_at(data, at, end, is_big, known)
        step = (length + 3) & ~3
        if outcome == PASSED:
            at += step
            continue
        if outcome != FULL:
            return at, count, outcome
        is_whole, last_time = take_packet(
            data, at, kind, length, is_big, interfaces, known, last_time, frames, count, dropped
        )
        if not is_whole:
            return at, count, DAMAGED
        count += 1
        at += step
    return at, count, FULL
