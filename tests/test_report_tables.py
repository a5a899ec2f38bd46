"""Rows to Arrow and Parquet, and the folder that appears all at once."""

import json
from pathlib import Path

import communityid
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.tables import buffers, sinks
from tcptrace_tw.report.tables.arrow import distinct
from tcptrace_tw.report.tables.folder import Folder, read_manifest
from tcptrace_tw.report.tables.sinks import ArrowSink, ParquetSink
from tcptrace_tw.schema import columns as c
from tests.report_rows import blank, connections, findings, put_ip, record_batch, reuses, time_wait


def write(target: Path, sink_rows: dict, force: bool = False, several_files: bool = False) -> None:
    with Folder(target, force) as folder:
        sink = ParquetSink(folder.path, several_files, has_community_ids=True)
        for table, rows in sink_rows.items():
            sink.rows(table, rows)
        sink.findings(findings())
        sink.finish({"schema_version": 1})
        (folder.path / "manifest.json").write_text(json.dumps({"tool": "tcptrace-tw"}))
        folder.commit()


def test_rows_read_back_as_they_were_written(tmp_path):
    write(tmp_path / "out", {"connections": connections(3), "time_wait": time_wait(2)})
    table = pq.read_table(tmp_path / "out" / "connections.parquet")
    first = table.slice(0, 1).to_pylist()[0]

    assert (first["orig_ip"], first["orig_port"], first["resp_ip"]) == ("192.0.2.1", 40000, "198.51.100.7")
    assert (first["resp_state"], first["close"], first["rst_frame"]) == ("TIME-WAIT", "normal", None)
    assert (first["history"], first["conn_state"], first["vlan"]) == ("ShADadfFa", "SF", None)
    assert table.schema.field("first_time").type == pa.timestamp("ns", "UTC")
    assert "history_lo" not in table.column_names


def test_every_table_of_the_contract_is_written_even_without_rows(tmp_path):
    write(tmp_path / "out", {})

    for table in c.TABLES:
        read = pq.read_metadata(tmp_path / "out" / f"{table.name}.parquet")
        assert read.num_rows == (2 if table is c.FINDINGS else 0)
        assert json.loads(read.metadata[b"tcptrace_tw"]) == {"schema_version": 1}


def test_frames_are_split_from_their_file_where_several_were_read(tmp_path):
    rows = reuses(1)
    rows.syn_frame = 3 << c.FRAME_BITS | 17
    batch = record_batch(c.REUSES, rows, several_files=True).to_pylist()[0]

    assert (batch["syn_frame"], batch["syn_file"]) == (17, 3)
    assert (batch["reset_frame"], batch["reset_file"]) == (None, None)
    assert "syn_file" not in record_batch(c.REUSES, rows).schema.names


@pytest.mark.parametrize("table", [t for t in c.TABLES if t not in (c.FINDINGS, c.INCIDENTS)], ids=lambda t: t.name)
def test_each_table_takes_blank_rows(table):
    batch = record_batch(table, blank(table, 2))
    batch.validate(full=True)

    assert batch.num_rows == 2


def test_any_way_of_cutting_rows_gives_the_same_table():
    rows = connections(10)
    whole, pieces = ArrowSink(), ArrowSink()
    whole.rows("connections", rows)
    for i in range(10):
        pieces.rows("connections", rows[i : i + 1])

    assert whole.finish({})["connections"].to_pylist() == pieces.finish({})["connections"].to_pylist()


def test_memory_of_row_groups_is_used_again_only_when_they_are_written(tmp_path, monkeypatch):
    rows = connections(50)
    whole = ArrowSink()
    whole.rows("connections", rows)
    monkeypatch.setattr(sinks, "ROW_GROUP_BYTES", 4 * rows.itemsize)
    kept = ArrowSink()
    kept.rows("connections", rows)
    write(tmp_path / "out", {"connections": rows})

    wanted = whole.finish({})["connections"].to_pylist()
    assert kept.finish({})["connections"].to_pylist() == wanted
    assert pq.read_table(tmp_path / "out" / "connections.parquet").to_pylist() == wanted


@given(
    st.lists(
        st.tuples(
            st.ip_addresses(v=4),
            st.ip_addresses(v=6).filter(lambda a: not a.ipv4_mapped),
            st.booleans(),
            st.integers(0, 65535),
        ),
        max_size=8,
    )
)
def test_community_ids_are_those_of_the_reference_package(tuples):
    rows = connections(len(tuples))
    wanted = []
    for i, (four, six, is_four, port) in enumerate(tuples):
        orig, resp = (str(four), "198.51.100.7") if is_four else (str(six), "2001:db8::7")
        put_ip(rows[i : i + 1], "orig_ip", orig)
        put_ip(rows[i : i + 1], "resp_ip", resp)
        rows.orig_port[i] = port
        flow = communityid.FlowTuple.make_tcp(orig, resp, port, 80)
        wanted.append(communityid.CommunityID().calc(flow))

    assert wanted == record_batch(c.CONNECTIONS, rows).column("community_id").to_pylist()


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=30))
def test_distinct_rows_can_be_put_together_again(pairs):
    one, two = (np.array(column, np.int64) for column in (zip(*pairs, strict=True) if pairs else ([], [])))
    indices, (first, second) = distinct(one, two)

    assert pairs == list(zip(first[indices].tolist(), second[indices].tolist(), strict=True))
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == first.size


@given(st.lists(st.tuples(st.integers(-1, 3), st.booleans(), st.text(max_size=3)), max_size=20))
def test_arrays_over_memory_are_those_that_pyarrow_makes(rows):
    values, is_null, texts = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    nulls = np.array(is_null, bool)
    made = [
        buffers.array(np.array(values, np.int64), nulls=nulls),
        buffers.flags(nulls),
        buffers.strings(texts),
    ]
    for each in made:
        each.validate(full=True)

    assert made == [
        pa.array(np.array(values, np.int64), mask=nulls),
        pa.array(is_null, pa.bool_()),
        pa.array(texts, pa.string()),
    ]


def test_a_folder_of_an_earlier_run_is_replaced(tmp_path):
    write(tmp_path / "out", {"connections": connections(3)})
    write(tmp_path / "out", {"connections": connections(1)})

    assert pq.read_table(tmp_path / "out" / "connections.parquet").num_rows == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_other_things_is_refused_and_with_force_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")

    with pytest.raises(UsageError, match="did not write"):
        write(tmp_path / "out", {})
    write(tmp_path / "out", {}, force=True)

    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
    assert read_manifest(tmp_path / "out") is not None


def test_a_failure_leaves_nothing_behind(tmp_path):
    def fail():
        with Folder(tmp_path / "a" / "b" / "out") as folder:
            (folder.path / "connections.parquet").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()

    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_can_be_the_target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path(), {})

    assert Path("manifest.json").exists()
