"""``python -m tests.conversations``: write ``tests/conversations.txt``, digests of what is said about random captures.

They are the first cases of the kernel fuzzer: conversations that go wrong in every way, in small batches, with early
archiving. The fuzzer compares compiled kernels with interpreted ones, so a change of both stays unseen; here it shows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from tcptrace_tw.kernels.arrays import Allocator
from tests.fuzz import engines
from tests.fuzz.cases import case
from tests.said import short

FILE = Path(__file__).parent / "conversations.txt"
CASES = 200
MOST_SEGMENTS = 100


def lines(numbers: range = range(CASES)) -> Iterator[str]:
    """For each case the rows of each table, with a digest of all columns, and one of the findings' grades."""
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            each = case(number)
            if each.segments > MOST_SEGMENTS:
                continue
            told = engines.interpreted(each, Path(folder), Allocator())
            yield f"case {number}: {told if isinstance(told, str) else _digest(told)}"


def _digest(told: engines.Outcome) -> str:
    parts = []
    for table in sorted(told.tables):
        rows, digest = told.tables[table], 0
        for name in rows.dtype.names or ():
            digest = crc32(rows[name].astype("<i8").tobytes(), digest)
        parts.append(f"{table} {rows.size} {short(digest)}")
    grades = sorted((rule, severity, confidence, count) for rule, _, severity, confidence, count, _ in told.findings)
    return ", ".join([*parts, f"findings {len(grades)} {short(crc32(repr(grades).encode()))}"])


if __name__ == "__main__":
    FILE.write_text("\n".join(lines()) + "\n")
    print(f"{FILE.name} is written", file=sys.stderr)
