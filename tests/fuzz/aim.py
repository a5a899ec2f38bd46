"""``python -m tests.fuzz.aim``: meet borders that no random conversation meets, and add to ``tests/conversations.txt``.

A comparison is made somewhere, and its sides differ by a number. By this number one time, sequence number, ACK field,
window or timestamp of the frame that was looked at is changed; mostly one of them makes the sides (nearly) equal.
"""

from __future__ import annotations

import ast
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.fuzz import borders

ROOT = borders.ROOT
TRIES = 2
"""Places where a comparison is made that are tried for each border."""

Border = tuple[str, int, int]
TIMES = ("time", "_ns", "now", "NOW", "_NS", "gap", "silen", "wait", "due")
UNITS = (1, 1000, 1_000_000, 1_000_000_000)
LONGEST_NS = 100 * 86_400 * 10**9
FRAME_MASK = (1 << 40) - 1


def main() -> int:
    """Try, and write the file with what was found."""
    os.environ["TCPTRACE_TW_KERNELS"] = "interpreted"
    borders.install()
    from tests import conversations

    names = list(conversations.kept())
    met = {name: _met(name) for name in names}
    every = frozenset[Border]().union(*met.values())
    unmet = list(_unmet(every))
    found: list[str] = []
    for border in unmet:
        if border in every:
            continue
        for name in _tries(border, met):
            now = _met(name)
            if border in now:
                found.append(name)
                every |= now
                break
    print(f"{len(unmet)} borders were not met, {sum(each in every for each in unmet)} are met now", file=sys.stderr)
    conversations.write([*names, *found])
    return 0


def _met(name: str) -> frozenset[Border]:
    from tcptrace_tw.kernels.arrays import Allocator
    from tests.conversations import named
    from tests.fuzz import engines

    borders.met.clear()
    with tempfile.TemporaryDirectory() as folder:
        engines.interpreted(named(name), Path(folder), Allocator())
    return frozenset(borders.met)


def _unmet(met: frozenset[Border]) -> Iterator[Border]:
    """Sides that are never equal, or never next to equal where one is a constant, of comparisons that are made."""
    made = {(path, number) for path, number, code in met if -borders.FAR <= code <= borders.FAR}
    for path, number in sorted(made):
        node = nodes(path)[number]
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            is_number = isinstance(node.comparators[0], ast.Constant)
            for code in (0, 1, -1) if is_number else (0,):
                if (path, number, code) not in met:
                    yield path, number, code


@cache
def nodes(path: str) -> list[ast.AST]:
    """All of a module, as ``ast.walk`` finds them."""
    return list(ast.walk(ast.parse((ROOT / path).read_text())))


def _tries(border: Border, met: dict[str, frozenset[Border]]) -> Iterator[str]:
    """Names of conversations that may meet it."""
    path, number, code = border
    near = [name for name, borders_of in met.items() if any(each[:2] == (path, number) for each in borders_of)]
    text = ast.unparse(nodes(path)[number])
    is_time = any(word in text for word in TIMES)
    done = 0
    for name in sorted(near, key=len):
        if len(name.split()) > 2 or done >= TRIES:
            continue
        places = _places(name, path, number)
        for frame, apart in places[:1]:
            done += 1
            by = code - apart
            yield from _edits(name, frame, by, is_time)


def _places(name: str, path: str, number: int) -> list[tuple[int, int]]:
    """At which frames the comparison is made, and how far apart its sides are, the nearest first."""
    borders.wanted[path, number] = []
    _met(name)
    places = borders.wanted.pop((path, number))
    return sorted({(frame & FRAME_MASK, apart) for frame, apart in places if frame > 0}, key=lambda each: abs(each[1]))


def _edits(name: str, frame: int, by: int, is_time: bool) -> Iterator[str]:
    if is_time or abs(by) >= 1 << 31:
        for unit in UNITS:
            yield from (f"{name} t{frame}{sign * by * unit:+d}" for sign in (1, -1) if abs(by * unit) < LONGEST_NS)
        return
    for kind in "saw" if abs(by) < 1 << 16 else "sa":
        for signed in (by, -by):
            yield f"{name} {kind}{frame}{signed:+d}"
    yield f"{name} v{frame}{by:+d}"


if __name__ == "__main__":
    sys.exit(main())
