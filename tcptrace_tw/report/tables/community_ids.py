"""Community IDs of many connections as a column: by a kernel, or by hashlib where none is at hand."""

import base64
import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tcptrace_tw.kernels import library, marks
from tcptrace_tw.measure.community_id import LENGTH, MAPPED, TCP, Tuples, scratch, write_ids
from tcptrace_tw.report.tables.buffers import strings
from tcptrace_tw.report.tables.records import records
from tcptrace_tw.schema.columns import CONNECTIONS

_IPV4 = MAPPED.to_bytes(12, "big")
_ENDS = ("orig_ip", "orig_port", "resp_ip", "resp_port")
_FEW = 2000
"""Up to this many connections, hashing one by one is as fast as a kernel."""


def community_ids(columns: dict[str, NDArray[Any]]) -> pa.StringArray:
    """The Community ID of each connection, from the columns of ``connections``."""
    tuples = tuples_of(columns)
    if tuples.orig_hi.size <= _FEW or not library.choose():
        return strings([_text(*row) for row in zip(*(column.tolist() for column in tuples), strict=True)])
    return ids_by_kernel(tuples, compiled=True)


def with_community_ids(connections: pa.Table) -> pa.Table:
    """The written table with its Community IDs, also where it was written without them."""
    at = connections.column_names.index("community_id")
    if connections["community_id"].null_count == 0:
        return connections
    chunks = []
    for rows in records(CONNECTIONS, connections, _ENDS):
        chunks.append(community_ids({name: rows[name].copy() for name in rows.dtype.names or ()}))
    made = pa.chunked_array(chunks, pa.string())
    return connections.set_column(at, connections.schema.field(at), made)


def tuples_of(columns: dict[str, NDArray[Any]]) -> Tuples:
    """The columns that the ids are made of."""
    return Tuples(*(columns[f"{end}_{name}"] for end in ("orig", "resp") for name in ("ip_hi", "ip_lo", "port")))


def ids_by_kernel(tuples: Tuples, *, compiled: bool) -> pa.StringArray:
    """The same by the kernel."""
    size = tuples.orig_hi.size
    text = np.empty((size, LENGTH), np.uint8)
    marks.load(write_ids, compiled=compiled)(tuples, scratch(), text)
    offsets = np.arange(0, (size + 1) * LENGTH, LENGTH, dtype=np.int32)
    return pa.StringArray.from_buffers(size, pa.py_buffer(offsets), pa.py_buffer(text))


def _text(*row: int) -> str:
    ends = [(_octets(*end[:2]), end[2].to_bytes(2, "big")) for end in (row[:3], row[3:])]
    if all(address.startswith(_IPV4) for address, _ in ends):
        ends = [(address.removeprefix(_IPV4), port) for address, port in ends]
    first, second = sorted(ends)
    message = bytes(2) + first[0] + second[0] + bytes((TCP, 0)) + first[1] + second[1]
    return "1:" + base64.b64encode(hashlib.sha1(message, usedforsecurity=False).digest()).decode()


def _octets(hi: int, lo: int) -> bytes:
    return hi.to_bytes(8, "big", signed=True) + lo.to_bytes(8, "big", signed=True)
