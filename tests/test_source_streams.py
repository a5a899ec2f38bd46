"""Bytes come out as they went in, whatever they are packed in and wherever they come from; damage is told."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import random
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tcptrace_tw.capture import compression
from tcptrace_tw.capture.source import Raw, Stream, open_stream
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
    with pytest.raises(CaptureError, match=r"needs a window above 2\*\*27"):
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
        ("ftp://host/cap", "the scheme ftp:// is not supported"),
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


class Failing(io.BytesIO):
    """A disk that gives these bytes and then an error, or a pipe whose other end breaks."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = super().readinto(buffer)
        if not count and len(buffer):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return count


@pytest.mark.parametrize("step", [1000, 1 << 20])
@pytest.mark.parametrize("codec", ["", *PACKERS])
def test_an_error_of_the_disk_comes_behind_what_was_read(tmp_path: Path, codec: str, step: int) -> None:
    """As much is read as of a file that is cut there, and the damage is where the error was."""
    packed = PACKERS[codec](PLAIN * 2) if codec else PLAIN
    cut = packed[: len(packed) * 2 // 3]
    stream = Stream("capture", Raw(Failing(cut)))
    got = drain(stream, step)

    assert got == drain(open_stream(write(tmp_path, cut)), step)
    assert len(got) > len(PLAIN) // 2
    kept = f"{len(got)} bytes unpacked" if codec else f"{len(got)} bytes"
    assert stream.damage == f"byte {len(cut)}: Input/output error; the {kept} before it were kept"


@pytest.mark.parametrize("size", [3, 4, 5])
def test_an_error_within_the_magic_comes_behind_it(size: int) -> None:
    stream = Stream("capture", Raw(Failing(PLAIN[:size])))

    assert drain(stream) == PLAIN[:size]
    assert stream.damage is not None
    assert stream.damage.startswith(f"byte {size}: Input/output error")


def test_an_error_stays(tmp_path: Path) -> None:
    """However often a reader asks again."""
    stream = Stream("capture", Raw(Failing(PLAIN)))
    buffer = memoryview(bytearray(1 << 20))

    assert [stream.readinto(buffer) for _ in range(3)] == [len(PLAIN), 0, 0]
    assert stream.damage is not None
    assert stream.damage.startswith(f"byte {len(PLAIN)}: Input/output error")


def test_a_disk_that_gives_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead(io.FileIO):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = write(tmp_path, PLAIN)
    monkeypatch.setattr(io, "FileIO", Dead)
    with pytest.raises(CaptureError, match="cannot be read: Input/output error"):
        open_stream(path)


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    """A shell or a parent process may have made stdin so."""
    out, into = os.pipe()
    os.set_blocking(out, False)

    def feed() -> None:
        for at in range(0, 10_000, 2000):
            time.sleep(0.05)
            os.write(into, PLAIN[at : at + 2000])
        os.close(into)

    feeder = threading.Thread(target=feed)
    feeder.start()
    stream = Stream("stdin", Raw(io.FileIO(out), fileno=out))
    assert drain(stream) == PLAIN[:10_000]
    assert stream.damage is None
    feeder.join()


SKIPPABLE = struct.pack("<II", 0x184D2A50, 0)
MISLEADING = struct.pack("<II", 0x184D2A5F, 4) + b"\x28\xb5\x2f\xfd"
NAMED = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03%s\0\x03\0" + bytes(8)
FEW = b"a few bytes"

SMALL: dict[str, tuple[str, bytes]] = {
    "gzip, empty": ("gzip", gzip.compress(b"", mtime=0)),
    "gzip, named": ("gzip", NAMED % b"name"),
    "gzip, with the magic in a name": ("gzip", NAMED % b"\x1f\x8b\x08"),
    "gzip, block": ("gzip", bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")),
    "gzip, padded": ("gzip", gzip.compress(b"", mtime=0) + b"\0"),
    "gzip, few bytes": ("gzip", gzip.compress(FEW, mtime=0)),
    "zstd, empty": ("zstd", bytes.fromhex("28b52ffd2000010000")),
    "zstd, skippable": ("zstd", SKIPPABLE),
    "zstd, skippable with a magic": ("zstd", MISLEADING),
    "zstd, few bytes": ("zstd", zstd(FEW)),
    "xz": ("xz", lzma.compress(b"")),
    "bzip2": ("bzip2", bz2.compress(b"")),
    "lz4": ("lz4", lz4(b"")),
    "lz4, skippable": ("lz4", SKIPPABLE),
}


def cpu_ns_per_byte(folder: Path, *packed: bytes) -> list[float]:
    """Processor time of unpacking each; the best of seven in turn, because other tests run beside it."""
    times = []
    for data in packed * 7:
        path = write(folder, data)
        begun = time.process_time_ns()
        drain(open_stream(path), 1 << 20)
        times.append((time.process_time_ns() - begun) / len(data))
    return [min(times[i :: len(packed)]) for i in range(len(packed))]


@pytest.mark.parametrize("kind", SMALL)
def test_small_members_cost_at_most_ten_times_what_ordinary_data_costs(tmp_path: Path, kind: str) -> None:
    """They cost some hundred times as much where each of them makes a decompressor."""
    codec, member = SMALL[kind]
    ordinary = PACKERS[codec](PLAIN * (1 if codec in ("xz", "bzip2") else 4))
    count = 1_000_000 // len(member)
    many = PACKERS[codec](b"first") + member * count + PACKERS[codec](b"last")

    expected = b"first" + FEW * (count if "few" in kind else 0) + b"last"
    assert drain(open_stream(write(tmp_path, many))) == expected
    small, usual = cpu_ns_per_byte(tmp_path, many, ordinary)
    assert small < 10 * usual


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_runs_of_small_members_give_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, seed: int
) -> None:
    """Mixed with large ones, with padding and with magics where none begins; whole, cut and broken."""
    monkeypatch.setattr(compression, "SMALL_MEMBERS", 2)
    chance = random.Random(seed)
    sizes = [chance.choice([0, 0, 1, 5, 300, 5000, 30_000]) for _ in range(300)]
    pieces = [bytes(chance.choices(b"ab\x1f\x8b\x08\x28\xb5\x2f\xfd", k=size)) for size in sizes]
    between = [b"", b"\0"] if codec == "gzip" else [b"", SKIPPABLE, MISLEADING]
    packed = b"".join(PACKERS[codec](piece) + chance.choice(between) for piece in pieces)
    plain = b"".join(pieces)

    whole = open_stream(write(tmp_path, packed))
    assert drain(whole, 1 << 20) == plain
    assert (whole.damage, whole.position) == (None, len(packed))

    end = chance.randrange(len(packed) // 2, len(packed))
    got = drain(open_stream(write(tmp_path, packed[:end])), 1 << 20)
    assert plain.startswith(got)
    assert len(got) > len(plain) // 4

    broken = open_stream(write(tmp_path, packed[:end] + b"no member at all" + packed[end:]))
    assert drain(broken, 1 << 20)[: len(got) - 64] == got[:-64]
    assert broken.damage is not None


def test_a_run_that_unpacks_to_much_is_not_unpacked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small member may hold a megabyte of zeros: the native loop gives up at its limit, and nothing is lost."""
    monkeypatch.setattr(compression, "SMALL_MEMBERS", 2)
    bomb = zstd(bytes(1 << 18))
    assert len(bomb) < compression.SMALL_BYTES
    stream = open_stream(write(tmp_path, bomb * 800))
    total, buffer = 0, memoryview(bytearray(1 << 20))
    with stream:
        while count := stream.readinto(buffer):
            total += count
            assert stream._pipe._ahead <= 12 << 20

    assert total == 200 << 20
    assert stream.damage is None


def test_xz_data_that_wants_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is lowered: to make data that passes the real one would take gigabytes here."""
    monkeypatch.setattr(compression, "MEMORY_BYTES", 1 << 20)
    with pytest.raises(CaptureError, match=r"the xz data needs more than 1 MiB of memory; unpack it first"):
        open_stream(write(tmp_path, lzma.compress(PLAIN)))


@pytest.mark.parametrize("codec", ["gzip", "xz"])
def test_zeros_without_end_are_no_padding(tmp_path: Path, codec: str) -> None:
    """A sparse file of a terabyte takes no room, and reading it would take minutes."""
    path = write(tmp_path, PACKERS[codec](PLAIN))
    os.truncate(path, 1 << 40)
    stream = open_stream(path)

    assert drain(stream) == PLAIN
    assert stream.damage is not None
    assert f"the bytes after the {codec} data are not {codec}" in stream.damage
