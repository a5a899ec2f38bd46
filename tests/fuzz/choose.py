"""``python -m tests.fuzz.choose``: choose random conversations anew, and write ``tests/conversations.txt``.

Thousands are run with notes of the borders that each meets (``borders``). Of these so few are kept that each border
that any of them meets is met, where possible, by ``TIMES`` of them.
"""

from __future__ import annotations

import argparse
import heapq
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz import borders

TIMES = 2
MOST_SEGMENTS = 120
START_UP = 15
"""To begin a conversation costs as much as so many segments of it."""


class Met(NamedTuple):
    """What a conversation meets, and what it costs."""

    borders: frozenset[tuple[str, int, int]]
    segments: int


def main() -> int:
    """Run them, choose, and write the file."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.choose", description=__doc__)
    parser.add_argument("--cases", type=int, default=2500, help="of the kernel fuzzer")
    parser.add_argument("--variations", type=int, default=3000, help="of fixtures")
    options = parser.parse_args()
    os.environ["TCPTRACE_TW_KERNELS"] = "interpreted"
    borders.install()
    from tests import conversations

    candidates = [f"case {number}" for number in range(options.cases)] + list(variations(options.variations))
    met = dict(_run(candidates))
    names = chosen(met)
    every = frozenset[tuple[str, int, int]]().union(*(each.borders for each in met.values()))
    print(f"{len(every)} borders are met by {len(met)} conversations, and by {len(names)} of them", file=sys.stderr)
    conversations.write(names)
    return 0


def variations(count: int) -> Iterator[str]:
    """Names of some, always the same ones as long as there are the same fixtures."""
    from tests.fuzz.variations import FIXTURES, frames_of

    random = Random("variations")
    fixtures = sorted(path.parent.name for path in FIXTURES.glob("*/expect.toml") if frames_of(path.parent.name))
    for _ in range(count):
        names = [random.choice(fixtures)] + [random.choice(fixtures)] * (random.random() < 0.4)
        yield f"{'+'.join(names)} {random.randrange(100)}"


def _run(names: Iterable[str]) -> Iterator[tuple[str, Met]]:
    from tcptrace_tw.kernels.arrays import Allocator
    from tests.conversations import named
    from tests.fuzz import engines

    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            case = named(name)
            if case.segments <= MOST_SEGMENTS:
                borders.met.clear()
                engines.interpreted(case, Path(folder), Allocator())
                yield name, Met(frozenset(borders.met), case.segments)


def chosen(met: dict[str, Met]) -> list[str]:
    """The names of those to keep: always the one that meets most of what is not met often enough, for what it costs."""
    left = Counter(border for each in met.values() for border in each.borders)
    left = Counter({border: min(TIMES, count) for border, count in left.items()})
    heap = [(-len(each.borders) / (START_UP + each.segments), name) for name, each in met.items()]
    heapq.heapify(heap)
    names = []
    while heap:
        _, name = heapq.heappop(heap)
        new = [border for border in met[name].borders if left[border]]
        worth = -len(new) / (START_UP + met[name].segments)
        if new and heap and worth > heap[0][0]:
            heapq.heappush(heap, (worth, name))
        elif new:
            left.subtract(new)
            names.append(name)
    return sorted(names)


if __name__ == "__main__":
    sys.exit(main())
