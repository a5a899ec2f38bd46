"""Every capture of a folder, field by field beside tshark; runs where ``TCPTRACE_TW_CAPTURES`` names a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from tcptrace_tw.capture.source import open_stream
from tests import capture_bytes as build
from tests import peers

FOLDER = Path(os.environ.get("TCPTRACE_TW_CAPTURES", "no such folder"))
CAPTURES = sorted(p for p in FOLDER.rglob("*") if p.is_file() and p.suffix not in (".json", ".jsonl", ".md"))

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

FIELDS = ("frame.number", "frame.time_epoch", "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags",
          "tcp.window_size_value", "tcp.len", "tcp.options.timestamp.tsval")  # fmt: skip
PREFERENCES = ("ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE", "ip.tso_support:TRUE")
SEGMENTS = "tcp and not icmp and not icmpv6"
"""An ICMP error quotes the header of a segment that came in another frame."""
COUNTED = peers.counted()
"""The captures whose TCP frames differ, each with its reason in docs/peers.md."""


def tshark(path: Path) -> dict[int, dict[str, int]] | None:
    command = ["tshark", "-n", "-r", str(path), "-Y", SEGMENTS, "-T", "fields", "-E", "occurrence=l"]
    command += [part for preference in PREFERENCES for part in ("-o", preference)]
    command += [part for field in FIELDS for part in ("-e", field)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    segments = {}
    for line in done.stdout.splitlines():
        number, time, sport, dport, seq, ack, flags, window, length, tsval = line.split("\t")
        segments[int(number)] = {
            "time": int(Decimal(time or 0) * 10**9),
            **as_numbers(sport=sport, dport=dport, seq=seq, ack=ack, window=window, payload_len=length),
            "flags": int(flags, 16) & 0x1FF if flags else -1,
            "tsval": int(tsval or 0),
        }
    return segments


def as_numbers(**texts: str) -> dict[str, int]:
    return {name: int(text) if text else -1 for name, text in texts.items()}


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_a_capture_says_what_tshark_says(path: Path) -> None:
    theirs = tshark(path)
    with open_stream(str(path)) as stream:
        got = build.read_stream(stream, compiled=True)
    if theirs is None:
        pytest.skip("tshark cannot read it")
    ours = {int(row["frame"]): row for row in got.rows}  # type: ignore[call-overload]

    if path.name in COUNTED:
        assert (len(ours), len(theirs)) == COUNTED[path.name]
    else:
        assert set(ours) == set(theirs)
    for frame, row in ours.items():
        if frame not in theirs:
            continue
        if abs(int(row["time"]) - theirs[frame]["time"]) >= 500_000_000:  # type: ignore[call-overload]
            theirs[frame]["time"] = -1  # a fraction of more than a second: tshark prints it wrongly
        expected = {name: value for name, value in theirs[frame].items() if value != -1}
        if 0 <= expected.get("payload_len", -1) < int(row["payload_len"]):  # type: ignore[call-overload]
            del expected["payload_len"]  # the IP length is beyond what the record says: tshark believes the record
        assert expected == {name: row[name] for name in expected}, frame
