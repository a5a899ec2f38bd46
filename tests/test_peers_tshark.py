"""The connections of every fixture beside tshark's; what differs stands in docs/peers.md with its reason.

``TCPTRACE_TW_CAPTURES`` may name a folder with more captures.
"""

import os
import shutil
from pathlib import Path

import pytest

from tcptrace_tw.errors import CaptureError
from tests import peers
from tests.scenario import play_pcap

FOLDER = Path(os.environ.get("TCPTRACE_TW_CAPTURES", "no such folder"))
CAPTURES = sorted(p for p in FOLDER.rglob("*") if p.is_file() and p.suffix not in (".json", ".jsonl", ".md", ".pkt"))

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

LISTED = peers.listed()
ALLOWED = peers.allowed()
NAMES = peers.fixture_names()
EVERYTHING = "TCPTRACE_TW_EVERYTHING" in os.environ
COMPARED = [name for i, name in enumerate(NAMES) if EVERYTHING or name in LISTED or i % 3 == 0]
"""With TCPTRACE_TW_EVERYTHING in the environment all, else those that the page lists and a third of the others."""


@needs_tshark
@pytest.mark.parametrize("name", COMPARED)
def test_a_fixture_is_seen_as_by_tshark(name):
    """Same connections, active closer and completeness, but for what the page lists: python -m tests.peers."""
    assert peers.fixture_differences(name) == LISTED.get(name, [])


def test_every_listed_difference_has_a_reason_that_is_explained():
    assert {each.reason for rows in LISTED.values() for each in rows} <= peers.reasons()
    assert set(LISTED) <= set(NAMES)


@needs_tshark
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_a_capture_is_seen_as_by_tshark(path):
    """Every difference has one of the reasons, or the page names the capture."""
    theirs = peers.streams(path)
    if theirs is None:
        pytest.skip("tshark cannot read it")
    try:
        got = play_pcap(path)
    except CaptureError as error:
        pytest.skip(str(error))
    if path.name in ALLOWED:
        pytest.skip(ALLOWED[path.name])

    assert [each for each in peers.differences(got, theirs) if not each.reason] == []
