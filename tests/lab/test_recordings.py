"""The committed recordings are whole: every truth file tells connected histories, and its capture is beside it."""

import itertools
import json
import pathlib

import pytest

from tests.lab.capture import segments
from tests.lab.segment import FIN, endpoint

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"
FOLDERS = sorted(FIXTURES.glob("kernel-*"))

# RFC 9293 fig. 5, and what happens without a segment of the figure: resets, timeouts, aborts end in CLOSED.
NEXT = {
    "CLOSED": {"SYN-SENT"},
    "LISTEN": {"SYN-RECEIVED"},
    "SYN-SENT": {"ESTABLISHED", "SYN-RECEIVED", "CLOSED"},
    "SYN-RECEIVED": {"ESTABLISHED", "FIN-WAIT-1", "CLOSE-WAIT", "LISTEN", "CLOSED"},
    "ESTABLISHED": {"FIN-WAIT-1", "CLOSE-WAIT", "CLOSED"},
    "FIN-WAIT-1": {"FIN-WAIT-2", "CLOSING", "TIME-WAIT", "CLOSED"},
    "FIN-WAIT-2": {"TIME-WAIT", "CLOSED"},
    "CLOSING": {"TIME-WAIT", "CLOSED"},
    "CLOSE-WAIT": {"LAST-ACK", "CLOSED"},
    "LAST-ACK": {"CLOSED"},
    "TIME-WAIT": {"CLOSED"},
}
BESIDE_S = 0.005  # from the kernel's event to the frame at the same host's interface
WHOLE = ("tcp", "tcp or ip6 proto 6")  # filters that let everything through
END_REASONS = {"expired", "reopened-by-peer", "reused-by-holder", "assassinated", "capture-end"}


def truth(folder):
    return json.loads((folder / "truth.json").read_text())


def incarnations(folder):
    return [life for endpoint in truth(folder)["endpoints"] for life in endpoint["incarnations"]]


pytestmark = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_histories_follow_the_state_diagram(folder):
    """Each state of a history is a successor of the one before, and the transitions say the same."""
    for life in incarnations(folder):
        history = life["history"]
        assert all(new in NEXT[old] for old, new in itertools.pairwise(history))
        assert history == [life["transitions"][0]["from"]] + [row["to"] for row in life["transitions"]]


def test_transitions_are_in_order(folder):
    """The transitions of a life are in the order of time."""
    for life in incarnations(folder):
        times = [row["time"] for row in life["transitions"]]
        assert sorted(times) == times


def test_every_time_wait_has_its_entry(folder):
    """The histories and the list of timewait entries agree on how many there were, and why they ended."""
    content = truth(folder)
    entered = sum("TIME-WAIT" in life["history"] for life in incarnations(folder))
    assert entered == len(content["time_wait"])
    for span in content["time_wait"]:
        assert span["end_reason"] in END_REASONS
        assert (span["end"] is None) == (span["end_reason"] == "capture-end")


def test_the_capture_is_whole(folder):
    """The capture holds as many frames as tcpdump said it wrote, and starts near the first transition."""
    content = truth(folder)
    data = (folder / "capture.pcap").read_bytes()
    assert len(data) < 600_000
    assert sum(content["checks"][name] for name in ("lost_trace_events", "lost_frames")) == 0
    if not content["capture"]["snaplen"] < 262144:
        assert len(segments(folder / "capture.pcap")) == content["capture"]["frames"]


def test_a_transition_stands_beside_its_segment(folder):
    """Where the capture was taken, a FIN goes out as the kernel enters FIN-WAIT-1 or LAST-ACK, and a segment comes in
    as it enters TIME-WAIT.
    """
    content = truth(folder)
    about = content["capture"]
    if about["namespace"] == "router" or about["snaplen"] < 262144 or about["filter"] not in WHOLE:
        pytest.skip("the capture shows less than the kernel knows")
    frames = segments(folder / "capture.pcap")
    for local, step in _captured_steps(content, since=frames[0][0]):
        if step["to"] in ("FIN-WAIT-1", "LAST-ACK"):
            assert _is_beside(step, [t for t, s in frames if s.has(FIN) and endpoint(s.src, s.sport) == local])
        elif step["to"] == "TIME-WAIT":
            assert _is_beside(step, [t for t, s in frames if endpoint(s.dst, s.dport) == local])


def _captured_steps(content, since):
    for row in content["endpoints"]:
        if _is_captured(row["local"], content):
            steps = (step for life in row["incarnations"] for step in life["transitions"])
            yield from ((row["local"], step) for step in steps if step["time"] > since)


def _is_beside(step, times):
    return any(abs(time - step["time"]) < BESIDE_S for time in times)


def _is_captured(local, content):
    side = {"client": ("198.18.", "[2001:db8:"), "server": ("198.19.",)}[content["capture"]["namespace"]]
    return local.startswith(side) and ":2::" not in local


def test_purpose_origin_and_licence_are_told(folder):
    """The README beside a capture says what it is for, where it comes from and its licence."""
    text = (folder / "README.md").read_text()
    assert all(word in text for word in ("Purpose:", "Origin:", "Licence:"))
