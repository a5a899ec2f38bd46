"""The tables of the contract as Arrow schemas, made from ``schema.columns``."""

import pyarrow as pa

from tcptrace_tw.schema.columns import Column, Table

WORD = pa.dictionary(pa.int32(), pa.string())
TIME = pa.timestamp("ns", tz="UTC")

_TYPES = {
    "id": pa.int64(), "frame": pa.int64(), "time": TIME, "ns": pa.int64(), "i8": pa.int64(), "i4": pa.int32(),
    "u4": pa.uint32(), "u2": pa.uint16(), "u1": pa.uint8(), "bool": pa.bool_(), "ip": WORD, "word": WORD,
    "text": pa.string(),
}  # fmt: skip

FILE = pa.int32()
FRAMES = pa.list_(pa.field("element", pa.int64(), nullable=False))
CAVEATS = pa.list_(pa.field("element", pa.string(), nullable=False))

FEW_WORDS = frozenset({"conn_state", "history", "rule", "name", "rival"})
"""Text columns with few distinct values: written as dictionaries, like words."""

HIDDEN = frozenset({"history_lo", "history_hi"})
"""Columns of kernel rows that a written table does not have: ``history`` says the same."""


def file_column(name: str) -> str:
    """The column that says in which file a frame is: ``syn_frame`` has ``syn_file``, ``frames`` has ``files``."""
    return name.replace("frame", "file")


def fields_of(column: Column, several_files: bool) -> list[pa.Field]:
    """The Arrow fields of one column: one, or two for a frame where several files were read."""
    docs = {"doc": column.doc, "rfc": column.rfc} if column.rfc else {"doc": column.doc}
    field = pa.field(column.name, _type(column), column.is_nullable or column.kind == "list", docs)
    if several_files and (column.kind == "frame" or column.name == "frames"):
        kind = pa.list_(FILE) if column.kind == "list" else FILE
        return [field, pa.field(file_column(column.name), kind, field.nullable, {"doc": "Index of the file."})]
    return [field]


def schema(table: Table, several_files: bool = False) -> pa.Schema:
    """The schema of one written table."""
    columns = [c for c in table.columns if c.name not in HIDDEN]
    return pa.schema([f for c in columns for f in fields_of(c, several_files)])


def dictionary_columns(arrow: pa.Schema) -> list[str]:
    """The columns to write with a dictionary: words, addresses and caveats."""
    found = [f.name for f in arrow if pa.types.is_dictionary(f.type)]
    return [*found, "caveats.list.element"] if "caveats" in arrow.names else found


def encodings(arrow: pa.Schema) -> dict[str, str]:
    """DELTA_BINARY_PACKED for integers and times: they rise or stay, and the deltas are small."""
    small = {f.name: "DELTA_BINARY_PACKED" for f in arrow if pa.types.is_integer(f.type) or f.type == TIME}
    if "frames" in arrow.names:
        small["frames.list.element"] = "DELTA_BINARY_PACKED"
    return small


def compressions(arrow: pa.Schema) -> dict[str, str]:
    """How the pages of each column are compressed: zstd takes little off what is packed bit by bit already."""
    leaves = [leaf for f in arrow for leaf in _LEAVES.get(f.name, (f.name,))]
    packed = {f.name for f in arrow if f.type in (pa.int64(), TIME) or pa.types.is_dictionary(f.type)}
    return {leaf: "none" if leaf in packed | _PACKED else "zstd" for leaf in leaves}


_LEAVES = {
    "frames": ("frames.list.element",),
    "files": ("files.list.element",),
    "caveats": ("caveats.list.element",),
}
"""What Parquet calls the values of nested columns."""

_PACKED = {"frames.list.element", "community_id"}
"""More columns without compression: the second is the text of a hash."""


def _type(column: Column) -> pa.DataType:
    if column.kind == "list":
        return FRAMES if column.name == "frames" else CAVEATS
    if column.name in FEW_WORDS:
        return WORD
    return _TYPES[column.kind]
