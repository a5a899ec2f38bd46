"""The kinds of arguments that an entry kernel takes, as data: what is compiled, and what a call is checked against.

A kind has a spelling, one text for each of its parts, which the index of the library holds and which
``calls.flatten`` makes of every argument; and words of eight bytes, in which the argument is handed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Scalar:
    """A number: ``letter`` is ``i`` (64 bits), ``b`` (bool) or ``f`` (64 bits)."""

    letter: str

    def spelling(self) -> Iterator[str]:
        """One text."""
        yield self.letter

    def words(self) -> str:
        """One letter."""
        return self.letter


INTEGER, BOOLEAN, FLOAT = Scalar("i"), Scalar("b"), Scalar("f")


@dataclass(frozen=True)
class Array:
    """An array that may be written; ``layout``: ``C``, or ``A`` for a column of a larger array (any strides)."""

    dtype: Any
    ndim: int = 1
    layout: str = "C"

    def spelling(self) -> Iterator[str]:
        """One text."""
        yield array_kind(spell(np.dtype(self.dtype)), self.ndim, self.layout, is_writable=True)

    def words(self) -> str:
        """Two pointers to owners, size, size of an item, address, and the shape and the strides."""
        return "i" * (5 + 2 * self.ndim)


@dataclass(frozen=True)
class Record:
    """One record, handed over by its address."""

    dtype: np.dtype[Any]

    def spelling(self) -> Iterator[str]:
        """One text."""
        yield spell(self.dtype)

    def words(self) -> str:
        """The address."""
        return "i"


@dataclass(frozen=True)
class Bundle:
    """A named tuple; its fields are handed over one after the other."""

    of: type[Any]
    fields: tuple[Kind, ...]

    def spelling(self) -> Iterator[str]:
        """The name of the tuple, then its fields."""
        yield f"{self.of.__name__}{len(self.fields)}"
        for field in self.fields:
            yield from field.spelling()

    def words(self) -> str:
        """Those of the fields."""
        return "".join(field.words() for field in self.fields)


Kind = Scalar | Array | Record | Bundle


def bundle(of: type[Any], **fields: Kind) -> Bundle:
    """The kind of a named tuple; ``fields`` are named as in the tuple, and in its order."""
    names: tuple[str, ...] = of._fields
    if tuple(fields) != names:
        raise TypeError(f"{of.__name__} has the fields {', '.join(names)}, not {', '.join(fields)}")
    return Bundle(of, tuple(fields.values()))


def array_kind(element: str, ndim: int, layout: str, *, is_writable: bool) -> str:
    """The spelling of an array; ``r`` at the end where it is read-only."""
    return f"{element} {ndim}{layout}{'' if is_writable else 'r'}"


def spell(dtype: np.dtype[Any]) -> str:
    """What decides how a kernel reaches the elements; ``str(dtype)`` takes three times as long.

    >>> spell(np.dtype([("a", "i8"), ("b", "u1", 4)]))
    '{a 0 <i8,b 8 |u1(4,)}12'
    """
    if dtype.fields is not None:
        fields = [f"{name} {field[1]} {spell(field[0])}" for name, field in dtype.fields.items()]
        return f"{{{','.join(fields)}}}{dtype.itemsize}"
    return dtype.str if dtype.subdtype is None else f"{spell(dtype.base)}{dtype.shape}"
