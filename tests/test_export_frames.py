"""Exported frames are the original ones, byte for byte, in a file that other tools read."""

from __future__ import annotations

import gzip
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tcptrace_tw.capture.export import copy_frames
from tcptrace_tw.errors import CaptureError, UsageError


def frame(i: int) -> bytes:
    return bytes([i]) * (50 + i)


def pcap(order: str = "<", magic: int = 0xA1B2C3D4, count: int = 100, link: int = 1, snaplen: int = 65535) -> bytes:
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    return data + b"".join(record(order, i) for i in range(1, count + 1))


def record(order: str, i: int) -> bytes:
    return struct.pack(f"{order}IIII", 1000 + i, 123456, len(frame(i)), 2000) + frame(i)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def section(order: str, length: int = -1) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, length))


def interface(order: str, link: int = 1) -> bytes:
    return block(order, 1, struct.pack(f"{order}HHI", link, 0, 0))


def packet(order: str, i: int, which: int = 0) -> bytes:
    ticks = (1000 + i) * 1_000_000
    body = struct.pack(f"{order}IIIII", which, ticks >> 32, ticks & 0xFFFFFFFF, len(frame(i)), 2000)
    return block(order, 6, body + frame(i))


def numbers(*values: int, file: int = 0) -> np.ndarray:
    return np.array(values, np.int64) + (file << 40)


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
@pytest.mark.parametrize("compiled", [False, True])
def test_pcap_records_are_copied(tmp_path: Path, order: str, magic: int, compiled: bool) -> None:
    """Byte order, resolution and link type are those of the capture, packed or not."""
    source = write(tmp_path / "in", gzip.compress(pcap(order, magic)))
    out = tmp_path / "out.pcap"

    assert copy_frames([source], numbers(1, 7, 8, 100), str(out), compiled=compiled) == 4
    expected = pcap(order, magic, count=0) + b"".join(record(order, i) for i in (1, 7, 8, 100))
    assert out.read_bytes() == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out.pcap"]


@pytest.mark.parametrize("order", "<>")
def test_pcapng_blocks_are_copied(tmp_path: Path, order: str) -> None:
    """With the descriptions that they need, without statistics and without sections that give no frame."""
    other = "<" if order == ">" else ">"
    names, statistics = block(order, 4, b"\0" * 8), block(order, 5, bytes(20))
    unwanted = section(other) + interface(other) + packet(other, 1)
    wanted = [section(order), interface(order), names, packet(order, 2), interface(order, 101), packet(order, 4, 1)]
    source = write(
        tmp_path / "in",
        unwanted
        + section(order, 9999)
        + b"".join(wanted[1:4])
        + packet(order, 3)
        + statistics
        + b"".join(wanted[4:])
        + packet(order, 5),
    )
    out = tmp_path / "out.pcapng"

    copy_frames([source], numbers(2, 4), str(out))
    assert out.read_bytes() == b"".join(wanted)


def test_files_of_one_kind_share_a_pcap_file(tmp_path: Path) -> None:
    files = [write(tmp_path / "a", pcap(count=3, snaplen=100)), write(tmp_path / "b", pcap(count=3))]
    out = tmp_path / "out"
    copy_frames(files, np.concatenate([numbers(2), numbers(1, 3, file=1)]), str(out))

    assert out.read_bytes() == pcap(count=0) + record("<", 2) + record("<", 1) + record("<", 3)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark reads the result here")
def test_files_of_several_kinds_become_sections(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a", pcap(">", count=3)),
        write(tmp_path / "b", pcap("<", 0xA1B23C4D, count=3, link=101)),
        write(tmp_path / "c", section("<") + interface("<") + packet("<", 1)),
    ]
    out = tmp_path / "out.pcapng"
    wanted = np.concatenate([numbers(2), numbers(1, 3, file=1), numbers(1, file=2)])
    copy_frames(files, wanted, str(out))

    fields = ["-e", "frame.time_epoch", "-e", "frame.cap_len", "-e", "frame.len"]
    command = ["tshark", "-n", "-r", str(out), "-T", "fields", *fields]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [(round(float(t), 6), int(c), int(w)) for t, c, w in map(str.split, lines)] == [
        (1002.123456, 52, 2000),
        (1001.000123, 51, 2000),
        (1003.000123, 53, 2000),
        (1001.0, 51, 2000),
    ]


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ("a", UsageError, "is the capture itself"),
        ("out.pcap", UsageError, "name it out.pcapng"),
        ("missing/out.pcapng", UsageError, "cannot be written"),
        ("out.pcapng", CaptureError, "a: has no frame 4"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [write(Path("a"), pcap(count=3)), write(Path("b"), pcap(count=3, link=101))]
    before = Path("a").read_bytes()
    with pytest.raises(error, match=message):
        copy_frames(files, np.concatenate([numbers(1, 4), numbers(1, file=1)]), out)
    assert sorted(p.name for p in Path().iterdir()) == ["a", "b"]
    assert Path("a").read_bytes() == before


def test_stdin_cannot_be_read_twice(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stdin can be read only once"):
        copy_frames(["-"], numbers(1), str(tmp_path / "out.pcap"))
