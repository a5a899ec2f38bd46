"""The most that one segment, or one incarnation at the end of a capture, can bring about: measured, not thought out.

    python -m tests.fuzz maxima --cases 20000

runs the interpreted tracker segment by segment and keeps, for every register that a reservation depends on, the
highest growth and the number of the case that showed it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tcptrace_tw.kernels.arrays import Allocator
from tcptrace_tw.tcp.machine import batch, end_of_capture
from tcptrace_tw.tcp.store import freelists
from tcptrace_tw.tcp.store import records as s
from tests.fuzz import engines
from tests.fuzz.cases import case

SEGMENT, END = "a segment", "the end"
"""What brings something about: a segment that arrives; an incarnation that is let go at the end of the capture."""

REGISTERS = {
    name: getattr(s, name)
    for name in (
        "OUT_CONNECTIONS", "OUT_TRANSITIONS", "OUT_TIME_WAIT", "OUT_REUSES", "OUT_STALE", "OUT_RESETS", "OUT_ANOMALIES",
        "RELEASED", "CONNS_USED", "SPANS_USED", "REUSES_USED", "STALES_USED", "RESETS_USED", "ANOMALIES_USED",
        "ARCHIVE_USED",
    )
}  # fmt: skip
"""Each of them is the length of something that a kernel writes behind."""

TAKEN = {
    name.replace("_USED", "_TAKEN"): number
    for name, number in REGISTERS.items()
    if name.endswith("_USED") and name != "ARCHIVE_USED"
}
"""Records taken from a pool, free ones and new ones: where none is free, all of them are new."""


class Maxima:
    """The highest growth of each register, and where it was seen."""

    def __init__(self) -> None:
        self.most: dict[tuple[str, str], int] = {}
        self.case: dict[tuple[str, str], int] = {}
        self.cases = self.segments = 0
        self._number = 0
        self._taken: dict[int, int] = {}

    def note(self, what: str, name: str, growth: int) -> None:
        """One more growth."""
        if growth > self.most.get((what, name), 0):
            self.most[what, name] = growth
            self.case[what, name] = self._number

    def merge(self, other: Maxima) -> None:
        """Take the maxima of another run in."""
        for key, growth in other.most.items():
            if growth > self.most.get(key, 0):
                self.most[key], self.case[key] = growth, other.case[key]
        self.cases += other.cases
        self.segments += other.segments

    def measure(self, numbers: Iterable[int], run: int = 0) -> None:
        """Run cases interpreted and keep their maxima; a case that fails has shown what it has shown."""
        with tempfile.TemporaryDirectory() as folder, self._watching():
            for self._number in numbers:
                self.cases += 1
                each = case(self._number, run)
                engines.interpreted(each, Path(folder), Allocator())

    @contextmanager
    def _watching(self) -> Iterator[None]:
        with (
            patch.object(batch, "segments_arrive", self._one_by_one(batch.segments_arrive)),
            patch.object(end_of_capture, "retire", self._each(end_of_capture.retire, END)),
            patch.object(end_of_capture, "unpack", self._each(end_of_capture.unpack, END)),
            patch.object(freelists, "take", self._counted(freelists.take)),
        ):
            yield

    def _one_by_one(self, arrive: Callable[..., int]) -> Callable[..., int]:
        each = self._each(arrive, SEGMENT, place=3)

        def segments_arrive(segments: Any, start: int, size: int, st: Any, wants_states: bool) -> int:
            for i in range(start, size):
                if each(segments, i, i + 1, st, wants_states) == i:
                    return i
                self.segments += 1
            return size

        return segments_arrive

    def _each(self, kernel: Callable[..., Any], what: str, place: int = 0) -> Callable[..., Any]:
        """The kernel, watched; its state is the argument at this place."""

        def watched(*arguments: Any) -> Any:
            counters = arguments[place].counters
            before = counters.copy()
            self._taken = {}
            result = kernel(*arguments)
            for name, register in REGISTERS.items():
                self.note(what, name, int(counters[register] - before[register]))
            for name, register in TAKEN.items():
                self.note(what, name, self._taken.get(register, 0))
            return result

        return watched

    def _counted(self, take: Callable[..., Any]) -> Callable[..., Any]:
        def counted(counters: Any, used: int, *others: Any) -> Any:
            self._taken[used] = self._taken.get(used, 0) + 1
            return take(counters, used, *others)

        return counted

    def __str__(self) -> str:
        lines = [f"{self.cases} cases, {self.segments} segments"]
        lines += [f"{'register':<18}{SEGMENT:>10}{'case':>9}{END:>10}{'case':>9}"]
        for name in (*REGISTERS, *TAKEN):
            cells = [f"{self.most.get((w, name), 0):>10}{self.case.get((w, name), '-'):>9}" for w in (SEGMENT, END)]
            lines.append(f"{name:<18}{''.join(cells)}")
        return "\n".join(lines)


def measured(numbers: Iterable[int], run: int = 0) -> Maxima:
    """The maxima of these cases."""
    maxima = Maxima()
    maxima.measure(numbers, run)
    return maxima


def main(arguments: Sequence[str]) -> int:
    """The command: measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz maxima", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this time")
    parser.add_argument("--run", type=int, default=0, help="another run has other cases")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    numbers = range(options.first, options.first + options.cases)
    shares = [numbers[at : at + 50] for at in range(0, len(numbers), 50)]
    total, begun = Maxima(), time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.jobs) as workers:
        for maxima in workers.imap_unordered(partial(measured, run=options.run), shares):
            total.merge(maxima)
            if options.seconds < time.monotonic() - begun:
                break
    print(total)
    return 0
