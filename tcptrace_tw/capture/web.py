"""Fetches captures over http and https, from servers that may be broken or hostile.

Redirects are followed here and not by ``urllib``: they must stay within http and https, must not give up encryption,
and must not lead from a public address into the network of the user. The address that was checked is the one that is
connected to, so a name that changes its address in between does not help. Through a proxy of the environment, which
resolves names itself, what the name stands for on this host is checked instead.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import string
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tcptrace_tw.capture.address import CREDENTIALS, MISTAKEN, without_password
from tcptrace_tw.capture.public_address import is_public
from tcptrace_tw.errors import CaptureError, printable

if TYPE_CHECKING:
    from io import BufferedReader

TIMEOUT_S = 30
"""How long a connection may take, and how long a server may be silent."""

HEAD_S = 60
"""How long a server may take for all lines before the body, whatever it sends."""

HEAD_BYTES = 1 << 18
"""How many bytes those lines may have; a server may send any number of interim answers."""

READ_BYTES = 1 << 18
"""How much of a body is asked of the system at once."""

REDIRECTS = 10
"""How many redirects are followed."""

_REDIRECTS = (301, 302, 303, 307, 308)

ERRORS = (OSError, http.client.HTTPException, ValueError, OverflowError)
"""What the standard library raises for addresses and answers that are none."""


def open_http(uri: str) -> Body:
    """The body behind an address; ``CaptureError`` where there is none."""
    try:
        return Body(_follow(uri))
    except ERRORS as error:
        raise CaptureError(
            f"{without_password(uri)}: cannot be fetched ({_words(error)}); check the address and the network"
        ) from None


MOST_LETTERS = 200
"""More of an error is not shown."""


def said(error: object) -> str:
    """The words of an error in one line, without characters that change a terminal."""
    words = " ".join(str(error).split())
    return printable(words if len(words) <= MOST_LETTERS else words[:MOST_LETTERS].rpartition(" ")[0] + " ...")


def _words(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return said(error.reason)
    is_no_http = isinstance(error, http.client.HTTPException) and not isinstance(error, OSError)
    return f"{type(error).__name__}: {said(error)}" if is_no_http else said(error)


class Body:
    """The body of an answer; a transfer that ends early is an ``OSError``, behind the bytes that came."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self._missing = response.length
        self.size = response.length if response.length is not None and response.length < 1 << 63 else None
        """How many bytes there will be, where the server says so."""

    def readinto(self, buffer: memoryview) -> int:
        """As in ``io.RawIOBase``."""
        try:
            piece = self._response.read1(min(len(buffer), READ_BYTES))  # gives out what has come, before any error
        except http.client.IncompleteRead:
            raise OSError("the transfer stopped inside a chunk; fetch it again") from None
        except ERRORS as error:
            raise OSError(f"the transfer stopped ({said(getattr(error, 'strerror', None) or error)})") from None
        buffer[: len(piece)] = piece
        if self._missing is not None:
            self._missing -= len(piece)
            if not piece and self._missing > 0 and len(buffer):
                raise OSError(f"the transfer stopped {self._missing} bytes before the end")
        return len(piece)

    def close(self) -> None:
        """As in ``io.RawIOBase``."""
        self._response.close()


PARTIAL = 206
"""The answer to a request for a part; nobody asked for one."""


def _follow(uri: str) -> http.client.HTTPResponse:
    """The first answer that is no redirect."""
    url, credentials = split_credentials(uri)
    origin = _origin(url)
    opener = _opener(_Guard())
    for _ in range(REDIRECTS + 1):
        request = _Request(url)
        if credentials and _origin(url) == origin:
            coded = base64.b64encode(credentials.encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {coded}")
        response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_S)
        if 200 <= response.status < 300 and response.status != PARTIAL:
            return response
        response.close()
        place = response.headers["Location"]
        if response.status not in _REDIRECTS or place is None:
            reason = said(response.reason)
            raise CaptureError(
                f"{without_password(uri)}: the server answers {response.status} {reason}; check the address"
            )
        try:
            url = _target(url, place)
        except CaptureError as error:
            raise CaptureError(f"{without_password(uri)}: {error}") from None
    raise CaptureError(f"{without_password(uri)}: the server redirects more than {REDIRECTS} times; check the address")


def split_credentials(uri: str) -> tuple[str, str]:
    """The address without user name and password, and those two with a colon between them; nothing if there are none.

    Raises ``CaptureError`` where a character in them is not escaped, so that they would be sent as part of a name.
    """
    if re.match(MISTAKEN, uri) and not re.match(CREDENTIALS, uri):
        raise CaptureError(f"{without_password(uri)}: the password has a /, ? or # in it; write it as %2F, %3F or %23")
    parts = urllib.parse.urlsplit(uri)
    credentials, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=place).geturl(), urllib.parse.unquote(credentials)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _target(url: str, place: str) -> str:
    """Where a redirect leads; ``CaptureError`` where it may not. Credentials in it are dropped."""
    place = urllib.parse.quote(place.strip(), safe=string.punctuation, encoding="iso-8859-1", errors="replace")
    target = urllib.parse.urljoin(url, place)
    scheme = urllib.parse.urlsplit(target).scheme
    words = said(without_password(target))
    if scheme not in ("http", "https"):
        raise CaptureError(f"the server redirects to {words}, which is neither http nor https; fetch it yourself")
    if scheme == "http" and url.startswith("https:"):
        raise CaptureError(f"the server redirects to {words}, without encryption; name that address if you trust it")
    return split_credentials(target)[0]


class _Request(urllib.request.Request):
    """A request that knows whether it goes through a proxy."""

    is_proxied = False

    def set_proxy(self, host: str, type: str) -> None:
        super().set_proxy(host, type)
        self.is_proxied = True


class _Guard:
    """Lets connections go to public addresses only, unless the first of them went elsewhere: the user named it."""

    def __init__(self) -> None:
        self._is_first = True
        self._is_open = False

    def connect(self, place: tuple[str, int], timeout: float, source: Any = None) -> socket.socket:
        """As ``socket.create_connection``, to the first address that may be connected to and answers."""
        failure: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(*place, type=socket.SOCK_STREAM):
            connection = socket.socket(family, kind, protocol)
            try:
                self._check(place[0], str(address[0]))
                connection.settimeout(timeout)
                connection.connect(address)
            except OSError as error:
                connection.close()
                failure = failure or error
                continue
            self._note([str(address[0])])
            return connection
        raise failure or OSError(f"{place[0]} has no address")

    def pass_by(self, host: str) -> None:
        """Check a name that a proxy will resolve; a name that is not known here is left to the proxy."""
        try:
            found = {str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        except (OSError, ValueError):
            found = set()
        for address in sorted(found):
            self._check(host, address)
        self._note(found)

    def _check(self, host: str, address: str) -> None:
        if not (self._is_first or self._is_open or is_public(address)):
            raise OSError(
                f"the server redirects to {printable(host)}, which is {address}, not a public address;"
                " name it yourself if you trust it"
            )

    def _note(self, addresses: Iterable[str]) -> None:
        if self._is_first:
            self._is_first, self._is_open = False, not all(map(is_public, addresses))


class _Handler(urllib.request.AbstractHTTPHandler):
    """Makes connections that the guard has checked."""

    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self._guard = guard

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def http_open(self, request: _Request) -> http.client.HTTPResponse:
        return self._open(http.client.HTTPConnection, request)

    def https_open(self, request: _Request) -> http.client.HTTPResponse:
        return self._open(http.client.HTTPSConnection, request)

    def _open(self, kind: type[http.client.HTTPConnection], request: _Request) -> http.client.HTTPResponse:
        if request.is_proxied:
            self._guard.pass_by(urllib.parse.urlsplit(request.full_url).hostname or "")

        def connection(host: str, **others: Any) -> http.client.HTTPConnection:
            made = kind(host, **others)
            made.response_class = _Response
            if not request.is_proxied:
                made._create_connection = self._guard.connect  # type: ignore[attr-defined]
            return made

        return self.do_open(connection, request)


def _opener(guard: _Guard) -> urllib.request.OpenerDirector:
    """No handler for redirects, error codes, files or ftp: what an answer means is decided here."""
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), _Handler(guard), urllib.request.UnknownHandler()):
        opener.add_handler(handler)
    return opener


class _Response(http.client.HTTPResponse):
    """An answer whose lines before the body are bounded, in bytes and in time."""

    def begin(self) -> None:
        """Read up to the body, past interim answers (RFC 9110 15.2)."""
        body = self.fp
        head: Any = _Head(body)
        self.fp = head
        try:
            super().begin()
            while 102 <= self.status < 200:
                self.headers = None  # type: ignore[assignment]
                super().begin()
        finally:
            if self.fp is head:  # else it was closed
                self.fp = body


class _Head:
    """Lines from a server, not more than are reasonable."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._left = HEAD_BYTES
        self._until = time.monotonic() + HEAD_S

    def readline(self, limit: int) -> bytes:
        """As in ``io.BufferedReader``; each ``peek`` reads from the network once at most."""
        line = b""
        while len(line) < limit and not line.endswith(b"\n") and (seen := self._file.peek(1)):
            size = min(seen.find(b"\n") + 1 or len(seen), limit - len(line))
            line += self._file.read(size)
            self._left -= size
            if self._left < 0 or time.monotonic() > self._until:
                raise http.client.HTTPException("the lines before the body do not end")
        return line

    def close(self) -> None:
        """As in ``io.BufferedReader``."""
        self._file.close()
