"""Opens anything that bytes of a capture come from and hands them out in order: a file, stdin, a URL, packed or not.

Packed data is recognised by its magic and unpacked in a thread of its own, a bounded number of bytes ahead.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from tcptrace_tw.capture import compression, kept_stdin
from tcptrace_tw.capture.address import without_password
from tcptrace_tw.capture.compression import Broken, Codec
from tcptrace_tw.errors import CaptureError, nearest

STDIN = "-"

AHEAD_BYTES = 8 << 20
"""How far unpacking may run ahead of reading."""

GATHERS_S = 0.1
"""From the first bytes that a pipe delivers, more of them are awaited for this long: few batches, and none is late."""


class File(Protocol):
    """The part of ``io.RawIOBase`` that a source needs."""

    def readinto(self, buffer: Any, /) -> int | None:
        """As in ``io.RawIOBase``."""

    def close(self) -> None:
        """As in ``io.RawIOBase``."""


class Raw:
    """Bytes as they lie on disk or come down the wire, with one lookahead and a count."""

    def __init__(self, file: File, *, fileno: int | None = None) -> None:
        self.position = 0
        self._file = file
        self._fileno = fileno
        self._ahead = b""
        self._room = bytearray()
        self._failure: OSError | None = None

    def peek(self, size: int) -> bytes:
        """The next bytes without taking them; fewer than ``size`` only at the end, or where reading fails."""
        while len(self._ahead) < size:
            try:
                more = self._take(max(size, 4096))
            except OSError:
                if not self._ahead:
                    raise
                break
            if not more:
                break
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, at least one; nothing at the end."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            data = self._take(size)
        self.position += len(data)
        return data

    @property
    def is_live(self) -> bool:
        """Whether the bytes come from another process, which may pause."""
        return self._fileno is not None

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer with what is there or comes at once; wait for long only when nothing is. 0 at the end."""
        done = min(len(self._ahead), len(buffer))
        buffer[:done] = self._ahead[:done]
        self._ahead = self._ahead[done:]
        until = time.monotonic() + GATHERS_S if done else None
        while done < len(buffer) and (until is None or self._is_ready(until)):
            try:
                count = self._fill(buffer[done:])
            except OSError:
                if not done:
                    raise
                break  # first what was read; the next call raises the error again
            if not count:
                break
            done += count
            until = until or time.monotonic() + GATHERS_S
        self.position += done
        return done

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _take(self, size: int) -> bytes:
        if len(self._room) < size:
            self._room = bytearray(size)
        room = memoryview(self._room)
        return bytes(room[: self._fill(room[:size])])

    def _fill(self, buffer: memoryview) -> int:
        """Read once. An error stays: every later call raises it, so that it always comes behind the last byte."""
        if self._failure is not None:
            raise self._failure
        try:
            while (count := self._file.readinto(buffer)) is None and self._fileno is not None:
                select.select([self._fileno], [], [])  # a pipe that does not block, and has nothing yet
        except OSError as error:
            self._failure = error
            raise
        return count or 0

    def _is_ready(self, until: float) -> bool:
        """Whether a read would return before that time: always for a file, if the system can tell for a pipe."""
        if self._fileno is None:
            return True
        try:
            return bool(select.select([self._fileno], [], [], max(0.0, until - time.monotonic()))[0])
        except (OSError, ValueError):
            return False


class _Pipe:
    """Chunks from the unpacking thread to the reader, a bounded number of bytes ahead."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._ahead = 0
        self._change = threading.Condition()
        self._is_ended = False
        self._is_closed = False

    def put(self, chunk: bytes) -> bool:
        """Add a chunk, waiting for room; False once the reader has closed."""
        with self._change:
            while self._ahead > AHEAD_BYTES and not self._is_closed:
                self._change.wait()
            self._chunks.append(chunk)
            self._ahead += len(chunk)
            self._change.notify_all()
            return not self._is_closed

    def get(self, until: float | None = None) -> bytes:
        """The next chunk; nothing at the end, or where none has come ``until`` then."""
        with self._change:
            left = None if until is None else max(0.0, until - time.monotonic())
            self._change.wait_for(lambda: self._chunks or self._is_ended, left)
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            self._ahead -= len(chunk)
            self._change.notify_all()
            return chunk

    def end(self) -> None:
        """No chunk will follow."""
        with self._change:
            self._is_ended = True
            self._change.notify_all()

    def close(self) -> None:
        """The reader wants no more."""
        with self._change:
            self._is_closed = True
            self._chunks.clear()
            self._change.notify_all()


class Stream:
    """The bytes of one capture, unpacked, from the first to the last; there is no way back."""

    name: str
    """What to call it in messages: the path or URL as given, or ``stdin``."""
    size: int | None
    """Bytes on disk, packed; None where that is not known."""
    compression: str
    """``""``, or gzip, zstd, xz, bzip2, lz4."""
    position: int
    """Packed bytes taken so far; runs up to a few MB ahead of what was read."""
    path: str | None
    """Set where the bytes are those of a plain local file, which may then be mapped into memory instead."""
    is_live: bool
    """Whether the bytes come from another process, which may pause."""
    damage: str | None
    """Known once ``readinto`` has returned 0: byte offset in the packed data, what is wrong, what was kept."""

    def __init__(self, name: str, raw: Raw, *, size: int | None = None, path: str | None = None) -> None:
        self.name = name
        self.size = size
        self.position = 0
        self.damage = None
        self._raw = raw
        codec = compression.sniff(raw.peek(compression.MAGIC_BYTES))
        self.compression = codec.name if codec else ""
        self.is_live = raw.is_live
        self.path = None if codec else path
        self._chunk = memoryview(b"")
        self._pipe = _Pipe()
        self._crash: BaseException | None = None
        self._thread: threading.Thread | None = None
        if codec:
            self._thread = threading.Thread(target=self._unpack, args=(codec, path), name=f"unpack {name}", daemon=True)
            self._thread.start()

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer with what is there or comes at once, and return the count. 0 at the end."""
        if self._thread is None:
            return self._read_plain(buffer)
        done = 0
        until: float | None = None
        while done < len(buffer):
            if not self._chunk:
                self._chunk = memoryview(self._pipe.get(until))
                if not self._chunk:
                    break
            until = until or time.monotonic() + (GATHERS_S if self.is_live else 0)
            count = min(len(self._chunk), len(buffer) - done)
            buffer[done : done + count] = self._chunk[:count]
            self._chunk = self._chunk[count:]
            done += count
        if done == 0 and len(buffer):
            self._raise_crash()
        self.position = self._raw.position
        return done

    def close(self) -> None:
        """Let the source go; the unpacking thread ends by itself."""
        self._pipe.close()
        if self._thread is None:
            self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _raise_crash(self) -> None:
        """Raise what ended the other thread, if anything; the stream forgets it: they would hold each other."""
        crash, self._crash = self._crash, None
        try:
            if crash is not None:
                raise crash
        finally:
            del crash

    def _read_plain(self, buffer: memoryview) -> int:
        try:
            done = self._raw.readinto(buffer)
        except OSError as error:
            self._say(str(error.strerror or error), self._raw.position)
            return 0
        self.position = self._raw.position
        return done

    def _say(self, what: str, kept: int) -> None:
        self.damage = f"byte {self._raw.position}: {what}; the {kept} bytes before it were kept"

    def _unpack(self, codec: Codec, path: str | None) -> None:
        """Run in a thread: unpack to the end, or to the damage."""
        kept = 0
        try:
            with contextlib.closing(self._raw):
                try:
                    for chunk in compression.unpack(self._raw, codec):
                        kept += len(chunk)
                        if not self._pipe.put(chunk):
                            return
                except Broken as broken:
                    for chunk in _salvage(path, codec, kept) if broken.has_lost else ():
                        kept += len(chunk)
                        self._pipe.put(chunk)
                    self._say_unpacked(str(broken), kept)
                except OSError as error:
                    self._say_unpacked(str(error.strerror or error), kept)
        except BaseException as error:  # our bug: it belongs to the thread that reads
            self._crash = error
        finally:
            self._pipe.end()

    def _say_unpacked(self, what: str, kept: int) -> None:
        self.damage = f"byte {self._raw.position}: {what}; the {kept} bytes unpacked before it were kept"


def _salvage(path: str | None, codec: Codec, kept: int) -> Iterator[bytes]:
    """Unpack a broken file once more, in small steps near the damage, and yield what the first run lost.

    A decompressor that meets broken data loses what it had unpacked in that call; only a local file can be read twice.
    """
    if path is None:
        return
    skip = kept
    with contextlib.suppress(Broken, OSError), contextlib.closing(Raw(io.FileIO(path))) as raw:
        for chunk in compression.unpack(raw, codec, careful_from=kept):
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            yield chunk[skip:]
            skip = 0


class Opened(NamedTuple):
    """A source whose first byte has not been taken yet."""

    name: str
    raw: Raw
    size: int | None = None
    path: str | None = None


def open_raw(uri: str) -> Opened:
    """Open a source without looking at its bytes; ``CaptureError`` where that fails."""
    try:
        return _open_raw(uri)
    except OSError as error:
        raise CaptureError(f"{without_password(uri)}: {_advice(error)}") from None


def open_stream(uri: str) -> Stream:
    """Open a local path, ``-`` for stdin, or an ``http(s)://``, ``s3://``, ``gs://``, ``az://`` address.

    Raises ``CaptureError`` where there is nothing to read: missing, a directory, not allowed, empty, or packed data
    of which not one byte can be unpacked.
    """
    name, raw, size, path = open_raw(uri)
    try:
        return _checked(Stream(name, raw, size=size, path=path))
    except OSError as error:
        raise CaptureError(f"{without_password(uri)}: {_advice(error)}") from None


def _open_raw(uri: str) -> Opened:
    if uri == STDIN:
        return Opened("stdin", Raw(kept_stdin.opened(), fileno=_waitable(0)))
    if "://" in uri:
        from tcptrace_tw.capture import remote

        body, size = remote.open_body(uri)
        return Opened(without_password(uri), Raw(body), size)
    if os.path.isdir(uri):
        raise CaptureError(f"{uri}: is a directory, not a capture; name the files in it, or have it searched")
    file = io.FileIO(uri)
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode):
        return Opened(uri, Raw(file), status.st_size, uri)
    return Opened(uri, Raw(file, fileno=file.fileno()))


def _checked(stream: Stream) -> Stream:
    """The stream, if it has at least one byte."""
    if stream.compression:
        first = stream._pipe.get()
        stream._chunk = memoryview(first)
        is_empty = not first
    else:
        is_empty = not stream._raw.peek(1)
    if not is_empty:
        return stream
    stream.close()
    stream._raise_crash()
    if stream.damage:
        raise CaptureError(f"{stream.name}: {stream.damage}; fetch or pack the file again")
    raise CaptureError(f"{stream.name}: is empty; was the capture stopped before the first packet was written?")


def _waitable(fileno: int) -> int | None:
    """The descriptor, if a read from it may block; a regular file never does."""
    return None if stat.S_ISREG(os.fstat(fileno).st_mode) else fileno


def _advice(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        near = _alike(str(error.filename or ""))
        return f"there is no such file; did you mean {near}?" if near else "there is no such file; check the path"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied); run as a user that may, or change its mode"
    return f"cannot be read: {error.strerror or error}"


def _alike(name: str) -> str:
    """The path in the same folder whose name is nearest; empty where none is near."""
    folder, last = os.path.split(name)
    found = ""
    with contextlib.suppress(OSError):
        found = nearest(last, os.listdir(folder or "."), alike=0.75)
    return os.path.join(folder, found) if found else ""
