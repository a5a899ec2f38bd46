"""Run the tool on a scenario and hand back what it says as simple objects."""

from __future__ import annotations

import ipaddress
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcptrace_tw.kernels import library
from tcptrace_tw.report.words.messages import message
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema import columns, words
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


class Tables(Mapping[str, list[Row]]):
    """Rows by table; those of a table are spelt out when somebody looks at them."""

    def __init__(self, chunks: dict[str, list[np.ndarray[Any, Any]]]) -> None:
        self._chunks = chunks
        self._rows: dict[str, list[Row]] = {}

    def __getitem__(self, table: str) -> list[Row]:
        if table not in self._rows:
            self._rows[table] = _rows(table, self.records(table))
        return self._rows[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._chunks)

    def __len__(self) -> int:
        return len(self._chunks)

    def records(self, table: str) -> np.ndarray[Any, Any]:
        """The rows of one table as the tool made them."""
        chunks = self._chunks[table]
        return np.concatenate(chunks) if chunks else np.zeros(0, _TABLES[table].dtype)

    def differing(self, other: Tables) -> list[str]:
        """The tables in which the two have other rows, or the same ones in another order."""
        return [name for name in self if not _is_same(self.records(name), other.records(name))]


def _is_same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    names = one.dtype.names or ()
    return one.size == other.size and all(np.array_equal(one[name], other[name]) for name in names)


@dataclass
class Result:
    """Everything the tool said about one capture."""

    tables: Tables
    findings: list[Row] = field(default_factory=list)
    summary: Any = None
    hits: list[RuleHits] = field(default_factory=list)
    """The findings as sinks get them."""

    def records(self, table: str) -> Any:
        """The rows of one table as the rules see them."""
        return self.tables.records(table).view(np.recarray)

    @property
    def connections(self) -> list[Row]:
        """Incarnations, in the order of their first segments."""
        return sorted(self.tables["connections"], key=lambda row: row.connection_id)

    @property
    def transitions(self) -> list[Row]:
        """Every transition row, retracted ones and retractions too."""
        return sorted(self.tables["transitions"], key=lambda row: (row.connection_id, row.transition_id))

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


def play_pcap(pcap: bytes | Path, *, compiled: bool | None = None, seed: Any = None, **settings: Any) -> Result:
    """What the tool says about a capture file, or about the bytes of one.

    By compiled kernels where there are any and nothing else is asked. That the interpreted ones say the same is tested
    over all fixtures, by the twins and by the fuzz.
    """
    if compiled is None:
        compiled = not why_unfit()
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
        self._findings: list[Row] = []
        self._hits: list[RuleHits] = []
        self._chunks: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in _TABLES}

    def rows(self, table: str, rows: np.ndarray[Any, Any]) -> None:
        self._chunks[table].append(rows)

    def findings(self, findings: Any) -> None:
        rows = _rows(findings.rule.table, np.asarray(findings.rows))
        self._findings += [_finding(findings, place, row) for place, row in enumerate(rows)]
        self._hits.append(findings)

    def result(self, summary: Any) -> Result:
        return Result(Tables(self._chunks), self._findings, summary, self._hits)


def _rows(table: str, records: np.ndarray[Any, Any]) -> list[Row]:
    """A column at a time: the longest fixtures have 100,000 rows."""
    found = {column.name: _values(column, records) for column in _TABLES[table].columns if column.fields}
    return [Row(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def _values(column: columns.Column, records: np.ndarray[Any, Any]) -> list[Any]:
    if column.kind == "ip":
        halves = (records[f"{column.name}_{half}"].tolist() for half in ("hi", "lo"))
        return [_address(hi, lo) for hi, lo in zip(*halves, strict=True)]
    values: list[Any] = records[column.name].astype(object).tolist()
    if column.kind == "word":
        assert column.words
        words = column.words.words
        return [None if value == 255 else words[value] for value in values]
    if column.kind == "bool":
        return [bool(value) for value in values]
    if column.is_nullable or column.kind in ("id", "frame", "time", "ns"):
        values = [None if value == -1 else value for value in values]
    if column.kind == "frame":
        return [None if value is None else value & _FRAME_MASK for value in values]
    return values


@cache
def _address(hi: int, lo: int) -> str:
    address = ipaddress.IPv6Address((hi % 2**64) << 64 | lo % 2**64)
    return str(address.ipv4_mapped or address)


def _finding(findings: Any, place: int, row: Row) -> Row:
    rule = findings.rule
    return Row(
        row,
        rule=rule.id,
        name=rule.name,
        severity=words.SEVERITY.words[findings.severity[place]],
        confidence=words.CONFIDENCE.words[findings.confidence[place]],
        frames=[row[name] for name in rule.frames if row.get(name) is not None],
        count=int(findings.count[place]),
        caveats=tuple(findings.caveats),
        message=message(findings, place),
    )
