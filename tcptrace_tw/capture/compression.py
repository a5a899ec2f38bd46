"""Unpacks gzip, zstd, xz, bzip2 and lz4 as a stream; what cannot be unpacked is reported, never raised past here.

Decompressor objects are fed, not file objects: a file object throws away its last chunk when the data ends early,
an object gives out every byte that can be had. lz4 goes through pyarrow, which has no object; its small reads lose
nothing either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

PIECE_BYTES = 1 << 20
"""Packed bytes handed to a decompressor at once: between two calls other threads may hold the interpreter."""

CHUNK_BYTES = 1 << 21
"""Most unpacked bytes that one call may give out: what bounds the memory when a few bytes unpack to gigabytes."""

CAREFUL_BYTES = 64
"""The same near a place that is known to be broken."""

LZ4_BYTES = 1 << 14
"""Unpacked bytes asked of pyarrow at once: a divisor of every lz4 block size, so that a cut loses no whole block."""

WINDOW_LOG_MAX = 27
"""zstd frames may ask for a window of up to 2**27 bytes, the default of the zstd tool (RFC 8878 3.1.1.1.2)."""

MAGIC_BYTES = 6
"""How many bytes of a file ``sniff`` wants to see."""


class Packed(Protocol):
    """Where packed bytes come from."""

    position: int

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, at least one; nothing at the end."""


class Broken(Exception):
    """The packed data cannot be unpacked further; carries the reason, told to the user as ``Stream.damage``.

    ``has_lost`` says whether the decompressor kept some output to itself.
    """

    def __init__(self, reason: str, *, has_lost: bool = False) -> None:
        super().__init__(reason)
        self.has_lost = has_lost


class _Unpacker(Protocol):
    """What the decompressors of bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Codec(NamedTuple):
    """One way of packing: how it is recognised and how it is undone."""

    name: str
    magics: tuple[bytes, ...]
    unpacker: Callable[[], _Unpacker]
    padding: bool = False
    """Whether zero bytes may follow a member (gzip on tape, xz stream padding)."""


class _Gzip:
    """isal's gzip object in the shape of the others."""

    def __init__(self) -> None:
        from isal import isal_zlib

        self._object = isal_zlib.decompressobj(31)  # 31: expect a gzip header, check the trailer
        self._tail = b""

    @property
    def eof(self) -> bool:
        return bool(self._object.eof)

    @property
    def needs_input(self) -> bool:
        return not self._tail

    @property
    def unused_data(self) -> bytes:
        return bytes(self._object.unused_data)

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        out: bytes = self._object.decompress(self._tail + data if self._tail else data, max(0, max_length))
        self._tail = self._object.unconsumed_tail
        return out


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX})


def _xz() -> _Unpacker:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28)


def _bzip2() -> _Unpacker:
    import bz2

    return bz2.BZ2Decompressor()


def _no_object() -> _Unpacker:
    raise NotImplementedError("lz4 has no decompressor object")


_SKIPPABLE = tuple(bytes((0x50 + i, 0x2A, 0x4D, 0x18)) for i in range(16))  # RFC 8878 3.1.2

GZIP = Codec("gzip", (b"\x1f\x8b\x08",), _Gzip, padding=True)
ZSTD = Codec("zstd", (b"\x28\xb5\x2f\xfd",), _zstd)
XZ = Codec("xz", (b"\xfd7zXZ\x00",), _xz, padding=True)
BZIP2 = Codec("bzip2", tuple(b"BZh%d" % level for level in range(1, 10)), _bzip2)
LZ4 = Codec("lz4", (b"\x04\x22\x4d\x18",), _no_object)

CODECS = (GZIP, ZSTD, XZ, BZIP2, LZ4)


def sniff(start: bytes) -> Codec | None:
    """The codec whose magic the first bytes of a file are; the name of the file does not matter."""
    for codec in CODECS:
        if start.startswith(codec.magics):
            return codec
    # A skippable frame may come first; zstd's tools (pzstd) write such files, lz4's do not.
    return ZSTD if start.startswith(_SKIPPABLE) else None


def unpack(packed: Packed, codec: Codec, careful_from: int | None = None) -> Iterator[bytes]:
    """Yield unpacked chunks; raise ``Broken`` after the last of them where the data is cut or broken.

    A decompressor that meets broken data loses the output of that call. From the unpacked byte ``careful_from`` on,
    calls are small enough to lose next to nothing.
    """
    if codec is LZ4:
        yield from _unpack_lz4(packed, careful_from)
        return
    done = 0
    piece_bytes = PIECE_BYTES if careful_from is None else 1 << 12
    piece = packed.read(piece_bytes)
    while piece:
        unpacker = codec.unpacker()
        while not unpacker.eof:
            limit = _limit(done, careful_from, CHUNK_BYTES)
            try:
                chunk = unpacker.decompress(piece, limit)
            except Exception as error:  # every codec has its own class of error, with no common base
                raise Broken(_reason(codec, error), has_lost=limit > CAREFUL_BYTES) from None
            if chunk:
                done += len(chunk)
                yield chunk
            piece = b""
            if unpacker.needs_input and not unpacker.eof:
                piece = packed.read(piece_bytes)
                if not piece:
                    raise Broken(f"the {codec.name} data ends before its end mark")
        piece = _next_member(packed, codec, unpacker.unused_data)


def _limit(done: int, careful_from: int | None, usual: int, careful: int = CAREFUL_BYTES) -> int:
    """How many bytes the next call may give out; a careful run stops exactly where it is to become careful."""
    if careful_from is None:
        return usual
    return min(usual, careful_from - done) if done < careful_from else careful


def _next_member(packed: Packed, codec: Codec, rest: bytes) -> bytes:
    """What follows a whole member: the start of the next one, or nothing at the end of the file."""
    magics = codec.magics + (_SKIPPABLE if codec is ZSTD else ())
    while True:
        if codec.padding:
            rest = rest.lstrip(b"\0")
        if len(rest) >= MAGIC_BYTES:
            break
        more = packed.read(PIECE_BYTES)
        if not more:
            break
        rest += more
    if rest and not rest.startswith(magics):
        raise Broken(f"what follows the {codec.name} data is not {codec.name}")
    return rest


def _unpack_lz4(packed: Packed, careful_from: int | None) -> Iterator[bytes]:
    import pyarrow as pa

    class Feed:
        """The few methods that pyarrow asks of a Python file."""

        closed = False

        def read(self, size: int = -1) -> bytes:
            return packed.read(PIECE_BYTES if size < 0 else size)

        def close(self) -> None:
            self.closed = True

    stream = pa.CompressedInputStream(pa.PythonFile(Feed(), mode="r"), "lz4")
    done = 0
    while True:
        limit = _limit(done, careful_from, LZ4_BYTES, careful=1)
        try:
            chunk = stream.read(limit)
        except OSError as error:
            raise Broken(_reason(LZ4, error), has_lost=limit > 1) from None
        if not chunk:
            return
        done += len(chunk)
        yield chunk


def _reason(codec: Codec, error: Exception) -> str:
    text = str(error)
    if "Truncated" in text:
        return f"the {codec.name} data ends before its end mark"
    if "too much memory" in text:
        return f"the zstd data wants a window above 2**{WINDOW_LOG_MAX} bytes; unpack it first with zstd -d --long=31"
    return f"the {codec.name} data is broken ({text})"
