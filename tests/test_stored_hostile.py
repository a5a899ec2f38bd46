"""Folders of ``analyze`` that come from a stranger: what is not as it was written is a line and exit 3."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import tcptrace_tw as tw
from tcptrace_tw.cli.app import app
from tcptrace_tw.report.tables.folder import read_manifest

CAPTURE = Path(__file__).parent.parent / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"
COMMANDS = ("report", "report --json", "report --html page.html", "check --show info", "show -c 1", "list")
ENDINGS = {0, 1, 2, 3}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "out"
    assert CliRunner().invoke(app, ["analyze", str(CAPTURE), "-o", str(folder), "-q"]).exit_code == 0
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written, "out")
    return Path("out")


def endings(*commands: str) -> list[int]:
    """The exit codes; each error is one line."""
    found = []
    for words in commands or COMMANDS:
        done = CliRunner().invoke(app, [words.split()[0], "out", *words.split()[1:]])
        assert "bug" not in done.stderr, done.stderr
        assert done.exit_code in ENDINGS, (words, done.stderr, done.exception)
        if done.exit_code == 3:
            assert len(done.stderr.splitlines()) == 1
            assert any(said in done.stderr for said in ("run analyze again", "was not written by", "no capture found"))
        found.append(done.exit_code)
    return found


def change(folder: Path, key: str, value: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[key] = value
    if value is KeyError:
        del manifest[key]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_folder_as_it_was_written_is_read(folder: Path) -> None:
    assert endings() == [0] * len(COMMANDS)
    assert len(tw.load(folder).connections) == 2


@pytest.mark.parametrize("value", [KeyError, None, "x", [], {"a": {}}, [None], 2**70], ids=repr)
@pytest.mark.parametrize("key", ["schema_version", "settings", "inputs", "captures", "tables", "report"])
def test_a_manifest_of_another_shape_is_damage(folder: Path, key: str, value: Any) -> None:
    change(folder, key, value)

    endings()
    if key in ("schema_version", "settings", "report"):
        with pytest.raises(tw.CaptureError, match="out: "):
            tw.load(folder)


@pytest.mark.parametrize(
    "way",
    [("findings", 0, "count"), ("findings", 0, "severity"), ("capture", "files"), ("time_wait", "curve"),
     ("incidents", 0, "first_time"), ("connections", "close"), ("incidents", 0, "examples", 0)],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, "x", [1], {"a": 1}, True, 1.5], ids=repr)
def test_a_report_of_another_shape_is_damage(folder: Path, way: tuple[str | int, ...], value: Any) -> None:
    report = json.loads((folder / "manifest.json").read_text())["report"]
    place = report
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    change(folder, "report", report)

    endings()


DEEP = '{"tool":"tcptrace-tw","a":' + "[" * 50_000 + "]" * 50_000 + "}"


def test_a_deep_manifest_is_none(folder: Path) -> None:
    (folder / "manifest.json").write_text(DEEP)

    assert read_manifest(folder) is None
    assert endings("report") == [3]


def retyped(table: pa.Table, make: Callable[[str, int], Any]) -> pa.Table:
    return pa.table({name: make(name, table.num_rows) for name in table.column_names})


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"garbage"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "texts": lambda path: pq.write_table(
        retyped(pq.read_table(path), lambda name, rows: pa.array(["\x1b[31m\n::error::"] * rows)), path
    ),
    "nulls": lambda path: pq.write_table(retyped(pq.read_table(path), lambda name, rows: pa.nulls(rows)), path),
    "others": lambda path: pq.write_table(pa.table({"x": [1]}), path),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["anomalies", "capture", "connections", "findings", "time_wait", "transitions"])
def test_a_damaged_table_is_damage(folder: Path, name: str, damage: str) -> None:
    DAMAGES[damage](folder / f"{name}.parquet")

    found = endings()
    if damage in ("garbage", "cut") and name in ("capture", "findings"):
        assert found[3] == 3


@pytest.mark.parametrize("name", ["manifest.json", "capture.parquet", "connections.parquet", "findings.parquet"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)

    endings("check --show info", "show -c 1", "list")


def test_captures_that_became_pipes_are_not_read(folder: Path) -> None:
    os.mkfifo("pipe")
    change(folder, "captures", [os.path.abspath("pipe")])

    assert endings("show -c 1") == [0]
