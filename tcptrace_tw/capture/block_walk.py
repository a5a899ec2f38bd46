"""Walks over the blocks of a pcapng file one by one: where each begins and ends, exactly as the reader sees it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from tcptrace_tw.capture import interfaces as i
from tcptrace_tw.capture.blocks import block, with_comments
from tcptrace_tw.capture.frames import BLOCK, DAMAGED, DRY, FULL
from tcptrace_tw.capture.pcapng import INTERFACE_MIN
from tcptrace_tw.capture.pcapng_scan import BLOCK_MAX, BLOCK_MIN

PACKETS = (i.PACKET, i.SIMPLE_PACKET, i.OLD_PACKET)
_KNOWN = (*PACKETS, i.SECTION, i.INTERFACE, i.STATISTICS)
_LEAST = {i.SECTION: 28, i.STATISTICS: 24, i.INTERFACE: INTERFACE_MIN, i.PACKET: 32, i.OLD_PACKET: 32,
          i.SIMPLE_PACKET: 16}  # fmt: skip
"""Bytes of a block; a shorter one is damage."""

NO_TIME = b"this packet had no time of its own (Simple Packet Block): its time is that of the packet before it"


class BlockWalk:
    """Looks at one block after the other; ``kind``, ``step`` and what they mean are those of the last one."""

    def __init__(self) -> None:
        self.order = "<"
        self.kind = 0
        self.step = 0
        """Bytes from the begin of the block to that of the next."""
        self._clocks: list[i.Clock] = []
        self._known_clocks: dict[bytes, i.Clock] = {}
        self._first_snaplen = 0
        self._last = (i.Clock(), 0, 0)
        """The clock and the two words of the last time of a packet."""
        self._caplen = self._wirelen = 0

    def look(self, view: memoryview, at: int, end: int) -> int:
        """``FULL``: a sound block lies at ``at``. ``BLOCK``: so it does, too large for memory. ``DRY``: more is needed.

        ``DAMAGED``: the reader ends here.
        """
        if at + BLOCK_MIN > end:
            return DRY
        if bytes(view[at : at + 4]) == b"\n\r\r\n" and not self._is_section(bytes(view[at + 8 : at + 12])):
            return DAMAGED
        self.kind, length = struct.unpack_from(f"{self.order}II", view, at)
        self.step = length + 3 & ~3
        if length < _LEAST.get(self.kind, BLOCK_MIN):
            return DAMAGED
        if length > BLOCK_MAX:
            return DAMAGED if self.kind in _KNOWN else BLOCK
        if at + self.step > end:
            return DRY
        if self.kind in PACKETS:
            return self._packet(view, at, length)
        if self.kind == i.INTERFACE and len(self._clocks) < i.INTERFACES_MAX:
            self._interface(bytes(view[at + 8 : at + min(length - 4, i.DESCRIPTION_MAX)]))
        return FULL

    @property
    def is_packet(self) -> bool:
        """Whether the block has a frame number."""
        return self.kind in PACKETS

    @property
    def is_simple(self) -> bool:
        """Whether it is a packet without time and options."""
        return self.kind == i.SIMPLE_PACKET

    def commented(self, view: memoryview, at: int, texts: Sequence[bytes]) -> bytes:
        """The packet block at ``at`` with more comments."""
        if self.is_simple:
            high, low = self._time_before()
            head = struct.pack(f"{self.order}IIIII", 0, high, low, self._caplen, self._wirelen)
            data, options, kind = at + 12, b"", i.PACKET
            texts = [*texts, NO_TIME]
        else:
            head = bytes(view[at + 8 : at + 28])
            data, kind = at + 28, self.kind
            options = bytes(view[data + (self._caplen + 3 & ~3) : at + self.step - 4])
        body = head + bytes(view[data : data + self._caplen])
        body += bytes(-len(body) % 4) + with_comments(self.order, options, texts)
        if len(body) + BLOCK_MIN > BLOCK_MAX:  # what is larger no reader takes
            return bytes(view[at : at + self.step])
        return block(self.order, kind, body)

    def section(self, view: memoryview, at: int) -> bytes:
        """The section header at ``at``, which does not say how long the section is."""
        return bytes(view[at : at + 16]) + b"\xff" * 8 + bytes(view[at + 24 : at + self.step])

    def _is_section(self, magic: bytes) -> bool:
        """Whether the byte order is known; a section describes its interfaces anew."""
        if magic not in (i.BIG, i.LITTLE):
            return False
        self.order = ">" if magic == i.BIG else "<"
        self._clocks.clear()
        self._known_clocks.clear()
        return True

    def _packet(self, view: memoryview, at: int, length: int) -> int:
        order = self.order
        if struct.unpack_from(f"{order}I", view, at + self.step - 4)[0] != length:
            return DAMAGED
        which = high = low = 0
        if self.kind == i.SIMPLE_PACKET:
            (self._wirelen,) = struct.unpack_from(f"{order}I", view, at + 8)
            self._caplen = min(self._wirelen, length - 16)
        elif self.kind == i.PACKET:
            which, high, low, self._caplen, self._wirelen = struct.unpack_from(f"{order}IIIII", view, at + 8)
        else:
            which, _, high, low, self._caplen, self._wirelen = struct.unpack_from(f"{order}HHIIII", view, at + 8)
        if which >= len(self._clocks) or self._caplen > length - _LEAST[self.kind]:
            return DAMAGED
        if self.kind == i.SIMPLE_PACKET:
            self._caplen = min(self._caplen, self._first_snaplen or self._caplen)
        else:
            self._last = self._clocks[which], high, low
        return FULL

    def _interface(self, body: bytes) -> None:
        if not self._clocks:
            (self._first_snaplen,) = struct.unpack_from(f"{self.order}I", body, 4)
        options = body[8:]
        if options not in self._known_clocks:
            if len(self._known_clocks) == i.OPTIONS_MAX:
                self._known_clocks.clear()
            self._known_clocks[options] = i.clock(options, self.order)
        self._clocks.append(self._known_clocks[options])

    def _time_before(self) -> tuple[int, int]:
        """What the reader takes for the time of a simple packet, by the clock of the first interface."""
        clock, high, low = self._last
        own = self._clocks[0]
        if clock == own:
            return high, low
        return divmod(ticks_of(i.time_of(high, low, *clock), own), 1 << 32)


def ticks_of(time_ns: int, clock: i.Clock) -> int:
    """The timestamp of 64 bits that means this time, or, where the clock is too coarse for it, the one before.

    >>> ticks_of(1_500_000_000, i.Clock(multiplier=1_000_000)), ticks_of(1_500_000_000, i.Clock(shift=1))
    (1500, 3)
    """
    since: Any = max(0, time_ns - clock.offset_ns)
    if clock.shift:
        ticks = -(-(since << clock.shift) // 1_000_000_000)
    else:
        ticks = since * clock.divisor // clock.multiplier
    return int(min(ticks, (1 << 64) - 1))
