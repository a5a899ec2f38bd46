"""The same capture gives the same tables and findings in every format, packed in any way, through a pipe, in pieces.

In a ring, frame numbers count from 1 in each file: there, and only there, they are left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace_tw import one_pass
from tcptrace_tw.capture import reader
from tcptrace_tw.schema.columns import TABLES
from tests import capture_bytes as cb
from tests.scenario import play_pcap
from tests.scenario.play import Result
from tests.test_source_same import PACKERS

FIXTURES = Path(__file__).parent.parent / "fixtures"
SITUATIONS = (
    "kernel-syn-into-last-ack", "kernel-paws-established", "kernel-rst-in-each-closing-state", "kernel-tw-reuse-client",
    "kernel-simultaneous-close", "kernel-server-tw-new-syn",
)  # fmt: skip


def records() -> Iterator[cb.Record]:
    """Some recordings one after the other, in whole microseconds, no two frames at the same time."""
    time_ns = 0
    for name in SITUATIONS:
        with (FIXTURES / name / "capture.pcap").open("rb") as file:
            for seconds, frame in dpkt.pcap.Reader(file):
                time_ns = max(time_ns + 1000, round(seconds * 1_000_000) * 1000)
                yield cb.Record(frame, time_ns)


RECORDS = sorted(records(), key=lambda record: record.time_ns)


def pcapng(order: str, tsresol: int | None) -> bytes:
    scale = 1 if tsresol else 1000
    data = cb.section(order) + cb.interface(order=order, tsresol=tsresol)
    return data + b"".join(cb.packet(r.frame, r.time_ns // scale, order=order) for r in RECORDS)


FORMATS = {
    f"{name} {order}": data
    for order in "<>"
    for name, data in {
        "pcap us": cb.pcap(RECORDS, order=order),
        "pcap ns": cb.pcap(RECORDS, order=order, nano=True),
        "pcapng us": pcapng(order, None),
        "pcapng ns": pcapng(order, 9),
    }.items()
}
FRAMES = frozenset(column.name for table in TABLES for column in table.columns if column.kind == "frame") | {"frames"}


def tables(result: Result, *, leave_out: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """Every row as text, without some columns; the order of rows is that in which connections were let go."""
    found = {**result.tables, "findings": result.findings}
    return {
        name: sorted(str({column: value for column, value in row.items() if column not in leave_out}) for row in rows)
        for name, rows in found.items()
    }


def of_file(data: bytes, folder: Path, **leave_out: Any) -> dict[str, list[str]]:
    path = folder / "capture"
    path.write_bytes(data)
    return tables(play_pcap(path), **leave_out)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    found = of_file(FORMATS["pcap us <"], tmp_path_factory.mktemp("expected"))
    assert all(
        found[name] for name in ("connections", "transitions", "time_wait", "reuses", "stale_segments", "resets")
    )
    assert len(found["findings"]) > 10
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_tables(tmp_path: Path, form: str, expected: dict[str, list[str]]) -> None:
    assert of_file(FORMATS[form], tmp_path) == expected


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("form", ["pcap ns >", "pcapng us <"])
def test_every_packing_gives_the_same_tables(
    tmp_path: Path, form: str, packer: str, expected: dict[str, list[str]]
) -> None:
    assert of_file(PACKERS[packer](FORMATS[form]), tmp_path) == expected


@pytest.mark.parametrize("step", [1, 1000, 70_000])
def test_a_pipe_gives_the_same_tables(tmp_path: Path, step: int, expected: dict[str, list[str]]) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = FORMATS["pcap us >"]

    def feed() -> None:
        with path.open("wb", buffering=0) as fifo:
            for at in range(0, len(data), step):
                fifo.write(data[at : at + step])

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert tables(play_pcap(path)) == expected
    feeder.join()


def test_stdin_gives_the_same_parquet_files(tmp_path: Path) -> None:
    """The command as it is typed; what differs is the name of the input."""
    import pyarrow.parquet as pq

    (tmp_path / "named").write_bytes(FORMATS["pcap us <"])
    command = [sys.executable, "-m", "tcptrace_tw", "analyze", "-q", "-o"]
    environment = {**os.environ}
    subprocess.run([*command, tmp_path / "a", tmp_path / "named"], env=environment, check=True)
    packed = PACKERS["zstd"](FORMATS["pcapng ns >"])
    subprocess.run([*command, tmp_path / "b", "-"], input=packed, env=environment, check=True)

    names = sorted(path.name for path in (tmp_path / "a").glob("*.parquet"))
    assert len(names) >= 8
    for name in names:
        assert pq.read_table(tmp_path / "a" / name).equals(pq.read_table(tmp_path / "b" / name)), name


@pytest.mark.parametrize("deal", ["rotated", "dealt out"])
def test_a_ring_of_twenty_files_gives_the_same_tables(
    tmp_path: Path, deal: str, expected: dict[str, list[str]]
) -> None:
    """Cut one after the other, or frame by frame in turn, so that all twenty overlap; names do not sort."""
    size = -(-len(RECORDS) // 20)
    kinds = list(PACKERS.values())
    for i in range(20):
        piece = RECORDS[i * size : (i + 1) * size] if deal == "rotated" else RECORDS[i::20]
        data = cb.pcap(piece, order="<>"[i % 2], nano=i % 3 == 0)
        (tmp_path / f"ring{(i + 7) % 20}").write_bytes(kinds[i % len(kinds)](data))

    got = tables(play_pcap(tmp_path), leave_out=FRAMES)
    assert got == {name: _without_frames(rows) for name, rows in expected.items()}


def _without_frames(rows: list[str]) -> list[str]:
    import ast

    kept = [{k: v for k, v in ast.literal_eval(row).items() if k not in FRAMES} for row in rows]
    return sorted(map(str, kept))


@settings(max_examples=15)
@given(
    form=st.sampled_from(sorted(FORMATS)),
    step=st.integers(1, 100_000),
    batch_size=st.integers(8, 400),
    window_size=st.sampled_from([4096, 10_000, 1 << 20]),
)
def test_pieces_of_every_size_give_the_same_tables(
    expected: dict[str, list[str]], form: str, step: int, batch_size: int, window_size: int
) -> None:
    """However many bytes a read brings, a window holds, and segments a batch has."""

    @contextmanager
    def open_stream(name: str) -> Iterator[cb.Bytes]:
        yield cb.Bytes(FORMATS[form], step=step)

    class Small(reader.Reader):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, window_size=window_size, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_pass, "open_stream", open_stream)
        patch.setattr(one_pass, "Reader", Small)
        patch.setattr(one_pass, "BATCH_SIZE", batch_size)
        assert tables(play_pcap(FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap")) == expected
