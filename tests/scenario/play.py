"""Run the tool on a scenario and hand back what it says as simple objects."""

from __future__ import annotations

import ipaddress
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcptrace_tw.kernels import library
from tcptrace_tw.schema import columns
from tests.scenario.notation import Frame, parse
from tests.scenario.render import render

_TABLES = {table.name: table for table in columns.TABLES}
_FRAME_MASK = (1 << columns.FRAME_BITS) - 1


class Row(dict[str, Any]):
    """One row; ``row.to_state`` is the column, words are spelt out, null is None."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass
class Result:
    """Everything the tool said about one capture."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    findings: list[Row] = field(default_factory=list)
    summary: Any = None
    chunks: dict[str, list[np.ndarray[Any, Any]]] = field(default_factory=dict)

    def records(self, table: str) -> Any:
        """The rows of one table as the rules see them."""
        rows = self.chunks[table]
        return (np.concatenate(rows) if rows else np.zeros(0, _TABLES[table].dtype)).view(np.recarray)

    @property
    def connections(self) -> list[Row]:
        """Incarnations, in the order of their first segments."""
        return sorted(self.tables["connections"], key=lambda row: row.connection_id)

    @property
    def transitions(self) -> list[Row]:
        """Every transition row, retracted ones and retractions too."""
        return sorted(self.tables["transitions"], key=lambda row: row.transition_id)

    @property
    def time_wait(self) -> list[Row]:
        """TIME-WAIT spans, in the order of their starts."""
        return sorted(self.tables["time_wait"], key=lambda row: (row.start, row.connection_id, row.holder))

    @property
    def reuses(self) -> list[Row]:
        """SYNs that met a remembered incarnation."""
        return sorted(self.tables["reuses"], key=lambda row: row.syn_frame)

    @cached_property
    def _by_endpoint(self) -> dict[tuple[int, str], list[Row]]:
        rows: dict[tuple[int, str], list[Row]] = {}
        for row in self.transitions:
            rows.setdefault((row.connection_id, row.endpoint), []).append(row)
        return rows

    def valid_transitions(self, connection_id: int, endpoint: str) -> list[Row]:
        """The transitions of one endpoint that were never taken back."""
        rows = self._by_endpoint.get((connection_id, endpoint), [])
        retracted = {row.retracts for row in rows if row.retracts is not None}
        return [row for row in rows if row.retracts is None and row.transition_id not in retracted]

    def history(self, connection_id: int, endpoint: str) -> list[str]:
        """The states of one endpoint in order, the one it came from first."""
        rows = self.valid_transitions(connection_id, endpoint)
        first = [rows[0].from_state] if rows and rows[0].from_state else []
        return first + [row.to_state for row in rows]

    def rules(self) -> list[str]:
        """The ids of the findings, in order."""
        return sorted(finding.rule for finding in self.findings)


def play(text: str, **settings: Any) -> Result:
    """What the tool says about a scenario; ``settings`` are those of ``pipeline.Settings``."""
    scenario = parse(text)
    return play_pcap(render(scenario.frames, scenario.link), **settings)


def play_frames(frames: Iterable[Frame], **settings: Any) -> Result:
    """What the tool says about some frames on an Ethernet."""
    return play_pcap(render(frames), **settings)


def play_pcap(pcap: bytes | Path, *, compiled: bool = False, seed: Any = None, **settings: Any) -> Result:
    """What the tool says about a capture file, or about the bytes of one; interpreted where nothing else is asked."""
    if isinstance(pcap, bytes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scenario.pcap"
            path.write_bytes(pcap)
            return play_pcap(path, compiled=compiled, seed=seed, **settings)
    from tcptrace_tw import pipeline

    sink = _Collector()
    with engine(compiled):
        summary = pipeline.analyze([str(pcap)], pipeline.Settings(**settings), [sink], seed=seed)
    return sink.result(summary)


@contextmanager
def engine(compiled: bool) -> Iterator[None]:
    """Run kernels compiled or interpreted; a test that wants the library is skipped where there is none."""
    wanted = library_or_skip() if compiled else "interpreted"
    before = os.environ.get(library.VARIABLE)
    os.environ[library.VARIABLE] = wanted
    try:
        yield
    finally:
        if before is None:
            del os.environ[library.VARIABLE]
        else:
            os.environ[library.VARIABLE] = before


def library_or_skip() -> str:
    """``library``; skips the test where there is none that fits."""
    if unfit := why_unfit():
        pytest.skip(f"no compiled kernels: {unfit}")
    return "library"


@cache
def why_unfit() -> str:
    try:
        library.Library(library.FOLDER)
    except library.Unfit as unfit:
        return str(unfit)
    return ""


class _Collector:
    """A sink that keeps everything."""

    tables = frozenset(_TABLES)

    def __init__(self) -> None:
        self._tables: dict[str, list[Row]] = {name: [] for name in _TABLES}
        self._findings: list[Row] = []
        self._chunks: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in _TABLES}

    def rows(self, table: str, rows: np.ndarray[Any, Any]) -> None:
        self._tables[table] += [_row(table, record) for record in rows]
        self._chunks[table].append(rows)

    def findings(self, findings: Any) -> None:
        for place, record in enumerate(findings.rows):
            self._findings.append(_finding(findings, place, record))

    def result(self, summary: Any) -> Result:
        return Result(self._tables, self._findings, summary, self._chunks)


def _row(table: str, record: np.void) -> Row:
    return Row({column.name: _value(column, record) for column in _TABLES[table].columns if column.fields})


def _value(column: columns.Column, record: np.void) -> Any:
    if column.kind == "ip":
        return _address(record, column.name)
    value = int(record[column.name])
    if column.kind == "word":
        assert column.words
        return None if value == 255 else column.words.words[value]
    if column.kind == "bool":
        return bool(value)
    if value == -1 and (column.is_nullable or column.kind in ("id", "frame", "time", "ns")):
        return None
    return value & _FRAME_MASK if column.kind == "frame" else value


def _address(record: np.void, name: str) -> str:
    packed = b"".join((int(record[f"{name}_{half}"]) % 2**64).to_bytes(8, "big") for half in ("hi", "lo"))
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def _finding(findings: Any, place: int, record: np.void) -> Row:
    rule = findings.rule
    row = _row(rule.table, record)
    return Row(
        row,
        rule=rule.id,
        name=rule.name,
        severity=columns.w.SEVERITY.words[findings.severity[place]],
        confidence=columns.w.CONFIDENCE.words[findings.confidence[place]],
        frames=[row[name] for name in rule.frames if row.get(name) is not None],
        count=int(findings.count[place]),
        caveats=tuple(findings.caveats),
    )
