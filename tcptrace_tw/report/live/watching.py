"""Reports what a live capture shows: findings, incidents and totals; and decides when to end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.live.announcer import Announcer, Said
from tcptrace_tw.report.live.board import Board
from tcptrace_tw.report.live.speakers import Speaker, Total
from tcptrace_tw.report.live.stories import Stories
from tcptrace_tw.report.words.findings import Finding
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema import words as w

ENDED, TIME_IS_UP, FOUND = "the input ended", "the time is up", "a finding reached the threshold"


class View(Protocol):
    """``live.View``: rows by table, and what the rules say about them."""

    @property
    def rows(self) -> dict[str, NDArray[Any]]:
        """Rows by table."""

    @property
    def findings(self) -> list[RuleHits]:
        """What the rules say."""


class Moment(Protocol):
    """``live.Moment``."""

    @property
    def now(self) -> int:
        """Capture time."""

    @property
    def segments(self) -> int:
        """Segments so far."""

    @property
    def connections(self) -> int:
        """Connections so far."""

    @property
    def lost(self) -> int:
        """Frames that the capture says were lost."""


@dataclass(frozen=True)
class WatchSettings:
    """What a watch reports, and when it ends."""

    least: int = w.NOTICE
    """The lowest severity that is reported (a code of ``schema.words.SEVERITY``)."""
    status_s: float = 10.0
    """Seconds between two lines of status."""
    for_s: float | None = None
    """Seconds after which it ends; None: never."""
    ends_with: Callable[[Finding], bool] | None = None
    """Whether it ends with this finding; None: with no finding."""


class Watching:
    """A ``live.Watcher``."""

    def __init__(self, speaker: Speaker, settings: WatchSettings, dropped: Callable[[], int] = lambda: 0) -> None:
        """``dropped``: how many packets were lost before they could be read."""
        self.total = Total()
        self.is_reached = False
        """Whether a finding reached the threshold."""
        self._speaker, self._settings, self._dropped = speaker, settings, dropped
        self._board, self._announcer, self._stories = Board(), Announcer(settings.least), Stories()
        self._begin = time.monotonic()
        self._next_status = self._begin
        self._is_over = False
        self._now = 0

    def look(self, view: View, moment: Moment) -> None:
        """Take rows that may change."""
        self._board.look(view.rows)
        if "connections" in view.rows:
            self._announcer.look(view.findings, view.rows["connections"], moment.now)

    def finished(self, view: View, moment: Moment) -> None:
        """Take rows that do not change any more."""
        self._board.finished(view.rows)
        connections = view.rows.get("connections")
        ids = np.zeros(0, np.int64) if connections is None else connections["connection_id"]
        self._announcer.finished(view.findings, ids)

    def overview(self, findings: list[RuleHits], moment: Moment, *, is_last: bool) -> None:
        """Take what many connections show; at the end nothing goes on any more."""
        self._announcer.overview(findings, moment.now)
        self._is_over = is_last

    def tick(self, moment: Moment) -> bool:
        """Say what is certain; returns whether to go on."""
        self._now = moment.now
        self.total.segments, self.total.connections = moment.segments, moment.connections
        for said in self._announcer.certain(moment.now):
            self._say(said)
        for incident in self._stories.grown(moment.now):
            self._speaker.incident(incident, moment.now)
        self._say_dropped(moment.lost)
        if moment.now and not self._is_over and time.monotonic() >= self._next_status:
            self._next_status = time.monotonic() + self._settings.status_s
            self._speaker.status(self._board.now(moment.now, moment.segments, moment.connections, self.total.dropped))
        return not self._is_enough()

    def end(self) -> None:
        """The capture is over, and its last drops are known: report what is left, and the totals."""
        self._say_dropped(0)
        for incident in self._stories.grown(self._now + _LATER_NS):
            self._speaker.incident(incident, self._now)
        self.total.reason = self.total.reason or ENDED
        self._speaker.end(self.total)

    @property
    def has_ended(self) -> bool:
        """Whether all of the input was read."""
        return self.total.reason == ENDED

    def _say(self, said: Any) -> None:
        if not isinstance(said, Said):
            self._speaker.withdrawn(said, self._now)
            return
        self._speaker.finding(said)
        if not said.is_worse:
            self._stories.add(said.hits)
            severity = said.finding.severity
            self.total.findings[severity] = self.total.findings.get(severity, 0) + 1
        if self._settings.ends_with is not None and self._settings.ends_with(said.finding):
            self.is_reached = True

    def _say_dropped(self, lost: int) -> None:
        """Say it when more were lost than last time; ``lost``: as the capture says."""
        dropped = max(lost, self._dropped())
        if dropped > self.total.dropped:
            self.total.dropped = dropped
            self._speaker.dropped(dropped, self._now)

    def _is_enough(self) -> bool:
        if self.is_reached:
            self.total.reason = FOUND
        elif self._settings.for_s is not None and time.monotonic() - self._begin >= self._settings.for_s:
            self.total.reason = TIME_IS_UP
        return bool(self.total.reason)


_LATER_NS = 1 << 40
"""Nanoseconds; longer than any interval of ``Stories.grown``, so that no incident waits at the end."""
