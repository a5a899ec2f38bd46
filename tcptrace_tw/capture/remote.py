"""Reads captures over ``http(s)://`` by the standard library, and from ``s3:// gs:// az://`` by what is installed."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from tcptrace_tw.errors import CaptureError

if TYPE_CHECKING:
    from tcptrace_tw.capture.source import File

TIMEOUT_S = 60
"""How long a silent server is waited for."""


def open_body(uri: str) -> tuple[File, int | None]:
    """The bytes behind an address, and how many they are, where the server says so."""
    scheme = uri.partition("://")[0].lower()
    if scheme in ("http", "https"):
        return _open_http(uri)
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
