"""Community IDs cost more than any other column: Parquet has them where they are asked for, Python always."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import tcptrace_tw as tw
from tcptrace_tw.cli.app import app
from tcptrace_tw.report.tables import community_ids

CAPTURE = str(Path(__file__).parent.parent / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap")


@pytest.mark.parametrize("few", [2000, 0], ids=["few", "many"])
@pytest.mark.parametrize("jobs", [(), ("--jobs", "2")], ids=["one pass", "jobs"])
def test_parquet_has_them_on_demand(tmp_path, monkeypatch, jobs, few):
    monkeypatch.setattr(community_ids, "_FEW", few)
    wanted = tw.analyze(CAPTURE).table("connections")["community_id"].to_pylist()
    for name, options in (("without", ()), ("with", ("--community-id",))):
        done = CliRunner().invoke(app, ["analyze", CAPTURE, "-o", str(tmp_path / name), *jobs, *options])
        assert done.exit_code == 0, done.output

    assert wanted
    assert all(wanted)
    assert written(tmp_path / "without") == [None] * len(wanted)
    assert written(tmp_path / "with") == wanted
    for name in ("without", "with"):
        loaded = tw.load(tmp_path / name)
        assert loaded.table("connections")["community_id"].to_pylist() == wanted
        assert loaded.connections.community_id.tolist() == wanted


def test_a_table_without_rows_stays_one():
    empty = tw.analyze(CAPTURE, read_filter="port 1")

    assert empty.connections.community_id.tolist() == []


def written(folder):
    return pq.read_table(folder / "connections.parquet")["community_id"].to_pylist()
