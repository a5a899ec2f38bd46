"""Numbers out of bytes, for kernels: big-endian as the protocols have them, little-endian for file headers.

``data`` is a uint8 array in compiled kernels and a memoryview in interpreted ones; both give int64 arithmetic
(Python's own integers), because a byte only ever meets int64 in a sum or a product, never in a shift.
"""

from typing import Protocol

import numpy as np

from tcptrace_tw.kernels.kinds import Array
from tcptrace_tw.kernels.marks import inlined

# No window is this large, and no batch. The mask tells the compiler that an index is not negative, so that it drops
# Python's wrap-around and loads a whole number at once.
INDEX = 0x3FFFFFFF


class Octets(Protocol):
    """What kernels read bytes from."""

    def __getitem__(self, at: int, /) -> int:
        """The byte at ``at``."""


OCTETS_KIND = Array(np.uint8)


@inlined
def u8(data: Octets, at: int) -> int:
    """One byte."""
    return data[at & INDEX] + 0


@inlined
def u16(data: Octets, at: int) -> int:
    """Two bytes, big-endian."""
    at &= INDEX
    return data[at] * 256 + data[at + 1]


@inlined
def u32(data: Octets, at: int) -> int:
    """Four bytes, big-endian."""
    at &= INDEX
    return ((data[at] * 256 + data[at + 1]) * 256 + data[at + 2]) * 256 + data[at + 3]


@inlined
def i64(data: Octets, at: int) -> int:
    """Eight bytes, big-endian, as a signed number."""
    high = u32(data, at)
    return (high - ((high & 0x80000000) << 1)) * 0x100000000 + u32(data, at + 4)


@inlined
def file_u16(data: Octets, at: int, is_big: bool) -> int:
    """Two bytes in the byte order of the file."""
    at &= INDEX
    return u16(data, at) if is_big else data[at + 1] * 256 + data[at]


@inlined
def file_u32(data: Octets, at: int, is_big: bool) -> int:
    """Four bytes in the byte order of the file."""
    at &= INDEX
    if is_big:
        return u32(data, at)
    return ((data[at + 3] * 256 + data[at + 2]) * 256 + data[at + 1]) * 256 + data[at]
