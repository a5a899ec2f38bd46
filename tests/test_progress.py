"""How far the work is: over all files, over both passes of an export, and not known for a pipe."""

import contextlib
import io
import os
import time
from pathlib import Path

import pytest

from tcptrace_tw import pipeline
from tcptrace_tw.cli import progress
from tcptrace_tw.pipeline import Settings
from tcptrace_tw.position import Position, Taken

FIXTURES = Path(__file__).parent.parent / "fixtures"
FILES = [str(FIXTURES / name / "capture.pcap") for name in ("kernel-half-close", "kernel-ipv6", "kernel-syn-lost")]
SIZE = sum(map(os.path.getsize, FILES))


class Watched:
    """Asks for the position at the begin, and keeps the way to ask again."""

    def __call__(self, position):
        self.position = position
        self.first = position()


def test_several_files_are_one_way_from_nothing_to_all():
    watched = Watched()
    pipeline.analyze(FILES, Settings(), [], watched)

    assert (watched.first.bytes, watched.first.total) == (0, SIZE)
    assert (watched.position().bytes, watched.position().total) == (SIZE, SIZE)


def test_a_pass_for_segments_is_shown_as_well():
    watched = Watched()
    pipeline.ladders(FILES, Settings(), [1], progress=watched)

    assert watched.position()[:2] == (SIZE, SIZE)


def test_an_export_goes_twice_over_what_it_copies(tmp_path):
    watched, one = Watched(), FILES[:1]
    size = os.path.getsize(one[0])
    pipeline.export(one, Settings(), [1], str(tmp_path / "out.pcap"), progress=watched)

    assert watched.first[:2] == (0, 2 * size)
    assert watched.position()[:2] == (2 * size, 2 * size)


def test_files_are_followed_while_they_are_open_and_count_whole_at_their_end(tmp_path):
    class Source:
        position, size = 0, 10

    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "b").write_bytes(bytes(5))
    taken, source = Taken([str(tmp_path / "a"), str(tmp_path / "b")]), Source()

    with taken.following(0, source):
        source.position = 7
        assert (taken.bytes, taken.total) == (7, 15)
    assert (taken.bytes, taken.total) == (10, 15)


def test_where_one_size_is_not_known_the_total_is_not():
    assert Taken([*FILES, "-"]).total is None
    assert Taken(["-"]).total is None
    assert Position(5, None, 0, 0, None).and_then(Taken(FILES)).total is None


@pytest.mark.parametrize(("seconds", "drawn"), [(0.0, False), (0.5, True)])
def test_work_without_an_end_in_sight_shows_its_name_if_it_takes_long(monkeypatch, seconds, drawn):
    monkeypatch.setattr(progress, "EVERY_S", 0.1)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    page = io.StringIO()
    with contextlib.redirect_stderr(page), progress.busy("reading tables", enabled=True):
        time.sleep(seconds)

    assert ("reading tables" in page.getvalue()) == drawn


def test_nothing_is_drawn_where_nobody_wants_it():
    page = io.StringIO()
    with contextlib.redirect_stderr(page), progress.busy("reading tables", enabled=False):
        time.sleep(0.01)

    assert page.getvalue() == ""
