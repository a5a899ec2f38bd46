"""Reads captures over ``http(s)://`` (see ``web``), and from ``s3:// gs:// az://`` by what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tcptrace_tw.capture import web
from tcptrace_tw.capture.address import without_password
from tcptrace_tw.errors import CaptureError, printable
from tcptrace_tw.storage import advice, words_of

if TYPE_CHECKING:
    from tcptrace_tw.capture.source import File

READ_BYTES = 16 << 20
"""pyarrow asks the store once for every read; anything smaller was measured to be an order of magnitude slower."""


def open_body(uri: str) -> tuple[File, int | None]:
    """The bytes behind an address, and how many they are, where the server says so."""
    scheme = uri.partition("://")[0].lower()
    if scheme in ("http", "https"):
        body = web.open_http(uri)
        return body, body.size
    if scheme in ("s3", "gs", "az"):
        return _open_object(uri)
    raise CaptureError(
        f"{without_password(uri)}: the scheme {printable(scheme)}:// is not supported;"
        " use a path, http(s)://, s3://, gs:// or az://"
    )


def _open_object(uri: str) -> tuple[File, int | None]:
    """An object of a store, by obstore where it is installed (``tcptrace-tw[s3]``), else by pyarrow.

    Keys and regions are found as those libraries find them: in the environment, or in the files of the store's tools.
    """
    try:
        import obstore  # type: ignore[import-not-found,unused-ignore] # noqa: F401
    except ImportError:
        return _open_by_arrow(uri)
    return _open_by_obstore(uri)


def _open_by_obstore(uri: str) -> tuple[File, int | None]:
    import obstore
    from obstore.store import from_url  # type: ignore[import-not-found,unused-ignore]

    place, _, key = uri.partition("://")[2].partition("/")
    try:
        answer = obstore.get(from_url(f"{uri.partition('://')[0]}://{place}"), key)
        return _Chunks(iter(answer.stream(min_chunk_size=1 << 20))), int(answer.meta["size"])
    except Exception as error:  # obstore's errors have no common base but Exception
        raise _failed(uri, error) from None


def _open_by_arrow(uri: str) -> tuple[File, int | None]:
    from pyarrow import fs

    try:
        store, path = fs.FileSystem.from_uri(uri.replace("az://", "abfs://", 1))
        return _Chunks(_arrow_chunks(store.open_input_stream(path))), store.get_file_info(path).size
    except (OSError, ValueError, NotImplementedError) as error:
        raise _failed(uri, error) from None


def _arrow_chunks(stream: Any) -> Iterator[bytes]:
    with stream:
        while chunk := stream.read(READ_BYTES):
            yield chunk


def _failed(uri: str, error: Exception) -> CaptureError:
    """Libraries repeat the address in their words, with the keys in it."""
    credentials = uri.partition("://")[2].partition("/")[0].rpartition("@")[0]
    words = words_of(str(error).replace(f"{credentials}@", "") if credentials else error)
    return CaptureError(f"{without_password(uri)}: cannot be fetched: {advice(uri, words)} ({words})")


class _Chunks:
    """A file over an iterator of byte chunks."""

    def __init__(self, chunks: Iterator[Any]) -> None:
        self._chunks = chunks
        self._chunk = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        while not self._chunk:
            try:
                self._chunk = memoryview(next(self._chunks))
            except StopIteration:
                return 0
            except OSError:
                raise
            except Exception as error:
                raise OSError(f"the transfer stopped ({web.said(error)})") from None
        count = min(len(self._chunk), len(buffer))
        buffer[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        return count

    def close(self) -> None:
        """Let go of what is still to come."""
        self._chunks = iter(())
