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


def test_a_finding_brings_the_connection_that_it_met(tmp_path):
    """LA001 is about the SYN of connection 2 that met connection 1: all frames of both."""
    done = run(str(CAPTURE), "--finding", "2401", "-o", str(tmp_path / "out.pcap"))

    assert done.returncode == 0, done.stderr
    assert frames(tmp_path / "out.pcap") == frames(CAPTURE)


def test_several_connections_are_copied_in_the_order_of_their_frames(tmp_path):
    done = run(str(CAPTURE), "-c", "2", "-c", "1", "-o", str(tmp_path / "out.pcap"))

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.pcap").read_bytes() == CAPTURE.read_bytes()


def test_stdout_takes_nothing_but_the_capture():
    command = [sys.executable, "-m", "tcptrace_tw", "export", str(CAPTURE), "-c", "1", "-c", "2", "-o", "-"]
    done = subprocess.run(command, capture_output=True, check=True)

    assert done.stdout == CAPTURE.read_bytes()


def test_the_name_decides_between_pcap_and_pcapng(tmp_path):
    assert run(str(CAPTURE), "-c", "1", "-o", str(tmp_path / "out.pcapng")).returncode == 0
    assert (tmp_path / "out.pcapng").read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
