"""The page in Chromium: no sideways scrolling on a phone, all of it on paper, whole without scripts."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import chromium
from tests.test_report_page import page_of

CASES = ("kernel-nat-few-ports", "kernel-syn-into-last-ack", "keep-alive-race", "normal-close-by-client")

pytestmark = pytest.mark.skipif(chromium.TOOL is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {name: page_of(name, folder) for name in CASES}


@pytest.fixture(scope="module")
def browser():
    with chromium.Chromium() as opened:
        yield opened


@pytest.mark.parametrize("name", CASES)
def test_no_width_scrolls_sideways_and_nothing_complains(browser, pages, name):
    for width in (360, 820, 1440):
        browser.open(pages[name], width)
        browser.value("document.querySelectorAll('details').forEach(each => { each.open = true; })")

        assert browser.value("document.documentElement.scrollWidth") <= width
        assert browser.complaints == []


def test_dark_and_light_differ_in_their_ground(browser, pages):
    grounds = []
    for dark in (False, True):
        browser.open(pages["keep-alive-race"], dark=dark)
        grounds.append(browser.value("getComputedStyle(document.querySelector('.tw')).backgroundColor"))

    assert grounds == ["rgb(255, 255, 255)", "rgb(24, 27, 31)"]


def test_the_script_sorts_tables_and_zooms_pictures(browser, pages):
    browser.open(pages["kernel-nat-few-ports"])
    first = "document.querySelector('#rules tbody tr').cells[1].textContent"
    before = browser.value(first)
    browser.value("document.querySelectorAll('#rules th button')[3].click()")
    browser.value("document.querySelectorAll('#rules th button')[3].click()")

    assert browser.value(first) != before
    box = "document.querySelector('#ports svg.plot').viewBox.baseVal.width"
    assert browser.value(box) == 1000
    browser.value("document.querySelector('#ports .tools button').click()")
    assert browser.value(box) == 500
    browser.value("document.querySelectorAll('#ports .tools button')[4].click()")
    assert browser.value(box) == 1000


def test_a_link_to_a_frame_opens_what_is_folded_around_it(browser, pages):
    browser.open(pages["kernel-nat-few-ports"])
    browser.value("location.hash = document.querySelector('details .ladder tr[id]').id")
    browser.value("window.dispatchEvent(new Event('hashchange'))")

    assert browser.value("document.querySelector(location.hash.replace('.', '\\\\.')).closest('details').open")


def test_a_mark_of_a_picture_leads_to_its_frame(browser, pages):
    browser.open(pages["kernel-nat-few-ports"])
    browser.value(
        "document.querySelector('#c12-states [data-link] path').dispatchEvent(new Event('click', {bubbles: true}))"
    )

    assert browser.value("location.hash").startswith("#f12-")


def test_everything_can_be_reached_by_keyboard(browser, pages):
    browser.open(pages["kernel-nat-few-ports"])
    found = "Array.from(document.querySelectorAll('a[href], button, input, summary, [role=region]'))"

    assert browser.value(f"{found}.length") == browser.value(f"{found}.filter(each => each.tabIndex >= 0).length") > 20


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (360, True)])
def test_axe_has_no_complaint(browser, pages, width, dark):
    """The rules of axe-core: contrast, names, roles, headings, landmarks, tables."""
    axe = pytest.importorskip("axe_core_python")
    source = (Path(next(iter(axe.__path__))) / "axe.min.js").read_text(encoding="utf-8")
    browser.open(pages["kernel-nat-few-ports"], width, dark=dark)
    browser.value("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    browser.ask("Runtime.evaluate", expression=source)
    told = "axe.run().then(found => JSON.stringify(found.violations.map(each => [each.id, each.nodes[0].html])))"
    answer = browser.ask("Runtime.evaluate", expression=told, awaitPromise=True, returnByValue=True)

    assert answer["result"]["value"] == "[]"


def test_without_scripts_the_page_is_whole(browser, pages):
    browser.open(pages["kernel-nat-few-ports"], scripts=False)
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)

    assert browser.value("document.querySelectorAll('.tools').length") == 0
    assert browser.value("document.querySelectorAll('svg.chart path').length") > 5
    assert browser.value("document.querySelector('#i1 .ladder').getBoundingClientRect().height") > 200


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed")
def test_paper_has_remedies_frames_and_ladders(browser, pages, tmp_path):
    browser.open(pages["kernel-nat-few-ports"])
    browser.pdf(tmp_path / "page.pdf")
    done = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True
    )
    words = " ".join(done.stdout.split())

    assert "give the NAT more addresses or ports" in words
    assert "62, 63, 100, 101, 102, 103, 104" in words
    for said in (
        "SYN-SENT",
        "TIME-WAIT",
        "pause of 1.0 s",
        "S 0:0(0)",
        "Connection 12",
        "Connection 9",
        "Remove --random-fully",
    ):
        assert said in words, said
    assert "\f" in done.stdout  # several pages
