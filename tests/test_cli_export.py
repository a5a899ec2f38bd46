"""``export`` as a user runs it."""

import subprocess
import sys
from pathlib import Path

import dpkt

CAPTURE = Path(__file__).parent.parent / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tcptrace_tw", "export", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def frames(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [frame for _, frame in dpkt.pcap.Reader(file)]


def test_the_frames_of_a_connection_are_copied_as_they_are(tmp_path):
    """Connection 2 begins with the SYN that met LAST-ACK; the frames with the old numbers are those of 1."""
    done = run(str(CAPTURE), "--connection", "2", "-o", str(tmp_path / "out.pcap"))

    assert done.returncode == 0, done.stderr
    every = frames(CAPTURE)
    assert frames(tmp_path / "out.pcap") == [every[17], *every[20:]]


def test_a_connection_that_is_not_there_is_a_wrong_use(tmp_path):
    """One line, exit code 2, no file."""
    done = run(str(CAPTURE), "--connection", "99", "-o", str(tmp_path / "out.pcap"))

    assert done.returncode == 2
    assert "no connection 99" in done.stderr
    assert not (tmp_path / "out.pcap").exists()
