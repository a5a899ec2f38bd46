"""Formats that are rare: snoop and ERF."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tcptrace_tw.capture.export import copy_frames
from tcptrace_tw.capture.head import read_head
from tcptrace_tw.errors import UsageError
from tests import capture_bytes as cb
from tests.fuzz.seeds import conversation
from tests.test_capture_decode import both

TALK = list(conversation())
EXPECTED = cb.read(cb.pcap(TALK, nano=True)).rows


FILES = {
    "snoop": cb.snoop(TALK),
    "ERF": cb.erf(TALK),
    "ERF with extensions": cb.erf(TALK, extensions=2),
    "ERF colour": cb.erf(TALK, 11),
}


@both
@pytest.mark.parametrize("form", FILES)
def test_a_rare_format_gives_the_same_segments(form: str, compiled: bool) -> None:
    got = cb.read(FILES[form], compiled=compiled, step=777, window_size=4096, batch_size=8)

    assert got.rows == EXPECTED
    assert got.facts.damage is None
    assert got.facts.links == ("Ethernet",)
    assert got.facts.lost_frames == {"snoop": 2, "ERF": 22, "ERF with extensions": 22, "ERF colour": 0}[form]


@pytest.mark.parametrize("form", FILES)
def test_its_head_tells_when_it_begins(tmp_path: Path, form: str) -> None:
    path = tmp_path / "capture"
    path.write_bytes(FILES[form])
    head = read_head(str(path))

    assert head is not None
    assert head.format == form.split()[0]
    assert head.first_time == TALK[0].time_ns


@pytest.mark.parametrize("form", FILES)
def test_a_cut_is_told(form: str) -> None:
    facts = cb.read(FILES[form][:-5]).facts

    assert facts.frames == len(TALK) - 1
    assert facts.damage is not None
    assert "the file ends after" in facts.damage


def test_a_broken_length_is_told() -> None:
    data = bytearray(FILES["snoop"])
    struct.pack_into(">I", data, 16 + 4, 4_000_000_000)

    with pytest.raises(Exception, match="byte 16: record of an unknown type, or with lengths"):
        cb.read(bytes(data))


def test_frames_are_not_copied_out_of_it(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(FILES["snoop"])
    with pytest.raises(UsageError, match="convert it with editcap"):
        copy_frames([str(path)], np.array([1]), str(tmp_path / "out.pcap"))
