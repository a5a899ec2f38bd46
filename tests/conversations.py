"""``python -m tests.conversations``: write ``tests/conversations.txt``, digests of what is said about random captures.

They are cases of the kernel fuzzer (conversations that go wrong in every way, in small batches, with early archiving)
and variations of fixtures (``tests/fuzz/variations.py``). ``python -m tests.fuzz.choose`` has chosen them: together
they meet every border of tcp/, measure/ and flow.py that thousands of such captures meet, most of them twice.

The digests say that nothing has changed, not that it is right: that is checked against the record of Linux kernels,
against naive twins and against tshark. The fuzzer compares compiled kernels with interpreted ones, so that a change of
both stays unseen; here it shows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

from tcptrace_tw.kernels.arrays import Allocator
from tests.fuzz import engines
from tests.fuzz.cases import Case, case
from tests.fuzz.variations import variation
from tests.said import short

FILE = Path(__file__).parent / "conversations.txt"


def kept() -> dict[str, str]:
    """The lines of the file, by the names of the captures."""
    return {line.partition(": ")[0]: line for line in FILE.read_text().splitlines()}


def named(name: str) -> Case:
    """The case of the fuzzer with this number, or the variation of this name."""
    return case(int(name.removeprefix("case "))) if name.startswith("case ") else variation(name)


def lines(names: Iterable[str], *, compiled: bool = False) -> Iterator[str]:
    """For each capture the rows of each table, with a digest of all columns, and one of the findings' grades."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            told = engines.alone(named(name), Path(folder), Allocator(), compiled=compiled)
            yield f"{name}: {told if isinstance(told, str) else _digest(told)}"


def _digest(told: engines.Outcome) -> str:
    parts = []
    for table in sorted(told.tables):
        rows, digest = told.tables[table], 0
        for name in rows.dtype.names or ():
            digest = crc32(rows[name].astype("<i8").tobytes(), digest)
        parts.append(f"{table} {rows.size} {short(digest)}")
    grades = sorted((rule, severity, confidence, count) for rule, _, severity, confidence, count, _ in told.findings)
    return ", ".join([*parts, f"findings {len(grades)} {short(crc32(repr(grades).encode()))}"])


def write(names: Iterable[str]) -> None:
    """The file, of these captures."""
    FILE.write_text("\n".join(lines(names)) + "\n")
    print(f"{FILE.name} is written", file=sys.stderr)


if __name__ == "__main__":
    write(kept())
