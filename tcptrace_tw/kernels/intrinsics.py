"""How compiled kernels reach records by their addresses: what numba calls in the place of a Python function.

The kernel state is a record with an int64 field ``<field>_at`` for every array whose address it knows. Where indices
are checked (see ``bounds``), it also has ``<field>_room``, how many elements there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tcptrace_tw.kernels.bounds import compare, within
from tcptrace_tw.kernels.marks import Lowering, intrinsic
from tcptrace_tw.kernels.wide_records import Records, numba_type


def _address(context: Any, builder: Any, kernel_state: Any, state_type: Any, field: str, index: Any, size: int) -> Any:
    """Machine code for: the address in ``kernel_state.<field>_at`` plus ``index`` times ``size``."""
    from llvmlite import ir

    base = _word_of(builder, kernel_state, state_type, f"{field}_at")
    return builder.add(base, builder.mul(index, ir.IntType(64)(size)))


def _checked_address(
    context: Any, builder: Any, kernel_state: Any, state_type: Any, field: str, index: Any, size: int, count: int = 1
) -> Any:
    """The same; where indices are checked, ``count`` elements from there on have to be in the room."""
    compare(context, builder, field, index, lambda: _word_of(builder, kernel_state, state_type, f"{field}_room"), count)
    return _address(context, builder, kernel_state, state_type, field, index, size)


def _word_of(builder: Any, kernel_state: Any, state_type: Any, name: str) -> Any:
    """Machine code for: an int64 field of the kernel_state."""
    from llvmlite import ir

    word = ir.IntType(64)
    place = builder.add(builder.ptrtoint(kernel_state, word), word(state_type.offset(name)))
    return builder.load(builder.inttoptr(place, word.as_pointer()))


def record_at(field: str, dtype: np.dtype[Any]) -> Callable[[], Lowering]:
    """How numba reaches a record of a pool: its address is all that a record is."""

    def make() -> Any:
        from numba import types as numba_types

        record = numba_type(dtype)

        def signature(st: Any, index: Any) -> Any:
            return record(st, numba_types.int64)

        def code(context: Any, builder: Any, types: Any, args: Any) -> Any:
            address = _checked_address(context, builder, args[0], types.args[0], field, args[1], dtype.itemsize)
            return builder.inttoptr(address, context.get_value_type(record))

        return Lowering(signature, code)

    return make


def number_at(field: str, bits: int, size: int) -> Callable[[], Lowering]:
    """How numba reads a signed number of ``bits`` bits; ``size`` bytes belong to one index, which it may overlap."""

    def make() -> Any:
        from llvmlite import ir
        from numba import types as numba_types

        def signature(st: Any, index: Any) -> Any:
            return numba_types.int64(st, numba_types.int64)

        def code(context: Any, builder: Any, types: Any, args: Any) -> Any:
            state_type, count = types.args[0], -(-bits // (8 * size))
            address = _checked_address(context, builder, args[0], state_type, field, args[1], size, count)
            value = builder.load(builder.inttoptr(address, ir.IntType(bits).as_pointer()), align=size)
            return builder.sext(value, ir.IntType(64)) if bits < 64 else value

        return Lowering(signature, code)

    return make


def set_number(field: str, bits: int, size: int) -> Callable[[], Lowering]:
    """How numba writes the lowest ``bits`` bits of a number; see ``number_at``."""

    def make() -> Any:
        from llvmlite import ir
        from numba import types as numba_types

        def signature(st: Any, index: Any, value: Any) -> Any:
            return numba_types.void(st, numba_types.int64, numba_types.int64)

        def code(context: Any, builder: Any, types: Any, args: Any) -> Any:
            state_type, count = types.args[0], -(-bits // (8 * size))
            address = _checked_address(context, builder, args[0], state_type, field, args[1], size, count)
            small = builder.trunc(args[2], ir.IntType(bits)) if bits < 64 else args[2]
            builder.store(small, builder.inttoptr(address, ir.IntType(bits).as_pointer()), align=size)
            return context.get_dummy_value()

        return Lowering(signature, code)

    return make


def prefetch_item() -> Lowering:
    """How numba asks for an element of an array ahead of time: a cache line for every 64 bytes of it."""
    from llvmlite import ir
    from numba import types as numba_types
    from numba.np.numpy_support import as_dtype

    def signature(array: Any, index: Any) -> Any:
        return numba_types.void(array, numba_types.int64)

    def code(context: Any, builder: Any, types: Any, args: Any) -> Any:
        view = context.make_array(types.args[0])(context, builder, args[0])
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        place = builder.add(builder.ptrtoint(view.data, ir.IntType(64)), builder.mul(args[1], view.itemsize))
        for line in range(0, as_dtype(types.args[0].dtype).itemsize, 64):
            at = builder.inttoptr(builder.add(place, ir.IntType(64)(line)), byte)
            builder.call(ask, [at, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return Lowering(signature, code)


def prefetch(fields: tuple[tuple[str, int, tuple[int, ...]], ...]) -> Callable[[], Lowering]:
    """How numba asks for cache lines ahead of time.

    For each array: how many bytes belong to one index, and the offsets of the lines that are wanted.
    """

    def make() -> Any:
        from llvmlite import ir
        from numba import types as numba_types

        def signature(st: Any, index: Any) -> Any:
            return numba_types.void(st, numba_types.int64)

        def code(context: Any, builder: Any, types: Any, args: Any) -> Any:
            byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
            ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
            for field, size, lines in fields:
                address = _address(context, builder, args[0], types.args[0], field, args[1], size)
                for line in lines:
                    place = builder.inttoptr(builder.add(address, ir.IntType(64)(line)), byte)
                    builder.call(ask, [place, flag(1), flag(3), flag(1)])
            return context.get_dummy_value()

        return Lowering(signature, code)

    return make


def item_at() -> Lowering:
    """How numba takes a record of an array: its address is all that a record is."""
    from llvmlite import ir
    from numba import types as numba_types
    from numba.np.numpy_support import as_dtype

    def signature(array: Any, index: Any) -> Any:
        return numba_type(as_dtype(array.dtype))(array, numba_types.int64)

    def code(context: Any, builder: Any, types: Any, args: Any) -> Any:
        view = context.make_array(types.args[0])(context, builder, args[0])
        size = ir.IntType(64)(types.args[0].dtype.size)
        compare(context, builder, "an array", args[1], lambda: builder.extract_value(view.shape, 0))
        place = builder.add(builder.ptrtoint(view.data, ir.IntType(64)), builder.mul(args[1], size))
        return builder.inttoptr(place, context.get_value_type(types.return_type))

    return Lowering(signature, code)


@intrinsic(item_at)
def record_of(array: Any, i: Any) -> Any:
    """Record ``i`` of a contiguous array: its integers are read as int64 (see ``wide_records``)."""
    return Records(array)[within("an array", i, array.size)]
