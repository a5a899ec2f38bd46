"""Servers that are broken or hostile: what came before is read, and a redirect leads where it may and not elsewhere."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcptrace_tw import pipeline
from tcptrace_tw.capture import web
from tcptrace_tw.capture.address import without_password
from tcptrace_tw.capture.public_address import is_public
from tcptrace_tw.capture.source import Stream, open_stream
from tcptrace_tw.cli.run import glob_for
from tcptrace_tw.errors import CaptureError
from tests import capture_bytes as cb
from tests.http_servers import Server, chunked, ok, redirect, reset, serving

DATA = bytes(range(256)) * 400
INSIDE = "127.0.0.2"
"""For these tests 127.0.0.1 is the public network, and this address is not."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as made:
        yield made


@pytest.fixture
def is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")


def drain(stream: Stream) -> bytes:
    out, buffer = bytearray(), memoryview(bytearray(1 << 20))
    with stream:
        while count := stream.readinto(buffer):
            out += buffer[:count]
    return bytes(out)


NO_ANSWERS = {
    "nothing": b"",
    "no HTTP": b"this is no HTTP\r\n\r\n",
    "a capture without a head": cb.pcap([b"frame"]),
    "a status that is no number": b"HTTP/1.1 abc\r\n\r\n",
    "a protocol that is not known": b"HTTP/9.1 200 OK\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(200)) + b"\r\n",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    "a long status": b"HTTP/1.1 200 " + b"a" * 70_000 + b"\r\n\r\n",
    "a long chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
    "a chunk size that is no number": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + DATA,
    "a redirect to no address": redirect("http://[x/"),
    "a redirect to no port": redirect("http://127.0.0.1:port/"),
    "a redirect to a port that is none": redirect("http://127.0.0.1:99999/"),
    "a redirect to a long name": redirect(f"http://{'a' * 70}.test/"),
    "a redirect without an address": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "a redirect to a file": redirect("file:///etc/passwd"),
    "a redirect to ftp": redirect("ftp://127.0.0.1:1/x"),
    "a redirect to itself": redirect("/x"),
    "a switch of protocols": b"HTTP/1.1 101 Switching\r\n\r\n",
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_an_answer_that_is_none_is_told_in_one_line(server: Server, kind: str) -> None:
    server.answers["/x"] = NO_ANSWERS[kind]
    with pytest.raises(CaptureError) as caught:
        drain(open_stream(f"{server.url}/x"))

    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(f"{server.url}/x: ")
    assert len(server.requests) <= web.REDIRECTS + 1


@pytest.mark.parametrize(
    "address",
    ["http://", "http://[", "http://a b/", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://\u202e/"],
)
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(CaptureError):
        open_stream(address)


@pytest.mark.parametrize("status", ["100 Continue", "103 Early Hints"])
def test_interim_answers_are_passed_but_not_for_ever(server: Server, status: str) -> None:
    interim = f"HTTP/1.1 {status}\r\nLink: </a>\r\n\r\n".encode()

    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(interim * 1000)

    server.answers |= {"/some": interim * 20 + ok(DATA), "/flood": flood}
    assert drain(open_stream(f"{server.url}/some")) == DATA
    with pytest.raises(CaptureError, match="the lines before the body do not end"):
        open_stream(f"{server.url}/flood")


@pytest.mark.parametrize("length", [10**18, 10**30])
def test_a_body_shorter_than_announced_is_read_and_damaged(server: Server, length: int) -> None:
    server.answers["/x"] = ok(DATA, length=length)
    stream = open_stream(f"{server.url}/x")

    assert drain(stream) == DATA
    assert stream.damage is not None
    assert stream.damage.startswith(f"byte {len(DATA)}: the transfer stopped {length - len(DATA)} bytes before")


def test_a_negative_length_is_none(server: Server) -> None:
    server.answers["/x"] = ok(DATA, length=-5)
    stream = open_stream(f"{server.url}/x")

    assert drain(stream) == DATA
    assert (stream.damage, stream.size) == (None, None)


def test_a_connection_that_is_reset_gives_what_came_before(server: Server) -> None:
    """Also when the error comes while a buffer is being filled."""
    has_read = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(ok(DATA, length=2 * len(DATA)))
        has_read.wait(10)
        reset(connection)

    server.answers["/x"] = answer
    stream = open_stream(f"{server.url}/x")
    threading.Timer(0.3, has_read.set).start()

    assert drain(stream) == DATA
    assert stream.damage is not None
    assert stream.damage.startswith(f"byte {len(DATA)}: the transfer stopped (Connection reset by peer)")


@pytest.mark.parametrize("cut", [1, 100, 50_000])
def test_a_chunk_that_is_cut_gives_what_came_before(server: Server, cut: int) -> None:
    whole = chunked(DATA[:1000], DATA)
    server.answers["/x"] = whole[: -2 - cut]
    stream = open_stream(f"{server.url}/x")

    assert drain(stream) == DATA[:1000] + DATA[:-cut]
    assert stream.damage is not None
    assert stream.damage.startswith(f"byte {1000 + len(DATA) - cut}: the transfer stopped inside a chunk")


def test_a_server_that_is_slow_is_waited_for_and_one_that_is_silent_is_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "TIMEOUT_S", 0.5)

    def drip(connection: socket.socket) -> None:
        connection.sendall(ok(b"", length=len(DATA)))
        for at in range(0, len(DATA), len(DATA) // 10):
            connection.sendall(DATA[at : at + len(DATA) // 10])
            time.sleep(0.1)

    def stop(connection: socket.socket) -> None:
        connection.sendall(ok(DATA[:5000], length=len(DATA)))
        time.sleep(5)

    server.answers |= {"/slow": drip, "/stops": stop, "/silent": lambda _: time.sleep(5)}
    assert drain(open_stream(f"{server.url}/slow")) == DATA
    stream = open_stream(f"{server.url}/stops")
    assert drain(stream) == DATA[:5000]
    assert stream.damage is not None
    assert "byte 5000: the transfer stopped (timed out)" in stream.damage
    with pytest.raises(CaptureError, match="timed out"):
        open_stream(f"{server.url}/silent")


def test_lines_that_drip_for_ever_are_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "HEAD_S", 0.5)

    def drip(connection: socket.socket) -> None:
        for _ in range(100):
            connection.sendall(b"H")
            time.sleep(0.05)

    server.answers["/x"] = drip
    begun = time.monotonic()
    with pytest.raises(CaptureError, match="the lines before the body do not end"):
        open_stream(f"{server.url}/x")
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 \x1b[31mgone\x07\xff\r\nContent-Length: 0\r\n\r\n",
        redirect("gopher://\x1b]0;title\x07x/"),
        redirect("http://127.0.0.1:1/\x1b[2J"),
        b"\x1b[2J\x9b garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[2J\r\n",
    ],
)
def test_words_of_a_server_do_not_reach_the_terminal(server: Server, answer: bytes) -> None:
    server.answers["/x"] = answer
    with pytest.raises(CaptureError) as caught:
        open_stream(f"{server.url}/x")
    assert str(caught.value).isprintable()


def test_a_part_that_nobody_asked_for_is_not_taken_for_the_whole(server: Server) -> None:
    server.answers["/x"] = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-10/20\r\n\r\nabcdef"
    with pytest.raises(CaptureError, match="the server answers 206 Partial Content"):
        open_stream(f"{server.url}/x")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: Server, status: int) -> None:
    server.answers |= {"/x": redirect("y z?q=1#part", status), "/y%20z?q=1": ok(DATA)}
    assert drain(open_stream(f"{server.url}/x")) == DATA


def test_a_redirect_does_not_lead_from_the_public_network_inside(server: Server, is_split: None) -> None:
    with serving(INSIDE) as inside:
        inside.answers |= {"/secret": ok(DATA), "/again": redirect("/secret")}
        server.answers["/x"] = redirect(f"{inside.url}/secret")
        with pytest.raises(CaptureError, match=rf"redirects to {INSIDE}, which is {INSIDE}, not a public address"):
            open_stream(f"{server.url}/x")
        assert inside.requests == []

        assert drain(open_stream(f"{inside.url}/again")) == DATA, "the user named such an address"


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    server: Server, is_split: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that gives another address each time gets one question for each connection."""
    with serving(INSIDE) as inside:
        port = int(server.place.rpartition(":")[2])
        answers = [["127.0.0.1"], [INSIDE], ["127.0.0.1"]]
        asked: list[str] = []

        def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in answers.pop(0)]

        monkeypatch.setattr(web.socket, "getaddrinfo", resolve)
        server.answers["/x"] = redirect("http://changes.test/secret")
        with pytest.raises(CaptureError, match=f"redirects to changes.test, which is {INSIDE}"):
            open_stream("http://first.test/x")
        assert asked == ["first.test", "changes.test"]
        assert inside.requests == []

        answers[:] = [["127.0.0.1"], [INSIDE, "127.0.0.1"]]
        server.answers["/secret"] = ok(DATA)
        assert drain(open_stream("http://first.test/x")) == DATA
        assert inside.requests == []


def test_a_redirect_does_not_give_up_encryption() -> None:
    with pytest.raises(CaptureError, match="without encryption"):
        web._target("https://a.test/x", "http://a.test/x")
    assert web._target("http://a.test/x", "https://b.test/y") == "https://b.test/y"
    assert web._target("https://a.test/d/x", "y") == "https://a.test/d/y"


def test_a_password_goes_to_the_first_host_only_and_is_not_shown(server: Server) -> None:
    with serving() as other:
        other.answers["/away"] = ok(cb.pcap([b"frame"]))
        server.answers |= {"/x": redirect("/here"), "/here": redirect(f"http://u:p@{other.place}/away")}
        address = server.url.replace("//", "//me:pass%2Fword@") + "/x"
        summary = pipeline.analyze([address], pipeline.Settings(), [])

        coded = base64.b64encode(b"me:pass/word").decode()
        assert [f"Authorization: Basic {coded}" in head for head in server.requests] == [True, True]
        assert "authorization" not in other.requests[0].lower()
        assert [file.name for file in summary.capture.files] == [f"{server.url}/x"]
        assert glob_for([address]) == [f"{server.url}/x"]

    server.answers["/x"] = redirect("/x")
    for wrong in (address, "ftp://me:pass@host/x", "http://me:pass@127.0.0.1:1/", "http://me:pa/ss@127.0.0.1/x"):
        with pytest.raises(CaptureError) as caught:
            open_stream(wrong)
        assert "me:" not in str(caught.value)
        assert "@" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("http://u:p@host/x", "http://host/x"),
        ("http://u@host:80/x@2.pcap", "http://host:80/x@2.pcap"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
        ("http://host?a@b", "http://host?a@b"),
        ("http://u:p/q@host/x", "http://host/x"),
        ("http://u:p#q@host/x", "http://host/x"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("folder/a@b.pcap", "folder/a@b.pcap"),
    ],
)
def test_what_is_shown_of_an_address(address: str, text: str) -> None:
    assert without_password(address) == text


def test_a_proxy_of_the_environment_is_used_and_redirects_are_checked_by_name(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy resolves the names, so a name that is not known here is left to it."""
    monkeypatch.setenv("http_proxy", f"http://me:word@{server.place}")
    monkeypatch.setenv("no_proxy", "")
    server.answers |= {
        "http://a.invalid/x": redirect("http://b.invalid/y"),
        "http://b.invalid/y": ok(DATA),
        "http://a.invalid/inside": redirect("http://10.0.0.1/y"),
        "http://10.0.0.1/y": ok(DATA),
    }
    assert drain(open_stream("http://a.invalid/x")) == DATA
    assert all("Proxy-Authorization: Basic" in head for head in server.requests)
    with pytest.raises(CaptureError, match=r"redirects to 10\.0\.0\.1"):
        open_stream("http://a.invalid/inside")
    assert drain(open_stream("http://10.0.0.1/y")) == DATA


def test_the_password_of_a_proxy_does_not_go_to_a_host_that_is_reached_without_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("127.0.0.3") as direct:
        monkeypatch.setenv("http_proxy", f"http://me:word@{server.place}")
        monkeypatch.setenv("no_proxy", "127.0.0.3")
        monkeypatch.setattr(web, "is_public", lambda _: True)
        server.answers["http://a.invalid/x"] = redirect(f"{direct.url}/y")
        direct.answers["/y"] = ok(DATA)

        assert drain(open_stream("http://a.invalid/x")) == DATA
        assert "authorization" not in direct.requests[0].lower()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        *((address, False) for address in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254")),
        *((address, False) for address in ("0.0.0.0", "100.64.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1")),
        *((address, False) for address in ("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1")),
        *((address, False) for address in ("fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1")),
        *((address, False) for address in ("64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1")),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_one_capture_of_a_set_whose_transfer_breaks_off_counts_up_to_there(server: Server, tmp_path: Path) -> None:
    whole = cb.pcap([cb.Record(b"frame", time_ns=10**9)] * 100)
    (tmp_path / "a").write_bytes(whole)
    server.answers["/b"] = ok(whole[:-1000], length=len(whole))
    summary = pipeline.analyze([str(tmp_path / "a"), f"{server.url}/b"], pipeline.Settings(), [])

    assert [file.frames for file in summary.capture.files] == [100, (len(whole) - 1000 - 24) // 21]
    assert [file.damage is None for file in summary.capture.files] == [True, False]
