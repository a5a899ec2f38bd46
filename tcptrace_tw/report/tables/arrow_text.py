"""Whole columns as text: the same words as ``text``, a million rows at a time."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tcptrace_tw.report.tables.arrow import frames, numbers, words
from tcptrace_tw.report.tables.buffers import array, coded, flags, scalar, strings, vocabulary
from tcptrace_tw.report.tables.fields import Fields
from tcptrace_tw.report.words.text import STEPS_NS, UNKNOWN, duration_text, time_text
from tcptrace_tw.schema.columns import FRAME_BITS, Column, Table

Rows = Fields


def said(table: Table, name: str, rows: Rows, several_files: bool = False) -> pa.Array:
    """A column as a message says it, or a dictionary of it; ``unknown`` for null."""
    column = table.column(name)
    if column.kind == "frame" and several_files:
        texts = _frames_of_files(rows[name])
    else:
        texts = _SAID.get(column.kind, _plain)(column, rows)
    return pc.fill_null(plain(texts), _UNKNOWN) if texts.null_count else texts


def raw(table: Table, name: str, rows: Rows) -> pa.Array:
    """A column as a program reads it: plain numbers, ns stay ns, null stays null."""
    column = table.column(name)
    return plain(_RAW.get(column.kind, _SAID.get(column.kind, _plain))(column, rows))


def plain(texts: pa.Array) -> pa.StringArray:
    """A column of texts without its dictionary."""
    return texts.dictionary_decode() if isinstance(texts, pa.DictionaryArray) else texts


def joined(pieces: Iterable[str | pa.Array], size: int) -> pa.StringArray:
    """Literals and columns put together, row by row; what stands before a dictionary goes into it."""
    texts: list[Any] = []
    literal = ""
    for piece in pieces:
        if isinstance(piece, str):
            literal += piece
            continue
        if literal and isinstance(piece, pa.DictionaryArray):
            begun = pc.binary_join_element_wise(scalar(literal), piece.dictionary, _NOTHING)
            piece = pa.DictionaryArray.from_arrays(piece.indices, begun, safe=False)
        elif literal:
            texts.append(scalar(literal))
        texts.append(plain(piece))
        literal = ""
    if not texts:
        return plain(coded(np.zeros(size, np.int32), strings((literal,))))
    return pc.binary_join_element_wise(*texts, *([scalar(literal)] if literal else []), _NOTHING)


def bracketed(texts: pa.Array) -> pa.Array:
    """Addresses that a port follows: IPv6 in brackets."""
    if isinstance(texts, pa.DictionaryArray):
        return pa.DictionaryArray.from_arrays(texts.indices, bracketed(texts.dictionary), safe=False)
    is_v6 = pc.match_substring(texts, ":")
    return pc.if_else(is_v6, pc.binary_join_element_wise(scalar("["), texts, scalar("]"), _NOTHING), texts)


def durations(ns: NDArray[np.int64]) -> pa.Array:
    """As ``duration_text``; -1 is null."""
    if not (ns == -1).any() and ns.size and ns.min() >= 0:
        return _spans(ns)
    sign = coded((ns < 0).astype(np.int32), vocabulary(("", "-")))
    text = pc.binary_join_element_wise(plain(sign), _spans(np.abs(np.maximum(ns, -_MOST))), _NOTHING)
    return pc.if_else(flags(ns != -1), text, pa.nulls(ns.size, pa.string()))


def times(ns: NDArray[np.int64]) -> pa.Array:
    """ISO 8601 in UTC with all nine digits; -1 is null."""
    values, where = np.unique(ns, return_inverse=True)
    texts = strings([time_text(v) for v in values.tolist()])
    return texts.take(array(where, nulls=ns == -1))


def _spans(ns: NDArray[np.int64]) -> pa.Array:
    kind = np.searchsorted(np.array(STEPS_NS), ns, side="right")
    found = [_UNITS[k](ns if (kind == k).all() else ns[kind == k]) for k in np.unique(kind).tolist()]
    if len(found) < 2:
        return found[0] if found else strings(())
    order = np.argsort(kind, kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return pa.concat_arrays(found).take(array(back))


def _fraction(ns: NDArray[np.int64], unit: int, digits: int, name: str) -> pa.Array:
    """With ``digits`` decimals, rounded; a second decimal only where it is not 0."""
    scale = 10**digits
    steps = (ns + unit // scale // 2) // (unit // scale)
    tails = [f"{i:0{digits}}" for i in range(scale)]
    tail = vocabulary(tuple(f".{text[0]}{text[1:].rstrip('0')}{name}" for text in tails)).take(array(steps % scale))
    return pc.binary_join_element_wise(_digits(steps // scale), tail, _NOTHING)


def _digits(values: NDArray[Any]) -> pa.StringArray:
    return array(values).cast(pa.string())


def _whole(ns: NDArray[np.int64], unit: int, name: str) -> pa.Array:
    return pc.binary_join_element_wise(_digits((ns + unit // 2) // unit), scalar(name), _NOTHING)


_UNITS: tuple[Callable[[NDArray[np.int64]], pa.Array], ...] = (
    lambda ns: _whole(ns, 1, " ns"),
    lambda ns: _whole(ns, 1_000, " us"),
    lambda ns: _fraction(ns, 1_000_000, 1, " ms"),
    lambda ns: _whole(ns, 1_000_000, " ms"),
    lambda ns: _fraction(ns, 1_000_000_000, 2, " s"),
    lambda ns: _fraction(ns, 1_000_000_000, 1, " s"),
    lambda ns: strings([duration_text(span) for span in ns.tolist()]),
)


def _frames_of_files(values: NDArray[np.int64]) -> pa.Array:
    numbered = frames(values).cast(pa.string())
    return pc.binary_join_element_wise(numbered, scalar(" of file "), _digits(values >> FRAME_BITS), _NOTHING)


def _plain(column: Column, rows: Rows) -> pa.Array:
    values = rows[column.name]
    return numbers(values).cast(pa.string()) if column.kind == "id" else _digits(values)


def _words(column: Column, rows: Rows) -> pa.Array:
    assert column.words is not None
    return words(rows[column.name], column.words)


def _prose(column: Column, rows: Rows) -> pa.Array:
    assert column.words is not None
    return words(rows[column.name], column.words, column.words.prose)


def _choice(yes: str, no: str) -> Callable[[Column, Rows], pa.Array]:
    return lambda column, rows: coded((rows[column.name] != 0).astype(np.int32), vocabulary((no, yes)))


_MOST = np.iinfo(np.int64).max
_UNKNOWN = scalar(UNKNOWN)
_NOTHING = scalar("")
_SAID: dict[str, Callable[[Column, Rows], pa.Array]] = {
    "ip": lambda column, rows: rows.ips(column.name),
    "word": _prose,
    "ns": lambda column, rows: durations(rows[column.name]),
    "time": lambda column, rows: times(rows[column.name]),
    "frame": lambda column, rows: frames(rows[column.name]).cast(pa.string()),
    "bool": _choice("yes", "no"),
}
_RAW: dict[str, Callable[[Column, Rows], pa.Array]] = {
    "word": _words,
    "ns": lambda column, rows: numbers(rows[column.name]).cast(pa.string()),
    "bool": _choice("true", "false"),
}
