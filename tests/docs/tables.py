"""The tables and their columns, from ``schema/tables``."""

from tcptrace_tw.schema.columns import SCHEMA_VERSION, TABLES, Column, Table
from tests.docs.markdown import code, table, yes

_HIDDEN = frozenset({"history_lo", "history_hi", "scope"})
"""Columns that kernels keep for others and that are not written."""

_ARROW = {
    "id": "int64", "frame": "int64", "time": "timestamp[ns, UTC]", "ns": "int64, nanoseconds", "i8": "int64",
    "i4": "int32", "u4": "uint32", "u2": "uint16", "u1": "uint8", "bool": "bool", "ip": "string", "word": "word",
    "text": "string", "list": "list of int64",
}  # fmt: skip


def page() -> str:
    """All tables."""
    text = "# Tables\n\n"
    text += (
        f"`tcptrace-tw analyze CAPTURE -o DIR` writes these tables as Parquet, schema version {SCHEMA_VERSION}; "
        "`Trace.findings`, `Trace.connections` and so on are the same rows as pandas DataFrames.\n"
        "`orig` is the endpoint that sent the first SYN and `resp` the other, as in Zeek's conn.log.\n"
        "A frame is the number that Wireshark shows; with several files there is a `file` column beside it.\n"
        "Times are in UTC, durations are nanoseconds in columns that end in `_ns`, words are dictionary-encoded "
        "strings of a closed vocabulary.\n"
    )
    return text + "".join(section(each) for each in TABLES)


def section(each: Table) -> str:
    """One table."""
    rows = [
        (code(column.name), _type(column), yes(column.is_nullable), _meaning(column))
        for column in each.columns
        if column.name not in _HIDDEN
    ]
    return f"\n## {each.name}\n\nOne row per {each.row}.\n\n" + table(
        ("column", "type", "may be null", "meaning"), rows
    )


def _type(column: Column) -> str:
    return _ARROW.get(column.kind, column.kind)


def _meaning(column: Column) -> str:
    text = column.doc
    if column.words is not None:
        text += " One of " + ", ".join(code(word) for word in column.words.words) + "."
    return f"{text} ({column.rfc})" if column.rfc else text
