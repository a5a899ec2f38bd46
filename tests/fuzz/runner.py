"""Runs cases in worker processes, so that a crash or a hang costs one case."""

from __future__ import annotations

import argparse
import faulthandler
import functools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from tests.fuzz import seeds, targets

HANG_S = 5
"""Of processor time, because a busy machine makes everything slow; and twelve times as long by the clock."""
RSS_MB = {"commands": 800}
"""The most memory a worker may ever have had, 500 MB for other targets: every command leaves its libraries loaded."""
WARM_UP_S, WARM_UP_CASES = 120, 40
"""The first cases of a worker also pay for imports, and for kernels that are compiled where they are first needed."""
RECYCLE_CASES = {"commands": 500}
"""5000 for other targets. Then a fresh worker follows: what the allocator keeps is not the memory of a case."""
TELL_EVERY = 5000
DEATHS_MAX = 50
"""More say that something else is wrong than the cases."""


def run(options: argparse.Namespace) -> tuple[int, list[str], dict[str, tuple[float, int]]]:
    """Divide the cases among the jobs; a worker that dies is replaced behind the case that killed it.

    After ``--seconds`` the workers are stopped where they are. Returns how many were run, what failed, and the
    costliest cases: by processor time, and by memory of their workers.
    """
    context = multiprocessing.get_context("spawn")
    lanes = []
    for job in range(options.jobs):
        numbers = range(options.first + job, options.first + options.count, options.jobs)
        lanes.append(_Stage(context, options, numbers))
    told, begun = 0, time.monotonic()
    working = lanes
    while working:
        working = [lane for lane in working if lane.poll()]
        if options.seconds and time.monotonic() > begun + options.seconds:
            for lane in working:
                lane.stop()
            break
        time.sleep(0.2)
        done = sum(lane.at for lane in lanes)
        if done - told >= TELL_EVERY:
            told = done
            print(f"{done} cases", file=sys.stderr, flush=True)
    failures = [failure for lane in lanes for failure in lane.failures]
    return sum(lane.done for lane in lanes), failures, functools.reduce(costliest, (lane.most for lane in lanes))


class _Stage:
    """One job and the worker that is at it."""

    def __init__(
        self, context: multiprocessing.context.SpawnContext, options: argparse.Namespace, numbers: Sequence[int]
    ) -> None:
        self._context, self._options, self._numbers = context, options, numbers
        self._at: Synchronized[int] = context.Value("q", 0)
        self._wanted: Synchronized[int] = context.Value("b", 1)
        self._queue = context.SimpleQueue()
        self.failures: list[str] = []
        self.most: dict[str, tuple[float, int]] = {}
        self.done = self._deaths = 0
        self._start()

    def _start(self) -> None:
        arguments = (vars(self._options), self._numbers, self._at, self._wanted, self._queue)
        self._worker = self._context.Process(target=work, args=arguments, daemon=True)
        self._worker.start()

    @property
    def at(self) -> int:
        """How many cases have been run."""
        return min(self._at.value, len(self._numbers))

    def poll(self) -> bool:
        """Collect failures; whether there is more to wait for."""
        while not self._queue.empty():
            self._take(self._queue.get())
        if self._worker.is_alive():
            return True
        self.done = self.at
        if self._at.value >= len(self._numbers):
            return not self._queue.empty()
        if self._worker.exitcode == 0:
            self._start()
            return True
        number = self._numbers[self._at.value]
        self.failures.append(f"case {number}: the worker died (hang over {HANG_S} s, or a crash), see above")
        start = seeds.load(self._options.seeds)
        with tempfile.TemporaryDirectory() as folder:
            path = targets.write(self._options.target, number, self._options.run, start, Path(folder))
            _keep(self._options.keep, number, path)
        self._at.value += 1
        self._deaths += 1
        if self._deaths > DEATHS_MAX:
            self.failures.append("too many workers died; given up")
            return False
        self._start()
        return True

    def stop(self) -> None:
        """End the worker after the case that it is at."""
        self._wanted.value = 0
        self._worker.join(WARM_UP_S)
        while not self._queue.empty():
            self._take(self._queue.get())
        self.done = self.at

    def _take(self, said: str | dict[str, tuple[float, int]]) -> None:
        """What a worker says: a failure, or its costliest cases."""
        if isinstance(said, str):
            self.failures.append(said)
        else:
            self.most = costliest(self.most, said)


def costliest(*mosts: dict[str, tuple[float, int]]) -> dict[str, tuple[float, int]]:
    """By what is measured, the highest figure and the number of its case."""
    return {name: max(most[name] for most in mosts if name in most) for name in {**mosts[0], **mosts[-1]}}


def work(
    options: dict[str, object],
    numbers: Sequence[int],
    at: Synchronized[int],
    wanted: Synchronized[int],
    queue: object,
) -> None:
    """Run cases from ``at`` on; a hang ends the process with the stack on stderr."""
    args = argparse.Namespace(**options)
    start = seeds.load(args.seeds)
    target = targets.TARGETS[args.target]
    faulthandler.register(signal.SIGPROF, chain=True)  # a traceback, then the end
    with tempfile.TemporaryDirectory() as folder:
        most: dict[str, tuple[float, int]] = {}
        allowed = RSS_MB.get(args.target, 500)
        warm = at.value + WARM_UP_CASES
        last = min(len(numbers), at.value + RECYCLE_CASES.get(args.target, 5000))
        while at.value < last and wanted.value:
            number = numbers[at.value]
            path = targets.write(args.target, number, args.run, start, Path(folder))
            patience = HANG_S if at.value >= warm else WARM_UP_S
            signal.setitimer(signal.ITIMER_PROF, patience)
            faulthandler.dump_traceback_later(12 * patience, exit=True)
            begun = time.process_time()
            try:
                target(path, number)
                if targets.rss_mb() > allowed:
                    raise AssertionError(f"{targets.rss_mb()} MB of memory")
            except Exception as error:
                _keep(args.keep, number, path)
                where = traceback.extract_tb(error.__traceback__)[-1]
                queue.put(  # type: ignore[attr-defined]
                    f"case {number}: {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
                )
                if targets.rss_mb() > allowed:
                    at.value += 1
                    os._exit(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
            if at.value >= warm:
                figures = {"s": time.process_time() - begun, "MB": float(targets.rss_mb())}
                most = costliest(most, {name: (figure, number) for name, figure in figures.items()})
            at.value += 1
        queue.put(most)  # type: ignore[attr-defined]


def _keep(folder: Path, number: int, path: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"case-{number}"
    if path.is_file():
        shutil.copyfile(path, kept)
    else:
        shutil.copytree(path, kept, dirs_exist_ok=True)
