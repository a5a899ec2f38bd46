"""A day of an archive: small rotated files of three sensors, which see many frames twice, of one busy server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcptrace_tw import load
from tcptrace_tw.schema.columns import BY_NAME
from tests import a_day
from tests.cluster_runs import children_of, start, wait_for

FILES = 1000 if "TCPTRACE_TW_EVERYTHING" in os.environ else 60
SESSIONS = 25 * FILES
DELAYS_US = 0, 1_000, 5_000
SEEN = 0.95, 0.6, 0.3
"""Each sensor sees so many of the frames; one that none would see is seen by the first."""

DAMAGED, SOUND = "sensor1-0007.pcap", 3
"""The file whose record header is overwritten behind so many records."""


def archive(folder: Path) -> dict[str, int]:
    """Write the files; returns how many records each has."""
    rng = np.random.default_rng(20)
    day = a_day.records(SESSIONS, clients=200, span_ns=3_600 * 10**9)
    seen = [rng.random(day.size) < part for part in SEEN]
    seen[0] |= ~(seen[1] | seen[2])
    written = {}
    for sensor, (mine, delay) in enumerate(zip(seen, DELAYS_US, strict=True)):
        records = day[mine]
        late = records["us"].astype(np.int64) + delay
        records["s"], records["us"] = records["s"] + late // 10**6, late % 10**6
        count = FILES // 3 + (sensor < FILES % 3)
        cuts = np.sort(rng.choice(np.arange(1, records.size), count - 1, replace=False))
        for number, piece in enumerate(np.split(records, cuts)):
            path = folder / f"sensor{sensor}-{number:04d}.pcap"
            path.write_bytes(a_day.file_of(piece))
            written[f"{folder.name}/{path.name}"] = piece.size
    damaged = folder / DAMAGED
    data = bytearray(damaged.read_bytes())
    data[24 + 70 * SOUND : 24 + 70 * SOUND + 16] = b"\xff" * 16
    damaged.write_bytes(data)
    return written


def results(folder: Path) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Every table, its rows sorted, and the manifest."""
    trace = load(folder)
    tables = {name: sorted(map(repr, trace.table(name).to_pylist())) for name in BY_NAME}
    return tables, json.loads((folder / "manifest.json").read_text())


def kill_a_worker(process: subprocess.Popen[bytes], spool: Path) -> None:
    """As soon as a fifth of the files is dealt."""
    wait_for(lambda: len(list(spool.glob("*/map/*.json"))) >= FILES // 5)
    os.kill(children_of(process.pid)[0], signal.SIGKILL)


@pytest.mark.slow
def test_a_day_of_small_files_is_that_of_one_pass(tmp_path: Path) -> None:
    """Also where one file is damaged, and a worker is killed in the middle."""
    (tmp_path / "day").mkdir()
    written = archive(tmp_path / "day")
    one = start("analyze", "day", "-o", "one", "-q", cwd=tmp_path)
    assert one.wait() == 0
    several = start("analyze", "day", "-o", "several", "-q", "--jobs", "2", "--spool", "spool", cwd=tmp_path)
    kill_a_worker(several, tmp_path / "spool")
    assert several.wait() == 0
    tables, manifest = results(tmp_path / "several")
    expected_tables, expected = results(tmp_path / "one")

    for name, rows in expected_tables.items():
        assert tables[name] == rows, name
    assert manifest == expected
    assert manifest["tables"]["connections"] == 2 * SESSIONS
    found = {file["name"]: file["frames"] for file in manifest["inputs"]}
    assert [file["name"] for file in manifest["inputs"] if file["damage"]] == [f"day/{DAMAGED}"]
    assert found.pop(f"day/{DAMAGED}") >= SOUND
    written.pop(f"day/{DAMAGED}")
    assert found == written
