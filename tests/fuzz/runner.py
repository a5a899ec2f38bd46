"""Runs cases in worker processes, so that a crash or a hang costs one case."""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from tcptrace_tw import jit
from tests.fuzz import mutate, seeds, targets

HANG_S = 5
"""Of processor time, because a busy machine makes everything slow; and twelve times as long by the clock."""
RSS_MB = 500
WARM_UP_S, WARM_UP_CASES = 120, 40
"""The first cases of a worker also pay for imports, and for kernels that are compiled where they are first needed."""
RECYCLE_CASES = 5000
"""Then a worker makes room for a fresh one: what the allocator keeps is not the memory of a case."""
TELL_EVERY = 5000
DEATHS_MAX = 50
"""More say that something else is wrong than the cases."""


def run(options: argparse.Namespace) -> tuple[int, list[str]]:
    """Divide the cases among the jobs; a worker that dies is replaced behind the case that killed it."""
    context = multiprocessing.get_context("spawn")
    lanes = []
    for job in range(options.jobs):
        numbers = range(options.first + job, options.first + options.count, options.jobs)
        lanes.append(_Lane(context, options, numbers))
    told = 0
    working = lanes
    while working:
        working = [lane for lane in working if lane.poll()]
        time.sleep(0.2)
        done = sum(lane.at for lane in lanes)
        if done - told >= TELL_EVERY:
            told = done
            print(f"{done} cases", file=sys.stderr, flush=True)
    return sum(lane.done for lane in lanes), [failure for lane in lanes for failure in lane.failures]


class _Lane:
    """One job and the worker that is at it."""

    def __init__(
        self, context: multiprocessing.context.SpawnContext, options: argparse.Namespace, numbers: Sequence[int]
    ) -> None:
        self._context, self._options, self._numbers = context, options, numbers
        self._at: Synchronized[int] = context.Value("q", 0)
        self._queue = context.SimpleQueue()
        self.failures: list[str] = []
        self.done = self._deaths = 0
        self._start()

    def _start(self) -> None:
        arguments = (vars(self._options), self._numbers, self._at, self._queue)
        self._worker = self._context.Process(target=work, args=arguments, daemon=True)
        self._worker.start()

    @property
    def at(self) -> int:
        """How many cases have been run."""
        return min(self._at.value, len(self._numbers))

    def poll(self) -> bool:
        """Collect failures; whether there is more to wait for."""
        while not self._queue.empty():
            self.failures.append(self._queue.get())
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
        _keep(self._options.keep, number, mutate.case(number, seeds.load(self._options.seeds), self._options.run))
        self._at.value += 1
        self._deaths += 1
        if self._deaths > DEATHS_MAX:
            self.failures.append("too many workers died; given up")
            return False
        self._start()
        return True


def work(options: dict[str, object], numbers: Sequence[int], at: Synchronized[int], queue: object) -> None:
    """Run cases from ``at`` on; a hang ends the process with the stack on stderr."""
    args = argparse.Namespace(**options)
    start = seeds.load(args.seeds)
    target = targets.TARGETS[args.target]
    if os.environ.get("TCPTRACE_TW_JIT") == "1":  # a worker with a compiler in it has no room left for the cases
        jit.use_cache(jit.cache_folder())
    faulthandler.register(signal.SIGPROF, chain=True)  # a traceback, then the end
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case"
        warm = at.value + WARM_UP_CASES
        last = min(len(numbers), at.value + RECYCLE_CASES)
        while at.value < last:
            number = numbers[at.value]
            data = mutate.case(number, start, args.run)
            path.write_bytes(data)
            patience = HANG_S if at.value >= warm else WARM_UP_S
            signal.setitimer(signal.ITIMER_PROF, patience)
            faulthandler.dump_traceback_later(12 * patience, exit=True)
            try:
                target(path, number)
                if targets.rss_mb() > RSS_MB:
                    raise AssertionError(f"{targets.rss_mb()} MB of memory")
            except Exception as error:
                _keep(args.keep, number, data)
                where = traceback.extract_tb(error.__traceback__)[-1]
                queue.put(  # type: ignore[attr-defined]
                    f"case {number}: {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
                )
                if targets.rss_mb() > RSS_MB:
                    at.value += 1
                    os._exit(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
            at.value += 1


def _keep(folder: Path, number: int, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"case-{number}").write_bytes(data)
