"""Written tables back to the rows that kernels write: the opposite of ``arrow``, for rules to read once more."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tcptrace_tw.report.tables.arrow_schema import file_column
from tcptrace_tw.report.tables.read_columns import fill, numbers, opened, parts_of
from tcptrace_tw.schema.columns import FINDINGS, FRAME_BITS, Column, Table
from tcptrace_tw.storage import Place


def stored_records(folder: Place, table: Table) -> Iterator[NDArray[Any]]:
    """The rows of one written table, a row group at a time; those of one connection are in one piece."""
    for path in parts_of(folder, table.name):
        with opened(path) as file, pq.ParquetFile(file) as written:
            there = set(written.schema_arrow.names)
            named = (name for column in table.columns for name in (column.name, file_column(column.name)))
            names = [name for name in named if name in there]
            groups = (written.read_row_group(group, names) for group in range(written.num_row_groups))
            yield from _whole(records_of(table, group) for group in groups)


def has_several_files(folder: Place) -> bool:
    """Whether frames have a column for their file beside them."""
    with opened(parts_of(folder, FINDINGS.name)[0]) as file:
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
            _fill_in(rows, column, written)
    return rows


def _fill_in(rows: NDArray[Any], column: Column, written: pa.Table) -> None:
    """Write one column; a frame with its file, where the table has one."""
    fill(rows, column, written[column.name])
    if column.kind == "frame" and file_column(column.name) in written.column_names:
        frames, files = rows[column.name], numbers(written[file_column(column.name)])
        rows[column.name] = np.where(frames == -1, -1, frames | files << FRAME_BITS)
