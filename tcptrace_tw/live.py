"""A capture that goes on: the same rooms as in ``pipeline``, and a look at what is not over several times a second.

Rows leave a tracker when connections are forgotten, minutes after their last segment. Who watches wants to know at
once. So the incarnations that segments have touched are looked at (``tcp.peek``) as if the capture ended now, and from
time to time everything that is remembered is, for what only many connections show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.measure.measurements import Measurements
from tcptrace_tw.memory_limit import for_connections
from tcptrace_tw.one_pass import Chunk, Notice, Run, Summary
from tcptrace_tw.rules.early import EarlyRules
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.segments import Segments
from tcptrace_tw.settings import Settings
from tcptrace_tw.stages import BUFFERS, with_ticks
from tcptrace_tw.tcp.peek import Peek, bytes_of, ended_now, keep_at_hand
from tcptrace_tw.tcp.store.records import NOW
from tcptrace_tw.tcp.tracker import Tracker

TICK_S = 0.1
"""Seconds between two looks, also while no segment comes."""

AT_HAND_NS = 1_000_000_000
"""How long a connection is not archived after its last segment, so that it can be looked at."""

OVERVIEW_NS = 10_000_000_000
"""The interval at which everything is looked at, unless that takes more than ``OVERVIEW_SHARE`` of the time."""

OVERVIEW_SHARE = 0.05

NO_OVERVIEW = "there are too many connections to look at all of them together; what only many show is said at the end"


class Moment(NamedTuple):
    """When something is looked at: capture time, which goes on while no segment comes; and what has come so far."""

    now: int
    segments: int
    connections: int
    lost: int
    """Frames that the capture itself says were lost."""


class View(NamedTuple):
    """Rows by table, and what the rules say about them."""

    rows: dict[str, NDArray[Any]]
    findings: list[RuleHits]


class Watcher(Protocol):
    """Who is told what is seen."""

    def look(self, view: View, moment: Moment) -> None:
        """Take all rows of the connections that segments have touched since the last look; they may change."""

    def finished(self, view: View, moment: Moment) -> None:
        """Take rows that do not change any more."""

    def overview(self, findings: list[RuleHits], moment: Moment, *, is_last: bool) -> None:
        """Take what many connections together show; at the end of the whole capture."""

    def tick(self, moment: Moment) -> bool:
        """Say what is certain by now; returns whether to go on. Before the first segment, the time is 0."""


class Clock:
    """Capture time that goes on between segments, as far as the machine's clock does."""

    def __init__(self) -> None:
        self._time = 0
        self._since = time.monotonic_ns()

    def set(self, capture_time: int) -> None:
        """A segment has come: its time counts, whatever has passed meanwhile."""
        self._time = capture_time
        self._since = time.monotonic_ns()

    def now(self) -> int:
        """The time of the capture now; 0 before the first segment."""
        return self._time + time.monotonic_ns() - self._since if self._time else 0


Obey = Callable[[RuleHits], RuleHits]
"""From the findings of a rule to what a policy leaves of them."""


def watch(
    captures: Sequence[str],
    settings: Settings,
    watcher: Watcher,
    notice: Notice | None = None,
    obey: Obey | None = None,
) -> Summary:
    """Read a capture while it is written, until it ends or the watcher has seen enough."""
    return _LiveRun(captures, settings, notice, obey).follow(watcher)


class _LiveRun(Run):
    """One pass over a capture that goes on."""

    def __init__(
        self, captures: Sequence[str], settings: Settings, notice: Notice | None, obey: Obey | None = None
    ) -> None:
        self._seed = new_seed()
        super().__init__(captures, settings, notice, transitions=False, seed=self._seed)
        self._buffers = BUFFERS
        self._rules = EarlyRules(settings.select, settings.ignore, settings.thresholds, obey)
        self._clock = Clock()
        self._touched: NDArray[Any] | None = None
        keep_at_hand(self._tracker, AT_HAND_NS)
        self._peek = Peek(
            self.profile, compiled=self.compiled, seed=self._seed, keep_duplicates=settings.keep_duplicates
        )
        self._finished = self._measurements()
        self._next_overview = 1
        self._rests_until = 0.0
        most = for_connections(settings.max_memory)  # type: ignore[arg-type] # Settings makes it a number
        self._most_bytes = 1 << 62 if most is None else most
        self._has_said = False

    def follow(self, watcher: Watcher) -> Summary:
        """Tell the watcher what is seen, until the capture ends or it wants no more."""
        with closing(with_ticks(self._placed(), TICK_S)) as items:
            for item in items:
                if item is not None:
                    self._arrive(*item, watcher)
                self._look(watcher)
                if not watcher.tick(self._moment()):
                    break
                if self._clock.now() >= self._next_overview and time.monotonic() >= self._rests_until:
                    self._overview(watcher)
            self._end(watcher)
        self._tracker.close()
        return self.summary()

    def _arrive(self, batch: Segments, number: int, known: dict[str, int], watcher: Watcher) -> None:
        self._clock_figures = known
        with self._flow.still:
            chunks = [self._chunk(*each) for each in self._tracker.arrive(batch, self._flow.tuples)]
            chunks += [self._chunk(*each) for each in self._tracker.drain()]
        self._say_forgotten()
        free = self._tracker.take_released()
        if free.size:
            self._flow.give_back(free, number)
        self._touched = np.unique(batch.slot)
        self._clock.set(int(self._tracker.counters[NOW]))
        self._finish(chunks, watcher)

    def _finish(self, chunks: list[Chunk], watcher: Watcher) -> None:
        """Hand on rows that do not change any more."""
        for chunk in chunks:
            self._finished.see(chunk.table.name, chunk.rows)
        if chunks:
            watcher.finished(self._view(chunks), self._moment())

    def _look(self, watcher: Watcher) -> None:
        """Look at what segments have touched."""
        if self._touched is None:
            return
        moment = self._moment()
        with self._flow.still:
            rows = list(self._peek.rows(self._tracker, self._touched, self._flow.tuples, moment.now))
        self._touched = None
        watcher.look(self._view([Chunk(*each, self.caveats()) for each in rows]), moment)

    def _overview(self, watcher: Watcher) -> None:
        """What many connections show, of those that are remembered."""
        begin, moment = time.monotonic(), self._moment()
        if 2 * bytes_of(self._tracker) > self._most_bytes:
            self._next_overview = moment.now + OVERVIEW_NS
            if self._notice is not None and not self._has_said:
                self._notice(NO_OVERVIEW)
            self._has_said = True
            return
        measured = self._measurements()
        mirror = Tracker(self.profile, compiled=self.compiled, transitions=False, seed=self._seed)
        with self._flow.still:
            for table, rows in ended_now(self._tracker, self._flow.tuples, moment.now, mirror):
                measured.see(table.name, rows)
        watcher.overview(self._measured(measured, is_whole=False), moment, is_last=False)
        end = time.monotonic()
        self._next_overview = moment.now + OVERVIEW_NS
        self._rests_until = end + (end - begin) / OVERVIEW_SHARE

    def _measured(self, measured: Measurements, *, is_whole: bool) -> list[RuleHits]:
        """What the rules say about the rows of the measurements; about the capture itself only in the end."""
        found: list[RuleHits] = []
        for table, rows in measured.close(self.figures()):
            if is_whole or table.name != "capture":
                found += self._rules.evaluate(table, rows, self.caveats())
        return found

    def _end(self, watcher: Watcher) -> None:
        end = self.facts.last_time
        if end is None or not self._clock.now():
            return
        moment = self._moment()
        with self._flow.still:
            self._is_ending = True
            for chunks in _whole_connections(
                self._chunk(*each) for each in self._tracker.finish(end, self._flow.tuples)
            ):
                self._finish(chunks, watcher)
        watcher.overview(self._measured(self._finished, is_whole=True), moment, is_last=True)
        watcher.tick(moment)

    def _measurements(self) -> Measurements:
        return Measurements(compiled=self.compiled, wants_seconds=False, seed=self._seed, quotes=self.quotes)

    def _view(self, chunks: list[Chunk]) -> View:
        rows: dict[str, list[NDArray[Any]]] = {}
        findings: list[RuleHits] = []
        for chunk in chunks:
            findings += self._rules.evaluate(chunk.table, chunk.rows, chunk.caveats)
            rows.setdefault(chunk.table.name, []).append(chunk.rows)
        return View({name: np.concatenate(parts) for name, parts in rows.items()}, findings)

    def _moment(self) -> Moment:
        files = self.facts.files
        lost = sum(file.lost_frames for file in files)
        return Moment(self._clock.now(), self.facts.tcp_segments, self._tracker.connections, lost)


def _whole_connections(chunks: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """The chunks in groups that have all rows of their connections: those of ``connections`` come first each time."""
    group: list[Chunk] = []
    for chunk in chunks:
        if chunk.table.name == "connections" and group:
            yield group
            group = []
        group.append(chunk)
    yield group
