"""Written tables back to the rows that kernels write: the opposite of ``arrow``, for rules to read once more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tcptrace_tw.report.tables.arrow_schema import file_column
from tcptrace_tw.report.tables.buffers import strings
from tcptrace_tw.report.words.text import ip_halves
from tcptrace_tw.schema.columns import FINDINGS, FRAME_BITS, Column, Table
from tcptrace_tw.schema.words import NULL_WORD, Vocabulary

Ints = NDArray[np.int64]


def stored_records(folder: Path, table: Table) -> Iterator[NDArray[Any]]:
    """The rows of one written table, a row group at a time; those of one connection are in one piece."""
    with (folder / f"{table.name}.parquet").open("rb") as file, pq.ParquetFile(file) as written:
        there = set(written.schema_arrow.names)
        names = [name for column in table.columns for name in (column.name, file_column(column.name)) if name in there]
        groups = (written.read_row_group(group, names) for group in range(written.num_row_groups))
        yield from _whole(records_of(table, group) for group in groups)


def has_several_files(folder: Path) -> bool:
    """Whether frames have a column for their file beside them."""
    with (folder / f"{FINDINGS.name}.parquet").open("rb") as file:
        return file_column("frame") in pq.read_schema(file).names


def _whole(pieces: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Pieces that end where a connection does."""
    rest: NDArray[Any] | None = None
    for piece in pieces:
        rows = piece if rest is None else np.concatenate((rest, piece))
        if not rows.size:
            continue
        end = int(np.flatnonzero(np.append(True, rows["connection_id"][1:] != rows["connection_id"][:-1]))[-1])
        if end:
            yield rows[:end]
        rest = rows[end:].copy()
    if rest is not None:
        yield rest


def records_of(table: Table, written: pa.Table) -> NDArray[Any]:
    """Kernel rows of what was written; columns that no table has are zero."""
    rows = np.zeros(written.num_rows, table.dtype)
    for column in table.columns:
        if column.fields and column.name in written.column_names:
            _fill(rows, column, written)
    return rows


def _fill(rows: NDArray[Any], column: Column, written: pa.Table) -> None:
    name = column.name
    if column.kind == "ip":
        rows[f"{name}_hi"], rows[f"{name}_lo"] = addresses(written[name])
    elif column.kind == "word":
        assert column.words is not None
        rows[name] = codes(written[name], column.words)
    elif column.kind == "bool":
        rows[name] = written[name].to_numpy()
    elif column.kind == "frame" and file_column(name) in written.column_names:
        frames = numbers(written[name])
        rows[name] = np.where(frames == -1, -1, frames | numbers(written[file_column(name)]) << FRAME_BITS)
    else:
        rows[name] = numbers(written[name])


def numbers(column: pa.ChunkedArray) -> Ints:
    """Integers and times; -1 for null."""
    values: Ints = column.cast(pa.int64()).fill_null(-1).to_numpy()
    return values


def codes(column: pa.ChunkedArray, vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """The codes of words; 255 for null."""
    found = pc.index_in(column.cast(pa.string()), value_set=strings(vocabulary.words))
    filled: NDArray[np.uint8] = found.fill_null(NULL_WORD).to_numpy().astype(np.uint8)
    return filled


def addresses(column: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """The halves of addresses; each distinct one is read once."""
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    halves = [ip_halves(text) for text in encoded.dictionary.to_pylist()]
    pairs = np.array([*halves, (0, 0)], np.int64)
    chosen = pairs[encoded.indices.fill_null(len(halves)).to_numpy()]
    return chosen[:, 0], chosen[:, 1]
