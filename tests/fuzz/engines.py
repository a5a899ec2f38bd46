"""A case through the pipeline, compiled or interpreted, and what differs between the two."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from tcptrace_tw import one_pass, pipeline
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.kernels.arrays import Allocator, allocated_by
from tcptrace_tw.kernels.bounds import IS_CHECKED
from tcptrace_tw.schema.columns import TABLES
from tcptrace_tw.tcp import tracker
from tests.fuzz.cases import Case

COMPILED = "checked" if IS_CHECKED else "library"


class Outcome(NamedTuple):
    """Everything that the pipeline said."""

    facts: str
    tables: dict[str, np.ndarray[Any, Any]]
    findings: list[tuple[Any, ...]]

    @property
    def rows(self) -> int:
        return sum(rows.size for rows in self.tables.values())


class _Collector:
    def __init__(self, has_transitions: bool) -> None:
        self.tables = frozenset(t.name for t in TABLES if has_transitions or t.name != "transitions")
        self.chunks: dict[str, list[np.ndarray[Any, Any]]] = defaultdict(list)
        self.said: list[tuple[Any, ...]] = []

    def rows(self, table: str, rows: np.ndarray[Any, Any]) -> None:
        self.chunks[table].append(np.array(rows))

    def findings(self, findings: Any) -> None:
        numbers = (findings.severity.tolist(), findings.confidence.tolist(), findings.count.tolist())
        self.said.append((findings.rule.id, np.array(findings.rows).tolist(), *numbers, findings.caveats))


def analyse(case: Case, paths: list[str], allocator: Allocator, *, compiled: bool) -> Outcome:
    """What the pipeline says about the files of a case."""
    sink = _Collector(case.has_transitions)
    with _settings(case, compiled), allocated_by(allocator):
        try:
            summary = pipeline.analyze(paths, pipeline.Settings(**case.settings), [sink])
        except CaptureError as error:
            return Outcome(str(error), {}, [])
    facts = repr((summary.capture, summary.connections, summary.transitions, summary.caveats))
    return Outcome(facts, {t: np.concatenate(chunks) for t, chunks in sink.chunks.items()}, sink.said)


@contextlib.contextmanager
def _settings(case: Case, compiled: bool) -> Iterator[None]:
    """Small batches and early burial, so that a short capture meets what else only a long one does."""
    with (
        patch.dict(os.environ, TCPTRACE_TW_KERNELS=COMPILED if compiled else "interpreted"),
        patch.object(one_pass, "BATCH_SIZE", case.batch_size),
        patch.object(tracker, "ARCHIVE_FROM", case.archive_from),
        patch.object(tracker, "LINGER_NS", case.linger_ns),
        patch.object(tracker, "IDLE_AFTER_NS", case.idle_after_ns),
    ):
        yield


def difference(one: Outcome, other: Outcome) -> str | None:
    """The first thing in which two outcomes differ, in words."""
    if one.facts != other.facts:
        return f"summary: {one.facts} / {other.facts}"
    if set(one.tables) != set(other.tables):
        return f"tables: {sorted(one.tables)} / {sorted(other.tables)}"
    for name, rows in one.tables.items():
        others = other.tables[name]
        if rows.size != others.size:
            return f"{name}: {rows.size} rows / {others.size} rows"
        for column in rows.dtype.names or ():
            if (places := np.flatnonzero(rows[column] != others[column])).size:
                at = places[0]
                return f"{name}: row {at}: {column} {rows[column][at]} / {others[column][at]}"
    for finding, another in zip(one.findings, other.findings, strict=False):
        if finding != another:
            return f"finding: {finding} / {another}"
    if len(one.findings) != len(other.findings):
        return f"{len(one.findings)} chunks of findings / {len(other.findings)}"
    return None


def run(case: Case, folder: Path, allocator: Allocator) -> tuple[str | None, int]:
    """The case in both engines: what is wrong, if anything, and how many rows were compared."""
    paths = case.write(folder)
    outcomes = []
    try:
        for compiled in (False, True):
            try:
                outcomes.append(analyse(case, paths, allocator, compiled=compiled))
            except Exception as error:
                return f"{'compiled' if compiled else 'interpreted'}: {_told(error)}", 0
    finally:
        for path in paths:
            os.unlink(path)
    return difference(*outcomes), outcomes[0].rows


def interpreted(case: Case, folder: Path, allocator: Allocator) -> Outcome | str:
    """The case interpreted alone: what it says, or what is wrong."""
    return alone(case, folder, allocator, compiled=False)


def alone(case: Case, folder: Path, allocator: Allocator, *, compiled: bool) -> Outcome | str:
    """The case in one engine: what it says, or what is wrong."""
    paths = case.write(folder)
    try:
        return analyse(case, paths, allocator, compiled=compiled)
    except Exception as error:
        return _told(error)
    finally:
        for path in paths:
            os.unlink(path)


def _told(error: Exception) -> str:
    """The error, and where in the project it came from."""
    trace, places = error.__traceback__, []
    while trace is not None:
        name = Path(trace.tb_frame.f_code.co_filename)
        if "tcptrace_tw" in name.parts:
            places.append(f"{name.name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__}: {error} ({' < '.join(places[:-4:-1])})"
