"""The pcapng format (draft-ietf-opsawg-pcapng): the blocks that describe packets, and what is wrong with a file.

The kernel (``pcapng_scan``) walks over packets and over what it need not know; sections, interfaces and statistics,
which are few, are read in Python between two walks.
"""

from __future__ import annotations

import struct
from array import array

import numpy as np

from tcptrace_tw.capture import link_types_slow
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.frames import BLOCK, DAMAGED, DRY, FULL, Frames
from tcptrace_tw.capture.interfaces import (
    BIG,
    DESCRIPTION_MAX,
    INTERFACE,
    INTERFACES_MAX,
    LITTLE,
    LOST_MAX,
    OLD_PACKET,
    PACKET,
    ROW,
    SECTION,
    SIMPLE_PACKET,
    STATISTICS,
    Clock,
    clock,
    lost,
)
from tcptrace_tw.capture.links import link_name
from tcptrace_tw.capture.pcapng_scan import BLOCK_MAX, BLOCK_MIN, scan_pcapng
from tcptrace_tw.capture.window import Window
from tcptrace_tw.kernels import marks
from tcptrace_tw.kernels.arrays import zeros

INTERFACE_MIN = 20
STATISTICS_PLAIN = 28
"""A statistics block of this length, or a shorter one, has no room for an option."""

CLOCKS_KEPT = 4096
"""Interfaces mostly describe the same clock: the most different descriptions that are remembered."""
CLOCK_BYTES = 64
"""Options that are longer hold more than a clock: they are read each time, and not kept."""
LINKS_NAMED = 16
"""How many link types of a file are named in the facts."""
AT_ONCE = 4096
"""How many blocks that describe something are read in a row."""
DESCRIBING = frozenset((SECTION, INTERFACE, STATISTICS))
MAGIC = b"\n\r\r\n"
"""The begin of a section, in either byte order."""
_HEADS = struct.Struct("<II").unpack_from, struct.Struct(">II").unpack_from
"""Kind and length of a block, by whether its section is big-endian."""


def is_pcapng(magic: bytes) -> bool:
    """Whether a file that begins with these four bytes is a pcapng file."""
    return magic == b"\x0a\x0d\x0d\x0a"


class PcapngFile:
    """A pcapng file whose magic has been seen."""

    def __init__(self, facts: FileFacts, *, compiled: bool) -> None:
        self._links: dict[int, int] = {}
        self._clocks: dict[bytes, Clock] = {}
        self._facts = facts
        self._is_big = False
        self._interfaces = zeros(8, ROW).view(np.recarray)
        self._known = 0
        self._skip = 0
        self._last_time = 0
        self._lost = array("q")  # by interface, as far as there are statistics
        self._reported = 0
        self._dropped = zeros(1, np.int64)
        self._sections = 0
        self._scan = marks.load(scan_pcapng, compiled=compiled)
        facts.format = "pcapng"

    @property
    def links(self) -> tuple[int, ...]:
        """The link types of all interfaces, in the order of their first ones."""
        return tuple(self._links)

    def scan(self, window: Window, frames: Frames, room: int) -> tuple[int, int]:
        """Note up to ``room`` frames; see ``reader.Format``."""
        if self._skip and not self._pass_over(window):
            return 0, DRY
        window.start, count, outcome = self._scan(
            window.data,
            window.start,
            window.end,
            self._is_big,
            self._interfaces,
            self._known,
            self._last_time,
            frames.as_argument,
            room,
            self._dropped,
        )
        if self._dropped[0]:
            self._facts.lost_frames = min(max(self._reported, int(self._dropped[0])), LOST_MAX)
        if count:
            self._last_time = int(frames.time[count - 1])
        return count, self._block(window) if outcome == BLOCK else outcome

    def damage(self, window: Window) -> str | None:
        """Say what is wrong at the start of the window; None where the file ended well."""
        rest = window.end - window.start
        if self._skip:
            return f"the file ends {self._skip} bytes before the end of a block"
        if rest == 0:
            return None
        if rest < BLOCK_MIN:
            return f"the file ends after {rest} bytes of a block"
        kind, length = self._kind_and_length(window)
        if length < BLOCK_MIN or (length > BLOCK_MAX and self._is_known(kind)):
            return f"block of type {kind} claims {length} bytes, allowed are {BLOCK_MIN} to {BLOCK_MAX}"
        if rest < length:
            return f"the file ends after {rest} of the {length} bytes of a block"
        return self._contradiction(kind, window.peek(length))

    def _contradiction(self, kind: int, block: bytes) -> str:
        order = self._order
        (length,) = struct.unpack_from(f"{order}I", block, 4)
        if kind == SECTION:
            return "section header with an unknown byte order"
        if struct.unpack(f"{order}I", block[-4:])[0] != length:
            return f"block of type {kind} has length {length} at its start and another at its end"
        if kind in (PACKET, OLD_PACKET) and length >= 32:
            which = struct.unpack_from(f"{order}{'I' if kind == PACKET else 'H'}", block, 8)[0]
            if which >= self._known:
                return f"packet of interface {which}, but the section has described {self._known}"
            return f"packet of {struct.unpack_from(f'{order}I', block, 20)[0]} bytes in a block of {length} bytes"
        if kind == SIMPLE_PACKET and not self._known:
            return "packet before the first description of an interface"
        return f"block of type {kind} is too short for its fields: {length} bytes"

    @property
    def _order(self) -> str:
        return ">" if self._is_big else "<"

    @staticmethod
    def _is_known(kind: int) -> bool:
        return kind in (SECTION, INTERFACE, STATISTICS, PACKET, SIMPLE_PACKET, OLD_PACKET)

    def _kind_and_length(self, window: Window) -> tuple[int, int]:
        start = window.peek(BLOCK_MIN)
        kind = struct.unpack_from(f"{self._order}I", start)[0]
        order = ">" if kind == SECTION and start[8:] == BIG else "<" if kind == SECTION else self._order
        return kind, struct.unpack_from(f"{order}I", start, 4)[0]

    def _pass_over(self, window: Window) -> bool:
        step = min(self._skip, window.end - window.start)
        window.start += step
        self._skip -= step
        return not self._skip

    def _block(self, window: Window) -> int:
        """Read the block at the start of the window, or begin to pass over it; say how that ended."""
        kind, length = self._kind_and_length(window)
        if kind in DESCRIBING:
            return self._descriptions_in_a_row(window)
        if length < BLOCK_MIN:
            return DAMAGED
        self._skip = (length + 3) & ~3
        return FULL

    def _descriptions_in_a_row(self, window: Window) -> int:
        """Read blocks that describe something and follow each other: a hostile file has millions of them."""
        view, end, at, outcome = window.view, window.end, window.start, FULL
        rows: list[tuple[int, ...]] = []
        for _ in range(AT_ONCE):
            if at + BLOCK_MIN > end:
                break
            kind, length = _HEADS[view[at + 8 : at + 12] == BIG if view[at : at + 4] == MAGIC else self._is_big](
                view, at
            )
            if kind not in DESCRIBING:
                break
            step = (length + 3) & ~3
            if length < BLOCK_MIN or length > BLOCK_MAX:
                outcome = DAMAGED
            elif at + min(step, DESCRIPTION_MAX) > end:
                outcome = DRY
            elif not self._describe(kind, bytes(view[at : at + min(length, DESCRIPTION_MAX)]), length, rows):
                outcome = DAMAGED
            if outcome != FULL:
                break
            at += step
        is_moved = at > window.start
        self._add(rows)
        window.start = min(at, end)
        self._skip = at - window.start
        # What was read may be followed by packets, whatever comes after them.
        return FULL if is_moved else outcome

    def _describe(self, kind: int, block: bytes, length: int, rows: list[tuple[int, ...]]) -> bool:
        """Read one of those blocks; ``rows`` are interfaces that are not added yet. False where it is damaged."""
        if kind == SECTION:
            rows.clear()
            return self._section(block)
        known = self._known + len(rows)
        if kind == STATISTICS:
            return self._statistics(block, known)
        if known < INTERFACES_MAX:
            if length < INTERFACE_MIN:
                return False
            rows.append(self._interface(block[8 : min(length - 4, DESCRIPTION_MAX)]))
        return True

    def _section(self, block: bytes) -> bool:
        """A section may have another byte order than the one before; its interfaces count from 0 again."""
        if len(block) < 28 or block[8:12] not in (BIG, LITTLE):
            return False
        if self._is_big != (block[8:12] == BIG):
            self._clocks.clear()
        self._is_big = block[8:12] == BIG
        self._known = 0
        del self._lost[:]
        self._sections += 1
        if self._sections == 1:
            self._facts.format = f"pcapng, {'big' if self._is_big else 'little'}-endian"
        return True

    def _interface(self, body: bytes) -> tuple[int, ...]:
        """The row of an interface, from its block without the frame around it."""
        link, _, snaplen = struct.unpack_from(">HHI" if self._is_big else "<HHI", body)
        known = self._clock(body[8:])
        self._note(link, snaplen, known)
        return (self._links[link], snaplen, *known)

    def _clock(self, options: bytes) -> Clock:
        if len(options) > CLOCK_BYTES:
            return clock(options, self._order)
        if options not in self._clocks:
            if len(self._clocks) == CLOCKS_KEPT:
                self._clocks.clear()
            self._clocks[options] = clock(options, self._order)
        return self._clocks[options]

    def _add(self, rows: list[tuple[int, ...]]) -> None:
        if not rows:
            return
        known = self._known + len(rows)
        if known > len(self._interfaces):
            interfaces = zeros(max(known, 2 * len(self._interfaces)), ROW)
            interfaces[: self._known] = self._interfaces[: self._known]
            self._interfaces = interfaces.view(np.recarray)
        self._interfaces[self._known : known] = rows
        self._known = known

    def _note(self, link: int, snaplen: int, clock: Clock) -> None:
        facts = self._facts
        if snaplen > facts.snaplen:
            facts.snaplen = snaplen
        if link in self._links:
            return
        if not self._links:
            facts.format = f"pcapng, {clock.unit}, {'big' if self._is_big else 'little'}-endian"
        self._links[link] = link_types_slow.known(link)
        if len(self._links) <= LINKS_NAMED:
            facts.links = tuple(dict.fromkeys(map(link_name, self._links)))

    def _statistics(self, block: bytes, known: int) -> bool:
        """Statistics count from the begin of the capture: the last block of an interface is the one that counts."""
        if len(block) < 24:
            return False
        (which,) = struct.unpack_from(f"{self._order}I", block, 8)
        count, absurd = lost(block[20:], self._order) if len(block) > STATISTICS_PLAIN else (0, 0)
        self._facts.absurd_loss = max(self._facts.absurd_loss, absurd)
        if which < known:
            if which >= len(self._lost):
                self._lost.frombytes(bytes(8 * (which + 1 - len(self._lost))))
            self._reported += count - self._lost[which]
            self._lost[which] = count
            self._facts.lost_frames = min(max(self._reported, int(self._dropped[0])), LOST_MAX)
        return True
