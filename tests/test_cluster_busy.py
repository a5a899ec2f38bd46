"""Many segments at once: copies of several sensors are found in parts, and a part takes the memory of its share."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tcptrace_tw import analyze
from tcptrace_tw.cluster import tasks
from tcptrace_tw.cluster.mapped import joined, write_tasks
from tcptrace_tw.cluster.plan import Plan, make_plan
from tcptrace_tw.settings import Settings
from tests import a_day
from tests.cluster_runs import assert_same, in_one_pass, in_parts
from tests.scenario.play import library_or_skip

pytestmark = pytest.mark.slow

LAGS_US = 0, 1_000, 5_000, 19_000


def test_copies_within_20_ms_at_a_high_rate(tmp_path: Path) -> None:
    """360,000 frames a second, each of which three more sensors see 1, 5 and 19 ms later."""
    library_or_skip()
    sessions = 3_000
    once = a_day.records(sessions, clients=7, span_ns=50 * 10**6)
    for lag in LAGS_US:
        seen = once.copy()
        late = seen["us"].astype("i8") + lag
        seen["s"], seen["us"] = seen["s"] + late // 10**6, late % 10**6
        (tmp_path / f"{lag}.pcap").write_bytes(a_day.file_of(seen))
    files = sorted(map(str, tmp_path.glob("*.pcap")))
    tables, report = in_one_pass(files)

    assert len(tables["connections"]) == 2 * sessions
    (row,) = analyze(files, config=False).table("capture").to_pylist()
    assert row["duplicates"] >= 0.99 * (len(LAGS_US) - 1) * once.size
    for parts in (3, 64):
        assert_same(in_parts(files, parts), (tables, report))


REDUCE = """
import pickle, re, sys
from tcptrace_tw.cluster.tasks import reduce_part
plan, part = pickle.load(sys.stdin.buffer)
reduce_part(plan, part)
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def dealt(capture: Path, spool: Path, parts: int) -> tuple[Plan, list[int]]:
    """A plan whose files are dealt, and how many segments each part has."""
    plan = make_plan(
        [str(capture)], Settings(), str(spool), workers=1, parts=parts, compiled=True, transitions=True, codec=0
    )
    for stage in (tasks.MAPPED, tasks.REDUCED):
        Path(plan.folder, stage).mkdir(parents=True)
    tasks.map_piece(plan, 0)
    file = joined(plan, [0])
    assert file is not None
    return plan, write_tasks(plan, [file])


def peak(plan: Plan, part: int) -> int:
    """What a process takes that tracks this part, in bytes."""
    words = [sys.executable, "-c", REDUCE]
    done = subprocess.run(words, input=pickle.dumps((plan, part)), capture_output=True, check=True)
    return int(done.stdout) << 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_the_memory_of_a_part_follows_its_share(tmp_path: Path) -> None:
    """200,000 connections that are all remembered at once."""
    library_or_skip()
    records = a_day.records(100_000, span_ns=10 * 10**9, clients=256)
    (tmp_path / "busy.pcap").write_bytes(a_day.file_of(records))
    a_day.write(tmp_path / "few.pcap", 50, span_ns=10 * 10**9)
    nothing = peak(dealt(tmp_path / "few.pcap", tmp_path / "spool", 1)[0], 0)
    whole = peak(dealt(tmp_path / "busy.pcap", tmp_path / "spool", 1)[0], 0) - nothing
    plan, sizes = dealt(tmp_path / "busy.pcap", tmp_path / "spool", 8)
    largest = max(range(8), key=sizes.__getitem__)
    share = peak(plan, largest) - nothing
    print(f"{nothing >> 20} MB for nothing, {whole >> 20} MB more for all, {share >> 20} MB more for the largest of 8")

    assert sizes[largest] < 1.2 * sum(sizes) / 8
    assert share < whole / 3
