"""The library as an analyst meets it: analyze, load, tables with right types, and one connection in a notebook."""

import doctest
import importlib
import io
import pickle
import pkgutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

import tcptrace_tw as tw
from tcptrace_tw.schema.columns import BY_NAME

ROOT = Path(__file__).parent.parent
DETOUR = "fixtures/kernel-syn-into-last-ack/capture.pcap"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def trace():
    return tw.analyze(ROOT / DETOUR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("api") / "out"
    command = [sys.executable, "-m", "tcptrace_tw", "analyze", str(ROOT / DETOUR), "-o", str(target), "--quiet"]
    subprocess.run(command, check=True, cwd=ROOT)
    return target


def modules_with_examples():
    names = ["tcptrace_tw", *(m.name for m in pkgutil.walk_packages(tw.__path__, "tcptrace_tw."))]
    texts = {name: importlib.util.find_spec(name).origin for name in names}
    return [name for name, path in texts.items() if path.endswith(".py") and ">>> " in Path(path).read_text()]


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_docstrings_are_right(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)

    assert found.attempted > 0
    assert found.failed == 0


def test_the_three_doors_have_examples():
    for door in (tw.analyze, tw.load, tw.Trace, tw.Trace.connection):
        assert ">>> " in door.__doc__


KINDS = {
    pa.timestamp("ns", "UTC"): "datetime64[ns, UTC]",
    pa.dictionary(pa.int32(), pa.string()): "category",
    pa.bool_(): "bool",
}
NULLABLE = {"int64": "Int64", "int32": "Int32", "uint32": "UInt32", "uint16": "UInt16", "uint8": "UInt8"}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_table_is_a_dataframe_with_right_types(trace, name):
    """Times are UTC in ns, words and addresses are categories, integers that may be null are nullable."""
    table, frame = trace.table(name), trace.frame(name)

    assert getattr(trace, name) is frame
    assert len(frame) == table.num_rows
    for field in table.schema:
        wanted = KINDS.get(field.type)
        if pa.types.is_integer(field.type):
            wanted = NULLABLE[str(field.type)] if field.nullable else str(field.type)
        if wanted:
            assert str(frame[field.name].dtype) == wanted, field.name


def test_nothing_is_lost_between_arrow_and_pandas(trace):
    """A time keeps its nanoseconds, and a frame that may be null stays an integer."""
    first = trace.table("connections")["first_time"].cast(pa.int64()).to_pylist()

    assert trace.connections.first_time.astype("int64").tolist() == first
    assert trace.connections.rst_frame.tolist() == [20, pd.NA]


def test_a_loaded_folder_is_the_same_trace(trace, folder):
    loaded = tw.load(folder)

    assert repr(loaded) == repr(trace)
    for name in BY_NAME:
        pd.testing.assert_frame_equal(loaded.frame(name), trace.frame(name))
    assert str(loaded.connection(2).ladder) == str(trace.connection(2).ladder)


def test_a_folder_without_its_captures_has_ladders_of_state_changes(folder, tmp_path):
    import json
    import shutil

    shutil.copytree(folder, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    manifest["captures"] = ["gone.pcap"]
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    ladder = tw.load(tmp_path / "out").connection(2).ladder

    assert repr(ladder) == "<Ladder of connection 2: 0 segments>"
    assert "FIN-WAIT-1" in str(ladder)


def test_a_connection_has_its_rows(trace):
    connection = trace.connection(2)

    assert connection.row["close"] == "normal"
    assert connection.transitions.connection_id.unique().tolist() == [2]
    assert connection.time_wait.holder.tolist() == ["orig"]
    assert set(connection.findings.rule) == {"LA001"}
    assert connection.resets.empty
    assert connection.stale_segments.empty
    assert (connection.earlier, connection.later) == ([1], [])
    assert (trace.connection(1).earlier, trace.connection(1).later) == ([], [2])


def test_the_ladder_of_a_connection_is_the_one_that_show_draws(trace):
    command = [sys.executable, "-m", "tcptrace_tw", "show", DETOUR, "--connection", "2"]
    environment = {"COLUMNS": "100", "TERM": "dumb", "PATH": "", "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert str(trace.connection(2)) == shown.strip("\n")
    assert str(trace.connection(2).ladder) in shown


def test_the_ladder_can_be_drawn_otherwise(trace):
    ladder = trace.connection(2).ladder
    epoch = str(ladder.with_style(raw=True, time_format="epoch"))

    assert f"{ladder.ladder.steps[0].time // 10**9}." in epoch
    assert str(ladder.ladder.steps[0].seq) in epoch


def test_rich_shows_what_print_shows(trace):
    for shown in (trace, trace.connection(2), trace.connection(2).ladder):
        console = Console(file=io.StringIO(), width=100, color_system=None)
        console.print(shown)

        assert "".join(console.file.getvalue().split()) == "".join(str(shown).split())


def test_a_notebook_shows_a_trace_a_connection_and_a_ladder(trace):
    for shown, said in (
        (trace, "2 connections, peak 1 TIME-WAIT socket"),
        (trace.connection(2), "ip.addr == 198.18.10.10"),
        (trace.connection(2).ladder, "S. 0:0(0) ack 1"),
    ):
        html = shown._repr_html_()

        assert html.startswith('<div class="tw"><style>')
        assert html.endswith("</div>")
        assert said in html
        assert "<script" not in html


def test_a_connection_that_is_not_there_says_which_are(trace):
    with pytest.raises(KeyError, match="no connection 99; there are connections 1 to 2"):
        trace.connection(99)


def test_a_name_that_is_no_table_says_which_are(trace):
    with pytest.raises(AttributeError, match="connections, transitions"):
        _ = trace.packets
    with pytest.raises(KeyError, match="no such table"):
        trace.table("packets")


def test_a_trace_can_go_to_another_process(trace):
    again = pickle.loads(pickle.dumps(trace))

    pd.testing.assert_frame_equal(again.findings, trace.findings)
    assert str(again.connection(1).ladder) == str(trace.connection(1).ladder)


def test_only_some_connections_can_be_asked_for():
    assert len(tw.analyze(DETOUR, filter="port 40000").connections) == 2
    assert tw.analyze(DETOUR, filter="port 99").connections.empty


def test_the_package_says_that_it_is_typed():
    assert (files("tcptrace_tw") / "py.typed").is_file()
