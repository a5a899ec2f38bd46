"""Curves of TIME-WAIT by client and service: their levels are those of the table, and their top is the port range."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import tcptrace_tw as tw
from tcptrace_tw.report.pages import curve
from tcptrace_tw.report.pages.terminal import draw
from tcptrace_tw.report.summary.digest import Digest

FIXTURES = Path(__file__).parent.parent / "fixtures"


def printed(digest, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    draw(digest, console, ["trace.pcap"])
    return console.file.getvalue()


@pytest.fixture(scope="module")
def narrow():
    return tw.analyze(FIXTURES / "kernel-narrow-ports-client-closes" / "capture.pcap")


def test_the_only_pool_has_the_levels_of_all(narrow):
    digest = narrow.summary.time_wait

    assert digest.pool_count == 1
    assert digest.pools[0].open == digest.curve.open
    assert Digest.from_json(narrow.summary.to_json()).time_wait.pools[0].open == digest.curve.open


def test_the_top_of_a_curve_is_the_ports_of_the_client(narrow):
    text = printed(narrow.summary)

    assert "client 198.18.22.10 to 198.19.22.20:5000; the top is its ports, 41000 to 41059" in text
    assert "\n       60 ┤" in text


def test_where_the_range_is_far_above_it_the_peak_is_the_top(narrow):
    digest = narrow.summary
    use = replace(digest.time_wait.ports[0], highest=60999, range_first=32768, range_last=60999)
    text = printed(replace(digest, time_wait=replace(digest.time_wait, ports=(use,))))

    assert "client 198.18.22.10 to 198.19.22.20:5000; peak 60 of 28,232 ports" in text
    assert "\n       60 ┤" in text


def test_small_pools_among_many_have_no_curve_of_their_own(narrow):
    digest = narrow.summary
    small = replace(digest.time_wait.pools[0], peak=5)
    text = printed(replace(digest, time_wait=replace(digest.time_wait, pools=(small,), pool_count=2)))

    assert "the top is its ports" not in text
    assert "\n       60 ┤" in text


def test_a_curve_under_a_higher_top_is_lower_and_never_nothing():
    assert curve.draw([0, 1, 50, 100], 4, 2, most=200) == ["    ", " ▁▄█"]
    assert curve.draw([0, 1, 50, 100], 4, 2) == ["   █", " ▁██"]
