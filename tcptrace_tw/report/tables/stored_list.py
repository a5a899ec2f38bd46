"""A list of connections from a folder that ``analyze`` wrote: only the columns it needs, a piece at a time.

Findings come from the rows: those of severity info are not written.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.summary.listing import ROW, Listed, Listing
from tcptrace_tw.report.tables.read_columns import fill, opened, parts_of
from tcptrace_tw.report.tables.replay import replay_folder
from tcptrace_tw.report.tables.stored import manifest_of, reading
from tcptrace_tw.schema.columns import CONNECTIONS
from tcptrace_tw.storage import Place

_AT_ONCE = 1 << 16

_COLUMNS = tuple(column for column in CONNECTIONS.columns if {name for name, _ in column.fields} & set(ROW.names or ()))


def stored_list(folder: Place, listing: Listing) -> Listed:
    """What the listing keeps of the connections and findings of a folder."""
    with reading(folder):
        manifest = manifest_of(folder)
        for batch in _batches(folder, "connections", [column.name for column in _COLUMNS]):
            listing.rows("connections", _rows(batch))
        replay_folder(folder, manifest["settings"], [listing])
        return listing.result()


def _batches(folder: Place, name: str, columns: list[str]) -> Any:
    """Pieces of a written table."""
    import pyarrow.parquet as pq

    for path in parts_of(folder, name):
        with opened(path) as file:
            yield from pq.ParquetFile(file).iter_batches(_AT_ONCE, columns=columns)


def _rows(batch: Any) -> NDArray[Any]:
    rows = np.zeros(batch.num_rows, ROW)
    for column in _COLUMNS:
        fill(rows, column, batch[column.name])
    return rows
