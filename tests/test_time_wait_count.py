"""How many endpoints are in TIME-WAIT while the capture goes on: as the rows say at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.flow import FlowTable
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.tcp import tracker
from tests.generate import healthy_traffic
from tests.scenario.render import render

LINUX = profile("linux")


def counted(path: Path, *, compiled: bool) -> tuple[list[tuple[int, int]], Any]:
    """The time and the count after every 50 segments, and the spans that were written."""
    flow = FlowTable(compiled=compiled, seed=new_seed())
    hands = tracker.Tracker(LINUX, compiled=compiled, transitions=False, seed=new_seed())
    spans: list[Any] = []
    counts = []
    now = 0
    for batch in Reader(open_stream(str(path)), compiled=compiled, batch_size=50).batches():
        number = flow.assign(batch)
        spans += [rows.copy() for table, rows in hands.arrive(batch, flow.tuples) if table.name == "time_wait"]
        flow.give_back(hands.take_released(), number)
        now = max(now, int(batch.time.max()))
        counts.append((now, hands.waiting(flow.tuples)))
    spans += [rows.copy() for table, rows in hands.finish(now, flow.tuples) if table.name == "time_wait"]
    return counts, np.concatenate(spans)


def expected(spans: Any, now: int) -> int:
    """Spans that are open at a time; those that nothing ended end after 2MSL.

    A row has what is known at the end: that a FIN was lost moves the start of a span by a moment.
    """
    since = np.maximum(spans["start"], np.where(spans["restart"] <= now, spans["restart"], -1))
    end = np.where(spans["end"] >= 0, spans["end"], since + LINUX.two_msl_ns)
    return int(np.count_nonzero((spans["start"] <= now) & (now < end)))


@pytest.mark.parametrize(("archive_from", "compiled"), [(1 << 30, False), (0, False), (0, True)])
def test_the_count_is_that_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive_from: int, compiled: bool
) -> None:
    """Whether an incarnation is at hand or buried does not matter."""
    monkeypatch.setattr(tracker, "ARCHIVE_FROM", archive_from)
    (tmp_path / "x.pcap").write_bytes(render(healthy_traffic(11, 300)))
    counts, spans = counted(tmp_path / "x.pcap", compiled=compiled)

    assert max(count for _, count in counts) > 50
    apart = [count - expected(spans, now) for now, count in counts]
    assert {-1, 0, 1} >= set(apart)
    assert apart.count(0) > len(apart) * 9 // 10
