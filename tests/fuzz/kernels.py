"""``python -m tests.fuzz kernels``: cases through compiled and interpreted kernels side by side, in worker processes.

    python -m tests.fuzz kernels --cases 100000 --jobs 2
    python -m tests.fuzz kernels --first 5000 --cases 1000 --mode exact
    python -m tests.fuzz kernels --shrink 4711

Every row, every finding and the summary have to be the same. ``--mode guard``, the default, ends each array at a page
that kills the process; the worker is replaced, and the case counts as a death. ``--mode exact`` has the same sizes and
ordinary memory. With ``TCPTRACE_TW_KERNELS=checked`` the machine code compares every index, which also finds an
overrun into room that is there but was not promised to this array.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz import engines
from tests.fuzz.cases import Case, case
from tests.fuzz.ground import ALLOCATORS

HANG_S = 900
"""So long a case may take; the first one of a new machine also waits for the compiler."""
RECYCLE_CASES = 4000
TELL_EVERY = 500
SHRINK_ATTEMPTS = 400


class Done(NamedTuple):
    """What became of a case."""

    number: int
    wrong: str | None
    rows: int
    segments: int
    seconds: float


@dataclass
class Totals:
    """What a run found."""

    cases: int = 0
    segments: int = 0
    rows: int = 0
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[int, int] = (0, -1)
    differences: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)

    def add(self, done: Done) -> None:
        """One more case."""
        self.cases += 1
        self.segments += done.segments
        self.rows += done.rows
        self.slowest = max(self.slowest, (round(done.seconds, 1), done.number))
        self.largest = max(self.largest, (done.segments, done.number))
        if done.wrong is not None:
            self.differences.append(f"case {done.number}: {done.wrong}")

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {self.segments} segments, {self.rows} rows compared, "
            f"{len(self.differences)} differences, {len(self.deaths)} deaths, "
            f"slowest {self.slowest[0]} s (case {self.slowest[1]}), "
            f"largest {self.largest[0]} segments (case {self.largest[1]})"
        )


def run(numbers: Sequence[int], *, mode: str, jobs: int = 1, seconds: float = 1e9, run: int = 0) -> Totals:
    """Run these cases in ``jobs`` workers, until they are done or the time is over."""
    totals, told = Totals(), 0
    lanes = [_Stage(numbers[job::jobs], mode, time.time() + seconds, run) for job in range(jobs)]
    working = lanes
    while working:
        time.sleep(0.1)
        working = [lane for lane in working if lane.poll(totals)]
        if totals.cases - told >= TELL_EVERY:
            told = totals.cases
            print(totals, file=sys.stderr, flush=True)
    return totals


class _Stage:
    """Some of the cases, and the worker that is at them; one that dies is replaced behind the case that killed it."""

    def __init__(self, numbers: Sequence[int], mode: str, deadline: float, run: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._arguments = numbers, mode, deadline, run
        self._at: Synchronized[int] = self._context.Value("q", 0)
        self._queue: Any = self._context.SimpleQueue()
        self._start()

    def _start(self) -> None:
        self._worker = self._context.Process(target=_work, args=(*self._arguments, self._at, self._queue), daemon=True)
        self._worker.start()

    def poll(self, totals: Totals) -> bool:
        """Take up what is done; whether there is more to wait for."""
        is_alive = self._worker.is_alive()
        while not self._queue.empty():
            totals.add(self._queue.get())
        if is_alive:
            return True
        numbers, _, deadline, _ = self._arguments
        if self._worker.exitcode != 0:
            totals.deaths.append(f"case {numbers[self._at.value]}: the worker died of {_ended(self._worker.exitcode)}")
            totals.cases += 1
            self._at.value += 1
        if self._at.value >= len(numbers) or time.time() >= deadline:
            return False
        self._start()
        return True


def _ended(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _work(numbers: Sequence[int], mode: str, deadline: float, run: int, at: Synchronized[int], queue: Any) -> None:
    """In a worker: cases from ``at`` on; a crash or a hang leaves the stack on stderr."""
    faulthandler.enable()
    allocator = ALLOCATORS[mode]()
    last = min(len(numbers), at.value + RECYCLE_CASES)
    with tempfile.TemporaryDirectory() as folder:
        while at.value < last and time.time() < deadline:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            begun, each = time.monotonic(), case(numbers[at.value], run)
            wrong, rows = engines.run(each, Path(folder), allocator)
            queue.put(Done(each.number, wrong, rows, each.segments, time.monotonic() - begun))
            at.value += 1


def shrunk(whole: Case, fails: Callable[[Case], bool], attempts: int = SHRINK_ATTEMPTS) -> Case:
    """The case without the frames that it fails without: first large pieces are left out, then single frames."""
    size = max(1, whole.segments // 2)
    while attempts > 0:
        for smaller in _pieces_left_out(whole, size):
            attempts -= 1
            if attempts > 0 and fails(smaller):
                whole = smaller
                break
        else:
            if size == 1:
                return whole
            size = (size + 1) // 2
    return whole


def _pieces_left_out(whole: Case, size: int) -> Iterator[Case]:
    for begin in range(0, whole.segments, size):
        smaller = whole.without(begin, begin + size)
        if smaller.files:
            yield smaller


def fails(each: Case, mode: str) -> bool:
    """Whether a case fails or dies; it is tried in a process of its own."""
    child = multiprocessing.get_context("fork").Process(target=_try, args=(each, mode))
    child.start()
    child.join()
    return child.exitcode != 0


def _try(each: Case, mode: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wrong, _ = engines.run(each, Path(folder), ALLOCATORS[mode]())
    os._exit(1 if wrong else 0)


def main(arguments: Sequence[str]) -> int:
    """The command: run, or shrink one case."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz kernels", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this time")
    parser.add_argument("--run", type=int, default=0, help="another run has other cases")
    parser.add_argument("--mode", choices=ALLOCATORS, default="guard")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shrink", type=int, metavar="NUMBER", help="make this failing case small, and keep it")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where a shrunk case is written")
    options = parser.parse_args(arguments)
    if options.shrink is not None:
        return _shrink(options)
    numbers = range(options.first, options.first + options.cases)
    totals = run(numbers, mode=options.mode, jobs=options.jobs, seconds=options.seconds, run=options.run)
    for failure in (*totals.differences, *totals.deaths):
        print(failure[:1000])
    print(totals)
    return 1 if totals.differences or totals.deaths else 0


def _shrink(options: argparse.Namespace) -> int:
    whole = case(options.shrink, options.run)
    if not fails(whole, options.mode):
        print(f"case {options.shrink} does not fail in mode {options.mode}")
        return 1
    small = shrunk(whole, lambda each: fails(each, options.mode))
    folder: Path = options.keep / f"kernels-{options.shrink}"
    folder.mkdir(parents=True, exist_ok=True)
    small.write(folder)
    (folder / "settings.txt").write_text(f"{small}\n")
    print(f"{folder}: {small}")
    return 0
