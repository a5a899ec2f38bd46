"""One connection told in full: its ladder with timers and findings, and how to see it elsewhere."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from tcptrace_tw.report.findings import tuple_filter
from tcptrace_tw.report.ladder import Note, Others, Step, Style, Turn, head_of
from tcptrace_tw.report.ladder_page import draw
from tcptrace_tw.report.page import Page
from tcptrace_tw.report.phrases import counted, span
from tcptrace_tw.report.trace import Connection
from tcptrace_tw.spec.words import END_REASON, ENDPOINT


def tell(
    console: Console, connection: Connection, steps: Sequence[Step], style: Style, others: Others | None = None
) -> None:
    """Print everything about one connection."""
    row = connection.row
    turns = [_turn(turn) for turn in connection.transitions]
    notes = [_note(finding) for finding in connection.findings if finding["frames"]]
    draw(console, head_of(row), steps, turns, notes, style, others)
    page = Page(console)
    console.print()
    for held in connection.time_wait:
        page.line("TIME-WAIT", _held(held))
    for finding in connection.findings:
        if not finding["frames"]:
            page.line(finding["rule"], finding["message"])
    sides = row["orig_ip"], row["orig_port"], row["resp_ip"], row["resp_port"]
    page.paste("Wireshark", tuple_filter(*sides))


def _turn(row: dict[str, Any]) -> Turn:
    return Turn(row["time"], row["frame"], ENDPOINT.code(row["endpoint"]), row["to_state"], row["event"], row["basis"])


def _note(row: dict[str, Any]) -> Note:
    text = f"{row['rule']} {row['name']}: {row['message']} (frames {', '.join(map(str, row['frames']))})"
    return Note(row["frame"] or row["frames"][-1], row["severity"], text)


def _held(row: dict[str, Any]) -> str:
    length = "" if row["end"] is None else f" for {span(row['end'] - row['start'])}"
    restarted = f", restarted {counted(row['restarts'], 'time')}" if row["restarts"] else ""
    return f"{row['holder']} ({row['ip']}){length}{restarted}; {END_REASON.prose[END_REASON.code(row['end_reason'])]}"
