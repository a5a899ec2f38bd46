"""Written tables as DataFrames."""

from typing import TYPE_CHECKING

from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_ORDERED = {"severity": SEVERITY, "confidence": CONFIDENCE}
"""Words that are more and less: ``findings.severity >= "warning"``."""


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
        if field.name in _ORDERED:
            ordered = pd.CategoricalDtype([*_ORDERED[field.name].words], ordered=True)
            columns[field.name] = columns[field.name].astype(ordered)
    return pd.DataFrame(columns)


def worst_first(findings: "pd.DataFrame") -> "pd.DataFrame":
    """Findings by severity, then by confidence, then as they happened."""
    import numpy as np

    severity, confidence = (-findings[name].cat.codes.astype("int64") for name in _ORDERED)
    order = np.lexsort((findings.finding_id, findings.time, confidence, severity))
    return findings.iloc[order].reset_index(drop=True)


def by_number(connections: "pd.DataFrame") -> "pd.DataFrame":
    """Connections whose labels are their numbers: ``connections.loc[17]`` is connection 17."""
    import pandas as pd

    return connections.set_axis(pd.Index(connections.connection_id.to_numpy()), axis="index")
