"""What a column and a table are: the numpy dtype, the Arrow field, the docs row and the check come from these records.

A kernel writes rows as numpy records (``Table.dtype``). An address takes two int64 fields, ``<name>_hi`` and
``<name>_lo`` (IPv4 as ``::ffff:a.b.c.d``). A column of words is the code of the word. ``null`` is the value
that stands for null in a record: -1 for ids, frames, times and ``_ns``; 255 for words.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from tcptrace_tw.schema.observed import BITS
from tcptrace_tw.schema.words import Vocabulary


class Column(NamedTuple):
    """One column.

    ``kind`` is one of ``id frame time ns i8 i4 u4 u2 u1 bool ip word text list``; the last two exist only in
    written tables, never in kernel rows.
    """

    name: str
    kind: str
    doc: str
    rfc: str = ""
    words: Vocabulary | None = None
    is_nullable: bool = False
    is_made: bool = False
    """Whether it is made from other columns when the table is written."""

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The numpy fields that hold this column in a kernel row."""
        if self.is_made:
            return []
        if self.kind == "ip":
            return [(f"{self.name}_hi", "i8"), (f"{self.name}_lo", "i8")]
        return [(self.name, _NUMPY[self.kind])] if self.kind in _NUMPY else []


_NUMPY = {
    "id": "i8", "frame": "i8", "time": "i8", "ns": "i8", "i8": "i8", "i4": "i4",
    "u4": "u4", "u2": "u2", "u1": "u1", "bool": "u1", "word": "u1",
}  # fmt: skip


class Table(NamedTuple):
    """One table: a name, the meaning of a row, and its columns in the order they are written."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def dtype(self) -> np.dtype:
        """The record of one kernel row, packed with the widest fields first so that all are aligned."""
        return _record(self.columns)

    def column(self, name: str) -> Column:
        """The column called ``name``; ``KeyError`` if there is none."""
        for c in self.columns:
            if c.name == name:
                return c
        raise KeyError(name)


@cache
def _record(columns: tuple[Column, ...]) -> np.dtype:
    fields = [f for c in columns for f in c.fields]
    fields.sort(key=lambda f: -int(f[1][1]))
    return np.dtype(fields, align=True)


def identifier(name: str, doc: str, null: bool = False) -> Column:
    """The number of a connection, a 4-tuple, a row."""
    return Column(name, "id", doc, is_nullable=null)


def frame(name: str, doc: str, null: bool = True) -> Column:
    """The number of a frame."""
    return Column(name, "frame", doc, is_nullable=null)


def moment(name: str, doc: str, null: bool = False) -> Column:
    """A time, in ns since 1970."""
    return Column(name, "time", doc, is_nullable=null)


def duration(name: str, doc: str) -> Column:
    """A duration in ns; its name ends in ``_ns``."""
    return Column(name, "ns", doc, is_nullable=True)


def word(name: str, words: Vocabulary, doc: str, null: bool = False, rfc: str = "") -> Column:
    """A word of a vocabulary."""
    return Column(name, "word", doc, rfc, words, null)


def flag(name: str, doc: str) -> Column:
    """Yes or no."""
    return Column(name, "bool", doc)


PEERS = (
    Column("ip", "ip", "Address of the endpoint that the row is about."),
    Column("port", "u2", "Port of the endpoint that the row is about."),
    Column("peer_ip", "ip", "Address of its peer."),
    Column("peer_port", "u2", "Port of its peer."),
)

OBSERVED = Column("observed", "u1", f"What could be seen of the connection, the sum of: {BITS}.")
