"""One connection told in full: its ladder with timers and findings, its neighbours, and how to see it elsewhere."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from tcptrace_tw.report.pages.ladder import Ladder, Met, Note, Others, Step, Style, Turn, head_of
from tcptrace_tw.report.pages.ladder_page import draw
from tcptrace_tw.report.pages.page import Page
from tcptrace_tw.report.pages.sentences import ended_text
from tcptrace_tw.report.words.findings import connection_of, tuple_filter
from tcptrace_tw.report.words.phrases import counted, span
from tcptrace_tw.report.words.text import time_text
from tcptrace_tw.schema.columns import FRAME_BITS
from tcptrace_tw.schema.words import END_REASON, ENDPOINT

Row = dict[str, Any]
"""A written row as a dictionary; times are ns since 1970."""


class Story:
    """The rows of the tables that belong to one incarnation, and of the connections before and after it."""

    def __init__(
        self,
        row: Row,
        transitions: Sequence[Row] = (),
        time_wait: Sequence[Row] = (),
        findings: Sequence[Row] = (),
        neighbours: Sequence[Row] = (),
        reuses: Sequence[Row] = (),
    ) -> None:
        self.row, self.reuses = row, reuses
        self.transitions, self.time_wait, self.findings = transitions, time_wait, findings
        self.earlier = [other for other in neighbours if other["connection_id"] < row["connection_id"]]
        self.later = [other for other in neighbours if other["connection_id"] > row["connection_id"]]

    @property
    def number(self) -> int:
        """The number of the connection."""
        return int(self.row["connection_id"])

    @property
    def met(self) -> list[int]:
        """The incarnations of the tuple whose segments belong into the picture: a SYN of one met the other."""
        met = [finding for finding in self.findings if finding["previous_connection_id"] is not None]
        numbers = {finding["previous_connection_id"] for finding in met}
        numbers |= {connection_of(finding["finding_id"]) for finding in met}
        return sorted(numbers - {0, self.row["connection_id"]})

    @property
    def segments(self) -> int:
        """How many segments it has."""
        return int(self.row["orig_segments"] + self.row["resp_segments"])

    @property
    def display_filter(self) -> str:
        """Everything between the two endpoints, for Wireshark."""
        row = self.row
        return tuple_filter(row["orig_ip"], row["orig_port"], row["resp_ip"], row["resp_port"])

    def ladder(self, steps: Sequence[Step], others: Others | None = None) -> Ladder:
        """What is drawn of it."""
        turns = [_turn(turn) for turn in self.lasting]
        notes = [_note(finding) for finding in self.findings if finding["frames"]]
        met = {_frame_of_syn(row): _met(row) for row in self.reuses if row["previous_connection_id"] is not None}
        return Ladder(head_of(self.row), steps, turns, notes, others or {}, met)

    @property
    def lasting(self) -> list[Row]:
        """The transitions that no later row retracts; what was retracted never was."""
        gone = {turn["retracts"] for turn in self.transitions} - {None}
        return [row for row in self.transitions if row["retracts"] is None and row["transition_id"] not in gone]

    def states_at(self, time: int) -> tuple[str, str]:
        """The states of orig and resp at ``time``, in ns since 1970; before its first transition what it came from."""
        states: dict[str, str] = {}
        reached = dict.fromkeys(ENDPOINT.words, 0)
        for turn in self.lasting:
            side = turn["endpoint"]
            states.setdefault(side, turn["from_state"] or turn["to_state"])
            reached[side] = max(reached[side], turn["time"])
            if reached[side] <= time:
                states[side] = turn["to_state"]
        return states.get("orig", "CLOSED"), states.get("resp", "CLOSED")

    def facts(self) -> list[tuple[str, str]]:
        """The facts above the ladder: labels and texts."""
        row = self.row
        facts = [("closed", ended_text(row["close"], row["active_closer"]))]
        facts.append(("Zeek history", row["history"]))
        if self.earlier:
            facts.append(("earlier", _neighbour(self.earlier[-1], row) + _and_more(self.earlier)))
        if self.later:
            facts.append(("later", _neighbour(self.later[0], row) + _and_more(self.later)))
        return facts

    def ends(self) -> list[tuple[str, str]]:
        """The facts below the ladder."""
        held = [("TIME-WAIT", _deferred(span)) for span in self.time_wait]
        return held + [(f["rule"], f["message"]) for f in self.findings if not f["frames"]]


def tell(console: Console, story: Story, ladder: Ladder, style: Style, at: int | None = None) -> None:
    """Print everything about one connection; with ``at``, a time in ns, also the states then."""
    page = Page(console)
    page.heading(f"Connection {ladder.head.connection_id}", f"{ladder.head.orig} (orig)  {ladder.head.resp} (resp)")
    for label, text in story.facts():
        page.line(label, text)
    console.print()
    draw(console, ladder, style)
    console.print()
    for label, text in story.ends():
        page.line(label, text)
    if at is not None:
        orig, resp = story.states_at(at)
        page.line("states", f"orig {orig}, resp {resp} at {time_text(at)}")
    page.paste("Wireshark", story.display_filter)


def _turn(row: Row) -> Turn:
    states = row["to_state"], row["event"], row["basis"], row["from_state"] or ""
    return Turn(row["time"], row["frame"], ENDPOINT.code(row["endpoint"]), *states)


def _met(row: Row) -> Met:
    return Met(row["previous_connection_id"], row["sender_state"] or "", row["receiver_state"] or "")


def _frame_of_syn(row: Row) -> int:
    """As the segments have it: with its file."""
    return int(row["syn_frame"] or 0) | (row.get("syn_file") or 0) << FRAME_BITS


def _note(row: Row) -> Note:
    text = f"{row['rule']} {row['name']}: {row['message']} (frames {', '.join(map(str, row['frames']))})"
    return Note(row["frame"] or row["frames"][-1], row["severity"], text)


def _deferred(row: Row) -> str:
    length = "" if row["end"] is None else f" for {span(row['end'] - row['start'])}"
    restarted = f", restarted {counted(row['restarts'], 'time')}" if row["restarts"] else ""
    return f"{row['holder']} ({row['ip']}){length}{restarted}; {END_REASON.prose[END_REASON.code(row['end_reason'])]}"


def _neighbour(other: Row, row: Row) -> str:
    gap = other["first_time"] - row["first_time"]
    when = f"{span(-gap)} earlier" if gap < 0 else f"{span(gap)} later"
    return f"connection {other['connection_id']} ({_ended(other)}), began {when}"


def _ended(row: Row) -> str:
    return ended_text(row["close"], row["active_closer"])


def _and_more(rows: Sequence[Row]) -> str:
    return f"; and {len(rows) - 1:,} more" if len(rows) > 1 else ""
