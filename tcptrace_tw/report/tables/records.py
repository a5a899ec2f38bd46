"""Some columns of written tables as kernel rows, for those who need no more; all of them: ``written_rows``."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tcptrace_tw.report.tables.read_columns import fill
from tcptrace_tw.schema.columns import Table

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
            fill(rows, column, values)
        yield rows
