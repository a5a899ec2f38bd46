"""Reads captures over ``http(s)://`` by the standard library, and from ``s3:// gs:// az://`` by what is installed."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tcptrace_tw.errors import CaptureError

if TYPE_CHECKING:
    from tcptrace_tw.capture.source import File

TIMEOUT_S = 60
"""How long a silent server is waited for."""

READ_BYTES = 16 << 20
"""pyarrow asks the store once for every read; anything smaller was measured to be an order of magnitude slower."""


def open_body(uri: str) -> tuple[File, int | None]:
    """The bytes behind an address, and how many they are, where the server says so."""
    scheme = uri.partition("://")[0].lower()
    if scheme in ("http", "https"):
        return _open_http(uri)
    if scheme in ("s3", "gs", "az"):
        return _open_object(uri)
    raise CaptureError(f"{uri}: the scheme {scheme}:// is not known; use a path, http(s)://, s3://, gs:// or az://")


def _open_http(uri: str) -> tuple[File, int | None]:
    try:
        response = urllib.request.urlopen(uri, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        raise CaptureError(f"{uri}: the server answers {error.code} {error.reason}; check the address") from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise CaptureError(f"{uri}: cannot be fetched ({reason}); check the address and the network") from None
    return _Body(response), response.length


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
        raise CaptureError(f"{uri}: cannot be fetched ({_one_line(error)}); check the name and your keys") from None


def _open_by_arrow(uri: str) -> tuple[File, int | None]:
    from pyarrow import fs

    try:
        store, path = fs.FileSystem.from_uri(uri.replace("az://", "abfs://", 1))
        return _Chunks(_arrow_chunks(store.open_input_stream(path))), store.get_file_info(path).size
    except (OSError, ValueError, NotImplementedError) as error:
        raise CaptureError(f"{uri}: cannot be fetched ({_one_line(error)}); check the name and your keys") from None


def _arrow_chunks(stream: Any) -> Iterator[bytes]:
    with stream:
        while chunk := stream.read(READ_BYTES):
            yield chunk


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


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
                raise OSError(f"the transfer broke off ({_one_line(error)})") from None
        count = min(len(self._chunk), len(buffer))
        buffer[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        return count

    def close(self) -> None:
        """Let go of what is still to come."""
        self._chunks = iter(())


class _Body:
    """The body of a response; a transfer that ends early is an ``OSError``, so that it is told as damage."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self._missing = response.length

    def readinto(self, buffer: memoryview) -> int:
        try:
            count = self._response.readinto(buffer)
        except http.client.HTTPException as error:
            raise OSError(f"the transfer broke off ({error})") from None
        if self._missing is not None:
            self._missing -= count
            if count == 0 and self._missing > 0 and len(buffer):
                missing, self._missing = self._missing, 0
                raise OSError(f"the transfer broke off {missing} bytes before the end")
        return count

    def close(self) -> None:
        self._response.close()
