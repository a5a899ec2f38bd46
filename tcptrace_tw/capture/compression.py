"""Unpacks gzip, zstd, xz, bzip2 and lz4 as a stream; what cannot be unpacked is reported, never raised past here.

Decompressor objects are fed, not file objects: a file object throws away its last chunk when the data ends early,
an object gives out every byte that can be had. lz4 goes through pyarrow, which has no object; its small reads lose
nothing either. An object costs microseconds; so runs of small members go through native loops (see ``_unpack_run``).
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from tcptrace_tw.capture.feed import FIRST_BYTES, PIECE_BYTES, Feed, Packed

CHUNK_BYTES = 1 << 21
"""Most unpacked bytes that one call may give out: what bounds the memory when a few bytes unpack to gigabytes."""

CAREFUL_BYTES = 64
"""The same near a place that is known to be broken."""

LZ4_BYTES = 1 << 14
"""Unpacked bytes asked of pyarrow at once: a divisor of every lz4 block size, so that a cut loses no whole block."""

WINDOW_LOG_MAX = 27
"""zstd frames may ask for a window of up to 2**27 bytes, the default of the zstd tool (RFC 8878 3.1.1.1.2)."""

MEMORY_BYTES = 1 << 28
"""xz may take this much memory: four times the dictionary of ``xz -9``."""

SMALL_BYTES = 512
"""A member of fewer packed bytes is small."""

SMALL_MEMBERS = 500
"""After this number of small members the native loop is tried."""

RUN_BYTES = 1 << 16
"""Packed bytes of small members that the native loop gets at once."""

CUTS = 4
"""How many places are tried for the end of a run."""

MAGIC_BYTES = 6
"""How many bytes of a file ``sniff`` wants to see."""


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
    def decompress(self, data: bytes | memoryview, max_length: int = -1) -> bytes: ...


class Codec(NamedTuple):
    """One way of packing: how it is recognised and how it is undone."""

    name: str
    magics: tuple[bytes, ...]
    unpacker: Callable[[], _Unpacker]
    padding: bool = False
    """Whether zero bytes may follow a member (gzip on tape, xz stream padding)."""
    careful: Callable[[], _Unpacker] | None = None
    """The unpacker of a careful run, where it is another."""
    unpack_run: Callable[[bytes, int], bytes] | None = None
    """Unpacks whole members, and raises what it likes for anything else; gives out at most as many bytes as said."""

    def can_start(self, start: bytes) -> bool:
        """Whether a member of this codec may begin so."""
        return start.startswith(self.magics) or (self.name == "zstd" and start.startswith(_SKIPPABLE))


class _Gzip:
    """A gzip object of isal or zlib in the shape of the others."""

    def __init__(self, made: Any) -> None:
        self._object = made
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

    def decompress(self, data: bytes | memoryview, max_length: int = -1) -> bytes:
        out: bytes = self._object.decompress(self._tail + data if self._tail else data, max(0, max_length))
        self._tail = self._object.unconsumed_tail
        return out


def _gzip() -> _Unpacker:
    from isal import isal_zlib

    return _Gzip(isal_zlib.decompressobj(31))  # 31: expect a gzip header, check the trailer


def _careful_gzip() -> _Unpacker:
    """Slower, but it does not unpack ahead of what it gives out, so it loses nothing where the data is broken."""
    import zlib

    return _Gzip(zlib.decompressobj(31))


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX})


def _xz() -> _Unpacker:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_BYTES)


def _bzip2() -> _Unpacker:
    import bz2

    return bz2.BZ2Decompressor()


def _no_object() -> _Unpacker:
    raise NotImplementedError("lz4 has no decompressor object")


def _gzip_run(run: bytes, most: int) -> bytes:
    from isal import igzip

    with igzip.IGzipFile(fileobj=io.BytesIO(run)) as file:  # type: ignore[no-untyped-call]
        data: bytes = file.read(most)
    return data


def _zstd_run(run: bytes, most: int) -> bytes:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(run), "zstd") as file:
        data: bytes = file.read(most)
    return data


_SKIPPABLE = tuple(bytes((0x50 + i, 0x2A, 0x4D, 0x18)) for i in range(16))  # RFC 8878 3.1.2

GZIP = Codec("gzip", (b"\x1f\x8b\x08",), _gzip, padding=True, careful=_careful_gzip, unpack_run=_gzip_run)
ZSTD = Codec("zstd", (b"\x28\xb5\x2f\xfd",), _zstd, unpack_run=_zstd_run)
XZ = Codec("xz", (b"\xfd7zXZ\x00",), _xz, padding=True)
BZIP2 = Codec("bzip2", tuple(b"BZh%d" % level for level in range(1, 10)), _bzip2)
LZ4 = Codec("lz4", (b"\x04\x22\x4d\x18",), _no_object)

_STARTS = {
    "gzip": re.compile(rb"(?<=[\x00-\x0f]\x00)\x1f\x8b\x08"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
}
"""How the members of the codecs with a native loop begin.

A small gzip member ends with a length below 2**20, whose last bytes come before the next one (RFC 1952 2.3).
"""

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
    feed = Feed(packed, is_careful=careful_from is not None)
    done = small = 0
    wait = SMALL_MEMBERS
    while feed.peek(1):
        if codec.unpack_run is not None and small >= wait and len(feed.at_hand(RUN_BYTES)) >= 8 * SMALL_BYTES:
            run = _unpack_run(feed, codec)
            wait = 2 * wait if run is None else SMALL_MEMBERS
            small = 0 if run is None else wait
            if run:
                done += len(run)
                yield run
            if run is not None:
                continue
        begin = feed.position
        for chunk in _unpack_member(feed, codec, done, careful_from):
            done += len(chunk)
            yield chunk
        small += feed.position - begin < SMALL_BYTES
        _find_next(feed, codec)


def _unpack_member(feed: Feed, codec: Codec, done: int, careful_from: int | None) -> Iterator[bytes]:
    """Unpack one member, to its end mark; ``done`` is how much there was before it."""
    unpacker = codec.careful() if codec.careful and careful_from is not None else codec.unpacker()
    size = FIRST_BYTES
    while not unpacker.eof:
        piece: bytes | memoryview = b""
        is_dry = False
        if unpacker.needs_input:
            piece = feed.take(size)
            size = min(4 * size, feed.largest)
            is_dry = not piece
        limit = _limit(done, careful_from, CHUNK_BYTES)
        try:
            chunk = unpacker.decompress(piece, limit)
        except Exception as error:  # every codec has its own class of error, with no common base
            raise Broken(_reason(codec, error), has_lost=limit > CAREFUL_BYTES) from None
        if chunk:
            done += len(chunk)
            yield chunk
        elif is_dry:
            raise feed.failure or Broken(f"the {codec.name} data ends before its end mark")
    feed.give_back(len(unpacker.unused_data))


def _unpack_run(feed: Feed, codec: Codec) -> bytes | None:
    """Unpack the whole members at hand in one native loop; None where that cannot be done.

    The last magic at hand is taken for the begin of a member that may not be whole. Where it belongs to the inside of
    a member the loop fails; then a magic before it is tried, and in the end the members are unpacked one by one.
    """
    run = feed.at_hand(RUN_BYTES)
    cuts = [found.start() for found in _STARTS[codec.name].finditer(run, len(run) - 2 * SMALL_BYTES)]
    for cut in reversed(cuts[-CUTS:]):
        try:
            chunk = codec.unpack_run(run[:cut], CHUNK_BYTES) if codec.unpack_run else b""
        except Exception:  # every codec has its own; what is broken is met again, member by member
            continue
        if len(chunk) < CHUNK_BYTES:
            feed.take(cut)
            return chunk
        return None
    return None


def _limit(done: int, careful_from: int | None, usual: int, careful: int = CAREFUL_BYTES) -> int:
    """How many bytes the next call may give out; a careful run stops exactly where it is to become careful."""
    if careful_from is None:
        return usual
    return min(usual, careful_from - done) if done < careful_from else careful


def _find_next(feed: Feed, codec: Codec) -> None:
    """Go to what follows a whole member: the start of the next one, or the end of the file."""
    if codec.padding:
        feed.skip_zeros()
    start = feed.peek(MAGIC_BYTES)
    if start and not codec.can_start(start):
        raise Broken(f"the bytes after the {codec.name} data are not {codec.name}")


def _unpack_lz4(packed: Packed, careful_from: int | None) -> Iterator[bytes]:
    import pyarrow as pa

    class File:
        """The few methods that pyarrow asks of a Python file."""

        closed = False
        failure: OSError | None = None

        def read(self, size: int = -1) -> bytes:
            try:
                return packed.read(PIECE_BYTES if size < 0 else size)
            except OSError as error:  # pyarrow would lose what it has unpacked in this call
                self.failure = error
                return b""

        def close(self) -> None:
            self.closed = True

    file = File()
    stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "lz4")
    done = 0
    while True:
        limit = _limit(done, careful_from, LZ4_BYTES, careful=1)
        try:
            chunk = stream.read(limit)
        except OSError as error:
            raise file.failure or Broken(_reason(LZ4, error), has_lost=limit > 1) from None
        if not chunk:
            if file.failure is not None:
                raise file.failure
            return
        done += len(chunk)
        yield chunk


def _reason(codec: Codec, error: Exception) -> str:
    text = str(error)
    if "Truncated" in text:
        return f"the {codec.name} data ends before its end mark"
    if "too much memory" in text:
        return f"the zstd data needs a window above 2**{WINDOW_LOG_MAX} bytes; unpack it first with zstd -d --long=31"
    if "Memory usage limit" in text:
        return f"the xz data needs more than {MEMORY_BYTES >> 20} MiB of memory; unpack it first with xz -d"
    return f"the {codec.name} data is broken ({text})"
