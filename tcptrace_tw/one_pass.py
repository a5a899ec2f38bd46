"""One pass over captures: capture, flow, tcp, in this order, batch by batch; and what is left when it is over."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture import ring
from tcptrace_tw.capture.address import without_password
from tcptrace_tw.capture.clock import Clock, clock_figures
from tcptrace_tw.capture.damage import Damage
from tcptrace_tw.capture.facts import CaptureFacts, FileFacts
from tcptrace_tw.capture.merge import LOOK_AHEAD, Source, merge
from tcptrace_tw.capture.reader import BATCH_SIZE, Reader
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.capture.time_window import WholeConnections
from tcptrace_tw.errors import CaptureError, printable
from tcptrace_tw.flow import FlowTable
from tcptrace_tw.kernels import library
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.memory_limit import for_connections
from tcptrace_tw.position import Position, Taken
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.rules.caveats import Caveats, caveats
from tcptrace_tw.schema.columns import Table
from tcptrace_tw.schema.segments import Segments
from tcptrace_tw.settings import Settings
from tcptrace_tw.stages import BUFFERS, read_ahead
from tcptrace_tw.tcp.tracker import Tracker

if TYPE_CHECKING:  # what a plain report does without is imported where it is used
    from tcptrace_tw.capture.icmp import Quote
    from tcptrace_tw.capture.pcap_filter import Filter
    from tcptrace_tw.report.summary.digest import PolicyDigest


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
    """What a policy did to the findings, if there is one; ``checking.obey`` sets it."""


Pick = Callable[[Segments], None]
"""Called with each batch, in which the incarnations and states are filled in."""

Notice = Callable[[str], None]
"""Called with a remark for the person who waits, as when compiled kernels are missing."""


FORGETTING = (
    "memory reached its bound: unanswered SYNs and the longest silent connections are now forgotten early;"
    " CP013 counts them, --max-memory moves the bound"
)


class Chunk(NamedTuple):
    """Finished rows of one table, and what was known of the capture when they were finished."""

    table: Table
    rows: NDArray[Any]
    caveats: Caveats


class Run:
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
        self._clocks: list[Clock] = []
        self._clock_figures = clock_figures(())
        keeps = settings.keeps()
        self._whole = None if keeps is None else WholeConnections(keeps)
        self._buffers = (BUFFERS if self.compiled else 1) + (LOOK_AHEAD if len(found.files) > 1 else 0)
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
        self._begin: int | None = None
        """Time of the first frame of the first file that has any; known before the first rows are finished."""
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
                        chosen = whole.choose([(chunk.table, chunk.rows)], self._begin or 0)
                        yield from (Chunk(*rows, chunk.caveats) for rows in chosen)
        if whole is not None:
            yield from (Chunk(*rows, self.caveats()) for rows in whole.settle())
        self._tracker.close()

    def _in_stages(self, pick: Pick | None) -> Generator[list[Chunk]]:
        """What the tracker has finished batch by batch, made in other threads where that helps."""
        if not self.compiled:
            return self._moves(self._placed(), pick)
        return read_ahead(self._moves(read_ahead(self._placed()), pick))

    def _placed(self) -> Generator[tuple[Segments, int, dict[str, int]]]:
        """Every batch, its slots filled in, its number, and what the clocks have shown by then."""
        for batch in self._batches():
            self.facts.see(batch)
            yield batch, self._flow.assign(batch), clock_figures(clock.words for clock in self._clocks)

    def _moves(
        self, placed: Generator[tuple[Segments, int, dict[str, int]]], pick: Pick | None
    ) -> Generator[list[Chunk]]:
        """What each batch has finished, and at the end what is left of the incarnations that are still remembered."""
        with closing(placed):
            for batch, number, self._clock_figures in placed:
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
        return figures_of(self.facts, {**self._tracker.figures(), **self._clock_figures}, self._counts["connections"])

    def caveats(self) -> Caveats:
        """What is known about the capture so far that lowers a grade."""
        return caveats(
            {**self._tracker.figures(), **self._clock_figures, "connections": self._counts["connections"]},
            keeps_duplicates=self.settings.keep_duplicates,
        )

    def summary(self) -> Summary:
        """What is left of the run."""
        return summary_of(
            self.facts, self.settings, self._counts["connections"], self._counts["transitions"],
            None if self._whole is None else self._whole.kept, is_compiled=self.compiled,
        )  # fmt: skip

    def _batches(self) -> Iterator[Segments]:
        """The segments of all files in time order: one file after the other, merged where they overlap."""
        files = self._files
        sources = [
            Source(time, partial(self._file, index, name))
            for index, (name, time) in enumerate(zip(files.files, files.first_times, strict=True))
        ]
        if len(sources) == 1:
            yield from sources[0].open()
        else:
            yield from merge(sources, BATCH_SIZE, compiled=self.compiled)

    def _marked(self, index: int, reader: Reader) -> Iterator[Segments]:
        """The segments of one file that are wanted, marked by its clock; files without known times share one."""
        is_timed = len(self._files.files) == 1 or self._files.first_times[index] is not None
        if is_timed or not self._clocks:
            self._clocks.append(Clock(compiled=self.compiled))
        clock, steps = self._clocks[-1], 0
        for batch in reader.batches():
            self._note_begin(reader)
            wanted = kept_segments(batch, self._filter, is_vlan_ignored=self.settings.ignore_vlan)
            if wanted is not None:
                clock.see(wanted, is_in_order=reader.facts.backward_steps == steps)
                steps = reader.facts.backward_steps
                yield wanted
        self._note_begin(reader)

    def _note_begin(self, reader: Reader) -> None:
        """Files are opened in their order, and one is read until it gives segments, or has none, before the next."""
        if self._begin is None:
            self._begin = reader.begin

    def _file(self, index: int, name: str) -> Iterator[Segments]:
        """The segments of one file; of a set, the other files count when one of them cannot be read."""
        facts = FileFacts(without_password(name))
        self.facts.files.append(facts)
        try:
            with open_stream(name) as stream, self._taken.following(index, stream):
                reader = Reader(
                    stream, compiled=self.compiled, file_index=index, batch_size=BATCH_SIZE,
                    is_prompt=stream.is_live, buffers=self._buffers,
                    quotes=self.quotes,
                )  # fmt: skip
                facts = self.facts.files[-1] = reader.facts
                yield from self._marked(index, reader)
        except CaptureError as error:
            self._unreadable += 1
            if self._unreadable == len(self._files.files):
                raise
            facts.damage = str(error).removeprefix(f"{facts.name}: ")


def kept_segments(batch: Segments, wanted: Filter | None, *, is_vlan_ignored: bool) -> Segments | None:
    """The segments of a batch that ``--read-filter`` leaves, or None; without VLANs if these are ignored."""
    if wanted is not None:
        kept = wanted.keeps(batch)
        if not kept.any():
            return None
        batch = batch[kept]
    if is_vlan_ignored:
        batch.scope[:] = 0
    return batch


def figures_of(facts: CaptureFacts, tracked: dict[str, int], connections: int) -> dict[str, int]:
    """Columns of the ``capture`` table; ``tracked``: what trackers and clocks have counted."""
    files = facts.files
    return {
        **tracked,
        "time": facts.first_time or 0,
        "end_time": facts.last_time or 0,
        "segments": facts.tcp_segments,
        "connections": connections,
        **facts.damage.figures(),
        "truncated_options": sum(f.truncated_options for f in files),
        "lost_frames": min(sum(f.lost_frames for f in files), np.iinfo(np.int64).max),
        "unfit_times": sum(f.unfit_times for f in files),
        "damaged_files": sum(f.damage is not None for f in files),
    }


def summary_of(
    facts: CaptureFacts, settings: Settings, connections: int, transitions: int, kept: int | None, *, is_compiled: bool
) -> Summary:
    """What is left of a run whose facts are complete."""
    facts.remarks += [*ring.remarks_on_times(facts.files), *ring.remarks_on_numbers(facts.files)]
    return Summary(
        facts,
        settings,
        connections=connections,
        transitions=transitions,
        kept=kept,
        engine="compiled" if is_compiled else "interpreted",
    )
