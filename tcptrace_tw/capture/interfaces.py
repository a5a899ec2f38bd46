"""What the blocks of a pcapng section say of its interfaces: link type, clock, and how many frames were lost."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tcptrace_tw.kernels.marks import inlined

SECTION, INTERFACE, OLD_PACKET, SIMPLE_PACKET, STATISTICS, PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 6
BIG, LITTLE = bytes.fromhex("1a2b3c4d"), bytes.fromhex("4d3c2b1a")

DESCRIPTION_MAX = 1 << 16
"""Only this much of a block that describes something is looked at; the rest is passed over."""
OPTIONS_MAX = 256
"""Only this many options of a block are looked at."""
INTERFACES_MAX = 1 << 20
"""More interfaces of one section are not kept: a packet of one of those is damage."""
LOST_MAX = 1 << 56
"""A billion frames a second for two years: no interface has lost more, so a higher count is not believed."""
NOT_KNOWN = (1 << 64) - 1
"""What writers put where the system does not count."""

LATEST = (1 << 63) - 1
"""In place of what is no int64."""

TSRESOL, TSOFFSET, IFDROP, OSDROP = 9, 14, 5, 7

ROW = np.dtype([(name, "i8") for name in ("link", "snaplen", "shift", "multiplier", "divisor", "offset_ns")])
"""An interface of the section."""


class Clock(NamedTuple):
    """Ticks to ns since 1970: ``* multiplier // divisor``, or binary fractions of ``shift`` bits; then the offset."""

    shift: int = 0
    multiplier: int = 1000
    divisor: int = 1
    offset_ns: int = 0

    @property
    def unit(self) -> str:
        """A tick in words."""
        if self.shift:
            return f"2^-{self.shift} seconds"
        names = {1: "nanoseconds", 1000: "microseconds", 1_000_000: "milliseconds", 1_000_000_000: "seconds"}
        if self.divisor > 1:
            return f"10^-{len(str(self.divisor)) + 8} seconds"
        return names.get(self.multiplier, f"10^-{10 - len(str(self.multiplier))} seconds")


@inlined
def time_of(high: int, low: int, shift: int, multiplier: int, divisor: int, offset_ns: int) -> int:
    """The time of a timestamp of 64 bits, exactly, rounded down; at most ``LATEST``."""
    ns = _nanoseconds(high, low, shift, multiplier, divisor)
    return ns + offset_ns if ns < LATEST and offset_ns <= LATEST - ns else LATEST


@inlined
def _nanoseconds(high: int, low: int, shift: int, multiplier: int, divisor: int) -> int:
    if shift == 0:
        if divisor > 1:  # both halved, because the ticks may have 64 bits
            return (high * 0x80000000 + (low >> 1)) // (divisor >> 1)
        ticks = high * 0x100000000 + low if high <= 0x7FFFFFFF else LATEST
        return ticks * multiplier if ticks <= LATEST // multiplier else LATEST
    if shift < 32:
        seconds, above, below = (high << (32 - shift)) + (low >> shift), 0, (low << (32 - shift)) & 0xFFFFFFFF
        more = 0
    else:
        more = min(shift - 32, 63)
        seconds, below = high >> more, low
        above = high - (seconds << more)
    if seconds >= LATEST // 1_000_000_000:
        return LATEST
    # in two halves: the product has up to 94 bits
    return seconds * 1_000_000_000 + ((above * 1_000_000_000 + ((below * 1_000_000_000) >> 32)) >> more)


def clock(data: bytes, order: str) -> Clock:
    """The clock that the options of an interface describe; ``order`` as ``struct`` has it."""
    shift, multiplier, divisor, offset_s = 0, 1000, 1, 0
    for code, value in options(data, order):
        if code == TSRESOL and value:
            shift, multiplier, divisor = _resolution(value[0])
        elif code == TSOFFSET and len(value) == 8:
            (offset_s,) = struct.unpack(f"{order}q", value)
    return Clock(shift, multiplier, divisor, max(-LATEST, min(offset_s * 1_000_000_000, LATEST)))


def lost(data: bytes, order: str) -> tuple[int, int]:
    """The frames that the options of a statistics block count as lost; and the highest count that is not believed.

    A count is not believed above ``LOST_MAX``, and then taken as not known; 0: there is none.
    """
    counts = {}
    for code, value in options(data, order):
        if code in (IFDROP, OSDROP) and len(value) == 8:
            counts[code] = int.from_bytes(value, "big" if order == ">" else "little")
    believed, absurd = 0, 0
    for count in counts.values():
        if count <= LOST_MAX:
            believed += count
        elif count != NOT_KNOWN:
            absurd = max(absurd, count)
    return believed, absurd


def options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Codes and values, as far as they are sound; the first ``OPTIONS_MAX`` of them."""
    at, head = 0, struct.Struct(f"{order}HH")
    for _ in range(OPTIONS_MAX):
        if at + 4 > len(data):
            return
        code, length = head.unpack_from(data, at)
        if code == 0 or at + 4 + length > len(data):
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + (length + 3 & ~3)


def _resolution(value: int) -> tuple[int, int, int]:
    """``if_tsresol`` as shift, multiplier and divisor; what is finer than an int64 can tell is cut off."""
    exponent = value & 0x7F
    if value & 0x80:
        return (exponent, 1, 1) if exponent else (0, 1_000_000_000, 1)
    if exponent <= 9:
        return 0, 10 ** (9 - exponent), 1
    return 0, 1, 10 ** min(exponent - 9, 18)
