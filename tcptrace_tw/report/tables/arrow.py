"""Kernel rows to Arrow columns: nulls by sentinel, addresses and words as dictionaries, frames split by file."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tcptrace_tw.report.tables.arrow_schema import HIDDEN, TIME, schema
from tcptrace_tw.report.tables.buffers import array, coded, flags, numpy_of, scalar, strings, vocabulary
from tcptrace_tw.report.tables.community_ids import community_ids
from tcptrace_tw.report.words.text import FRAME_MASK, MAPPED, ip_text
from tcptrace_tw.schema import zeek
from tcptrace_tw.schema.columns import FRAME_BITS, TABLES, Column, Table
from tcptrace_tw.schema.scope import vlans_of
from tcptrace_tw.schema.words import NULL_WORD, OPENED_MIDSTREAM, Vocabulary

_OCTETS = strings([str(octet) for octet in range(256)])
_DOT = scalar(".")
_LINE = 64
_BLOCK = 8192  # rows that stay in the second-level cache while their fields are taken apart

Columns = dict[str, NDArray[Any]]


class Gathered:
    """Rows of one table as columns, gathered chunk by chunk: numpy copies whole records field by field, too."""

    def __init__(self, dtype: np.dtype[Any], room: int, block: NDArray[np.uint8] | None = None) -> None:
        """``block`` is the memory of the columns: that of the records, and ``most_padding()``."""
        block = np.empty(room * dtype.itemsize + most_padding(), np.uint8) if block is None else block
        self._columns: Columns = {}
        self._size, self._room = 0, room
        begin = 0
        for name in dtype.names or ():
            self._columns[name] = block[begin : begin + room * dtype[name].itemsize].view(dtype[name])
            begin += _whole_lines(room * dtype[name].itemsize)

    def take(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Take as many rows as there is room for; gives back the others."""
        count = min(rows.size, self._room - self._size)
        for start in range(0, count, _BLOCK):
            block = rows[start : min(start + _BLOCK, count)]
            for name, column in self._columns.items():
                column[self._size + start : self._size + start + block.size] = block[name]
        self._size += count
        return rows[count:]

    @property
    def is_full(self) -> bool:
        """Whether there is no room left."""
        return self._size == self._room

    @property
    def columns(self) -> Columns:
        """What has been taken, field by field."""
        return {name: column[: self._size] for name, column in self._columns.items()}


def most_padding() -> int:
    """The most that the columns of any table are larger than its records: each begins a cache line."""
    return _LINE * max(len(table.dtype.names or ()) for table in TABLES)


def _whole_lines(size: int) -> int:
    return -(-size // _LINE) * _LINE


def taken_apart(chunks: Sequence[NDArray[Any]]) -> Columns:
    """Records of one kind as columns."""
    gathered = Gathered(chunks[0].dtype, sum(chunk.size for chunk in chunks))
    for chunk in chunks:
        gathered.take(chunk)
    return gathered.columns


def batch_of(
    table: Table, columns: Columns, several_files: bool = False, has_community_ids: bool = True
) -> pa.RecordBatch:
    """Columns of one table, as they are written."""
    made = _made(columns, has_community_ids) if "history_lo" in columns else {}
    arrays: list[pa.Array] = []
    for column in table.columns:
        if column.name in made:
            arrays.append(made[column.name])
        elif column.name not in HIDDEN:
            arrays += _arrays(column, columns, several_files)
    return pa.RecordBatch.from_arrays(arrays, schema=schema(table, several_files))


def distinct(*columns: NDArray[np.int64]) -> tuple[NDArray[np.int32], list[NDArray[np.int64]]]:
    """For rows of integers: which distinct row each one is, and the distinct rows, column by column."""
    indices, kept = _encode(columns[0])
    uniques = [kept]
    for column in columns[1:]:
        others, values = _encode(column)
        if values.size == 1:
            uniques.append(np.repeat(values, uniques[0].size))
            continue
        if uniques[0].size == 1:
            indices, uniques = others, [np.repeat(u, values.size) for u in uniques] + [values]
            continue
        indices, pairs = _encode(indices.astype(np.int64) * values.size + others)
        uniques = [u[pairs // values.size] for u in uniques] + [values[pairs % values.size]]
    return indices, uniques


def ips(hi: NDArray[np.int64], lo: NDArray[np.int64]) -> pa.DictionaryArray:
    """Addresses as a dictionary; each distinct one is formatted once."""
    indices, (his, los) = distinct(hi, lo)
    return coded(indices, _ip_texts(his, los))


def words(codes: NDArray[np.uint8], words: Vocabulary, texts: tuple[str, ...] = ()) -> pa.DictionaryArray:
    """Codes of words as a dictionary of the whole vocabulary, or of the ``texts`` that stand for its words."""
    return coded(codes.astype(np.int32), vocabulary(texts or words.words), codes == NULL_WORD)


def numbers(values: NDArray[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Integers in which -1 stands for null."""
    return array(values, kind, values == -1)


def frames(values: NDArray[np.int64]) -> pa.Array:
    """Frame numbers without the file they are in."""
    return array(values & FRAME_MASK, nulls=values == -1)


def files(values: NDArray[np.int64]) -> pa.Array:
    """The files that frame numbers are in."""
    return numbers((values >> FRAME_BITS).astype(np.int32))


def histories(columns: Columns) -> tuple[pa.DictionaryArray, pa.DictionaryArray]:
    """Zeek's history and conn_state of connections; each distinct history is read once."""
    indices, (los, his) = distinct(columns["history_lo"], columns["history_hi"])
    texts = [zeek.unpack(lo, hi) for lo, hi in zip(los.tolist(), his.tolist(), strict=True)]
    known = tuple(sorted({row.word for row in zeek.CONN_STATES}))
    codes = np.array([known.index(zeek.conn_state(text)) for text in texts], np.int32)
    return coded(indices, strings(texts)), coded(codes[indices], vocabulary(known))


def _ip_texts(his: NDArray[np.int64], los: NDArray[np.int64]) -> pa.StringArray:
    if not ((his == 0) & (los >> 32 == MAPPED)).all():
        return strings([ip_text(hi, lo) for hi, lo in zip(his.tolist(), los.tolist(), strict=True)])
    octets = [_OCTETS.take(array(los >> shift & 0xFF)) for shift in (24, 16, 8, 0)]
    return pc.binary_join_element_wise(*octets, _DOT)


def _encode(values: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    if values.size and (values[0] == values).all():
        return np.zeros(values.size, np.int32), values[:1]
    encoded = pc.dictionary_encode(array(values))
    return numpy_of(encoded.indices), numpy_of(encoded.dictionary)


def _arrays(column: Column, columns: Columns, several_files: bool) -> Iterator[pa.Array]:
    if column.kind == "frame":
        yield frames(columns[column.name])
        if several_files:
            yield files(columns[column.name])
    else:
        yield _array(column, columns)


def _array(column: Column, columns: Columns) -> pa.Array:
    name = column.name
    if column.kind == "ip":
        return ips(columns[f"{name}_hi"], columns[f"{name}_lo"])
    if column.kind == "word":
        assert column.words is not None
        return words(columns[name], column.words)
    if column.kind == "bool":
        return flags(columns[name] != 0)
    if column.kind == "time":
        return numbers(columns[name], TIME)
    return numbers(columns[name]) if column.is_nullable else array(columns[name])


def _made(columns: Columns, has_community_ids: bool) -> dict[str, pa.Array]:
    """Columns of ``connections`` that are made from others when it is written."""
    history, conn_state = histories(columns)
    return {
        "conn_state": conn_state,
        "history": history,
        "vlan": numbers(vlans_of(columns["scope"]).astype(np.int32)),
        "community_id": community_ids(columns) if has_community_ids else pa.nulls(len(history), pa.string()),
        "duration_ns": array(columns["last_time"] - columns["first_time"]),
        "handshake_ns": numbers(_handshakes(columns)),
    }


def _handshakes(columns: Columns) -> NDArray[np.int64]:
    """How long each handshake took; -1 where it did not end, or began before the capture."""
    established, first = columns["established_time"], columns["first_time"]
    is_known = (established != -1) & (columns["opened"] != OPENED_MIDSTREAM)
    return np.where(is_known, established - first, -1)
