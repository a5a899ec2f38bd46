"""From captures to findings by many processes: deal, track, number, then the same road as one pass."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tcptrace_tw.capture.clock import clock_figures
from tcptrace_tw.capture.cuts import PIECE_BYTES
from tcptrace_tw.capture.damage import Damage
from tcptrace_tw.capture.facts import CaptureFacts
from tcptrace_tw.capture.icmp import MOST_QUOTES
from tcptrace_tw.capture.time_window import WholeConnections
from tcptrace_tw.cluster.dask_cluster import is_lost
from tcptrace_tw.cluster.figures import merged_figures, no_figures
from tcptrace_tw.cluster.finish import FINISHED, finish_part, place_tables, write_task
from tcptrace_tw.cluster.mapped import Mapped, joined, write_tasks
from tcptrace_tw.cluster.numbering import NUMBERED, Numbers
from tcptrace_tw.cluster.plan import Plan, make_plan, spools_of
from tcptrace_tw.cluster.rows import MOST_PIECE_ROWS
from tcptrace_tw.cluster.spool import CODECS, read_note, write_note
from tcptrace_tw.cluster.tasks import (
    MAPPED,
    REDUCED,
    TRACKED,
    map_piece,
    read_rows,
    reduce_part,
    size_of_piece,
)
from tcptrace_tw.cluster.workers import Workers
from tcptrace_tw.errors import CaptureError, TcptraceError, UsageError, printable
from tcptrace_tw.kernels import library
from tcptrace_tw.kernels.arrays import Buffers
from tcptrace_tw.keyed_hash import Seed, new_seed
from tcptrace_tw.one_pass import Chunk, Notice, Summary, figures_of, summary_of
from tcptrace_tw.pipeline import Sink, measure_and_judge, wanted_tables
from tcptrace_tw.position import Position, Progress
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.report.summary.sink import SummarySink
from tcptrace_tw.report.tables.folder import PartTables
from tcptrace_tw.report.tables.manifest import metadata
from tcptrace_tw.rules.caveats import Caveats, caveats
from tcptrace_tw.schema.columns import BY_NAME, Table
from tcptrace_tw.settings import Settings
from tcptrace_tw.stages import Background
from tcptrace_tw.storage import is_remote, place, remove_all
from tcptrace_tw.unfinished import begin, complete

RETRIES = 3
"""How often a task is given to another worker after its worker was lost."""

LOOK_S = 1.0
"""Seconds between two looks whether the scheduler is still there."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when a disk, or a user's share of it, is full."""

SCHEDULER_LOST = (
    "the scheduler of the cluster is gone; start one and give the same command again: what was done is in the spool"
)

UNKNOWN_WORKERS = 8
"""The number of workers that is assumed where an executor does not say how many it has."""


@dataclass(frozen=True)
class Means:
    """Who does the work: an ``executor`` of the caller, or else ``jobs`` processes of this machine."""

    jobs: int = 1
    executor: Executor | None = None
    spool: str = ""
    """A folder that all workers see; empty: a temporary one of this machine."""
    keep_spool: bool = False
    parts: int | None = None
    piece_bytes: int = PIECE_BYTES
    """A pcap file of twice as many bytes or more is mapped in pieces."""
    output: PartTables | None = None
    """Where the parts write those tables that ``finish.LEFT_TO_PARTS`` names; in the end it says what they are."""
    workers: int = 0
    """How many tasks an executor does at once; 0 where that is not known."""

    def writing(self, output: PartTables) -> Means:
        """The same, with tables that the parts write themselves."""
        return replace(self, output=output)

    def __post_init__(self) -> None:
        """Check what a caller says."""
        if type(self.jobs) is not int or self.jobs < 1:
            raise UsageError(f"jobs: {self.jobs!r}: give a whole number, 1 or more, or an executor")
        if self.executor is not None and not self.spool:
            raise UsageError("spool: workers need a folder that all of them see; name one")


def analyze(
    captures: Sequence[str],
    settings: Settings,
    sinks: Sequence[Sink],
    progress: Progress | None = None,
    notice: Notice | None = None,
    *,
    means: Means,
    seed: Seed | None = None,
) -> Summary:
    """The same as ``pipeline.analyze``, by many processes: rows and findings do not depend on how many."""
    seed = new_seed() if seed is None else seed
    with ExitStack() as stack:
        plan = _planned(captures, settings, sinks, means, means.spool or stack.enter_context(_TemporarySpool()), notice)
        work = _Work(plan)
        _make_folders(plan)
        executor = means.executor or stack.enter_context(_OwnWorkers(plan, means))
        if progress is not None:  # in a thread: the workers are copies of this process as long as it has none
            progress(work.position)
        files = work.run(executor)
        dealt = None if plan.is_found_again else Background(partial(remove_all, str(plan.path(MAPPED, ""))))
        numbers = Numbers.of(plan)
        reduced = _Reduced(plan, files, numbers, wanted_tables(sinks))
        finishing = None
        if means.output is not None:
            numbers.save(plan)
            finishing = work.finish(executor, _metadata(reduced.summary()), reduced.begin)
        summary = measure_and_judge(reduced, sinks, seed)
        if finishing is not None and means.output is not None:
            finishing.join()
            place_tables(plan, means.output, is_kept=means.keep_spool)
        if dealt is not None:
            dealt.join()
        if not means.keep_spool:
            for folder in spools_of(plan):
                remove_all(folder)
    return summary


def _planned(
    captures: Sequence[str], settings: Settings, sinks: Sequence[Sink], means: Means, spool: str, notice: Notice | None
) -> Plan:
    """The plan; a spool that others see is packed, since it may lie behind a network."""
    has_transitions = "transitions" in wanted_tables(sinks) or means.output is not None
    workers = means.workers or (means.jobs if means.executor is None else UNKNOWN_WORKERS)
    return make_plan(
        captures, settings, spool, workers=workers, parts=means.parts, piece_bytes=means.piece_bytes,
        compiled=library.choose(notice), transitions=has_transitions,
        codec=CODECS.index("lz4" if means.spool else "none"),
    )  # fmt: skip


def _metadata(summary: Summary) -> dict[str, Any]:
    """What each written table says about itself."""
    return metadata(SummarySink().digest(summary))


class _TemporarySpool:
    """A spool that is removed with the run, however it ends."""

    def __enter__(self) -> str:
        self._path = tempfile.mkdtemp(prefix="tcptrace-tw-")
        begin(self._remove)
        return self._path

    def __exit__(self, *error: object) -> None:
        self._remove()
        complete(self._remove)

    def _remove(self) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


class _OwnWorkers:
    """Workers of this machine, which end with this block."""

    def __init__(self, plan: Plan, means: Means) -> None:
        places = [*plan.files, plan.folder, "" if means.output is None else str(means.output.folder)]
        # What asks a store has threads, which no copy of the process has.
        size, is_local = min(plan.workers, max(len(plan.pieces), plan.parts)), not any("://" in each for each in places)
        self._workers = Workers(size, may_be_copies=is_local)

    def __enter__(self) -> Workers:
        begin(self._workers.end_at_once)
        return self._workers

    def __exit__(self, *error: object) -> None:
        self._workers.shutdown(cancel_futures=True)
        complete(self._workers.end_at_once)


def _make_folders(plan: Plan) -> None:
    try:
        if is_remote(plan.folder):  # has no folders; it is tried whether it can be written
            write_note(place(plan.folder, "plan.json"), {"files": plan.files, "parts": plan.parts})
            return
        for stage in (MAPPED, REDUCED, NUMBERED, FINISHED):
            Path(plan.folder, stage).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        words = error.strerror or str(error)
        raise UsageError(f"--spool {plan.folder}: cannot be written: {words}; name another folder") from None


def do(task: Callable[[Plan, int], int], plan: Plan, number: int) -> tuple[bool, Any]:
    """Do a task; what it raises is a result, too: what the executor itself raises is about workers."""
    try:
        return True, task(plan, number)
    except (TcptraceError, OSError) as error:
        return False, error
    except Exception as error:
        return False, RuntimeError("".join(traceback.format_exception(error)))


class _Work:
    """The tasks of a plan: what is done, and what is still to do."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        bytes_of = [_size(name) for name in plan.files]
        self._sizes = [size_of_piece(piece, bytes_of[piece.file]) for piece in plan.pieces]
        self._read = self._segments = self._tracked = 0

    def position(self) -> Position:
        """How far the work is: half of it is to read, and half to track."""
        total = sum(self._sizes)
        tracked = total * self._tracked // max(1, self._segments)
        return Position((min(self._read, total) + tracked) // 2, total, self._segments, 0, None)

    def run(self, executor: Executor) -> list[Mapped]:
        """Deal all files, then track all parts, the largest first."""
        plan = self.plan
        order = sorted(range(len(plan.pieces)), key=lambda n: -self._sizes[n])
        self._each(executor, map_piece, order, self._count_read)
        files = self._files(executor)
        if all(file.error for file in files):
            raise CaptureError(files[-1].error or "")
        self._refuse_without_times(files)
        sizes = write_tasks(plan, files)
        self._segments = sum(sizes)
        self._each(executor, reduce_part, sorted(range(plan.parts), key=lambda n: -sizes[n]), self._count_tracked)
        return files

    def _refuse_without_times(self, files: Sequence[Mapped]) -> None:
        """One pass reads such a file last, when the clock stands at the end of the others; no part knows that time."""
        for first_time, file in zip(self.plan.first_times, files, strict=True):
            if self.plan.several_files and first_time is None and file.first >= 0:
                raise UsageError(
                    f"{file.facts.name}: no frame at its beginning has a time, so that parts cannot put it in order;"
                    " let one process read the files, or leave this one out"
                )

    def _files(self, executor: Executor) -> list[Mapped]:
        """What was dealt of each file; one whose pieces do not fit together is dealt again, as a whole."""
        plan = self.plan
        found = [joined(plan, numbers) for numbers in plan.numbers()]
        again = [plan.whole(index) for index, file in enumerate(found) if file is None]
        self._each(executor, map_piece, again, lambda size: None)
        return [file or joined(plan, [plan.whole(index)]) for index, file in enumerate(found)]  # type: ignore[misc]

    def finish(self, executor: Executor, described: dict[str, Any], begin: int) -> Background:
        """Have all parts write their tables, in another thread."""
        write_task(self.plan, described, begin)
        return Background(lambda: self._each(executor, finish_part, range(self.plan.parts), lambda rows: None))

    def _count_read(self, size: int) -> None:
        self._read += size

    def _count_tracked(self, segments: int) -> None:
        self._tracked += segments

    def _each(
        self, executor: Executor, task: Callable[[Plan, int], int], numbers: Sequence[int],
        count: Callable[[int], None],
    ) -> None:  # fmt: skip
        """Have every task done; one whose worker is lost is given to another one."""
        waiting, losses = list(reversed(numbers)), dict.fromkeys(numbers, 0)
        running: dict[Future[Any], int] = {}
        try:
            while waiting or running:
                if is_lost(executor):
                    raise UsageError(SCHEDULER_LOST)
                while waiting and len(running) < 2 * self.plan.workers:
                    number = waiting.pop()
                    running[executor.submit(do, task, self.plan, number)] = number
                for future in wait(running, LOOK_S, return_when=FIRST_COMPLETED).done:
                    number = running.pop(future)
                    try:
                        is_done, result = future.result()
                    except Exception as error:
                        losses[number] += 1
                        if losses[number] > RETRIES:
                            raise _often_lost(f"{task.__name__} {number}", losses[number], error) from None
                        waiting.append(number)
                        continue
                    if not is_done:
                        raise self._said(result)
                    count(result)
        finally:
            for future in () if is_lost(executor) else running:
                future.cancel()

    def _said(self, error: Exception) -> Exception:
        """An error of a task; where the spool has no room left, one that says which folder that is."""
        if not isinstance(error, OSError) or error.errno not in NO_ROOM:
            return error
        words = f"{printable(self.plan.folder)}: cannot be written: {os.strerror(error.errno).lower()}"
        return UsageError(f"--spool {words}; name a folder with more room")


def _often_lost(task: str, times: int, error: Exception) -> UsageError:
    """That a task is given up; ``error``: what the executor said at last."""
    return UsageError(
        f"the worker of one task ({task}) was lost {times} times ({printable(str(error))});"
        " give workers more memory, or use fewer of them"
    )


def _size(name: str) -> int:
    with suppress(OSError):
        return Path(name).stat().st_size
    return 0


class _Reduced:
    """What all parts have left, as one pass would have given it."""

    def __init__(self, plan: Plan, files: Sequence[Mapped], numbers: Numbers, wanted: frozenset[str]) -> None:
        self._plan, self._numbers, self._wanted = plan, numbers, wanted
        self.settings = plan.checked()
        self.profile = profile(self.settings.profile, self.settings.two_msl_s)
        self.compiled = plan.compiled
        self.facts = CaptureFacts(
            [file.facts for file in files], [printable(remark) for remark in plan.remarks],
            Damage.added(tally for file in files for tally in file.damage),
        )  # fmt: skip
        self._begin = next((file.begin for file in files if file.begin is not None), 0)
        self.quotes = [quote for file in files for quote in file.quotes][:MOST_QUOTES]
        notes = [read_note(plan.path(REDUCED, f"{part:03d}.json")) for part in range(plan.parts)]
        self._rows = {table: sum(note["rows"][table] for note in notes) for table in TRACKED}
        clocks = [clock for file in files for clock in file.clocks]
        figures = [note["figures"] for note in notes if note["figures"]]
        self._tracked = {**merged_figures(figures or [no_figures(self.profile)]), **clock_figures(clocks)}
        keeps = self.settings.keeps()
        self._whole = None if keeps is None else WholeConnections(keeps)

    def chunks(self) -> Iterator[Chunk]:
        """All finished rows, table by table: connections first, so that none of the others has to wait for them."""
        known = self.caveats()
        for table in TRACKED:
            if table == "transitions" and table not in self._wanted:
                continue
            pieces = Buffers(BY_NAME[table].dtype, MOST_PIECE_ROWS)
            for part in range(self._plan.parts):
                for rows in read_rows(self._plan, part, table).whole_connections(pieces):
                    self._numbers.renumber(part, rows)
                    yield from (Chunk(*each, known) for each in self._chosen(table, rows))
        if self._whole is not None:
            yield from (Chunk(*rows, known) for rows in self._whole.settle())

    def _chosen(self, table: str, rows: NDArray[Any]) -> Iterator[tuple[Table, NDArray[Any]]]:
        chunk = BY_NAME[table], rows
        return iter((chunk,)) if self._whole is None else self._whole.choose([chunk], self.begin)

    @property
    def begin(self) -> int:
        """When the capture begins."""
        return self._begin

    def figures(self) -> dict[str, int]:
        """What is known about the capture itself."""
        return figures_of(self.facts, self._tracked, self._rows["connections"])

    def caveats(self) -> Caveats:
        """What lowers a grade, of the whole capture."""
        figures = {**self._tracked, "connections": self._rows["connections"]}
        return caveats(figures, keeps_duplicates=self.settings.keep_duplicates)

    def summary(self) -> Summary:
        """What is left when rows are gone."""
        facts = CaptureFacts(self.facts.files, list(self.facts.remarks), self.facts.damage)
        return summary_of(
            facts, self.settings, self._rows["connections"], self._rows["transitions"],
            None if self._whole is None else self._whole.kept, is_compiled=self.compiled,
        )  # fmt: skip
