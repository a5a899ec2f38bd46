"""The order of the rooms: one pass (capture, flow, tcp), then measure, rules, and the sinks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture import ring
from tcptrace_tw.capture.facts import CaptureFacts
from tcptrace_tw.errors import UsageError
from tcptrace_tw.keyed_hash import Seed, new_seed
from tcptrace_tw.measure.across_connections import AcrossConnections
from tcptrace_tw.measure.measurements import Measurements
from tcptrace_tw.one_pass import Chunk, Run
from tcptrace_tw.one_pass import Notice as Notice
from tcptrace_tw.one_pass import Summary as Summary
from tcptrace_tw.position import Progress, Taken
from tcptrace_tw.protocol.profiles import Profile
from tcptrace_tw.rules.caveats import Caveats
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.rules.runner import RuleRunner
from tcptrace_tw.schema.columns import Table
from tcptrace_tw.schema.row_numbers import row_numbers
from tcptrace_tw.schema.segments import Segments, segment_at
from tcptrace_tw.settings import Settings as Settings
from tcptrace_tw.stages import read_ahead

if TYPE_CHECKING:  # what a plain report does without is imported where it is used
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.capture.icmp import Quote
    from tcptrace_tw.report.pages.ladder import Step


class Sink(Protocol):
    """A consumer of rows and findings. ``tables``: the names of those that it wants."""

    tables: frozenset[str]

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Take finished rows of one table (records of ``Table.dtype``); the array is the sink's to keep."""

    def findings(self, findings: RuleHits) -> None:
        """Take what one rule says about a chunk."""


def analyze(
    captures: Sequence[str],
    settings: Settings,
    sinks: Sequence[Sink],
    progress: Progress | None = None,
    notice: Notice | None = None,
    *,
    seed: Seed | None = None,
) -> Summary:
    """Read the captures once and hand every finished row and finding to the sinks.

    ``seed`` is of the hashes, and drawn for this run unless it is given; rows and findings do not depend on it.
    Raises ``CaptureError`` where no capture can be read at all.
    """
    seed = new_seed() if seed is None else seed
    run = Run(captures, settings, notice, transitions="transitions" in wanted_tables(sinks), seed=seed)
    if progress is not None:
        progress(run.position)
    return measure_and_judge(run, sinks, seed)


def wanted_tables(sinks: Sequence[Sink]) -> frozenset[str]:
    """The names of the tables that at least one sink wants."""
    return frozenset().union(*(sink.tables for sink in sinks))


class Finishes(Protocol):
    """A source of finished rows: one pass (``Run``), or the parts of an analysis by many processes (``cluster``)."""

    settings: Settings
    profile: Profile
    compiled: bool
    facts: CaptureFacts
    quotes: list[Quote]

    def chunks(self) -> Iterator[Chunk]:
        """All finished rows."""

    def figures(self) -> dict[str, int]:
        """What is known about the capture itself at its end."""

    def caveats(self) -> Caveats:
        """What is known about the capture so far that lowers a grade."""

    def summary(self) -> Summary:
        """What is left of the run."""


def measure_and_judge(run: Finishes, sinks: Sequence[Sink], seed: Seed) -> Summary:
    """What follows finished rows: measure, rules, and the sinks, which get every row and finding."""
    settings, wanted = run.settings, wanted_tables(sinks)
    runner = RuleRunner(
        settings.select, settings.ignore, run.profile, settings.thresholds, compiled=run.compiled, seed=seed
    )
    measurements = Measurements(compiled=run.compiled, wants_seconds="census" in wanted, seed=seed, quotes=run.quotes)

    def pass_on(table: Table, rows: NDArray[Any], known: Caveats) -> None:
        rows = runner.classify(table, rows)
        for sink in sinks:
            if table.name in sink.tables:
                sink.rows(table.name, rows)
        runner.caveats = known
        _hand_out(runner.evaluate(table, rows), sinks)

    def measured() -> Generator[Chunk]:
        for chunk in AcrossConnections().through(run.chunks()):
            measurements.see(chunk.table.name, chunk.rows)
            yield chunk

    with closing(read_ahead(measured()) if run.compiled else measured()) as chunks:
        for chunk in chunks:
            pass_on(*chunk)
    if run.facts.last_time is not None:
        for table, rows in measurements.close(run.figures()):
            pass_on(table, rows, run.caveats())
        run.facts.remarks.extend(measurements.remarks())
    runner.caveats = run.caveats()
    _hand_out(runner.close(), sinks)
    return run.summary()


def ladders(
    captures: Sequence[str],
    settings: Settings,
    connection_ids: Iterable[int],
    connections: Callable[[NDArray[Any]], None] | None = None,
    notice: Notice | None = None,
    progress: Progress | None = None,
    transitions: Callable[[NDArray[Any]], None] | None = None,
) -> dict[int, list[Step]]:
    """The segments of some incarnations with the states after them, in one pass.

    ``connections`` and ``transitions`` are called with every chunk of rows of those tables.
    """
    from tcptrace_tw.report.pages.ladder import step_of

    run = Run(captures, settings, notice, transitions=transitions is not None, seed=new_seed())
    takers = {"connections": connections, "transitions": transitions}
    steps: dict[int, list[Step]] = {number: [] for number in connection_ids}
    wanted = row_numbers(steps)

    def pick(batch: Segments) -> None:
        for i in np.flatnonzero(np.isin(batch.connection_id, wanted)):
            segment = segment_at(batch, i)
            steps[segment.connection_id].append(step_of(segment))

    if progress is not None:
        progress(run.position)
    for chunk in run.chunks(pick):
        take = takers.get(chunk.table.name)
        if take is not None:
            take(chunk.rows)
    return steps


def export(
    captures: Sequence[str],
    settings: Settings,
    connections: Sequence[int],
    out: str | AtomicFile,
    notice: Notice | None = None,
    progress: Progress | None = None,
) -> int:
    """Copy the original frames of some incarnations to ``out``; returns how many. ``UsageError`` for an unknown number.

    The captures are read twice: to find the frames, and to copy them.
    """
    from tcptrace_tw.capture.export import copy_frames

    run = Run(captures, settings, notice, transitions=False, seed=new_seed())
    picked: list[NDArray[np.int64]] = []
    wanted = row_numbers(connections)
    if wanted.size < len(set(connections)) or not wanted.size:
        raise UsageError(f"no connection {max(connections, key=abs, default='given')}; tcptrace-tw list lists them")
    seen = np.zeros(wanted.size, np.bool_)

    def pick(batch: Segments) -> None:
        places = np.minimum(np.searchsorted(wanted, batch.connection_id), wanted.size - 1)
        hits = wanted[places] == batch.connection_id
        if hits.any():
            picked.append(batch.frame[hits])
            seen[places[hits]] = True

    files = ring.find(captures).files
    copied = Taken(files)
    if progress is not None:
        progress(lambda: run.position().and_then(copied))
    for _ in run.chunks(pick):
        pass
    if not seen.all():
        raise UsageError(f"no connection {wanted[~seen][0]}; tcptrace-tw list lists them")
    return copy_frames(files, np.unique(np.concatenate(picked)), out, taken=copied)


def _hand_out(findings: Iterable[RuleHits], sinks: Sequence[Sink]) -> None:
    for each in findings:
        for sink in sinks:
            sink.findings(each)
