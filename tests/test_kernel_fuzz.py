"""A short run of the kernel fuzzer, and that it would find something."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcptrace_tw.kernels.arrays import Allocator
from tcptrace_tw.tcp.facts import rows
from tcptrace_tw.tcp.store import freelists
from tests.fuzz import engines, kernels
from tests.fuzz.cases import Case, case
from tests.fuzz.ground import Exact, Guarded
from tests.fuzz.maxima import END, SEGMENT, measured

CASES = int(os.environ.get("FUZZ_CASES", "1500"))
SECONDS = float(os.environ.get("FUZZ_SECONDS", "20"))
"""The run ends at the first of these limits, but not before the first ``LEAST`` cases."""
LEAST = 5


@pytest.mark.slow
def test_compiled_and_interpreted_kernels_say_the_same() -> None:
    """With a page behind every array that kills who touches it."""
    totals = kernels.run(range(LEAST), mode="guard")
    more = kernels.run(range(LEAST, CASES), mode="guard", seconds=SECONDS)

    assert totals.differences + totals.deaths + more.differences + more.deaths == []
    assert totals.cases == LEAST
    assert totals.rows > 0


def test_no_interpreted_kernel_leaves_an_exact_array(tmp_path: Path) -> None:
    """Crowds that are remembered, archived and forgotten at once, in pools of exactly the promised size."""
    for number in range(20):
        told = engines.interpreted(case(number), tmp_path, Exact())
        assert not isinstance(told, str), f"case {number}: {told}"


@pytest.mark.parametrize("number", [10977])
def test_what_was_found_stays_mended(number: int, tmp_path: Path) -> None:
    """Cases that left an array on 9d5eec7: incarnations dug out for one segment took the place of the next one's."""
    told = engines.interpreted(case(number), tmp_path, Exact())

    assert not isinstance(told, str), told


def test_a_case_is_always_the_same() -> None:
    assert case(7) == case(7)
    assert case(7) != case(8)
    assert case(7) != case(7, run=1)


def _overrun(kind: str) -> None:
    """In a child: write one element behind an array."""
    import ctypes

    array = Guarded().zeros(5, np.int64)
    array[4] = 1
    ctypes.c_int64.from_address(array.ctypes.data + (40 if kind == "behind" else 32)).value = 1


@pytest.mark.parametrize(("kind", "code"), [("inside", 0), ("behind", -11)])
def test_a_guarded_array_ends_at_a_page_that_kills(kind: str, code: int) -> None:
    import multiprocessing

    child = multiprocessing.get_context("spawn").Process(target=_overrun, args=(kind,))
    child.start()
    child.join()

    assert child.exitcode == code


def test_an_overrun_is_found_interpreted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes records from a pool one place too far."""

    def take(counters: Any, used: int, free: int, following: int) -> int:
        place = counters[used]
        counters[used] = place + 2
        return int(place) + 1

    monkeypatch.setattr(freelists, "take", take)
    told = [engines.interpreted(case(number), tmp_path, Exact()) for number in range(5)]

    assert any("OutOfRoom" in each for each in told if isinstance(each, str)), told


def test_a_difference_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One column of one row."""
    right = engines.interpreted(case(3), tmp_path, Allocator())
    set_close = rows.set_close

    def wrong(row: Any, *others: Any) -> None:
        set_close(row, *others)
        row.fin_repeats += 1

    monkeypatch.setattr(rows, "set_close", wrong)
    other = engines.interpreted(case(3), tmp_path, Allocator())

    assert isinstance(right, engines.Outcome)
    assert isinstance(other, engines.Outcome)
    assert engines.difference(right, right) is None
    assert (engines.difference(right, other) or "").startswith("connections: row 0: fin_repeats")


def test_a_death_costs_one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is replaced behind it, and the cases that follow are run."""
    monkeypatch.setattr(kernels, "_work", dies_at_two)
    totals = kernels.run(range(5), mode="plain")

    assert totals.cases == 5
    assert totals.deaths == ["case 2: the worker died of SIGKILL"]


def dies_at_two(numbers: Any, mode: str, deadline: float, run: int, at: Any, queue: Any) -> None:
    while at.value < len(numbers):
        if numbers[at.value] == 2:
            os.kill(os.getpid(), 9)
        queue.put(kernels.Done(numbers[at.value], None, 1, 1, 0.1))
        at.value += 1


def test_a_failing_case_is_made_small() -> None:
    """Two frames that make it fail are left of many."""
    whole = case(7)
    needed = {whole.files[0][0], whole.files[-1][-1]}

    def fails(each: Case) -> bool:
        return needed <= {frame for frames in each.files for frame in frames}

    assert 1 < kernels.shrunk(whole, fails).segments <= len(needed) + 2


def test_what_a_segment_brings_about_is_measured() -> None:
    """Every register that a reservation depends on; ``test_reservations`` holds the table against it."""
    maxima = measured(range(30))

    assert maxima.segments > 500
    assert maxima.most[SEGMENT, "OUT_CONNECTIONS"] >= 2
    assert maxima.most[END, "OUT_CONNECTIONS"] == 1
    assert maxima.most[SEGMENT, "CONNS_TAKEN"] >= maxima.most[SEGMENT, "CONNS_USED"]
