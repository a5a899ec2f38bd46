"""The only file that knows the order of the rooms: capture, flow, tcp, measure, rules, and whoever wants the rows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture import ring
from tcptrace_tw.capture.address import shown
from tcptrace_tw.capture.damage import Damage
from tcptrace_tw.capture.facts import CaptureFacts, FileFacts
from tcptrace_tw.capture.merge import Source, merge
from tcptrace_tw.capture.reader import BATCH_SIZE, Reader
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.capture.time_window import WholeConnections
from tcptrace_tw.errors import CaptureError, UsageError, printable
from tcptrace_tw.flow import FlowTable
from tcptrace_tw.kernels import library
from tcptrace_tw.keyed_hash import Seed, new_seed
from tcptrace_tw.measure.across_connections import AcrossConnections
from tcptrace_tw.measure.measurements import Measurements
from tcptrace_tw.memory_limit import for_connections
from tcptrace_tw.position import Position, Progress, Taken
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.rules.caveats import Caveats, caveats
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.rules.runner import RuleRunner
from tcptrace_tw.schema.columns import Table
from tcptrace_tw.schema.segments import Segments, segment_at
from tcptrace_tw.settings import Settings as Settings
from tcptrace_tw.stages import BUFFERS, read_ahead
from tcptrace_tw.tcp.tracker import Tracker

if TYPE_CHECKING:  # what a plain report does without is imported where it is used
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.capture.icmp import Quote
    from tcptrace_tw.report.pages.ladder import Step
    from tcptrace_tw.report.summary.digest import PolicyDigest


class Sink(Protocol):
    """Somebody who wants rows. ``tables`` names those that are worth producing for it."""

    tables: frozenset[str]

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Take finished rows of one table (records of ``Table.dtype``); the array is the sink's to keep."""

    def findings(self, findings: RuleHits) -> None:
        """Take what one rule says about a chunk."""


@dataclass
class Summary:
    """What is left of a run when the rows are gone."""

    capture: CaptureFacts
    settings: Settings
    connections: int = 0
    """Of the whole capture: the highest number of a connection."""
    transitions: int = 0
    kept: int | None = None
    """How many connections ``filter``, ``since`` and ``until`` keep; None where they are not used."""
    engine: str = "compiled"
    caveats: list[str] = field(default_factory=list)
    policy: PolicyDigest | None = None
    """What a policy did to the findings, if there is one; whoever obeys it fills this in."""


Pick = Callable[[Segments], None]
"""Called with each batch, in which the incarnations and states are filled in."""

Notice = Callable[[str], None]
"""Called with a remark for the person who waits, as when compiled kernels are missing."""


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
    wanted = frozenset().union(*(sink.tables for sink in sinks)) if sinks else frozenset()
    seed = new_seed() if seed is None else seed
    run = _Run(captures, settings, notice, transitions="transitions" in wanted, seed=seed)
    runner = RuleRunner(
        settings.select, settings.ignore, run.profile, settings.thresholds, compiled=run.compiled, seed=seed
    )
    overview = Measurements(compiled=run.compiled, wants_seconds="census" in wanted, seed=seed, quotes=run.quotes)

    def pass_on(table: Table, rows: NDArray[Any], known: Caveats) -> None:
        rows = runner.classify(table, rows)
        for sink in sinks:
            if table.name in sink.tables:
                sink.rows(table.name, rows)
        runner.caveats = known
        _hand_out(runner.evaluate(table, rows), sinks)

    def measured() -> Generator[Chunk]:
        for chunk in AcrossConnections().through(run.chunks()):
            overview.see(chunk.table.name, chunk.rows)
            yield chunk

    if progress is not None:
        progress(run.position)
    with closing(read_ahead(measured()) if run.compiled else measured()) as chunks:
        for chunk in chunks:
            pass_on(*chunk)
    if run.facts.last_time is not None:
        for table, rows in overview.close(run.figures()):
            pass_on(table, rows, run.caveats())
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

    run = _Run(captures, settings, notice, transitions=transitions is not None, seed=new_seed())
    takers = {"connections": connections, "transitions": transitions}
    steps: dict[int, list[Step]] = {number: [] for number in connection_ids}
    wanted = np.array(list(steps), np.int64)

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
    """Copy the original frames of some incarnations to ``out`` and count them; ``UsageError`` where one has none.

    All is read twice: to find the frames, and to copy them.
    """
    from tcptrace_tw.capture.export import copy_frames

    run = _Run(captures, settings, notice, transitions=False, seed=new_seed())
    picked: list[NDArray[np.int64]] = []
    wanted = np.unique(np.asarray(connections, np.int64))
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


FORGETTING = (
    "memory reached its bound: unanswered SYNs and the longest silent connections are now forgotten early;"
    " CP013 counts them, --max-memory moves the bound"
)


class Chunk(NamedTuple):
    """Finished rows of one table, and what was known of the capture when they were finished."""

    table: Table
    rows: NDArray[Any]
    caveats: Caveats


class _Run:
    """One pass over the captures: capture, flow, tcp, in this order, batch by batch.

    Compiled kernels let other threads run. So one thread reads, decodes and hashes, the next one tracks, and whoever
    asks for the rows looks at them meanwhile (``analyze`` in two: one measures, one judges); each works at most two
    batches ahead. Interpreted kernels would only wait for each other: then all is done in turn.
    """

    def __init__(
        self, captures: Sequence[str], settings: Settings, notice: Notice | None, *, transitions: bool, seed: Seed
    ) -> None:
        self.settings = settings
        self.profile = profile(settings.profile, settings.two_msl_s)
        found = ring.find(captures)
        self.compiled = library.choose(notice)
        remarks = [printable(remark) for remark in found.remarks]
        self.facts = CaptureFacts(remarks=remarks, damage=Damage(compiled=self.compiled))
        self.quotes: list[Quote] = []
        """The ICMP errors that were read so far."""
        self._unreadable = 0
        self._files = found
        self._filter = settings.read_segments()
        keeps = settings.keeps()
        self._whole = None if keeps is None else WholeConnections(keeps)
        self._buffers = BUFFERS if self.compiled else 1
        self._flow = FlowTable(compiled=self.compiled, seed=seed)
        self._tracker = Tracker(
            self.profile,
            compiled=self.compiled,
            transitions=transitions,
            seed=seed,
            keep_duplicates=settings.keep_duplicates,
            most_bytes=for_connections(settings.max_memory),  # type: ignore[arg-type] # Settings makes it a number
        )
        self._notice = notice
        self._counts = {"connections": 0, "transitions": 0}
        self._begin = 0
        self._taken = Taken(found.files)
        self._is_ending = False

    def chunks(self, pick: Pick | None = None) -> Iterator[Chunk]:
        """All finished rows of the connections that are wanted, table by table, as the pass goes on."""
        whole = self._whole
        with closing(self._in_stages(pick)) as moves:
            for chunks in moves:
                for chunk in chunks:
                    if whole is None:
                        yield chunk
                    else:
                        chosen = whole.choose([(chunk.table, chunk.rows)], self._begin)
                        yield from (Chunk(*rows, chunk.caveats) for rows in chosen)
        if whole is not None:
            yield from (Chunk(*rows, self.caveats()) for rows in whole.settle())
        self._tracker.close()

    def _in_stages(self, pick: Pick | None) -> Generator[list[Chunk]]:
        """What the tracker has finished batch by batch, made in other threads where that helps."""
        if not self.compiled:
            return self._moves(self._placed(), pick)
        return read_ahead(self._moves(read_ahead(self._placed()), pick))

    def _placed(self) -> Generator[tuple[Segments, int]]:
        """Every batch, its slots filled in, and its number."""
        for batch in self._batches():
            if not self._begin:
                self._begin = self.facts.first_time or 0
            self.facts.see(batch)
            yield batch, self._flow.assign(batch)

    def _moves(self, placed: Generator[tuple[Segments, int]], pick: Pick | None) -> Generator[list[Chunk]]:
        """What each batch has finished, and at the end what is left of the incarnations that are still remembered."""
        with closing(placed):
            for batch, number in placed:
                with self._flow.still:
                    rows = self._tracker.arrive(batch, self._flow.tuples, wants_states=pick is not None)
                    chunks = [self._chunk(*each) for each in rows]
                self._say_forgotten()
                free = self._tracker.take_released()
                if free.size:
                    self._flow.give_back(free, number)
                if pick is not None:
                    pick(batch)
                yield chunks
        with self._flow.still:
            self._is_ending = True
        end = self.facts.last_time
        if end is not None:
            for each in self._tracker.finish(end, self._flow.tuples):
                yield [self._chunk(*each)]

    def _say_forgotten(self) -> None:
        """Say once that connections are forgotten early."""
        if self._tracker.forgotten and self._notice is not None:
            self._notice(FORGETTING)
            self._notice = None

    def position(self) -> Position:
        """How far the pass is; any thread may ask."""
        total = self._taken.total
        with self._flow.still:
            is_wanted = total is None and not self._is_ending
            time_wait = self._tracker.waiting(self._flow.tuples) if is_wanted else None
        return Position(self._taken.bytes, total, self.facts.tcp_segments, self._tracker.connections, time_wait)

    def _chunk(self, table: Table, rows: NDArray[Any]) -> Chunk:
        if table.name in self._counts:
            self._counts[table.name] += rows.size
        return Chunk(table, rows, self.caveats())

    def figures(self) -> dict[str, int]:
        """What is known about the capture itself at its end."""
        files = self.facts.files
        return {
            **self._tracker.figures(),
            "time": self.facts.first_time or 0,
            "end_time": self.facts.last_time or 0,
            "segments": self.facts.tcp_segments,
            "connections": self._counts["connections"],
            **self.facts.damage.figures(),
            "truncated_options": sum(f.truncated_options for f in files),
            "lost_frames": min(sum(f.lost_frames for f in files), np.iinfo(np.int64).max),
            "unfit_times": sum(f.unfit_times for f in files),
            "damaged_files": sum(f.damage is not None for f in files),
        }

    def caveats(self) -> Caveats:
        """What is known about the capture so far that lowers a grade."""
        return caveats(
            {**self._tracker.figures(), "connections": self._counts["connections"]},
            keeps_duplicates=self.settings.keep_duplicates,
        )

    def summary(self) -> Summary:
        """What is left of the run."""
        self.facts.remarks += [*ring.remarks_on_times(self.facts.files), *ring.remarks_on_numbers(self.facts.files)]
        return Summary(
            self.facts,
            self.settings,
            connections=self._counts["connections"],
            transitions=self._counts["transitions"],
            kept=None if self._whole is None else self._whole.kept,
            engine="compiled" if self.compiled else "interpreted",
        )

    def _batches(self) -> Iterator[Segments]:
        """The segments of all files in time order: one file after the other, merged where they overlap."""
        files = self._files
        sources = [
            Source(time, partial(self._file, index, name))
            for index, (name, time) in enumerate(zip(files.files, files.first_times, strict=True))
        ]
        batches = sources[0].open() if len(sources) == 1 else merge(sources, BATCH_SIZE)
        for batch in batches:
            if self._filter is not None:
                kept = self._filter.keeps(batch)
                if not kept.any():
                    continue
                batch = batch[kept]
            if self.settings.ignore_vlan:
                batch.scope[:] = 0
            yield batch

    def _file(self, index: int, name: str) -> Iterator[Segments]:
        """The segments of one file; of a set, the other files count when one of them cannot be read."""
        facts = FileFacts(shown(name))
        self.facts.files.append(facts)
        try:
            with open_stream(name) as stream, self._taken.following(index, stream):
                reader = Reader(
                    stream, compiled=self.compiled, file_index=index, batch_size=BATCH_SIZE,
                    is_prompt=stream.is_live, buffers=self._buffers,
                    quotes=self.quotes,
                )  # fmt: skip
                facts = self.facts.files[-1] = reader.facts
                yield from reader.batches()
        except CaptureError as error:
            self._unreadable += 1
            if self._unreadable == len(self._files.files):
                raise
            facts.damage = str(error).removeprefix(f"{facts.name}: ")


def _hand_out(findings: Iterable[RuleHits], sinks: Sequence[Sink]) -> None:
    for each in findings:
        for sink in sinks:
            sink.findings(each)
