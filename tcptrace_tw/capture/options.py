"""TCP options: timestamps, MSS, window scale, SACK permitted and the first SACK block."""

from tcptrace_tw.capture.byte_reader import Octets, u8, u16, u32
from tcptrace_tw.kernels.marks import inlined, kernel
from tcptrace_tw.schema.columns import HAS_MSS, HAS_SACK, HAS_TS, HAS_WSCALE, MALFORMED, SACK_PERMITTED, TRUNCATED

# RFC 9293 3.2, RFC 7323, RFC 2018
END, NOP, MSS, WSCALE, SACK_OK, SACK, TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8
NOP_NOP_TIMESTAMPS = 0x0101080A


@inlined
def decode_options(data: Octets, at: int, stop: int, end: int) -> tuple[int, int, int, int, int, int, int]:
    """Read the options ``data[at:stop]``, of which the bytes before ``end`` were captured.

    Returns the option bits, TSval, TSecr, first SACK block (two), MSS, window scale; 0 for what is not there.
    """
    if stop == at:
        return 0, 0, 0, 0, 0, 0, 0
    if stop - at == 12 and stop <= end and u32(data, at) == NOP_NOP_TIMESTAMPS:  # nearly all segments
        return HAS_TS, u32(data, at + 4), u32(data, at + 8), 0, 0, 0, 0
    return _walk(data, at, stop, end)


@kernel
def _walk(data: Octets, at: int, stop: int, end: int) -> tuple[int, int, int, int, int, int, int]:
    """Option by option; one whose length is not its own is passed over, as Linux does."""
    bits, tsval, tsecr, sack_start, sack_end, mss, wscale = 0, 0, 0, 0, 0, 0, 0
    while at < stop:
        length = _length(data, at, stop, end)
        if length <= 0:
            bits |= -length
            break
        kind = u8(data, at)
        if kind == TIMESTAMPS and length == 10:
            bits |= HAS_TS
            tsval, tsecr = u32(data, at + 2), u32(data, at + 6)
        elif kind == MSS and length == 4:
            bits |= HAS_MSS
            mss = u16(data, at + 2)
        elif kind == WSCALE and length == 3:
            bits |= HAS_WSCALE
            wscale = u8(data, at + 2)
        elif kind == SACK_OK and length == 2:
            bits |= SACK_PERMITTED
        elif kind == SACK and length >= 10 and length % 8 == 2:
            bits |= HAS_SACK
            sack_start, sack_end = u32(data, at + 2), u32(data, at + 6)
        elif kind in (TIMESTAMPS, MSS, WSCALE, SACK_OK, SACK):
            bits |= MALFORMED
        at += length
    return bits, tsval, tsecr, sack_start, sack_end, mss, wscale


@inlined
def _length(data: Octets, at: int, stop: int, end: int) -> int:
    """Length of the option at ``at``; 0 at the end of the list, minus an option bit where it cannot be read."""
    if at >= end:
        return -TRUNCATED
    kind = u8(data, at)
    if kind == END:
        return 0
    if kind == NOP:
        return 1
    if at + 1 >= stop:
        return -MALFORMED
    if at + 1 >= end:
        return -TRUNCATED
    length = u8(data, at + 1)
    if length < 2 or at + length > stop:
        return -MALFORMED
    return length if at + length <= end else -TRUNCATED
