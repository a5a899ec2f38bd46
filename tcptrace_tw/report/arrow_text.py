"""Whole columns as text: the same words as ``text``, a million rows at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tcptrace_tw.report.arrow import frames, ips, numbers, words
from tcptrace_tw.report.text import LONG_NS, UNKNOWN, duration_text, time_text
from tcptrace_tw.spec.columns import FRAME_BITS, Column, Table

Rows = NDArray[Any]


def said(table: Table, name: str, rows: Rows, several_files: bool = False) -> pa.Array:
    """A column as a message says it; ``unknown`` for null."""
    column = table.column(name)
    if column.kind == "frame" and several_files:
        texts = _frames_of_files(rows[name])
    else:
        texts = _SAID.get(column.kind, _plain)(column, rows)
    return texts.fill_null(UNKNOWN) if texts.null_count else texts


def raw(table: Table, name: str, rows: Rows) -> pa.Array:
    """A column as a program reads it: plain numbers, ns stay ns, null stays null."""
    column = table.column(name)
    return _RAW.get(column.kind, _SAID.get(column.kind, _plain))(column, rows)


def bracketed(texts: pa.Array) -> pa.Array:
    """Addresses that a port follows: IPv6 in brackets."""
    is_v6 = pc.match_substring(texts, ":")
    if not pc.any(is_v6).as_py():
        return texts
    return pc.if_else(is_v6, pc.binary_join_element_wise("[", texts, "]", ""), texts)


def durations(ns: NDArray[np.int64]) -> pa.Array:
    """``40 min 5 s``, ``1.204 s``, ``12.3 ms``, ``45 us`` or ``120 ns``; -1 is null."""
    if not (ns == -1).any() and ns.size and ns.min() >= 0:
        return _spans(ns)
    text = pc.binary_join_element_wise(_plain_text(np.where(ns < 0, "-", "")), _spans(np.abs(ns)), "")
    return pc.if_else(pa.array(ns == -1), pa.scalar(None, pa.string()), text)


def times(ns: NDArray[np.int64]) -> pa.Array:
    """ISO 8601 in UTC with all nine digits; -1 is null."""
    values, where = np.unique(ns, return_inverse=True)
    texts = pa.array([None if v == -1 else time_text(v) for v in values.tolist()], pa.string())
    return texts.take(pa.array(where))


def _spans(ns: NDArray[np.int64]) -> pa.Array:
    kind = np.searchsorted(np.array([1_000, 1_000_000, 1_000_000_000, LONG_NS]), ns, side="right")
    found = [_UNITS[k](ns if (kind == k).all() else ns[kind == k]) for k in range(5) if (kind == k).any()]
    if len(found) < 2:
        return found[0] if found else pa.array([], pa.string())
    order = np.argsort(kind, kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return pa.concat_arrays(found).take(pa.array(back))


def _fraction(ns: NDArray[np.int64], unit: int, digits: int, name: str) -> pa.Array:
    scale = 10**digits
    steps = ns // (unit // scale)
    tail = pa.array([f".{i:0{digits}}{name}" for i in range(scale)]).take(pa.array(steps % scale))
    return pc.binary_join_element_wise(pa.array(steps // scale).cast(pa.string()), tail, "")


_UNITS: tuple[Callable[[NDArray[np.int64]], pa.Array], ...] = (
    lambda ns: pc.binary_join_element_wise(pa.array(ns).cast(pa.string()), " ns", ""),
    lambda ns: pc.binary_join_element_wise(pa.array(ns // 1_000).cast(pa.string()), " us", ""),
    lambda ns: _fraction(ns, 1_000_000, 1, " ms"),
    lambda ns: _fraction(ns, 1_000_000_000, 3, " s"),
    lambda ns: pa.array([duration_text(span) for span in ns.tolist()], pa.string()),
)


def _frames_of_files(values: NDArray[np.int64]) -> pa.Array:
    numbered, file = frames(values).cast(pa.string()), pa.array(values >> FRAME_BITS).cast(pa.string())
    return pc.binary_join_element_wise(numbered, " of file ", file, "")


def _plain_text(values: Any) -> pa.Array:
    return pa.array(values.tolist(), pa.string())


def _plain(column: Column, rows: Rows) -> pa.Array:
    values = np.ascontiguousarray(rows[column.name])
    return (numbers(values) if column.kind == "id" else pa.array(values)).cast(pa.string())


def _addresses(column: Column, rows: Rows) -> pa.Array:
    hi, lo = (np.ascontiguousarray(rows[f"{column.name}_{half}"]) for half in ("hi", "lo"))
    return ips(hi, lo).dictionary_decode()


def _words(column: Column, rows: Rows) -> pa.Array:
    assert column.words is not None
    return words(rows[column.name], column.words).dictionary_decode()


def _prose(column: Column, rows: Rows) -> pa.Array:
    assert column.words is not None
    return words(rows[column.name], column.words, column.words.prose).dictionary_decode()


def _choice(yes: str, no: str) -> Callable[[Column, Rows], pa.Array]:
    return lambda column, rows: pa.array([no, yes]).take(pa.array((rows[column.name] != 0).astype(np.int32)))


_SAID: dict[str, Callable[[Column, Rows], pa.Array]] = {
    "ip": _addresses,
    "word": _prose,
    "ns": lambda column, rows: durations(np.ascontiguousarray(rows[column.name])),
    "time": lambda column, rows: times(rows[column.name]),
    "frame": lambda column, rows: frames(rows[column.name]).cast(pa.string()),
    "bool": _choice("yes", "no"),
}
_RAW: dict[str, Callable[[Column, Rows], pa.Array]] = {
    "word": _words,
    "ns": lambda column, rows: numbers(np.ascontiguousarray(rows[column.name])).cast(pa.string()),
    "bool": _choice("true", "false"),
}
