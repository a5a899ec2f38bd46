"""Written tables back to kernel rows, for those who read rows: the inverse of ``arrow``, column by column."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tcptrace_tw.report.words.text import ip_halves
from tcptrace_tw.schema.columns import Column, Table
from tcptrace_tw.schema.words import NULL_WORD

CHUNK = 1 << 17
"""Rows that are made at once."""


def records(table: Table, written: pa.Table, names: Sequence[str]) -> Iterator[NDArray[np.void]]:
    """Chunks of rows with the fields of these columns only; null is what it is in kernel rows."""
    columns = [column for column in table.columns if column.name in names]
    dtype = np.dtype([field for column in columns for field in column.fields])
    written = written.select([column.name for column in columns])
    for batch in written.to_batches(max_chunksize=CHUNK):
        rows = np.zeros(batch.num_rows, dtype)
        for column, values in zip(columns, batch.columns, strict=True):
            _fill(rows, column, values)
        yield rows


def _fill(rows: NDArray[np.void], column: Column, values: pa.Array) -> None:
    if column.kind == "ip":
        codes, texts = _decoded(values)
        halves = np.array([ip_halves(text) for text in texts], np.int64).reshape(-1, 2)
        rows[f"{column.name}_hi"], rows[f"{column.name}_lo"] = halves[codes].T if len(texts) else (0, 0)
    elif column.kind == "word":
        assert column.words is not None
        codes, texts = _decoded(values)
        known = np.array([column.words.code(text) for text in texts] + [NULL_WORD], np.uint8)
        rows[column.name] = known[np.where(codes < 0, len(texts), codes)]
    else:
        if pa.types.is_timestamp(values.type):
            values = values.cast(pa.int64())
        rows[column.name] = (
            values.fill_null(-1).to_numpy(zero_copy_only=False)
            if values.null_count
            else values.to_numpy(zero_copy_only=False)
        )


def _decoded(values: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    """Which of the texts each row is (-1: null), and the texts."""
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    codes: NDArray[np.int64] = values.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, values.dictionary.to_pylist()
