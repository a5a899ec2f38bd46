"""Findings as text: one at a time for the terminal, by the column for Parquet; both say the same."""

import ipaddress
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace_tw.report.tables.arrow_text import durations
from tcptrace_tw.report.tables.findings_arrow import findings_batch
from tcptrace_tw.report.words.findings import delay_column, finding, rule_number, silence_column
from tcptrace_tw.report.words.messages import message
from tcptrace_tw.report.words.text import duration_text, ip_text
from tcptrace_tw.rules.rule import Wording
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema import words as w
from tests.report_rows import blank, findings, halves, put_ip, reuses


def test_a_sentence_names_the_columns_of_its_row():
    assert message(findings(), 0) == (
        "192.0.2.1:40000 > 198.51.100.7:80 was reused 1.2 s after TIME-WAIT began (syn-ack)."
    )


def test_an_ipv6_address_before_a_port_stands_in_brackets():
    rows = reuses(1)
    put_ip(rows, "ip", "2001:db8::1")

    assert message(findings(rows, message="{ip}:{port} from {ip}"), 0) == "[2001:db8::1]:40000 from 2001:db8::1"


def test_null_is_unknown_in_a_sentence_and_absent_from_the_values():
    rows = reuses(1)
    rows.cost_ns, rows.answer_frame = -1, -1
    one = finding(findings(rows, message="cost {cost_ns}"), 0)

    assert one.message == "cost unknown"
    assert "cost_ns" not in one.values


def test_evidence_frames_rise_and_are_named_once():
    rows = reuses(1)
    rows.answer_frame = rows.syn_frame

    assert finding(findings(rows), 0).frames == (7, 8, 9)
    assert finding(findings(rows), 0).display_filter == "frame.number in {7, 8, 9}"


def test_frames_of_several_files_keep_their_file():
    rows = reuses(1)
    for name in ("fin_frame", "time_wait_frame", "syn_frame"):
        rows[name] |= 2 << c.FRAME_BITS
    one = finding(findings(rows, message="frame {syn_frame}"), 0, several_files=True)

    assert (one.file, one.frames, one.message) == (2, (7, 8, 9), "frame 9 of file 2")
    assert one.display_filter == (
        "ip.addr == 192.0.2.1 && ip.addr == 198.51.100.7 && tcp.port == 40000 && tcp.port == 80"
    )


def test_a_findings_number_is_its_incarnation_and_its_rule():
    rows = reuses(2)
    rows.connection_id[1] = -1
    numbers = findings_batch(findings(rows)).column("finding_id").to_pylist()

    assert numbers == [11202, 12202]
    assert rule_number("TW001") == 101


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (120, "120 ns"),
        (45_999, "46 us"),
        (999_499, "999 us"),
        (999_500, "1.0 ms"),
        (12_399_999, "12.4 ms"),
        (299_960_000, "300 ms"),
        (999_600_000, "1.0 s"),
        (1_002_000_000, "1.0 s"),
        (1_030_000_000, "1.03 s"),
        (5_005_000_000, "5.0 s"),
        (60_280_000_000, "60.3 s"),
        (94_404_264_000, "94.4 s"),
        (599_940_000_000, "599.9 s"),
        (599_960_000_000, "10 min"),
        (-5, "-5 ns"),
        (2_400_499_000_000, "40 min"),
        (2_400_999_000_000, "40 min 1 s"),
        (86_000_000_000_000, "23 h 53 min"),
    ],
)
def test_a_span_is_rounded_as_a_person_would(ns, text):
    assert text == duration_text(ns)


SENTENCES = [
    ({"syn_retries": 0}, "{syn_retries:SYN}", "no SYNs"),
    ({"syn_retries": 1}, "{syn_retries:SYN}, {syn_retries:time}", "1 SYN, once"),
    ({"syn_retries": 2000}, "{syn_retries:copy|copies}, {syn_retries:time}", "2,000 copies, 2,000 times"),
    ({"isn_delta": -70000}, "{isn_delta:#} below", "70,000 below"),
    ({"isn_delta": 1500}, "after {isn_delta:ms}", "after 1.5 s"),
    ({"cost_ns": -1}, "SYN again[; it cost {cost_ns}]", "SYN again"),
    ({"cost_ns": 5000}, "SYN again[; it cost {cost_ns}]", "SYN again; it cost 5 us"),
    ({"reset_frame": -1}, "ACK[, RST{reset_frame:?}]", "ACK"),
    ({"reset_frame": 7}, "ACK[, RST{reset_frame:?}]", "ACK, RST"),
    ({"answer": w.ANSWER_RST}, "SYN[, refused{answer:=rst}][, ignored{answer:=none}]", "SYN, refused"),
]


@pytest.mark.parametrize(("values", "template", "text"), SENTENCES)
def test_a_sentence_says_only_what_is_known(values, template, text):
    rows = reuses(1)
    for name, value in values.items():
        rows[name] = value
    chunk = findings(rows, message=template)

    assert message(chunk, 0) == text
    assert findings_batch(chunk).column("message").to_pylist() == [text]


def test_each_finding_has_the_sentence_of_its_case():
    """One by one and by the column: the first wording that holds, and the usual sentence for the rest."""
    rows = reuses(5)
    rows.syn_retries = [0, 3, 1, 3, 0]
    wordings = (
        Wording(lambda r: r.syn_retries > 2, "often", "tried {syn_retries:time}"),
        Wording(lambda r: r.syn_retries > 0, "once", "tried again"),
    )
    chunk = findings(rows, message="tried", wordings=wordings)
    said = ["tried", "tried 3 times", "tried again", "tried 3 times", "tried"]

    assert [message(chunk, i) for i in range(5)] == said
    assert findings_batch(chunk).column("message").to_pylist() == said
    assert [chunk.rule.condition_of(rows[i : i + 1]) for i in range(3)] == ["", "often", "once"]


@given(st.lists(st.integers(-(10**13), 10**13).filter(lambda n: n != -1), max_size=20))
def test_spans_read_the_same_one_by_one_and_by_the_column(spans):
    assert [duration_text(ns) for ns in spans] == durations(np.array(spans, np.int64)).to_pylist()


TEMPLATES = {
    "reuses": "{ip}:{port}, {peer_ip}: {gap_ns}/{cost_ns} {holder} {answer} {syn_frame} {answer_frame} "
    "{is_by_holder} {time} {answer_time} {isn_delta} {connection_id} {count} {syn_retries:copy|copies}"
    "[; {reset_frame:?}RST][; {answer:=rst}refused][; again {syn_retries:time}][; after {cost_ns}] {isn_delta:#}",
    "time_wait": "[{is_syn_pending:?}detour ]{peer_ip}:{peer_port} {end_reason} {end} {restarts:restart} {two_msl_ns}",
}
VALUES = {
    "reuses": ("gap_ns", "answer", "is_by_holder", "ip", "syn_frame", "answer_time", "tsecr", "count"),
    "time_wait": ("end", "end_reason", "two_msl_ns"),
}
ADDRESSES = st.sampled_from(["192.0.2.1", "255.255.255.255", "0.0.0.0", "::1", "2001:db8::ff", "fe80::1:2:3"])
NUMBERS = st.one_of(st.just(-1), st.integers(0, 2**40))


@st.composite
def chunks(draw):
    """Rows of a table with arbitrary content."""
    table = draw(st.sampled_from([c.REUSES, c.TIME_WAIT]))
    rows = blank(table, draw(st.integers(0, 5)))
    for column in table.columns:
        for i in range(rows.size):
            if column.kind == "ip":
                rows[f"{column.name}_hi"][i], rows[f"{column.name}_lo"][i] = halves(draw(ADDRESSES))
            elif column.kind == "word":
                rows[column.name][i] = draw(st.sampled_from([*range(len(column.words.words)), w.NULL_WORD]))
            elif column.kind == "bool":
                rows[column.name][i] = draw(st.booleans())
            elif column.kind == "u4":
                rows[column.name][i] = draw(st.integers(0, 3))
            elif column.kind in ("id", "frame", "time", "ns", "i8"):
                rows[column.name][i] = draw(NUMBERS)
    return findings(
        rows,
        table=table.name,
        time="start" if table is c.TIME_WAIT else "time",
        end_time="end" if table is c.TIME_WAIT else "",
        message=TEMPLATES[table.name],
        frames=("start_frame", "end_frame") if table is c.TIME_WAIT else ("fin_frame", "syn_frame", "answer_frame"),
        values=VALUES[table.name],
        caveats=draw(st.sampled_from([(), ("one",), ("one", "two")])),
        rival=draw(st.sampled_from(["", "loss"])),
    )


@given(chunks(), st.booleans())
def test_a_chunk_reads_the_same_one_by_one_and_by_the_column(chunk, several_files):
    """The terminal's renderer is the slow twin of the one that writes Parquet."""
    batch = findings_batch(chunk, several_files)
    batch.validate(full=True)

    for i, row in enumerate(batch.to_pylist()):
        one = finding(chunk, i, several_files)
        assert row["message"] == one.message
        assert tuple(row["frames"]) == one.frames
        own = {
            delay_column(chunk.rule): row["delay_ns"],
            silence_column(chunk.rule): row["silence_ns"],
            "count": row["count"],
        }
        told = {
            **json.loads(row["details"]),
            **{name: own[name] for name in chunk.rule.values if own.get(name) is not None},
        }
        assert told == one.values
        assert (row["delay_ns"], row["silence_ns"], row["count"]) == (one.delay_ns, one.silence_ns, one.count)
        assert row["display_filter"] == one.display_filter
        assert (row["finding_id"], row["connection_id"]) == (one.finding_id, one.connection_id)
        assert (row["rule"], row["severity"], row["rival"] or "") == (one.rule, one.severity, one.rival)
        assert tuple(row["caveats"]) == one.caveats


@given(st.ip_addresses())
def test_an_address_is_written_as_the_standard_library_writes_it(address):
    text = ip_text(*halves(str(address)))
    expected = getattr(address, "ipv4_mapped", None) or address

    assert ipaddress.ip_address(text) == expected
    assert text == str(expected) or (expected.version == 6 and "." in text)  # inet_ntop writes ::1.2.3.4


def test_a_row_without_a_port_gives_a_finding_without_a_port():
    rows = blank(c.CENSUS, 1)
    put_ip(rows, "ip", "192.0.2.9")
    batch = findings_batch(findings(rows, table="census", message="", values=(), frames=()))
    row = batch.to_pylist()[0]

    assert (row["ip"], row["port"], row["connection_id"], row["frames"]) == ("192.0.2.9", None, None, [])
