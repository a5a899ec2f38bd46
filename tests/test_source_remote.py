"""Captures are read from web servers and object stores as if they were local, and a broken transfer is damage."""

from __future__ import annotations

import gzip
import http.server
import os
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs
import pytest

from tcptrace_tw import storage
from tcptrace_tw.capture.source import Stream, open_stream
from tcptrace_tw.errors import CaptureError

DATA = bytes(range(256)) * 4000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        """As the place at which a machine asks for keys; what has none to give answers 404 to the next question."""
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"token")

    def do_GET(self) -> None:
        bodies = {"/plain": DATA, "/packed": gzip.compress(DATA), "/cut": DATA, "/empty": b""}
        if self.path not in bodies:
            self.send_error(404)
            return
        body = bodies[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:500_000] if self.path == "/cut" else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def drain(stream: Stream) -> bytes:
    out, buffer = bytearray(), memoryview(bytearray(1 << 16))
    with stream:
        while count := stream.readinto(buffer):
            out += buffer[:count]
    return bytes(out)


@pytest.mark.parametrize(("path", "compression"), [("/plain", ""), ("/packed", "gzip")])
def test_http(server: str, path: str, compression: str) -> None:
    stream = open_stream(server + path)
    assert stream.compression == compression
    assert stream.path is None
    assert drain(stream) == DATA
    assert stream.damage is None
    assert stream.position == stream.size


def test_a_transfer_that_breaks_off_is_damage(server: str) -> None:
    stream = open_stream(server + "/cut")
    got = drain(stream)
    assert DATA.startswith(got)
    assert stream.damage is not None
    assert stream.damage.startswith(f"byte {len(got)}: the transfer stopped 524000 bytes before the end")


@pytest.mark.parametrize(
    ("path", "message"), [("/missing", "the server answers 404 Not Found"), ("/empty", "is empty")]
)
def test_what_the_server_does_not_give_is_said(server: str, path: str, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        open_stream(server + path)


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(CaptureError, match=r"cannot be fetched .*check the address and the network"):
        open_stream("http://127.0.0.1:1/x")


def test_objects_are_read_by_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without obstore; a folder stands for the store."""
    (tmp_path / "cap.gz").write_bytes(gzip.compress(DATA))
    monkeypatch.setitem(sys.modules, "obstore", None)
    asked = []

    class FileSystem:
        @staticmethod
        def from_uri(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
            asked.append(uri)
            return pyarrow.fs.LocalFileSystem(), str(tmp_path / uri.rpartition("/")[2])

    monkeypatch.setattr(pyarrow.fs, "FileSystem", FileSystem)
    stream = open_stream("az://container/cap.gz")
    assert drain(stream) == DATA
    assert stream.size == (tmp_path / "cap.gz").stat().st_size
    assert asked == ["abfs://container/cap.gz"]

    with pytest.raises(CaptureError, match="cannot be fetched"):
        open_stream("s3://bucket/missing")


def test_objects_are_read_by_obstore(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two calls of obstore that are used, imitated: it is an extra."""

    class Answer:
        meta = {"size": len(DATA)}  # noqa: RUF012

        def stream(self, min_chunk_size: int) -> Iterator[bytes]:
            yield from (DATA[at : at + 100_000] for at in range(0, len(DATA), 100_000))

    asked = []
    obstore, store = types.ModuleType("obstore"), types.ModuleType("obstore.store")
    obstore.get = lambda place, key: asked.append((place, key)) or Answer()  # type: ignore[attr-defined,func-returns-value]
    store.from_url = lambda url: url  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "obstore", obstore)
    monkeypatch.setitem(sys.modules, "obstore.store", store)

    assert drain(open_stream("s3://bucket/deep/cap.pcap")) == DATA
    assert asked == [("s3://bucket", "deep/cap.pcap")]


def test_without_keys_it_is_said_which_ones_are_missing(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    """Then the library asks the machine for the keys that its cloud has given it; here a server refuses them."""
    pytest.importorskip("obstore")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", server)
    storage._store.cache_clear()
    said = "there are no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true"

    with pytest.raises(CaptureError, match=said):
        open_stream("s3://bucket/cap.pcap")
    with pytest.raises(OSError, match=said):
        storage.Object("s3://bucket/out").inside()
    storage._store.cache_clear()


@pytest.mark.parametrize(
    ("url", "said", "advice"),
    [
        ("gs://b", "Error performing GET http://metadata.google.internal/x", "GOOGLE_SKIP_SIGNATURE=true"),
        ("az://b", "Generic MicrosoftAzure error: Account must be specified", "set AZURE_STORAGE_ACCOUNT_NAME"),
        ("S3://b", "PUT http://169.254.169.254/latest/api/token", "set AWS_ACCESS_KEY_ID"),
        ("s3://b", "403 Forbidden: AccessDenied", "check the name and your keys"),
    ],
)
def test_what_to_do_when_a_store_refuses(url: str, said: str, advice: str) -> None:
    assert advice in storage.advice(url, said)
