"""Findings that wait until it is known to which incidents they belong: in memory, and beyond a bound in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.tables.fields import Fields
from tcptrace_tw.rules.rule import Rule, RuleHits

Ints = NDArray[np.int64]
Key = tuple[str, tuple[str, ...]]

MOST_BYTES = 1 << 25
"""The most bytes of rows that wait in memory."""

GROUP = 1 << 16
"""The number of findings of a rule that are written together."""


class _Chunk(NamedTuple):
    """Findings of one rule, and for each the mark that its incident is found by."""

    findings: RuleHits
    marks: Ints

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """All that differs from finding to finding."""
        rows, severity, confidence, count = self.findings[1:5]
        return np.asarray(rows), severity, confidence, count, self.marks


class _Stored(NamedTuple):
    """Where the columns of a chunk begin in the file."""

    offset: int
    size: int


class WaitingFindings:
    """Takes findings; ``groups`` gives them back by rule. ``spill`` opens a file for those beyond the bound."""

    def __init__(self, spill: Callable[[], BinaryIO] | None = None) -> None:
        self._spill = spill
        self._file: BinaryIO | None = None
        self._chunks: dict[Key, list[_Chunk | _Stored]] = {}
        self._rules: dict[str, Rule] = {}
        self._dtypes: dict[str, tuple[np.dtype[Any], ...]] = {}
        self._bytes = 0

    def add(self, findings: RuleHits, marks: Ints) -> None:
        """Take what one rule says."""
        chunk = _Chunk(findings, marks)
        self._rules[findings.rule.id] = findings.rule
        self._dtypes[findings.rule.id] = tuple(column.dtype for column in chunk.columns)
        self._chunks.setdefault((findings.rule.id, findings.caveats), []).append(chunk)
        self._bytes += sum(column.nbytes for column in chunk.columns)
        if self._spill is not None and self._bytes > MOST_BYTES:
            self._store(self._spill)

    def _store(self, spill: Callable[[], BinaryIO]) -> None:
        """Write all that waits in memory behind what the file has."""
        if self._file is None:
            self._file = spill()
        for chunks in self._chunks.values():
            for place, chunk in enumerate(chunks):
                if isinstance(chunk, _Chunk):
                    chunks[place] = _Stored(self._file.tell(), chunk.marks.size)
                    for column in chunk.columns:
                        self._file.write(np.ascontiguousarray(column).view(np.uint8).data)
        self._bytes = 0

    def groups(self) -> Iterator[tuple[RuleHits, Ints]]:
        """All of them, at most about ``GROUP`` at a time, whose rows are ``Fields``; they wait no longer."""
        for key in sorted(self._chunks):
            waiting: list[_Chunk] = []
            for chunk in self._chunks.pop(key):
                waiting.append(self._read(key, chunk) if isinstance(chunk, _Stored) else chunk)
                if sum(each.marks.size for each in waiting) >= GROUP:
                    yield _together(waiting)
                    waiting = []
            if waiting:
                yield _together(waiting)
        self.close()

    def _read(self, key: Key, stored: _Stored) -> _Chunk:
        assert self._file is not None
        self._file.seek(stored.offset)
        columns = []
        for dtype in self._dtypes[key[0]]:
            column = np.empty(stored.size, dtype)
            self._file.readinto(column.view(np.uint8).data)  # type: ignore[attr-defined]
            columns.append(column)
        rows, severity, confidence, count, marks = columns
        return _Chunk(RuleHits(self._rules[key[0]], rows, severity, confidence, count, key[1]), marks)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _together(chunks: list[_Chunk]) -> tuple[RuleHits, Ints]:
    rows, *others = zip(*(chunk.columns for chunk in chunks), strict=True)
    severity, confidence, count, marks = map(np.concatenate, others)
    first = chunks[0].findings
    return RuleHits(first.rule, Fields.of(*rows), severity, confidence, count, first.caveats), marks
