"""The report as one HTML page: it needs nothing from outside, says what the terminal says, and does no harm."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tcptrace_tw import analyze
from tcptrace_tw.cli.app import app, run
from tcptrace_tw.report.pages import html_report, svg
from tcptrace_tw.report.pages.html_ladder import ladder_html
from tcptrace_tw.report.pages.ladder import Head, Ladder, Note
from tcptrace_tw.report.summary.occupancy import Curve
from tcptrace_tw.schema.words import STATE
from tests.report_pipeline import ladder

FIXTURES = Path(__file__).parent.parent / "fixtures"
DETOUR = FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap"
VOID = {"meta", "line", "polygon", "polyline", "br"}


class Page(HTMLParser):
    """Checks that tags are closed in order; keeps texts, attributes and what refers to the outside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.words, self.tags, self.references = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.references += [value for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page that the command writes."""
    target = tmp_path_factory.mktemp("html") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["tcptrace-tw", "report", str(DETOUR), "--html", str(target), "--quiet"])
        with pytest.raises(SystemExit) as end:
            run()
    assert end.value.code == 0
    return target


def test_the_page_needs_nothing_from_outside(written):
    page = Page(written.read_text())

    assert page.references
    assert all(reference.startswith("#") for reference in page.references)
    assert not re.search(r"https?://|url\(|@import", written.read_text())


def test_the_page_says_what_the_terminal_says(written):
    page = Page(written.read_text())
    trace = analyze(DETOUR)

    for rule in trace.summary.findings:
        for said in (rule.rule, rule.name, rule.summary, rule.remedy, *(one.message for one in rule.examples[:1])):
            assert said in page.text
    assert "2 connections, peak 1 TIME-WAIT socket; 1 warning, 1 notice" in page.text
    assert f"tcptrace-tw show {DETOUR} --finding 2401" in page.text


def test_every_link_of_the_page_leads_to_its_finding(written):
    page = Page(written.read_text())
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}

    assert {reference.removeprefix("#") for reference in page.references} == anchors


def test_the_page_has_ladders_with_the_segments_of_the_earlier_incarnation(written):
    page = Page(written.read_text())

    assert "TIME-WAIT" in page.text
    assert ". 6 ack 6 (connection 1)" in page.text


def test_what_comes_from_outside_is_escaped():
    trace = analyze(DETOUR)
    evil = "<script>alert('x')</script>&\""
    file = replace(trace.summary.capture.files[0], name=evil, damage=evil)
    digest = replace(trace.summary, capture=replace(trace.summary.capture, files=(file,), remarks=(evil,)))
    text = html_report.document(digest, [evil], {})

    assert evil not in text
    assert text.count("<script>") == 1
    assert Page(text).text.count("alert('x')") >= 3


def test_a_note_is_escaped_too():
    drawn = Ladder(Head(1, "<a>", "b", "normal", "orig", "S"), ladder([], None, 1)[1], (), [Note(3, "info", "<i>: x")])

    assert "<i>" not in ladder_html(drawn)
    assert "&lt;i&gt;" in ladder_html(drawn)


def test_a_ladder_has_a_row_for_each_segment_and_all_states():
    text = Page(ladder_html(Ladder(Head(1, "a", "b", "normal", "resp", "S"), ladder([], None, 1)[1]))).text

    for state in ("SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "TIME-WAIT"):
        assert state in STATE.words
        assert state in text
    assert "TS 5000/700" in text


def test_the_curve_has_its_numbers_beside_it():
    text = svg.curve_svg(Curve(0, 1_000_000_000, (1, 1, 3, 2), 3, 2_000_000_000))

    assert 'role="img"' in text
    assert "peak 3" in text
    assert "+0 ns 1 +2.0 s 3 +3.0 s 2" in Page(text).text
    assert svg.curve_svg(Curve()) == ""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_makes_the_tables_sortable(written, tmp_path):
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    profile = f"--user-data-dir={tmp_path}"
    command = ["chromium", *options, "--disable-component-update", "--disable-sync", profile, "--dump-dom"]
    done = subprocess.run([*command, written.as_uri()], capture_output=True, text=True, check=True, timeout=120)

    assert '<th scope="col"><button>severity</button></th>' in done.stdout


def test_a_written_folder_makes_the_same_page(written, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    assert CliRunner().invoke(app, ["analyze", str(DETOUR), "-o", str(folder)]).exit_code == 0
    page = CliRunner().invoke(app, ["report", str(folder), "--html", "-"])

    assert page.exit_code == 0
    assert page.stdout.replace(str(folder), str(DETOUR)) == written.read_text()


def test_of_a_very_long_connection_the_page_has_the_state_changes(monkeypatch, tmp_path):
    monkeypatch.setattr("tcptrace_tw.cli.report._MOST_SEGMENTS", 5)
    page = Page(CliRunner().invoke(app, ["report", str(DETOUR), "--html", "-"]).stdout)

    assert "FIN-WAIT-1" in page.text
    assert "S. 0:0(0) ack 1" not in page.text


def test_a_page_is_written_all_at_once_or_not_at_all(monkeypatch, tmp_path):
    (tmp_path / "report.html").write_text("the old one")
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    done = CliRunner().invoke(app, ["report", str(DETOUR), "--html", str(tmp_path / "report.html")])

    assert done.exit_code == 2
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.html", "the old one")]


def test_a_folder_that_is_not_there_is_told_before_the_work(tmp_path):
    done = CliRunner().invoke(app, ["report", "missing.pcap", "--html", str(tmp_path / "no" / "report.html")])

    assert done.exit_code == 2
    assert "there is no folder" in done.stderr


def test_a_span_of_time_may_leave_out_what_a_finding_names():
    capture = str(FIXTURES / "kernel-nat-few-ports" / "capture.pcap")
    for since in ("+2s", "+5s", "+8s"):
        done = CliRunner().invoke(app, ["report", capture, "--html", "-", "--since", since])
        assert done.exit_code == 0
        Page(done.stdout)
