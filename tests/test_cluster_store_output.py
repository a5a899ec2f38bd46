"""Tables in an object store: a reader has the old ones or the new ones, and only what the manifest names."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcptrace_tw import load
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.report.tables.remote_folder import RemoteFolder
from tcptrace_tw.schema.columns import BY_NAME
from tcptrace_tw.storage import Object
from tests.cluster_runs import start
from tests.generate import healthy_traffic
from tests.stores import s3_store
from tests.test_cluster_parts import write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_store() as url:
        yield url


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures")
    (folder / "ring").mkdir()
    frames = healthy_traffic(5, 30)
    for n in range(4):
        write(folder / "ring" / f"{n}.pcap", frames[n * len(frames) // 4 : (n + 1) * len(frames) // 4])
    assert done(folder, "analyze", "ring", "-o", "here", "-q") == (0, "", "")
    return folder


def done(folder: Path, *words: str) -> tuple[int, str, str]:
    process = start(*words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = process.communicate(timeout=120)
    return process.returncode, out.decode(), errors.decode()


def tables_of(folder: str | Path) -> dict[str, list[str]]:
    trace = load(folder)
    return {name: sorted(map(repr, trace.table(name).to_pylist())) for name in BY_NAME}


def manifest_in(folder: str) -> dict[str, Any]:
    return json.loads(Object(f"{folder}/manifest.json").read_bytes())


def keys(folder: str) -> set[str]:
    return {each.url.removeprefix(f"{folder}/") for each in Object(folder).inside()}


@pytest.mark.parametrize("more", [
    (), ("--jobs", "2"), ("--jobs", "2", "--spool", "s3://bucket/spool"),
], ids=["one", "local-spool", "spool"])  # fmt: skip
def test_tables_in_a_store_are_those_of_a_folder(more: tuple[str, ...], ring: Path, bucket: str) -> None:
    out = f"{bucket}/out{len(more)}"
    status, said, errors = done(ring, "analyze", "ring", "-o", out, *more)

    assert (status, errors) == (0, "")
    assert f"{out}/connections.parquet" in said
    assert tables_of(out) == tables_of(ring / "here")
    manifest = manifest_in(out)
    assert keys(out) == {"manifest.json"} | {
        f"{table}.parquet/{file}" for table, files in manifest.pop("files").items() for file in files
    }
    assert manifest == json.loads((ring / "here" / "manifest.json").read_text())
    assert Object(f"{bucket}/spool").inside() == []


def test_a_second_run_replaces_the_first_and_what_was_stopped(ring: Path, bucket: str) -> None:
    out = f"{bucket}/again"
    assert done(ring, "analyze", "ring", "-o", out, "-q", "--jobs", "2")[0] == 0
    before = keys(out)
    Object(f"{out}/connections.parquet/part-000-stopped.parquet").put(b"of a run that was stopped")
    assert tables_of(out) == tables_of(ring / "here")
    assert done(ring, "analyze", "ring", "-o", out, "-q", "--filter", "port 1", "--jobs", "2")[0] == 0

    assert keys(out) & before == {"manifest.json"}
    assert "connections.parquet/part-000-stopped.parquet" not in keys(out)
    assert tables_of(out)["connections"] == []


def test_nothing_is_left_of_a_run_that_fails(bucket: str) -> None:
    folder = RemoteFolder(f"{bucket}/failed")
    with folder:
        place = folder.parts.add("connections", 0, 4)
        assert isinstance(place, Object)
        place.put(b"rows")

    assert keys(f"{bucket}/failed") == set()
    assert not folder.path.exists()


def test_a_folder_of_others_is_refused(ring: Path, bucket: str) -> None:
    Object(f"{bucket}/foreign/letter.txt").put(b"mine")
    status, _, errors = done(ring, "analyze", "ring", "-o", f"{bucket}/foreign", "-q")

    assert status == 2
    assert errors == (
        f"tcptrace-tw: {bucket}/foreign: contains objects that tcptrace-tw did not write;"
        " choose another, or add --force\n"
    )
    assert done(ring, "analyze", "ring", "-o", f"{bucket}/foreign", "-q", "--force")[0] == 0
    assert "letter.txt" in keys(f"{bucket}/foreign")


def test_reports_are_made_of_a_store(ring: Path, bucket: str) -> None:
    out = f"{bucket}/read"
    assert done(ring, "analyze", "ring", "-o", out, "-q", "--jobs", "2")[0] == 0

    for words in (["report", "--json"], ["check", "--format", "json"], ["list"]):
        here, there = done(ring, words[0], "here", *words[1:]), done(ring, words[0], out, *words[1:])
        assert there[0] == here[0]
        assert there[1].replace(out, "here") == here[1]
        assert there[2] == here[2]
    assert repr(load(out)) == repr(load(ring / "here"))


def test_what_is_not_there_is_said(bucket: str, ring: Path) -> None:
    with pytest.raises(CaptureError, match="s3://bucket/nothing: was not written by tcptrace-tw analyze"):
        load(f"{bucket}/nothing")
    status, _, errors = done(ring, "analyze", "ring", "-o", "s3://nobucket/out", "-q")
    assert status == 2
    assert errors.startswith("tcptrace-tw: s3://nobucket/out")
    assert errors.count("\n") == 1
    assert sorted(os.listdir(ring)) == ["here", "ring"]
