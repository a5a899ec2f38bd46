"""A ladder says in which state a SYN met the earlier connection; several connections cost no more passes than one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tcptrace_tw as tw
from tcptrace_tw import pipeline
from tcptrace_tw.cli.app import app
from tcptrace_tw.report.pages.ladder import Head, Ladder, Met, Step, Style
from tcptrace_tw.schema.columns import ACK, SYN

ROOT = Path(__file__).parent.parent
LAST_ACK = "fixtures/kernel-syn-into-last-ack/capture.pcap"
FEW_PORTS = str(ROOT / "fixtures" / "kernel-nat-few-ports" / "capture.pcap")


def shown(*words: str, columns: int = 100) -> str:
    environment = {"COLUMNS": str(columns), "TERM": "dumb", "PATH": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tcptrace_tw", "show", *words, "-q"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_the_syn_stands_beside_the_state_that_it_met() -> None:
    (line,) = [line for line in shown(LAST_ACK, "-c", "2").splitlines() if "SYN-SENT" in line]

    assert line.endswith("LAST-ACK (connection 1)")


def test_where_there_is_no_room_the_connection_stands_below() -> None:
    lines = shown(LAST_ACK, "-c", "2", columns=80).splitlines()
    at = next(i for i, line in enumerate(lines) if "SYN-SENT" in line)

    assert lines[at].endswith("  LAST-ACK")
    assert lines[at + 1].strip() == "(connection 1)"
    assert lines[at + 1].index("(connection 1)") == lines[at].index("LAST-ACK")
    assert max(map(len, lines)) <= 80 or "Wireshark" in max(lines, key=len)


def test_a_socket_that_was_gone_is_not_drawn() -> None:
    steps = [Step(0, 1, True, SYN, 1, 0, 0), Step(5, 2, False, SYN | ACK, 9, 2, 0)]
    head = Head(2, "a", "b", "normal", "orig", "Sh")
    met = {1: Met(1, "TIME-WAIT", "CLOSED")}
    first, second = Ladder(head, steps, met=met).rungs(Style())

    assert (first.orig_state, first.resp_state) == ("TIME-WAIT (connection 1)", "")
    assert (second.orig_state, second.resp_state) == ("", "")


def test_an_ordinary_handshake_has_no_other_connection() -> None:
    trace = tw.analyze(str(ROOT / LAST_ACK))

    assert "(connection" not in str(trace.connection(1).ladder).split("\n")[1]


def test_an_incident_is_drawn_in_three_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for the report, one for the rows of all its connections, one for their segments."""
    passes = []

    class Counted(pipeline.Run):
        def __init__(self, *words: Any, **more: Any) -> None:
            passes.append(words)
            super().__init__(*words, **more)

    monkeypatch.setattr(pipeline, "Run", Counted)
    done = CliRunner().invoke(app, ["show", FEW_PORTS, "--incident", "1", "-q"])
    assert done.exit_code == 0
    assert len(passes) == 3
    each = [CliRunner().invoke(app, ["show", FEW_PORTS, "-c", number, "-q"]).stdout for number in ("12", "15", "6")]

    assert done.stdout == "\n".join(each)
