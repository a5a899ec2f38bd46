"""Bytes come out as they went in, whatever they are packed in and wherever they come from; damage is told."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tcptrace_tw.capture.source import Stream, open_stream
from tcptrace_tw.errors import CaptureError

PLAIN = bytes(random.Random(793).choices(b"abcdefgh", k=700_000))


def zstd(data: bytes) -> bytes:
    return pack_with_arrow(data, "zstd")


def lz4(data: bytes) -> bytes:
    return pack_with_arrow(data, "lz4")


def pack_with_arrow(data: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        for at in range(0, len(data), 1 << 16):
            stream.write(data[at : at + (1 << 16)])
            stream.flush()
    return sink.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "lz4": lz4,
}


def drain(stream: Stream, step: int = 1 << 16) -> bytes:
    out, buffer = bytearray(), bytearray(step)
    with stream:
        while count := stream.readinto(memoryview(buffer)):
            out += buffer[:count]
    return bytes(out)


def write(folder: Path, data: bytes) -> str:
    path = folder / "capture"
    path.write_bytes(data)
    return str(path)


def test_a_plain_file_may_be_mapped(tmp_path: Path) -> None:
    """The path is given where the bytes on disk are the bytes of the capture."""
    path = write(tmp_path, PLAIN)
    stream = open_stream(path)

    assert (stream.path, stream.size, stream.compression, stream.name) == (path, len(PLAIN), "", path)
    assert drain(stream) == PLAIN
    assert stream.damage is None
    assert stream.position == len(PLAIN)


@pytest.mark.parametrize("codec", PACKERS)
@pytest.mark.parametrize("step", [1, 4096, 1 << 22])
def test_packed_data_is_recognised_by_its_magic(tmp_path: Path, codec: str, step: int) -> None:
    data = PLAIN[:20_000] if step == 1 else PLAIN
    packed = PACKERS[codec](data)
    stream = open_stream(write(tmp_path, packed))

    assert stream.compression == codec
    assert stream.path is None
    assert drain(stream, step) == data
    assert stream.damage is None
    assert stream.position == stream.size == len(packed)


@pytest.mark.parametrize("codec", PACKERS)
def test_members_follow_each_other(tmp_path: Path, codec: str) -> None:
    """``cat a.gz b.gz`` is one capture, as gzip -dc has it."""
    pack = PACKERS[codec]
    stream = open_stream(write(tmp_path, pack(PLAIN) + pack(b"") + pack(b"tail")))

    assert drain(stream) == PLAIN + b"tail"
    assert stream.damage is None


def test_thousands_of_small_members_follow_each_other(tmp_path: Path) -> None:
    """Block gzip, as bgzip and some capture cards write it."""
    stream = open_stream(write(tmp_path, b"".join(gzip.compress(b"%04d" % i) for i in range(5000))))

    assert drain(stream) == b"".join(b"%04d" % i for i in range(5000))


@pytest.mark.parametrize("codec", ["gzip", "xz"])
def test_zeros_after_the_data_are_padding(tmp_path: Path, codec: str) -> None:
    stream = open_stream(write(tmp_path, PACKERS[codec](PLAIN) + bytes(4096)))

    assert drain(stream) == PLAIN
    assert stream.damage is None


def test_zstd_skippable_frames_are_skipped(tmp_path: Path) -> None:
    """The zstd tool pzstd puts one before every frame (RFC 8878 3.1.2)."""
    skippable = bytes.fromhex("502a4d18") + (3).to_bytes(4, "little") + b"abc"
    stream = open_stream(write(tmp_path, skippable + zstd(PLAIN) + skippable + zstd(b"tail")))

    assert stream.compression == "zstd"
    assert drain(stream) == PLAIN + b"tail"


@pytest.mark.parametrize("codec", PACKERS)
def test_junk_after_the_data_is_told(tmp_path: Path, codec: str) -> None:
    stream = open_stream(write(tmp_path, PACKERS[codec](PLAIN) + b"this is not packed"))

    assert drain(stream) == PLAIN
    assert stream.damage is not None
    assert f"the {len(PLAIN)} bytes unpacked before it were kept" in stream.damage


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz", "lz4"])
@pytest.mark.parametrize("left", [0.3, 0.999])
def test_a_cut_file_gives_everything_before_the_cut(tmp_path: Path, codec: str, left: float) -> None:
    packed = PACKERS[codec](PLAIN)
    stream = open_stream(write(tmp_path, packed[: int(left * len(packed))]))
    got = drain(stream)

    assert PLAIN.startswith(got)
    # zstd and lz4 unpack whole blocks only, and zstd's are of 128 KiB.
    assert len(got) >= left * len(PLAIN) - (1 << 17)
    assert stream.damage == (
        f"byte {stream.size}: the {codec} data ends before its end mark; "
        f"the {len(got)} bytes unpacked before it were kept"
    )


def test_a_broken_gzip_file_gives_everything_before_the_break(tmp_path: Path) -> None:
    """The decompressor keeps the output of the failing call to itself; a second, careful run gets it."""
    packed = bytearray(gzip.compress(PLAIN))
    packed[-6] ^= 1  # the checksum
    stream = open_stream(write(tmp_path, bytes(packed)))
    got = drain(stream)

    assert PLAIN.startswith(got)
    assert len(got) > len(PLAIN) - 64
    assert stream.damage is not None
    assert "the gzip data is broken" in stream.damage


def test_a_window_above_the_cap_is_refused(tmp_path: Path) -> None:
    """A few bytes must not make us allocate gigabytes."""
    frame = bytes.fromhex("28b52ffd") + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(CaptureError, match=r"wants a window above 2\*\*27"):
        open_stream(write(tmp_path, frame))


def test_a_bomb_is_unpacked_in_little_memory(tmp_path: Path) -> None:
    """200 MB of zeros in 200 kB: the reader sees them all, the memory never holds them all."""
    path = write(tmp_path, gzip.compress(bytes(200 << 20), 9))
    code = (
        "import resource, sys; from tcptrace_tw.capture.source import open_stream\n"
        "stream = open_stream(sys.argv[1]); buffer = memoryview(bytearray(1 << 16)); total = 0\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "while n := stream.readinto(buffer): total += n\n"
        "print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    total, grown_kib = subprocess.check_output([sys.executable, "-c", code, path], text=True).split()

    assert int(total) == 200 << 20
    assert int(grown_kib) < 40 << 10


@pytest.mark.parametrize("codec", ["", *PACKERS])
def test_stdin_is_read_without_seeking(codec: str) -> None:
    packed = PACKERS[codec](PLAIN) if codec else PLAIN
    code = (
        "import sys; from tcptrace_tw.capture.source import open_stream\n"
        "stream = open_stream('-'); buffer = memoryview(bytearray(1 << 20))\n"
        "while n := stream.readinto(buffer): sys.stdout.buffer.write(buffer[:n])\n"
        "print(stream.name, stream.size, stream.path, stream.damage, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=packed, capture_output=True, check=True)

    assert done.stdout == PLAIN
    assert done.stderr.split() == [b"stdin", b"None", b"None", b"None"]


def test_what_a_live_pipe_has_is_handed_out_at_once(tmp_path: Path) -> None:
    """``tcpdump -U -w - | tcptrace-tw watch -`` must not wait for a full buffer."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    seen = threading.Event()

    def feed() -> None:
        with open(path, "wb", buffering=0) as fifo:
            fifo.write(b"first part")
            seen.wait(10)
            fifo.write(b"second")

    feeder = threading.Thread(target=feed)
    feeder.start()
    buffer = memoryview(bytearray(1000))
    with open_stream(str(path)) as stream:
        assert bytes(buffer[: stream.readinto(buffer)]) == b"first part"
        seen.set()
        assert bytes(buffer[: stream.readinto(buffer)]) == b"second"
        assert stream.readinto(buffer) == 0
    feeder.join()


def test_closing_early_ends_the_unpacking_thread(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(bytes(100 << 20), 1))
    with open_stream(path) as stream:
        stream.readinto(memoryview(bytearray(10)))
        thread = stream._thread
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "there is no such file"),
        (".", "is a directory"),
        ("empty", "is empty"),
        ("ftp://host/cap", "the scheme ftp:// is not known"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    with pytest.raises(CaptureError, match=message) as caught:
        open_stream(name)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_said_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN)
    os.chmod(path, 0)
    with pytest.raises(CaptureError, match="permission denied"):
        open_stream(path)


def test_a_packed_nothing_is_empty(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="is empty"):
        open_stream(write(tmp_path, gzip.compress(b"")))


def test_packed_data_that_gives_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="ends before its end mark"):
        open_stream(write(tmp_path, gzip.compress(PLAIN)[:12]))
