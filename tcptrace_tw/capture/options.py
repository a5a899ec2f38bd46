"""TCP options: timestamps, MSS, window scale, SACK permitted and the first SACK block."""

from typing import Any

from tcptrace_tw.capture.octets import u8, u16, u32
from tcptrace_tw.jit import kernel
from tcptrace_tw.spec.columns import HAS_MSS, HAS_SACK, HAS_TS, HAS_WSCALE, MALFORMED, SACK_PERMITTED, TRUNCATED

# RFC 9293 3.2, RFC 7323, RFC 2018
END, NOP, MSS, WSCALE, SACK_OK, SACK, TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8
NOP_NOP_TIMESTAMPS = 0x0101080A


@kernel
def decode_options(data: Any, at: int, stop: int, end: int, out: Any, n: int) -> None:
    """Fill the option columns of row ``n`` from ``data[at:stop]``, of which ``data[at:end]`` was captured."""
    if stop - at == 12 and stop <= end and u32(data, at) == NOP_NOP_TIMESTAMPS:  # nearly all segments
        _store(out, n, HAS_TS, u32(data, at + 4), u32(data, at + 8))
    elif stop == at:
        _store(out, n, 0, 0, 0)
    else:
        _walk(data, at, stop, end, out, n)


@kernel
def _store(out: Any, n: int, bits: int, tsval: int, tsecr: int) -> None:
    out.options[n] = bits
    out.tsval[n] = tsval
    out.tsecr[n] = tsecr
    out.sack_start[n] = 0
    out.sack_end[n] = 0
    out.mss[n] = 0
    out.wscale[n] = 0


@kernel
def _walk(data: Any, at: int, stop: int, end: int, out: Any, n: int) -> None:
    """Option by option; an option with a length that is not its own is passed over, as Linux does."""
    _store(out, n, 0, 0, 0)
    bits = 0
    while at < stop:
        if at >= end:
            bits |= TRUNCATED
            break
        kind = u8(data, at)
        if kind == END:
            break
        if kind == NOP:
            at += 1
            continue
        length = u8(data, at + 1) if at + 1 < min(stop, end) else 0
        if at + 1 >= end and at + 1 < stop:
            bits |= TRUNCATED
            break
        if length < 2 or at + length > stop:
            bits |= MALFORMED
            break
        if at + length > end:
            bits |= TRUNCATED
            break
        bits |= _one(data, at, kind, length, out, n)
        at += length
    out.options[n] = bits


@kernel
def _one(data: Any, at: int, kind: int, length: int, out: Any, n: int) -> int:
    """Store one whole option and return its bit."""
    bit = 0
    if kind == TIMESTAMPS:
        if length == 10:
            bit = HAS_TS
            out.tsval[n] = u32(data, at + 2)
            out.tsecr[n] = u32(data, at + 6)
    elif kind == MSS:
        if length == 4:
            bit = HAS_MSS
            out.mss[n] = u16(data, at + 2)
    elif kind == WSCALE:
        if length == 3:
            bit = HAS_WSCALE
            out.wscale[n] = u8(data, at + 2)
    elif kind == SACK_OK:
        if length == 2:
            bit = SACK_PERMITTED
    elif kind == SACK:
        if length >= 10 and (length - 2) % 8 == 0:
            bit = HAS_SACK
            out.sack_start[n] = u32(data, at + 2)
            out.sack_end[n] = u32(data, at + 6)
    else:
        return 0
    return bit if bit else MALFORMED
