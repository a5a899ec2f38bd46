"""Pictures are right: their data are those of the tables, and their axes have names and units."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

import tcptrace_tw as tw
from tcptrace_tw.cli.app import app
from tcptrace_tw.report.pages.ladder import Style
from tcptrace_tw.report.pages.ladder_svg import ladder_svg
from tcptrace_tw.report.pictures import chart as c
from tcptrace_tw.report.pictures.bins import DurationBins, TimeBins, duration_bin, edge_s
from tcptrace_tw.report.pictures.ports import STEP_COUNT, step_ns
from tcptrace_tw.report.pictures.sink import COLUMNS, PictureSink
from tcptrace_tw.report.pictures.svg import file_svg, page_svg
from tcptrace_tw.report.tables.records import records
from tcptrace_tw.schema.columns import BY_NAME
from tcptrace_tw.schema.words import CLOSE
from tests.docs.rule_pictures import capture_of

FIXTURES = Path(__file__).parent.parent / "fixtures"
MINUTE = 60_000_000_000


def trace_of(name):
    return tw.analyze(FIXTURES / name / "capture.pcap")


@pytest.fixture(scope="module")
def narrow():
    return trace_of("kernel-narrow-ports-client-closes")


@pytest.fixture(scope="module")
def nat():
    return trace_of("kernel-nat-few-ports")


@pytest.fixture(scope="module")
def last_ack():
    return trace_of("kernel-syn-into-last-ack")


def series(picture, panel=0):
    return {each.name: each for each in picture.chart.panels[panel].series}


def ns(column):
    return column.astype("int64").to_numpy()


def most_at_once(starts, ends, begin, width, count):
    """The slow way: of each step, the most spans that are open at a moment in it, or at its begin."""
    found = []
    for step in range(count):
        low, high = begin + step * width, begin + (step + 1) * width
        moments = [low, *(start for start in starts if low <= start < high)]
        found.append(max(sum(start <= at < end for start, end in zip(starts, ends, strict=True)) for at in moments))
    return found


def test_time_wait_over_time_is_that_of_the_table(narrow):
    rows, capture = narrow.time_wait, narrow.summary.capture
    begin, end = capture.first_time, capture.last_time
    drawn = series(narrow.plot.time_wait())["TIME-WAIT"].y
    ends = rows.end.astype("int64").where(rows.end.notna(), 1 << 62).tolist()
    expected = most_at_once(ns(rows.start).tolist(), ends, begin, step_ns(begin, end), STEP_COUNT)

    # Within a step, a span that ends may be counted with one that begins: never less, seldom one more.
    assert all(low <= high <= low + 1 for low, high in zip(expected, drawn, strict=True))
    assert max(drawn) == max(expected) == narrow.summary.time_wait.pools[0].peak


def test_ports_in_use_stay_within_the_ports_that_were_seen(narrow):
    picture = narrow.plot.ports()
    drawn, ports = series(picture), narrow.ports.iloc[0]
    seen = ports.highest_port - ports.lowest_port + 1

    assert max(drawn["in use"].y) == seen == 60
    assert all(used >= waiting for used, waiting in zip(drawn["in use"].y, drawn["TIME-WAIT"].y, strict=True))
    assert [line.at for line in picture.chart.panels[0].lines] == [60]


def test_findings_are_marks_at_their_times(nat):
    picture = nat.plot.ports()
    marks = picture.chart.panels[-1]
    begin = nat.summary.capture.first_time
    times = sorted((ns(nat.findings[nat.findings.rule == "RU004"].time) - begin) / 1e9)
    lane = next(at for at, name in enumerate(marks.lanes) if name.startswith("RU004"))
    bars = [bar for bar in marks.bars if bar.lane == lane]

    assert marks.lanes[lane].endswith("7x")
    assert all(any(bar.start <= time <= bar.end for bar in bars) for time in times)


def test_endings_add_up_to_the_table(nat):
    picture = nat.plot.endings()
    totals = picture.data.drop(columns="time").sum()

    assert totals.to_dict() == nat.connections.close.value_counts().loc[lambda n: n > 0].to_dict()
    assert {name for name, _ in [(s.name, s) for s in picture.chart.panels[0].series]} == {"normal", "unanswered"}


def test_latencies_are_those_of_the_table(nat):
    rows = nat.connections
    known = rows[(rows.opened == "handshake") & rows.established_time.notna() & rows.orig_syn_frame.notna()]
    took = ns(known.established_time) - ns(known.first_time)
    drawn = nat.plot.latency()
    bars = drawn.chart.panels[0].series

    assert drawn.data["SYN retransmitted"].sum() == (known.syn_retries > 0).sum() == 3
    assert drawn.data.drop(columns="duration").to_numpy().sum() == took.size
    edges = [*bars[0].x, bars[0].x2[-1]]
    counts = [sum(high - low for high, low in zip(highs, lows, strict=True)) for highs, lows in
              (([s.y[n] for s in bars], [s.base[n] for s in bars]) for n in range(len(bars[0].y)))]  # fmt: skip
    assert counts == np.histogram(took / 1e9, edges)[0].tolist()
    assert [line.at for line in drawn.chart.panels[0].lines][:6] == [1, 2, 3, 4, 5, 7]


def test_silences_are_those_of_the_table(tmp_path):
    trace = tw.analyze(capture_of("keep-alive-race", tmp_path))
    rows = trace.connections
    known = rows[rows.silence_ns.notna() & rows.silence_end.notna()]
    picture = trace.plot.silence()

    assert picture.data.drop(columns="duration").to_numpy().sum() == len(known) > 0
    assert all(line.title for line in picture.chart.panels[0].lines)


def test_clocks_are_the_timestamps_of_the_syns(nat):
    picture = nat.plot.clocks("198.19.19.1")
    rows = nat.connections

    assert sorted(picture.data.TSval) == sorted(rows.orig_syn_tsval)
    assert (picture.data.what == "SYN not answered").sum() == (rows.close == "unanswered").sum()
    with pytest.raises(tw.UsageError, match="nothing to draw"):
        nat.plot.clocks("192.0.2.99")


def test_states_are_the_transitions_that_lasted(last_ack):
    picture = last_ack.plot.states(2)
    stays = last_ack.states
    held = stays[~stays.state.isin(["CLOSED", "LISTEN"])]

    assert sorted(picture.data.state) == sorted(held.state)
    assert {bar.label for bar in picture.chart.panels[0].bars} == set(held.state)
    marks = [mark.title for mark in picture.chart.panels[0].marks]
    assert sum(title.startswith("RST") for title in marks) == 1
    assert sum(title.startswith("challenge ACK") for title in marks) == 1
    assert [lane for lane in picture.chart.panels[0].lanes if lane == "segments"]
    assert all(a.start <= b.start for a, b in pairwise(picture.chart.panels[0].bars[:5]))


def test_the_sequence_picture_holds_every_segment_with_data():
    trace = trace_of("kernel-retransmit-reorder")
    picture = trace.plot.sequence(1)
    steps = trace.connection(1).ladder.ladder.steps
    row = trace.connections.iloc[0]

    for panel, side, is_orig in ((0, "orig", True), (1, "resp", False)):
        drawn = series(picture, panel)
        sent = [step for step in steps if step.is_orig == is_orig and step.payload_len]
        again = len(drawn["retransmission"].x) if "retransmission" in drawn else 0
        assert len(drawn["segment"].x) + again == len(sent)
        assert again == row[f"{side}_retransmits"]
        assert max(drawn["segment"].y) == row[f"{side}_nxt"] - row[f"{side}_isn"] - (
            1 if row[f"{side}_fin_frame"] > 0 else 0
        )


def test_a_zero_window_is_a_mark():
    picture = trace_of("kernel-zero-window-abort").plot.sequence(1)
    marks = [mark for panel in picture.chart.panels for mark in panel.marks]

    assert sum(mark.title.startswith("zero window") for mark in marks) == 12
    assert "zero window 12 times" in picture.chart.summary


def every_picture(nat, narrow):
    return [nat.plot.ports(), nat.plot.time_wait(), nat.plot.endings(), nat.plot.latency(), nat.plot.clocks(),
            nat.plot.states(12), nat.plot.sequence(12), narrow.plot.ports()]  # fmt: skip


def test_every_axis_has_a_name_and_a_unit_or_counts_things(nat, narrow):
    for picture in every_picture(nat, narrow):
        drawn = picture.chart
        assert drawn.x.name
        assert drawn.x.unit or drawn.x.ticks, drawn.name
        for panel in drawn.panels:
            assert panel.y.name
            assert panel.lanes or panel.y.unit or panel.y.is_whole, drawn.name
        text = page_svg(drawn)
        assert drawn.x.name in text
        assert all(panel.lanes or c_title(panel) in text for panel in drawn.panels)
        assert drawn.rows
        assert all(len(row) == len(drawn.columns) for row in drawn.rows)


def c_title(panel):
    return panel.y.title.replace("&", "&amp;")


def test_a_picture_is_saved_as_svg_and_as_png(nat, tmp_path):
    picture = nat.plot.ports()
    picture.save(tmp_path / "ports.svg")
    pytest.importorskip("resvg_py")
    picture.save(tmp_path / "ports.png")

    assert (tmp_path / "ports.svg").read_text() == picture.svg() == file_svg(picture.chart)
    assert (tmp_path / "ports.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in picture._repr_html_()
    with pytest.raises(tw.UsageError, match=r"\.svg or as \.png"):
        picture.save(tmp_path / "ports.gif")


def test_png_without_the_extra_is_told(nat, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)

    with pytest.raises(tw.UsageError, match=r"tcptrace-tw\[plot\]"):
        nat.plot.ports().save(tmp_path / "ports.png")
    assert not (tmp_path / "ports.png").exists()


def test_written_tables_give_the_rows_that_pictures_are_made_of(nat):
    """The inverse of writing, for every column that a picture reads."""
    for name, columns in COLUMNS.items():
        table = nat.table(name)
        rows = np.concatenate(list(records(BY_NAME[name], table, columns))) if table.num_rows else None
        for column in columns if rows is not None else ():
            kind = BY_NAME[name].column(column).kind
            if kind in ("id", "u2", "u4"):
                assert rows[column].tolist() == table[column].to_pylist()
        if name == "connections":
            assert [CLOSE.words[code] for code in rows["close"]] == table["close"].to_pylist()


def test_rows_in_any_chunks_make_the_same_pictures(nat):
    whole, split = PictureSink.of(nat.table), PictureSink()
    for name, columns in COLUMNS.items():
        for rows in records(BY_NAME[name], nat.table(name), columns):
            for at in range(0, rows.size, 3):
                split.rows(name, rows[at : at + 3])
    split.note(nat.table("findings"))
    span = nat.summary.capture.first_time, nat.summary.capture.last_time

    assert [page_svg(one) for one in whole.charts(*span)] == [page_svg(one) for one in split.charts(*span)]


@pytest.mark.parametrize("minutes", [0, 1, 600, 500_000])
def test_bins_of_time_keep_every_count(minutes):
    rng = np.random.default_rng(20)
    begin = 1_700_000_000_000_000_000
    times = begin + rng.integers(0, minutes * MINUTE + 1, 5000)
    kinds = rng.integers(0, 3, 5000)
    bins = TimeBins(3)
    for part in np.array_split(np.arange(5000), 7):
        bins.add(times[part], kinds[part])
    bars = bins.bars(begin, begin + minutes * MINUTE)

    assert bars.counts.sum(axis=0).tolist() == bins.totals.tolist() == np.bincount(kinds, minlength=3).tolist()
    assert len(bars.counts) <= 82
    expected = np.bincount((times - bars.begin) // bars.width, minlength=len(bars.counts))
    assert bars.counts.sum(axis=1).tolist() == expected.tolist()
    assert str(bars.width).rstrip("0") in ("1", "2", "5")


def test_a_duration_lies_within_the_edges_of_its_bin():
    durations = np.array([1_000, 1_001, 999_999_999, 1_000_000_000, 63_000_000_000, 5 * 10**12])
    places = duration_bin(durations)

    assert all(edge_s(p) - 1e-9 <= d / 1e9 < edge_s(p + 1) + 1e-9 for p, d in zip(places, durations, strict=True))
    bins = DurationBins(2)
    bins.add(durations, np.array([0, 1, 0, 1, 0, 1]))
    assert bins.counts.sum() == 6


@pytest.mark.parametrize(
    ("low", "high", "whole", "labels"),
    [
        (0, 1, True, ["0", "1"]),
        (0, 60, True, ["0", "20", "40", "60"]),
        (0, 1.6, False, ["0", "0.5", "1", "1.5"]),
        (0, 28_232, True, ["0", "10,000", "20,000"]),
    ],
)
def test_ticks_are_round(low, high, whole, labels):
    assert [label for _, label in c.round_ticks(low, high, 4, whole)] == labels


def test_a_logarithmic_axis_has_ticks_within_a_decade_too():
    assert [label for _, label in c.decades(0.0003, 0.002, "s")] == ["500 us", "1 ms", "2 ms"]
    assert [label for _, label in c.decades(0.00001, 100, "s")] == [
        "10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s",
    ]  # fmt: skip


def test_a_million_connections_make_a_small_picture():
    """Levels and counts of many rows are drawn with few numbers."""
    size = 200_000
    rows = np.zeros(size, BY_NAME["connections"].dtype)
    rng = np.random.default_rng(1)
    rows["connection_id"] = np.arange(size) + 1
    rows["first_time"] = 1_700_000_000_000_000_000 + np.sort(rng.integers(0, 600 * 10**9, size))
    rows["last_time"] = rows["first_time"] + 10**7
    rows["established_time"] = rows["first_time"] + 10**6
    rows["orig_port"] = rng.integers(32768, 61000, size)
    rows["orig_ip_lo"] = 0xFFFF_0A00_0001 + rng.integers(0, 50, size)
    rows["resp_ip_lo"] = 0xFFFF_0A01_0001
    rows["resp_port"] = 443
    rows["silence_ns"] = -1
    rows["orig_syn_has_ts"] = 1
    sink = PictureSink()
    sink.rows("connections", rows)
    drawn = list(sink.charts(int(rows["first_time"][0]), int(rows["last_time"][-1])))

    assert {each.name for each in drawn} == {"ports", "endings", "latency"}
    assert sum(len(page_svg(each)) for each in drawn) < 60_000
    assert sum(row[1] for row in next(each for each in drawn if each.name == "endings").rows) == size


def test_a_report_on_the_terminal_imports_no_picture():
    code = (
        "import sys; from tcptrace_tw.cli import main; sys.argv = ['tcptrace-tw', 'report', sys.argv[1]]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in sys.modules if 'pictures' in name or name in ('resvg_py', 'pandas', 'pyarrow')])"
    )
    capture = str(FIXTURES / "kernel-nat-few-ports" / "capture.pcap")
    done = subprocess.run([sys.executable, "-c", code, capture], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("picture", ["ladder", "states", "sequence"])
def test_show_writes_a_picture(picture, tmp_path):
    capture, target = str(FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap"), tmp_path / "one.svg"
    words = ["show", capture, "--incident", "1", "--svg", str(target), "--picture", picture]
    done = CliRunner().invoke(app, words)

    assert (done.exit_code, done.stdout) == (0, "")
    drawn = ElementTree.fromstring(target.read_text())
    assert drawn.tag.endswith("svg")
    assert drawn.get("role") == "img"
    words = " ".join(drawn.itertext())
    assert {"ladder": "SYN-RECEIVED", "states": "challenge ACK", "sequence": "byte of the stream"}[picture] in words


def test_show_refuses_a_picture_that_it_does_not_know(tmp_path):
    capture = str(FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap")
    done = CliRunner().invoke(app, ["show", capture, "-c", "1", "--svg", str(tmp_path / "x.svg"), "--picture", "pie"])

    assert done.exit_code == 2
    assert "write one of ladder, states, sequence" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_ladder_as_svg_has_every_segment_state_and_pause(nat):
    ladder = nat.connection(12).ladder.ladder
    text = " ".join(ElementTree.fromstring(ladder_svg(ladder, hits={100})).itertext())

    for rung in ladder.rungs(Style()):
        assert rung.label in text
        assert rung.orig_state in text
    assert "pause of 1.0 s" in text
    assert "named by a finding" in text
