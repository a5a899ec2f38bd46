"""The captures for timing hold exactly what they say, so that what is timed is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import capture_bytes as build
from tests.bench.workloads import FIN, RST, SYN, generate, workloads


@pytest.mark.parametrize("name", list(workloads()))
def test_a_workload_has_its_segments_in_the_order_of_time(name: str, tmp_path: Path) -> None:
    written = generate(name, tmp_path, scale=0.0005, say=lambda _: None)

    got = build.read(Path(written.path).read_bytes(), compiled=True)

    assert (written.segments, written.segments, 0) == (
        got.facts.frames,
        got.facts.tcp_segments,
        got.facts.backward_steps,
    )
    syns = [row for row in got.rows if int(row["flags"]) & (SYN | 16) == SYN]  # type: ignore[call-overload]
    assert written.connections == len(syns)
    assert written.bytes == Path(written.path).stat().st_size


def test_sequence_numbers_follow_from_the_script(tmp_path: Path) -> None:
    """Of one connection: each acknowledgment is what the other side had sent before it."""
    written = generate("short-100k", tmp_path, scale=0.00001, say=lambda _: None)
    rows = build.read(Path(written.path).read_bytes()).rows
    sent: dict[object, int] = {}

    assert len(rows) == 11
    for row in rows:
        flags, seq = int(row["flags"]), int(row["seq"])  # type: ignore[call-overload]
        assert sent.get(row["src"], seq) == seq
        assert row["ack"] in (0, sent.get(row["dst"]))
        sent[row["src"]] = seq + int(row["payload_len"]) + bool(flags & SYN) + bool(flags & FIN)  # type: ignore[call-overload]
        assert not flags & RST
