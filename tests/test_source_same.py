"""The same capture gives the same segments in every format, packed in any way, through a pipe, in pieces, in a ring."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace_tw.capture import ring
from tcptrace_tw.capture.merge import Source, merge
from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.schema.columns import FRAME_BITS
from tests import capture_bytes as cb
from tests.fuzz.seeds import conversation

TALK = [cb.Record(record.frame, record.time_ns + 100_000_000 * turn) for turn in range(12) for record in conversation()]


def arrow(codec: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(data)
        return bytes(sink.getvalue())

    return pack


def pcapng(order: str, tsresol: int | None) -> bytes:
    data = cb.section(order) + cb.interface(order=order, tsresol=tsresol)
    scale = 1 if tsresol else 1000
    return data + b"".join(cb.packet(r.frame, r.time_ns // scale, order=order) for r in TALK)


FORMATS = {
    f"{name} {order}": data
    for order in "<>"
    for name, data in {
        "pcap us": cb.pcap(TALK, order=order),
        "pcap ns": cb.pcap(TALK, order=order, nano=True),
        "pcapng us": pcapng(order, None),
        "pcapng ns": pcapng(order, 9),
    }.items()
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": arrow("zstd"),
    "lz4": arrow("lz4"),
}


TIME, FRAME = cb.FIELDS.index("time"), cb.FIELDS.index("frame")


def join(batches: Iterator[Any]) -> list[list[int]]:
    """All columns as lists; the file part of frame numbers is left out."""
    segments = np.concatenate([batch.copy() for batch in batches])
    segments["frame"] &= (1 << FRAME_BITS) - 1
    return [segments[name].tolist() for name in cb.FIELDS]


def read(path: Path | str) -> list[list[int]]:
    with open_stream(str(path)) as stream:
        return join(Reader(stream, compiled=False).batches())


EXPECTED = join(Reader(cb.Bytes(FORMATS["pcap us <"]), compiled=False).batches())


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("form", FORMATS)
def test_formats_and_packing_make_no_difference(tmp_path: Path, form: str, packer: str) -> None:
    path = tmp_path / "capture"
    path.write_bytes(PACKERS[packer](FORMATS[form]))
    assert read(path) == EXPECTED


@pytest.mark.parametrize("packer", ["plain", "gzip", "lz4"])
def test_a_pipe_makes_no_difference(tmp_path: Path, packer: str) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = PACKERS[packer](FORMATS["pcapng us >"])

    def feed() -> None:
        with open(path, "wb", buffering=0) as fifo:
            for at in range(0, len(data), 777):
                fifo.write(data[at : at + 777])

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert read(path) == EXPECTED
    feeder.join()


@settings(deadline=None, max_examples=40)
@given(step=st.integers(1, 5000), form=st.sampled_from(sorted(FORMATS)), batch_size=st.integers(1, 300))
def test_pieces_and_batches_make_no_difference(step: int, form: str, batch_size: int) -> None:
    reader = Reader(cb.Bytes(FORMATS[form], step=step), compiled=False, batch_size=batch_size, window_size=4096)
    assert join(reader.batches()) == EXPECTED


@pytest.mark.parametrize("files", [2, 20])
@pytest.mark.parametrize("deal", ["rotated", "overlapping"])
def test_a_ring_makes_no_difference(tmp_path: Path, files: int, deal: str) -> None:
    """Cut in pieces one after the other, or dealt out frame by frame; only frame numbers count from 1 in each file."""
    size = -(-len(TALK) // files)
    for i in range(files):
        piece = TALK[i * size : (i + 1) * size] if deal == "rotated" else TALK[i::files]
        (tmp_path / f"ring{(i + 7) % files}").write_bytes(PACKERS["gzip" if i % 2 else "plain"](cb.pcap(piece)))
    found = ring.find([str(tmp_path)])

    def source(index: int, path: str) -> Source:
        def batches() -> Iterator[Any]:
            with open_stream(path) as stream:
                yield from Reader(stream, compiled=False, file_index=index, batch_size=7).batches()

        return Source(found.first_times[index], batches)

    merged = join(merge([source(*item) for item in enumerate(found.files)], 50, compiled=False))
    order = np.argsort(EXPECTED[TIME], kind="stable")
    in_time = [[column[i] for i in order] for column in EXPECTED]
    if deal == "rotated":
        assert merged[TIME] == sorted(EXPECTED[TIME])
    # Segments of one time may come from any file: compare as sets per time.
    key = sorted(zip(*(column for i, column in enumerate(merged) if i != FRAME), strict=True))
    assert key == sorted(zip(*(column for i, column in enumerate(in_time) if i != FRAME), strict=True))
    assert merged[TIME] == in_time[TIME]
