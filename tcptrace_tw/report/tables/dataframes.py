"""Written tables as DataFrames."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def to_pandas(table: "pa.Table") -> "pd.DataFrame":
    """A written table as a DataFrame; lists become arrays."""
    import pandas as pd
    import pyarrow as pa

    nullable = {
        pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.uint32(): pd.UInt32Dtype(),
        pa.uint16(): pd.UInt16Dtype(), pa.uint8(): pd.UInt8Dtype(),
    }  # fmt: skip
    columns = {}
    for field in table.schema:
        column = table.select([field.name]).to_pandas(
            types_mapper=nullable.get if field.nullable else None, use_threads=False
        )
        columns[field.name] = column[field.name]
    return pd.DataFrame(columns)
