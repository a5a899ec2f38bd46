"""The markup of the page: headings, landmarks, table headers and text alternatives, for those who do not see it."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tcptrace_tw.cli.app import app
from tcptrace_tw.report.pages import html_incidents
from tcptrace_tw.report.pictures.palette import COLORS
from tests.docs.rule_pictures import capture_of

CASES = ("kernel-nat-few-ports", "kernel-syn-into-last-ack", "kernel-narrow-ports-client-closes", "keep-alive-race",
         "normal-close-by-client")  # fmt: skip
LANDMARKS = {"header", "nav", "main", "footer"}
MOST_BYTES = 2_000_000


def page_of(name: str, folder: Path) -> Path:
    """The page of a fixture."""
    target = folder / f"{name}.html"
    done = CliRunner().invoke(app, ["report", str(capture_of(name, folder)), "--html", str(target), "--quiet"])
    assert done.exit_code == 0, done.output
    return target


class Markup(HTMLParser):
    """The elements of a page: names, attributes, and the texts of some of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.headings: list[tuple[int, str]] = []
        self._open: list[str] = []
        self.charts: list[dict[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self._open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag == "svg" and attributes.get("role") == "img":
            self.charts.append({"labelledby": attributes["aria-labelledby"], "title": "", "desc": ""})

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        inside = self._open[-1] if self._open else ""
        if re.fullmatch(r"h[1-6]", inside):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)
        if self.charts and inside in ("title", "desc") and not self.charts[-1][inside]:
            self.charts[-1][inside] = data

    def of(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module", params=CASES)
def text(request, tmp_path_factory):
    return page_of(request.param, tmp_path_factory.mktemp("page")).read_text()


def test_headings_go_down_one_level_at_a_time(text):
    levels = [level for level, _ in Markup(text).headings]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(said.strip() for _, said in Markup(text).headings)


def test_the_page_has_landmarks_and_every_section_a_name(text):
    page = Markup(text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]

    assert {tag for tag, _ in page.tags} >= LANDMARKS
    assert len(ids) == len(set(ids))
    assert page.of("html")[0]["lang"] == "en"
    for section in page.of("section") + page.of("article"):
        assert section["aria-labelledby"] in ids
    assert all(link["href"][1:] in ids for link in page.of("a"))
    assert all(each["data-link"][1:] in ids for _, each in page.tags if "data-link" in each)


def test_every_header_cell_says_what_it_heads(text):
    page = Markup(text)

    assert page.of("th")
    assert all(cell.get("scope") in ("col", "row") for cell in page.of("th"))


def test_every_picture_has_a_name_and_says_its_numbers(text):
    page = Markup(text)

    for chart in page.charts:
        assert chart["title"]
        assert re.search(r"\d", chart["desc"]), chart
        assert len(chart["labelledby"].split()) == 2
    assert len(page.of("figure")) == len(page.charts)


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(text):
    policy = next(
        each["content"] for each in Markup(text).of("meta") if "content" in each and "default-src" in each["content"]
    )

    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for name in ("script", "style"):
        source = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert not re.search(r'\sstyle="| on[a-z]+="', re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))


def test_what_matters_stands_before_what_is_folded(tmp_path):
    text = page_of("kernel-nat-few-ports", tmp_path).read_text()
    before = text.split("<details")[0]
    whole = text.split('id="pictures"')[0]

    assert "met TIME-WAIT and were challenged" in before
    assert "What to do" in before
    assert "give the NAT more addresses" in before
    for said in ("States of both endpoints", 'class="ladder"', "pause of 1.0 s", 'id="f12-100"', 'href="#f12-100"'):
        assert said in whole


def test_the_ladder_has_raw_numbers_states_in_colour_and_marked_frames(tmp_path):
    text = page_of("kernel-syn-into-last-ack", tmp_path).read_text()
    row = re.search(r'<tr id="f2-22" class="hit">.*?</tr>', text)[0]

    assert '<span class="rel">S. 0:0(0) ack 1</span><span class="raw">S. ' in row
    assert "c-good" in row
    assert "<b>ESTABLISHED</b>" in row
    assert "(named by the finding)" in row


def test_a_page_keeps_to_its_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(html_incidents, "BUDGET", 1)
    small = page_of("kernel-nat-few-ports", tmp_path).read_text()
    monkeypatch.undo()
    large = page_of("kernel-nat-few-ports", tmp_path).read_text()

    assert small.count('class="ladder"') == 1 < large.count('class="ladder"')
    assert len(large) < MOST_BYTES


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", sorted(set(COLORS) - {"back", "soft", "line"}))
@pytest.mark.parametrize("dark", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast(name, dark):
    """4.5 to 1, as WCAG 2.2 wants of text (1.4.3)."""
    for ground in ("back", "soft"):
        one, two = sorted((luminance(COLORS[each][dark]) for each in (name, ground)), reverse=True)
        assert (one + 0.05) / (two + 0.05) >= 4.5, ground


def test_of_several_files_the_notes_stand_under_their_frames(tmp_path):
    target = tmp_path / "two.html"
    captures = [str(capture_of(name, tmp_path)) for name in ("kernel-syn-into-last-ack", "kernel-nat-few-ports")]
    assert CliRunner().invoke(app, ["report", *captures, "--html", str(target), "-q"]).exit_code == 0
    text = target.read_text()
    row = re.search(r'<tr id="f14-1\.100" class="hit">.*?</tr>(<tr class="note">.*?</tr>)', text)

    assert "RU004 tw-syn-challenged" in text[row.start() : row.start() + 3000]
    assert "PA004" in row[1]
