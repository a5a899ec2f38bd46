"""Records whose integer fields are read as int64, whatever width they are stored in.

Numbers of 8, 16 and 32 bits save memory, and make traps of arithmetic: the difference of two unsigned numbers has no
sign, and a sum wraps. So a kernel that takes a record from ``intrinsics.record_at`` or ``item_at`` reads wide numbers,
and what it stores is cut to the width of the field. Compiled, such a record is its address (numba's types of
``numba_type``); interpreted, it is a view of the array's memory (``Records``).
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import numpy as np

Row = Any
"""A wide record: ``row.frame`` is a number."""

Rows = Any
"""An array of records."""

_LETTERS = {"i8": "q", "i4": "i", "i2": "h", "i1": "b", "u8": "Q", "u4": "I", "u2": "H", "u1": "B", "f8": "d"}


class Records:
    """An array of records for interpreted kernels: ``records[i].field`` is a Python number."""

    __slots__ = ("_bytes", "_size_of_one", "_view", "size")

    def __init__(self, array: Any) -> None:
        """``array``: contiguous, and of a dtype with fields; what is stored in a record is stored in it."""
        plain = array.view(np.ndarray)
        self.size = plain.size
        self._size_of_one = plain.itemsize
        self._view = _view_of(plain.dtype)
        self._bytes = memoryview(plain.reshape(-1).view(np.uint8))

    def __getitem__(self, index: int) -> Any:
        """The record at ``index``, which is not checked."""
        return self._view(self._bytes, index * self._size_of_one)


class _Record:
    __slots__ = ("_at", "_bytes")

    def __init__(self, room: memoryview, at: int) -> None:
        self._bytes = room
        self._at = at


@cache
def _view_of(dtype: np.dtype[Any]) -> type[_Record]:
    """A class with a property for each field."""
    fields = {name: _field(field[0], field[1]) for name, field in (dtype.fields or {}).items()}
    return type("Record", (_Record,), {"__slots__": (), **fields})


def _field(kind: np.dtype[Any], offset: int) -> property:
    letter, size = _LETTERS[kind.base.str[1:]], kind.itemsize
    if kind.subdtype is not None:

        def items(record: _Record) -> Any:
            begin = record._at + offset
            return record._bytes[begin : begin + size].cast(letter)  # type: ignore[call-overload]

        return property(items)
    form = struct.Struct(f"<{letter}")
    unpack, pack = form.unpack_from, form.pack_into
    mask = (1 << 8 * size) - 1

    def read(record: _Record) -> Any:
        return unpack(record._bytes, record._at + offset)[0]

    def store(record: _Record, value: Any) -> None:
        pack(record._bytes, record._at + offset, value)

    def store_cut(record: _Record, value: Any) -> None:
        pack(record._bytes, record._at + offset, int(value) & mask)

    return property(read, store_cut if kind.kind == "u" else store)


@cache
def numba_type(dtype: np.dtype[Any]) -> Any:
    """What numba calls a wide record of this dtype."""
    from numba.np.numpy_support import from_dtype

    return declare()(from_dtype(dtype))


@cache
def declare() -> type[Any]:
    """Tell numba of wide records, before it compiles: all but the width of a field is its own. Returns the type."""
    from llvmlite import ir
    from numba import extending
    from numba.core import types
    from numba.core.typing.templates import AttributeTemplate

    class Wide(types.Type):
        def __init__(self, record: Any) -> None:
            self.record = record
            super().__init__(f"Wide({record.name})")

    @extending.register_model(Wide)
    class Address(extending.models.PrimitiveModel):
        def __init__(self, dmm: Any, wide: Any) -> None:
            super().__init__(dmm, wide, ir.IntType(8).as_pointer())

    @extending.infer_getattr
    class Fields(AttributeTemplate):
        key = Wide

        def generic_resolve(self, wide: Any, name: str) -> Any:  # type: ignore[override]
            return _widened(wide.record.typeof(name)) if name in wide.record.fields else None

    _declare_access(Wide)
    return Wide


def _widened(kind: Any) -> Any:
    from numba.core import types

    return types.int64 if isinstance(kind, types.Integer | types.Boolean) and kind != types.uint64 else kind


def _declare_access(wide_type: type[Any]) -> None:
    """A field is read and stored as numba does it in its own records; then its number is made wide."""
    from numba import extending
    from numba.core import types
    from numba.core.typing.templates import signature

    def narrow(context: Any, builder: Any, wide: Any, address: Any) -> Any:
        return builder.bitcast(address, context.get_value_type(wide.record))

    @extending.lower_getattr_generic(wide_type)  # type: ignore[untyped-decorator]
    def read(context: Any, builder: Any, wide: Any, address: Any, name: str) -> Any:
        kind = wide.record.typeof(name)
        own = context.get_getattr(wide.record, name)
        value = own(context, builder, wide.record, narrow(context, builder, wide, address), name)
        return context.cast(builder, value, kind, _widened(kind))

    @extending.lower_setattr_generic(wide_type)  # type: ignore[untyped-decorator]
    def store(context: Any, builder: Any, sig: Any, args: Any, name: str) -> Any:
        wide, given = sig.args
        own = context.get_setattr(name, signature(types.void, wide.record, given))
        return own(builder, (narrow(context, builder, wide, args[0]), args[1]))
