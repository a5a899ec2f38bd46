"""Where the records of the tcp room lie: one way to reach them, interpreted and compiled.

A kernel of this room takes the whole state as one argument. Interpreted it is a bundle of arrays. Compiled it is one
record that holds the small tables and the addresses of the pools, so that a step is called with a pointer; as a
bundle of arrays every call would hand over 150 words, which cost ten times what the steps themselves do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tcptrace_tw.flow import TUPLE
from tcptrace_tw.jit import native
from tcptrace_tw.spec.columns import CONNECTIONS, ODDITIES, RESETS, REUSES, STALE_SEGMENTS, TIME_WAIT, TRANSITIONS
from tcptrace_tw.tcp.state import (
    CONNECTION,
    DUPLICATE_PLACES,
    ODDITY,
    PARAMETERS,
    PENDING_CAUSE,
    REGISTERS,
    RESET,
    REUSE,
    SPAN,
    STALE,
    TCB,
)

POOLS: dict[str, np.dtype[Any]] = {
    "conns": CONNECTION,
    "tcbs": TCB,
    "causes": PENDING_CAUSE,
    "spans": SPAN,
    "reuses": REUSE,
    "stales": STALE,
    "resets": RESET,
    "oddities": ODDITY,
    "tuples": TUPLE,
    "out_connections": CONNECTIONS.dtype,
    "out_transitions": TRANSITIONS.dtype,
    "out_time_wait": TIME_WAIT.dtype,
    "out_reuses": REUSES.dtype,
    "out_stale": STALE_SEGMENTS.dtype,
    "out_resets": RESETS.dtype,
    "out_oddities": ODDITIES.dtype,
}


def desk_dtype(next_state: tuple[int, ...], syn_table: tuple[int, ...]) -> np.dtype[Any]:
    """The record that stands for the state in compiled kernels."""
    return np.dtype(
        [
            *((f"{name}_at", "i8") for name in (*POOLS, "heads", "released")),
            ("regs", "i8", REGISTERS),
            ("params", "i8", PARAMETERS),
            ("seen", "i8", DUPLICATE_PLACES),
            ("seen_time", "i8", DUPLICATE_PLACES),
            ("next_state", "u1", next_state),
            ("syn_table", "u1", syn_table),
        ]
    )


def _address(context: Any, builder: Any, desk: Any, desk_type: Any, field: str, index: Any, size: int) -> Any:
    """Machine code for: the address in ``desk.<field>_at`` plus ``index`` times ``size``."""
    from llvmlite import ir

    word = ir.IntType(64)
    place = builder.add(builder.ptrtoint(desk, word), word(desk_type.offset(f"{field}_at")))
    base = builder.load(builder.inttoptr(place, word.as_pointer()))
    return builder.add(base, builder.mul(index, word(size)))


def _record(field: str) -> Callable[[], Any]:
    """How numba reaches a record of a pool: its address is all that a record is."""

    def make() -> Any:
        from numba import types as numba_types
        from numba.extending import intrinsic
        from numba.np.numpy_support import from_dtype

        dtype = POOLS[field]
        record = from_dtype(dtype)

        def typed(typingctx: Any, st: Any, index: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                address = _address(context, builder, args[0], signature.args[0], field, args[1], dtype.itemsize)
                return builder.inttoptr(address, context.get_value_type(record))

            return record(st, numba_types.int64), code

        return intrinsic(typed)

    return make


def _word(field: str) -> Callable[[], Any]:
    """How numba reads an int32 of an array whose address the desk holds."""

    def make() -> Any:
        from llvmlite import ir
        from numba import types as numba_types
        from numba.extending import intrinsic

        def typed(typingctx: Any, st: Any, index: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                address = _address(context, builder, args[0], signature.args[0], field, args[1], 4)
                value = builder.load(builder.inttoptr(address, ir.IntType(32).as_pointer()))
                return builder.sext(value, ir.IntType(64))

            return numba_types.int64(st, numba_types.int64), code

        return intrinsic(typed)

    return make


def _set_word(field: str) -> Callable[[], Any]:
    """How numba writes an int32 of an array whose address the desk holds."""

    def make() -> Any:
        from llvmlite import ir
        from numba import types as numba_types
        from numba.extending import intrinsic

        def typed(typingctx: Any, st: Any, index: Any, value: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                address = _address(context, builder, args[0], signature.args[0], field, args[1], 4)
                small = builder.trunc(args[2], ir.IntType(32))
                builder.store(small, builder.inttoptr(address, ir.IntType(32).as_pointer()))
                return context.get_dummy_value()

            return numba_types.void(st, numba_types.int64, numba_types.int64), code

        return intrinsic(typed)

    return make


def _prefetch(fields: tuple[tuple[str, int, tuple[int, ...]], ...]) -> Callable[[], Any]:
    """How numba asks for cache lines ahead of time.

    For each pool: how many records belong to one index, and the offsets of the lines that are wanted.
    """

    def make() -> Any:
        from llvmlite import ir
        from numba import types as numba_types
        from numba.extending import intrinsic

        def typed(typingctx: Any, st: Any, index: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
                kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
                prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
                for field, records, lines in fields:
                    size = records * (POOLS[field].itemsize if field in POOLS else 4)
                    address = _address(context, builder, args[0], signature.args[0], field, args[1], size)
                    for line in lines:
                        place = builder.inttoptr(builder.add(address, ir.IntType(64)(line)), byte)
                        builder.call(prefetch, [place, flag(1), flag(3), flag(1)])
                return context.get_dummy_value()

            return numba_types.void(st, numba_types.int64), code

        return intrinsic(typed)

    return make


@native(_prefetch((("heads", 1, (0,)),)))
def prefetch_head(st: Any, slot: int) -> None:
    """Soon ``head_of(st, slot)`` will be asked for."""


@native(_prefetch((("conns", 1, (0, 64)), ("tcbs", 2, (0, 64, TCB.itemsize, TCB.itemsize + 64)))))
def prefetch_incarnation(st: Any, c: int) -> None:
    """Soon incarnation ``c`` and its endpoints will be asked for."""


@native(_record("conns"))
def conn_at(st: Any, c: int) -> Any:
    """Incarnation ``c``."""
    return st.conns[c]


@native(_record("tcbs"))
def tcb_at(st: Any, k: int) -> Any:
    """Endpoint ``k``."""
    return st.tcbs[k]


@native(_record("causes"))
def cause_at(st: Any, k: int) -> Any:
    """The causes of endpoint ``k``'s waiting receipts."""
    return st.causes[k]


@native(_record("spans"))
def span_at(st: Any, s: int) -> Any:
    """A TIME-WAIT span."""
    return st.spans[s]


@native(_record("reuses"))
def reuse_at(st: Any, r: int) -> Any:
    """The facts of a reuse."""
    return st.reuses[r]


@native(_record("stales"))
def stale_at(st: Any, s: int) -> Any:
    """The facts of a stale segment."""
    return st.stales[s]


@native(_record("resets"))
def reset_at(st: Any, s: int) -> Any:
    """The facts of a RST."""
    return st.resets[s]


@native(_record("oddities"))
def oddity_at(st: Any, s: int) -> Any:
    """What is rare about an endpoint."""
    return st.oddities[s]


@native(_record("tuples"))
def tuple_at(st: Any, slot: int) -> Any:
    """The key of a tuple."""
    return st.tuples[slot]


@native(_record("out_connections"))
def out_connection_at(st: Any, n: int) -> Any:
    """A row on its way out."""
    return st.out_connections[n]


@native(_record("out_transitions"))
def out_transition_at(st: Any, n: int) -> Any:
    """A row on its way out."""
    return st.out_transitions[n]


@native(_record("out_time_wait"))
def out_time_wait_at(st: Any, n: int) -> Any:
    """A row on its way out."""
    return st.out_time_wait[n]


@native(_record("out_reuses"))
def out_reuse_at(st: Any, n: int) -> Any:
    """A row on its way out."""
    return st.out_reuses[n]


@native(_record("out_stale"))
def out_stale_at(st: Any, n: int) -> Any:
    """A row on its way out."""
    return st.out_stale[n]


@native(_record("out_resets"))
def out_reset_at(st: Any, n: int) -> Any:
    """A row on its way out."""
    return st.out_resets[n]


@native(_record("out_oddities"))
def out_oddity_at(st: Any, n: int) -> Any:
    """A row on its way out."""
    return st.out_oddities[n]


@native(_word("heads"))
def head_of(st: Any, slot: int) -> int:
    """The newest incarnation of a tuple, or -1."""
    return int(st.heads[slot])


@native(_set_word("heads"))
def set_head(st: Any, slot: int, c: int) -> None:
    """Make ``c`` the newest incarnation of a tuple."""
    st.heads[slot] = c


@native(_set_word("released"))
def set_released(st: Any, n: int, slot: int) -> None:
    """Note a slot that nothing lives in any more."""
    st.released[n] = slot
