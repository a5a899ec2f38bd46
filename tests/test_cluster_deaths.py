"""Whoever dies in the middle, the same command again gives what an undisturbed one gives, and nothing is left."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import a_day
from tests.cluster_runs import ROOT, children_of, is_alive, start, wait_for

pytestmark = pytest.mark.slow

FILES, SESSIONS = 24, 6_000
ENDS_S = 10.0
"""Within this an interrupted command ends, also on a machine with much else to do."""

CLUSTER = """
import time
import distributed
if __name__ == "__main__":
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50)
    print(cluster.scheduler_address, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    records = a_day.records(SESSIONS, clients=50, span_ns=600 * 10**9)
    for number, piece in enumerate(np.array_split(records, FILES)):
        (folder / f"{number:02d}.pcap").write_bytes(a_day.file_of(piece))
    return folder


def analyze(archive: Path, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    words = ["analyze", str(archive), "-o", "out", "-q", *more]
    return start(*words, cwd=folder, stderr=subprocess.PIPE)


def digests(folder: Path) -> dict[str, str]:
    """Of every file, the manifest among them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def undisturbed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of two workers that nobody has disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert analyze(archive, folder, "--jobs", "2").wait() == 0
    return digests(folder / "out")


@pytest.mark.parametrize("stage", ["map", "reduce", "finish"])
def test_after_the_death_of_the_client(stage: str, archive: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    options = ("--jobs", "2", "--spool", "spool")
    process = analyze(archive, tmp_path, *options)
    wait_for(lambda: list((tmp_path / "spool").glob(f"*/{stage}/[0-9]*[0-9].json")))
    workers = children_of(process.pid)
    process.kill()

    assert process.wait() == -signal.SIGKILL
    wait_for(lambda: not any(map(is_alive, workers)))
    assert not (tmp_path / "out").exists()

    assert analyze(archive, tmp_path, *options).wait() == 0
    assert digests(tmp_path / "out") == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "spool"]
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Clusters of dask that a test has started."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.terminate()
        process.wait()


def cluster(folder: Path, started: list[subprocess.Popen[str]]) -> tuple[subprocess.Popen[str], str]:
    """A scheduler with two workers, and its address."""
    (folder / "cluster.py").write_text(CLUSTER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, *sys.path])}
    words = [sys.executable, "cluster.py"]
    process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    started.append(process)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_after_the_death_of_the_scheduler(
    archive: Path, undisturbed: dict[str, str], tmp_path: Path, clusters: list[subprocess.Popen[str]]
) -> None:
    """With its workers; the client says so and ends, and another cluster goes on."""
    pytest.importorskip("distributed")
    scheduler, address = cluster(tmp_path, clusters)
    client = analyze(archive, tmp_path, "--cluster", address, "--spool", str(tmp_path / "spool"))
    wait_for(lambda: len(list((tmp_path / "spool").glob("*/map/*.json"))) >= FILES // 4)
    scheduler.kill()
    try:
        _, errors = client.communicate(timeout=60)
    finally:
        client.kill()

    assert client.returncode == 2
    assert errors.decode().count("\n") == 1
    assert "the same command again" in errors.decode()
    assert not (tmp_path / "out").exists()

    _, address = cluster(tmp_path, clusters)
    assert analyze(archive, tmp_path, "--cluster", address, "--spool", str(tmp_path / "spool")).wait() == 0
    assert digests(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_worker_and_nothing_half_written(
    number: signal.Signals, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    process = analyze(archive, tmp_path, "--jobs", "2")
    wait_for(lambda: list((tmp_path / "temporary").glob("*/*/map/*.json")))
    workers = children_of(process.pid)
    begin = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert time.monotonic() - begin < ENDS_S
    assert errors == b""
    assert len(workers) == 2
    wait_for(lambda: not any(map(is_alive, workers)))
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]
    assert list((tmp_path / "temporary").iterdir()) == []
