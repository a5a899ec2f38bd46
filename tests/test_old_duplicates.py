"""RU009: whether bytes of an earlier incarnation were taken, by the wire, and held against the kernel's word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.scenario import Result, play, play_pcap

FIXTURES = Path(__file__).parent.parent / "fixtures"
RECORDED = sorted(path.parent.name for path in FIXTURES.glob("kernel-old-duplicate-*/truth.json"))

EARLIER = """
    A = 10.0.0.1:40000
    B = 10.0.0.2:80
    +0      A > B  S  100000:100000(0) <mss 1460, sackOK>
    +0.001  A < B  S. 5000:5000(0) ack 100001 <mss 1460, sackOK>
    +0.001  A > B  .  100001:100001(0) ack 5001
    +0.01   A > B  P. 100001:100101(100) ack 5001
    +0.001  A < B  .  5001:5001(0) ack 100101
    +0.02   A > B  R. 100101:100101(0) ack 5001
"""
IN_ORDER = f"""{EARLIER}
    +0.5    A > B  S  99900:99900(0) <mss 1460, sackOK>
    +0.001  A < B  S. 3000:3000(0) ack 99901 <mss 1460, sackOK>
    +0.001  A > B  .  99901:99901(0) ack 3001
    +0.01   A > B  P. 99901:100001(100) ack 3001
    +0.001  A < B  .  3001:3001(0) ack 100001
    +0.05   A > B  P. 100001:100101(100) ack 5001
"""
"""The old segment lies at RCV.NXT of the new incarnation; its ACK field is one of the earlier incarnation alone."""
FITS_BOTH = IN_ORDER.replace("S. 3000:3000", "S. 4900:4900").replace("3001", "4901").replace(
    "+0.05   A > B", "+0.001  A < B  P. 4901:5001(100) ack 100001\n    +0.001  A > B  .  100001:100001(0) ack 5001\n"
    "    +0.05   A > B"
)  # fmt: skip


def verdict(result: Result) -> tuple[str, str] | None:
    """Severity and confidence of RU009."""
    found = [(f.severity, f.confidence) for f in result.findings if f.rule == "RU009"]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", ("error", "likely")),
        ("+0.001 A < B . 3001:3001(0) ack 100001", ("info", "confirmed")),
        ("+0.001 A < B . 3001:3001(0) ack 100101", ("error", "confirmed")),
        ("+0.001 A > B P. 100001:100201(200) ack 3001 \n +0.001 A < B . 3001:3001(0) ack 100201", ("error", "likely")),
    ],
    ids=["no-answer", "denied", "acknowledged", "covered-by-new-text"],
)
def test_the_receivers_ack_decides(rest, expected):
    """An ACK that stays below denies, one that covers what was never sent proves (RFC 9293 3.10.7.4)."""
    assert verdict(play(IN_ORDER + rest)) == expected


def test_acknowledged_old_bytes_are_not_missing_in_the_capture():
    result = play(IN_ORDER + "+0.001 A < B . 3001:3001(0) ack 100101")

    assert "CP008" not in result.rules()


@pytest.mark.parametrize(
    ("sack", "expected"),
    [("100001:100101", ("error", "confirmed")), ("60001:60101", ("error", "likely"))],
    ids=["holds-it", "names-other-bytes"],
)
def test_a_sack_block_above_a_hole_holds_the_bytes(sack, expected):
    """RFC 2018, section 4: the first block contains the segment that caused the ACK."""
    text = IN_ORDER.replace("99900:99900", "69900:69900").replace("99901", "69901")
    text = text.replace("69901:100001(100)", "69901:70001(100)").replace(
        "ack 100001\n    +0.05", "ack 70001\n    +0.05"
    )

    assert verdict(play(f"{text} +0.001 A < B . 3001:3001(0) ack 70001 <sack {sack}>")) == expected


def test_a_dsack_refuses_the_bytes():
    """RFC 2883: a block below the ACK names what came twice, or was not wanted."""
    text = IN_ORDER.replace("99900:99900", "120000:120000").replace("99901:99901", "120001:120001")
    text = text.replace("99901:100001(100)", "120001:120101(100)").replace("ack 99901", "ack 120001")
    text = text.replace("ack 100001\n    +0.05", "ack 120101\n    +0.05")
    result = play(f"{text} +0.001 A < B . 3001:3001(0) ack 120101 <sack 100001:100101>")

    assert verdict(result) == ("info", "confirmed")
    assert result.reuses[0].old_duplicate_refused_frame == text.count("+") + 1


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", None),
        ("+0.1 A > B . 100001:100001(0) ack 5001", ("error", "likely")),
        ("+0.1 A > B P. 100001:100051(50) ack 5001", ("error", "likely")),
        ("+0.1 A > B . 100101:100101(0) ack 5001", None),
        ("+0.1 A > B P. 100001:100101(100) ack 5001", None),
    ],
    ids=["nothing", "goes-on-before", "sends-other-text", "goes-on-behind", "sends-it-again"],
)
def test_where_the_numbers_fit_both_the_sender_decides(rest, expected):
    """An endpoint whose SND.NXT lies below what was acknowledged never sent it (RFC 9293 3.10.7.4, fifth check)."""
    assert verdict(play(f"{FITS_BOTH}+0.001 A < B . 5001:5001(0) ack 100101\n{rest}")) == expected


@pytest.mark.parametrize("name", RECORDED)
def test_the_kernel_had_read_the_bytes_where_the_tool_says_so(name):
    """Recorded with what the application read behind the old segment."""
    notes = " ".join(json.loads((FIXTURES / name / "truth.json").read_text())["notes"])
    has_read = re.search(r"application read b'[^']", notes) is not None
    got = verdict(play_pcap(FIXTURES / name / "capture.pcap"))

    assert (got is not None and got[0] == "error") == has_read
