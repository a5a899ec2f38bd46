"""The digest: what rows add up to, and the page drawn from it."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tcptrace_tw.capture.facts import CaptureFacts
from tcptrace_tw.pipeline import Settings, Summary
from tcptrace_tw.report.pages import curve
from tcptrace_tw.report.pages.sentences import delay_text, port_use_text
from tcptrace_tw.report.pages.terminal import draw
from tcptrace_tw.report.summary.digest import Digest
from tcptrace_tw.report.summary.grouping import group
from tcptrace_tw.report.summary.occupancy import Occupancy, Pool
from tcptrace_tw.report.summary.port_usage import uses
from tcptrace_tw.report.summary.sink import SummarySink
from tcptrace_tw.report.words.codec import parse_time
from tcptrace_tw.report.words.phrases import counted, size, span
from tcptrace_tw.report.words.text import time_text
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.columns import PORTS
from tests.report_pipeline import DAMAGE, facts
from tests.report_rows import SECOND, START, blank, connections, findings, put_ip, reuses, time_wait


def digest(size=40, name="lab.pcap", damage=None) -> Digest:
    sink = SummarySink()
    sink.rows("connections", np.asarray(connections(size)))
    sink.rows("time_wait", np.asarray(time_wait(size)))
    sink.findings(findings())
    sink.findings(findings(reuses(1), id="LA003", name="syn-reset-in-last-ack", severity=w.ERROR, confidence=w.LIKELY))
    tw = {"table": "time_wait", "time": "start", "message": "{ip}", "frames": (), "values": ()}
    sink.findings(findings(time_wait(size), id="TW001", name="tw-span", severity=w.INFO, **tw))
    return sink.digest(Summary(CaptureFacts([facts(name, damage)]), Settings()))


def page(found: Digest, width=80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    draw(found, console, ["lab.pcap"])
    return console.file.getvalue()


def test_a_digest_survives_json():
    found = digest()

    assert Digest.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_the_json_object_has_the_fields_of_its_schema_version():
    """Whoever changes this list changes ``SCHEMA_VERSION`` too, unless a field is only added."""
    found = digest().to_json()

    assert list(found) == [
        "tool", "tool_version", "schema_version", "settings", "engine", "capture", "connections", "time_wait",
        "incidents", "findings", "caveats", "policy",
    ]  # fmt: skip
    assert list(found["incidents"][0]) == [
        "incident_id", "rule", "name", "mechanism", "title", "severity", "confidence", "sentence", "count", "client",
        "service", "first_time", "last_time", "delay_ns", "worst_delay_ns", "delays_known", "connections", "findings",
        "rules", "remedy", "examples",
    ]  # fmt: skip
    assert list(found["capture"]) == [
        "frames", "tcp_segments", "first_time", "last_time", "skipped", "remarks", "files",
    ]  # fmt: skip
    assert list(found["connections"]) == [
        "total", "opened", "close", "active_closer", "segments", "payload_bytes", "retransmits",
    ]  # fmt: skip
    assert list(found["time_wait"]) == [
        "spans", "restarts", "end_reason", "curve", "outlived", "pool_count", "pools", "ports",
    ]  # fmt: skip
    assert list(found["time_wait"]["curve"]) == ["start", "step_ns", "open", "peak", "peak_time", "is_exact"]
    assert list(found["time_wait"]["pools"][0]) == [
        "ip", "role", "service", "spans", "peak", "span_seconds", "first_start", "last_start", "open",
    ]  # fmt: skip
    assert list(found["findings"][0]) == [
        "rule", "name", "summary", "remedy", "severity", "confidence", "count", "severities", "confidences",
        "first_time", "last_time", "examples", "delay_ns", "worst_delay_ns", "delays_known",
    ]  # fmt: skip
    assert list(found["findings"][0]["examples"][0]) == [
        "finding_id", "incident_id", "rule", "name", "severity", "confidence", "connection_id", "endpoints", "time",
        "file", "frame", "frames", "message", "delay_ns", "silence_ns", "count", "values", "rival", "caveats",
        "display_filter",
    ]  # fmt: skip


def test_findings_come_worst_first_with_their_surest_examples():
    found = digest().findings

    assert [rule.rule for rule in found] == ["LA003", "RU002", "TW001"]
    assert (found[1].count, [example.finding_id for example in found[1].examples]) == (2, [11202, 12202])


def test_the_page_says_what_to_do_next():
    text = page(digest())

    assert "tcptrace-tw show lab.pcap --incident 1" in text
    assert "frame.number in {7, 8, 9}" in text
    assert "net.ipv4.ip_local_port_range" in text


def test_the_page_begins_with_the_worst():
    """First the conclusion, then the whole in a line, then the incidents."""
    lines = page(digest()).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("40 connections, peak "))

    said = " ".join(line.strip() for line in lines[: at - 1])
    assert said.startswith("192.0.2.1:40000 > 198.51.100.7:80 was reused 1.2 s after TIME-WAIT began")
    heads = [line.split()[:3] for line in lines if re.match(r"\d+  (error|notice)", line)]
    assert heads == [["1", "error", "LA003"], ["2", "notice", "RU002"]]


def ports(lowest, highest, used):
    rows = blank(PORTS, 1)
    put_ip(rows, "ip", "192.0.2.1")
    put_ip(rows, "peer_ip", "198.51.100.7")
    rows.peer_port, rows.lowest_port, rows.highest_port, rows.most_used = 80, lowest, highest, used
    return np.asarray(rows)


def pool(spans, seconds):
    return Pool("192.0.2.1", "client", "198.51.100.7:80", spans, spans, 0.0, START, START + seconds * SECOND)


@pytest.mark.parametrize(
    ("row", "held", "text"),
    [
        (ports(40000, 40000, 1), pool(1, 0), "its only port 40000 in use; 28,231 of 28,232 left"),
        (ports(32768, 60998, 900), pool(1001, 100), "; at 10 closes/s about 600 ports are always in TIME-WAIT"),
        (ports(32768, 60998, 900), pool(100_001, 100), "; at 1,000 closes/s it is used up in 28.2 s"),
        (ports(50000, 65000, 900), pool(2, 100), "15,484 of 16,384 left if its range is 49152 to 65535"),
        (ports(1, 65000, 9), pool(2, 100), "65,527 of 65,536 left if its range is 0 to 65535"),
    ],
)
def test_ports_are_held_against_their_range(row, held, text):
    assert text in port_use_text(uses(row, [held], 60.0, 5)[0])


def test_a_port_that_was_used_twice_in_a_second_is_one_port():
    assert uses(ports(41000, 41059, 120), [pool(1100, 18)], 60.0, 5)[0].used == 60


def test_a_server_has_no_ports_to_run_out_of():
    assert uses(ports(40000, 40000, 1), [replace(pool(1, 0), role="server")], 60.0, 5) == ()


def test_what_findings_cost_is_added_up():
    rows = reuses(3)
    rows.cost_ns = 5_000_000, -1, 1_204_000_000
    sink = SummarySink()
    sink.findings(findings(rows, values=("cost_ns",)))
    found = sink.digest(Summary(CaptureFacts([facts("lab.pcap")]), Settings())).findings[0]

    assert delay_text(found) == "1.21 s in total, 1.2 s worst (measured for 2 of 3)"


def test_long_lists_say_how_many_they_leave_out():
    files = [replace(facts(f"ring-{n:02}.pcap")) for n in range(20)]
    capture = CaptureFacts(files, remarks=[f"ring-{n:02}.pcap begins late" for n in range(7)])
    lines = page(SummarySink(True).digest(Summary(capture, Settings()))).splitlines()
    more = [line.strip() for line in lines if "more" in line]

    assert sum(line.startswith("  format") for line in lines) == 1
    assert sum("26 frames, 2.35 kB" in line for line in lines) == 8
    assert more == ["and 12 more", "and 3 more"]


@pytest.mark.parametrize(
    ("size_", "rules", "text"),
    [
        (0, False, "no connections; no findings"),
        (3, False, "3 connections, no TIME-WAIT sockets; no findings"),
        (3, True, "3 connections, no TIME-WAIT sockets; no findings above info"),
    ],
)
def test_the_first_line_of_a_quiet_report(size_, rules, text):
    sink = SummarySink()
    sink.rows("connections", np.asarray(connections(size_)))
    if rules:
        sink.findings(findings(id="RU001", severity=w.INFO))

    lines = page(sink.digest(Summary(CaptureFacts([facts("a")]), Settings()))).splitlines()
    assert text in lines[:5]
    assert lines[0].startswith("Nothing stands out. Looked for: TIME-WAIT, ") == bool(size_)


def test_a_curve_of_days_names_the_day():
    sink = SummarySink()
    sink.rows("connections", np.asarray(connections(2)))
    sink.rows("time_wait", spans([(0, 60), (0, 60), (200_000, 60)]))
    text = page(sink.digest(Summary(CaptureFacts([facts("lab.pcap")]), Settings())))

    assert "peak 2 at 2023-11-14 22:13:" in text
    assert " at 22:1" in page(digest())


def test_the_page_says_what_is_damaged():
    assert "record claims 70000 bytes" in page(digest(damage=DAMAGE))


def test_no_line_of_the_page_ends_with_blanks_or_is_too_wide_but_those_to_paste():
    for width in (80, 140):
        for line in page(digest(), width).splitlines():
            assert line == line.rstrip()
            assert len(line) <= width or "tcptrace-tw show" in line or "Wireshark" in line


def test_a_capture_without_connections_has_a_page_too():
    empty = SummarySink().digest(Summary(CaptureFacts([facts("lab.pcap")]), Settings()))

    assert "TIME-WAIT  none" in page(empty)


def spans(pairs, holder=w.RESP):
    rows = blank_spans(len(pairs), holder)
    for i, (start, length) in enumerate(pairs):
        rows.start[i] = START + start * SECOND
        rows.end[i] = -1 if length is None else rows.start[i] + length * SECOND
    return np.asarray(rows)


def blank_spans(size, holder):
    from tcptrace_tw.schema.columns import TIME_WAIT

    rows = blank(TIME_WAIT, size)
    put_ip(rows, "ip", "198.51.100.7")
    put_ip(rows, "peer_ip", "192.0.2.1")
    rows.port, rows.peer_port, rows.holder = 80, 40000 + np.arange(size), holder
    return rows


PAIRS = st.lists(st.tuples(st.integers(0, 1000), st.none() | st.integers(1, 300)), min_size=1, max_size=30)


@given(PAIRS, st.integers(1, 10))
def test_the_peak_is_the_most_spans_open_at_once(pairs, cut):
    occupancy, rows = Occupancy(), spans(pairs)
    for i in range(0, rows.size, cut):
        occupancy.add(rows[i : i + cut])
    found = occupancy.curve()
    moments = [start for start, _ in pairs]
    peak = max(sum(s <= m and (n is None or m < s + n) for s, n in pairs) for m in moments)

    assert found.peak == peak == max(found.open)
    assert [(pool.spans, pool.peak) for pool in occupancy.pools()] == [(len(pairs), peak)]


def test_bins_grow_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr("tcptrace_tw.report.summary.steps.LIMIT", 50)
    occupancy = Occupancy()
    for i in range(40):
        occupancy.add(spans([(i * 10 + k, 60) for k in range(10)]))

    assert 60 <= occupancy.curve().peak <= 80
    assert not occupancy.curve().is_exact
    assert occupancy.pools()[0].spans == 400


def test_a_server_pools_by_its_port_and_a_client_by_the_service():
    occupancy = Occupancy()
    occupancy.add(spans([(0, 60), (1, 60)]))
    occupancy.add(spans([(0, 60)], w.ORIG))
    found = [(pool.role, pool.service, pool.peak) for pool in occupancy.pools()]

    assert found == [("server", "198.51.100.7:80", 2), ("client", "192.0.2.1:40000", 1)]


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-(2**62), 2**62)), min_size=1, max_size=50))
def test_rows_are_grouped_by_all_their_columns(pairs):
    columns = [np.array(column, np.int64) for column in zip(*pairs, strict=True)]
    numbers, leaders = group(columns)

    assert [pairs[leaders[n]] for n in numbers] == pairs
    assert leaders.size == len(set(pairs))


@given(st.integers(0, 2**62))
def test_a_time_survives_its_text(ns):
    assert parse_time(time_text(ns)) == ns


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=300), st.integers(1, 90))
def test_a_curve_is_as_wide_as_it_may_be_and_never_hides_a_level(levels, width):
    lines = curve.draw(curve.stretch(levels, width), width)

    assert {len(line) for line in lines} == {width}
    assert (lines[-1].strip() != "") == (max(levels) > 0)


def test_counts_sizes_and_spans_read_well():
    assert (counted(1, "frame"), counted(1204, "frame")) == ("1 frame", "1,204 frames")
    assert (size(999), size(1000), size(110_000_000)) == ("999 B", "1 kB", "110 MB")
    assert (span(63_200_000_000), span(725 * SECOND), span(3 * 3600 * SECOND + 120 * SECOND)) == (
        "63.2 s", "12 min 5 s", "3 h 2 min",
    )  # fmt: skip


def test_spans_that_are_all_open_have_a_peak():
    occupancy = Occupancy()
    occupancy.add(spans([(0, None), (1, None)]))

    assert occupancy.curve().peak == 2
    assert occupancy.pools()[0].peak == 2
