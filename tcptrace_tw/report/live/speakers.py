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
from tcptrace_tw.report.words.findings import Finding
from tcptrace_tw.report.words.phrases import counted, tally
from tcptrace_tw.report.words.styles import SEVERITY_STYLES

MOST_LINES, LINES_NS = 10, 60_000_000_000
"""The most lines about one rule and one service, and the time (ns) in which; other findings are counted."""

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
    dropped: int = 0
    """Packets that were lost before they could be read."""


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
        """Report how many packets have been lost so far before they could be read."""

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
        """Report how many packets have been lost so far."""
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
        self._lines: dict[tuple[str, str], tuple[int, int]] = {}
        """By rule and service: since when lines are counted, and how many there were or would have been."""

    def finding(self, said: Said) -> None:
        """When, how bad, which rule, and its sentence."""
        finding = said.finding
        if not self._has_room(finding):
            return
        notes = [finding.confidence, f"connection {finding.connection_id}" if finding.connection_id else "",
                 "worse than before" if said.is_worse else ""]  # fmt: skip
        head = self._paint(f"{finding.rule} {finding.severity}", SEVERITY_STYLES[finding.severity])
        self._line(f"{self._stamp(finding.time)} {head}: {finding.message} ({', '.join(filter(None, notes))})")

    def _has_room(self, finding: Finding) -> bool:
        """Whether this rule has had few lines about this service lately."""
        key = finding.rule, finding.endpoints.rpartition(" > ")[2]
        since, count = self._lines.get(key, (finding.time, 0))
        if finding.time >= since + LINES_NS:
            self._count(key)
            since, count = finding.time, 0
        self._lines[key] = since, count + 1
        return count < MOST_LINES

    def _count(self, key: tuple[str, str]) -> None:
        """Say how many were not told one by one."""
        since, count = self._lines.pop(key)
        if count > MOST_LINES:
            self._line(f"{self._stamp(since)} {key[0]}: {count - MOST_LINES:,} more about {key[1] or 'the capture'}")

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
        for key in [key for key, (since, _) in self._lines.items() if now.time >= since + LINES_NS]:
            self._count(key)
        if not self._in_place:
            self._line(f"{self._stamp(now.time)} status: {status_text(now)}")
            return
        when, columns = self._stamp(now.time).partition(".")[0], _columns(self._out)
        text = f"{when} {status_text(now, columns - len(when) - 2)}"
        self._write(f"{CLEAR}{text[: columns - 1]}")

    def dropped(self, packets: int, time: int) -> None:
        """What was lost."""
        when = f"{self._stamp(time)} " if time else ""
        head = self._paint("dropped", SEVERITY_STYLES["warning"])
        self._line(f"{when}{head}: {counted(packets, 'packet')} so far; what they would show is not known")

    def end(self, total: Total) -> None:
        """Why it ended, and how much there was."""
        for key in list(self._lines):
            self._count(key)
        found = f"{counted(sum(total.findings.values()), 'finding')}"
        by = f": {tally(total.findings, total.findings)}" if total.findings else ""
        much = f"{counted(total.segments, 'segment')}, {counted(total.connections, 'connection')}"
        lost = f"; {counted(total.dropped, 'packet')} dropped" if total.dropped else ""
        self._line(f"{total.reason}; {much}, {found}{by}{lost}")

    def _line(self, text: str) -> None:
        self._write(f"{CLEAR if self._in_place else ''}{text}\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def status_text(now: Now, width: int = 1 << 16) -> str:
    """The state of now in one line of at most ``width`` characters, shorter and with fewer holders where it has to be.

    >>> now = Now(0, 9, 3, 1204.2, 2, 12001, (Holder("10.0.0.1 > 10.0.0.2:80", 12001, 28232),), 0)
    >>> status_text(now)
    '1,204 connects/s, 2 unanswered, 12,001 in TIME-WAIT: 10.0.0.1 > 10.0.0.2:80 12,001 of 28,232 ports (42 %)'
    >>> status_text(now, 70)
    '1,204/s, 2 unanswered, TIME-WAIT 12,001: 10.0.0.1 > 10.0.0.2:80 42 %'
    """
    rate = f"{now.connects_per_second:,.0f}" if now.connects_per_second >= 10 else f"{now.connects_per_second:.1f}"
    long = f"{rate} connects/s, {now.unanswered:,} unanswered, {now.time_wait:,} in TIME-WAIT"
    short = f"{rate}/s, {now.unanswered:,} unanswered, TIME-WAIT {now.time_wait:,}"
    for head, name in ((long, _holder), (short, _share), (short, _service)):
        text = _with_holders(head, [name(holder) for holder in now.holders], width)
        if text != head or (not now.holders and len(head) <= width):
            return text
    return short[:width]


def _with_holders(text: str, holders: list[str], width: int) -> str:
    between = ": "
    for holder in holders:
        if len(text) + len(between) + len(holder) > width:
            break
        text, between = f"{text}{between}{holder}", ", "
    return text


def _holder(holder: Holder) -> str:
    if holder.ports is None:
        return f"{holder.name} {holder.time_wait:,}"
    return f"{holder.name} {holder.time_wait:,} of {holder.ports:,} ports ({_percent(holder)})"


def _share(holder: Holder) -> str:
    return f"{holder.name} {_percent(holder) or f'{holder.time_wait:,}'}"


def _service(holder: Holder) -> str:
    """Without the client, whose name may be long."""
    return f"{holder.name.rpartition(' > ')[2]} {_percent(holder) or f'{holder.time_wait:,}'}"


def _percent(holder: Holder) -> str:
    return "" if holder.ports is None else f"{100 * holder.time_wait // holder.ports} %"


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _iso(time: int) -> str:
    from tcptrace_tw.report.words.text import time_text

    return time_text(time)
