"""How what is seen is said: lines for people, with a status line rewritten in place, or one JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from tcptrace_tw.report.live.announcer import Said, Withdrawn
from tcptrace_tw.report.live.board import Holder, Now
from tcptrace_tw.report.summary.digest import IncidentDigest
from tcptrace_tw.report.words.codec import to_json
from tcptrace_tw.report.words.phrases import counted, tally
from tcptrace_tw.report.words.styles import SEVERITY_STYLES

MOST_LINES = 10
"""So many findings of one rule about one service are lines; the rest are counted in incidents."""

CLEAR = "\r\x1b[K"

Stamp = Callable[[int], str]
"""From capture time to how it is shown."""

Paint = Callable[[str, str], str]
"""Text and a style of rich: the text with what a terminal wants around it."""


@dataclass
class Total:
    """What a watch has come to."""

    reason: str = ""
    """Why it ended."""
    findings: dict[str, int] = field(default_factory=dict)
    """How many were said, by severity."""
    segments: int = 0
    connections: int = 0


class Speaker(Protocol):
    """Says what is seen."""

    def finding(self, said: Said) -> None:
        """A finding that is certain."""

    def withdrawn(self, withdrawn: Withdrawn, time: int) -> None:
        """A finding that does not hold any more."""

    def incident(self, incident: IncidentDigest, time: int) -> None:
        """An incident that is new or has grown."""

    def status(self, now: Now) -> None:
        """The state of now."""

    def dropped(self, packets: int, time: int) -> None:
        """So many packets were lost before they could be read, so far."""

    def end(self, total: Total) -> None:
        """The watch is over."""


class JsonSpeaker:
    """One object a line, each at once."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def finding(self, said: Said) -> None:
        """A finding; ``is_worse``: it was said before, with a lower grade."""
        self._say("finding", is_worse=said.is_worse, **to_json(said.finding))

    def withdrawn(self, withdrawn: Withdrawn, time: int) -> None:
        """A finding that does not hold any more."""
        self._say("withdrawn", time=_iso(time), finding_id=withdrawn.finding_id, rule=withdrawn.rule)

    def incident(self, incident: IncidentDigest, time: int) -> None:
        """An incident, without the findings that are its examples."""
        about = {name: value for name, value in to_json(incident).items() if name != "examples"}
        self._say("incident", **about)

    def status(self, now: Now) -> None:
        """The state of now."""
        self._say("status", **to_json(now))

    def dropped(self, packets: int, time: int) -> None:
        """So many packets were lost, so far."""
        self._say("dropped", time=_iso(time) if time else None, packets=packets)

    def end(self, total: Total) -> None:
        """Why it ended, and how much there was."""
        self._say("end", **to_json(total))

    def _say(self, kind: str, **values: Any) -> None:
        print(json.dumps({"type": kind, **values}), file=self._out, flush=True)


class TextSpeaker:
    """One line each; the status in place on a terminal, or as lines."""

    def __init__(self, out: TextIO, stamp: Stamp, paint: Paint, *, in_place: bool) -> None:
        self._out = out
        self._stamp = stamp
        self._paint = paint
        self._in_place = in_place
        self._counts: dict[tuple[str, str], int] = {}

    def finding(self, said: Said) -> None:
        """When, how bad, which rule, and its sentence."""
        finding = said.finding
        key = finding.rule, finding.endpoints.rpartition(" > ")[2]
        self._counts[key] = count = self._counts.get(key, 0) + 1
        if count > MOST_LINES:
            if count == MOST_LINES + 1:
                self._line(f"{finding.rule} {key[1]}: more of these are only counted in incidents; --json has all")
            return
        notes = [finding.confidence, f"connection {finding.connection_id}" if finding.connection_id else "",
                 "worse than before" if said.is_worse else ""]  # fmt: skip
        head = self._paint(f"{finding.rule} {finding.severity}", SEVERITY_STYLES[finding.severity])
        self._line(f"{self._stamp(finding.time)} {head}: {finding.message} ({', '.join(filter(None, notes))})")

    def withdrawn(self, withdrawn: Withdrawn, time: int) -> None:
        """What does not hold any more."""
        what = f"{withdrawn.rule} of connection {withdrawn.finding_id // 1000}"
        self._line(f"{self._stamp(time)} withdrawn: {what}: later segments show something else")

    def incident(self, incident: IncidentDigest, time: int) -> None:
        """The sentence of the incident."""
        head = self._paint(f"incident {incident.severity}", SEVERITY_STYLES[incident.severity])
        rules = ", ".join(f"{rule.rule} {rule.count:,}" for rule in incident.rules)
        self._line(f"{self._stamp(time)} {head}: {incident.sentence} ({rules})")

    def status(self, now: Now) -> None:
        """The state of now."""
        if not self._in_place:
            self._line(f"{self._stamp(now.time)} status: {status_text(now)}")
            return
        columns = _columns(self._out)
        text = f"{self._stamp(now.time)}  {status_text(now, columns - len(self._stamp(now.time)) - 3)}"
        self._write(f"{CLEAR}{text[: columns - 1]}")

    def dropped(self, packets: int, time: int) -> None:
        """What was lost."""
        when = f"{self._stamp(time)} " if time else ""
        head = self._paint("dropped", SEVERITY_STYLES["warning"])
        self._line(f"{when}{head}: {counted(packets, 'packet')} so far; what they would show is not known")

    def end(self, total: Total) -> None:
        """Why it ended, and how much there was."""
        found = f"{counted(sum(total.findings.values()), 'finding')}"
        by = f": {tally(total.findings, total.findings)}" if total.findings else ""
        much = f"{counted(total.segments, 'segment')}, {counted(total.connections, 'connection')}"
        self._line(f"{total.reason}; {much}, {found}{by}")

    def _line(self, text: str) -> None:
        self._write(f"{CLEAR if self._in_place else ''}{text}\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def status_text(now: Now, width: int = 1 << 16) -> str:
    """The state of now in one line of at most ``width`` characters; holders are named as far as there is room.

    >>> status_text(Now(0, 9, 3, 1204.2, 2, 12001, (Holder("10.0.0.1 > 10.0.0.2:80", 12001, 28232),), 0))
    '1,204 connects/s, 2 unanswered, 12,001 in TIME-WAIT: 10.0.0.1 > 10.0.0.2:80 12,001 of 28,232 ports (42 %)'
    """
    rate = f"{now.connects_per_second:,.0f}" if now.connects_per_second >= 10 else f"{now.connects_per_second:.1f}"
    text = f"{rate} connects/s, {now.unanswered:,} unanswered, {now.time_wait:,} in TIME-WAIT"
    between = ": "
    for holder in now.holders:
        more = f"{between}{_holder(holder)}"
        if len(text) + len(more) > width:
            break
        text, between = text + more, ", "
    return text


def _holder(holder: Holder) -> str:
    if holder.ports is None:
        return f"{holder.name} {holder.time_wait:,}"
    share = 100 * holder.time_wait // holder.ports
    return f"{holder.name} {holder.time_wait:,} of {holder.ports:,} ports ({share} %)"


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _iso(time: int) -> str:
    from tcptrace_tw.report.words.text import time_text

    return time_text(time)
