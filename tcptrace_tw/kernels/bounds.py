"""Checked machine code: every index of a kernel is compared with the room of its array.

Ordinary machine code compares nothing: the rooms are reserved before a kernel runs, for the most that it can write.
Whether that is true shows ``TCPTRACE_TW_KERNELS=checked``. Then the kernels are compiled with comparisons, for this
process alone, and are several times slower; a kernel that leaves an array prints which one, and ends with an error
before it touches what is behind. An index below zero is an error, too: Python would count it from the end.
"""

from __future__ import annotations

import functools
import os
from typing import Any

IS_CHECKED = os.environ.get("TCPTRACE_TW_KERNELS") == "checked"
"""Whether kernels are compiled with comparisons; decided when the package is imported."""

STDERR = 2


class OutOfRoom(IndexError):
    """A kernel reached beyond an array: a bug of the kernel, or of what reserves its memory."""


def within(name: str, index: int, room: int, size: int = 1) -> int:
    """The index, if ``size`` elements from there on are in the room; for interpreted kernels."""
    if 0 <= index <= room - size:
        return index
    raise OutOfRoom(f"{name}[{index}] is out of its room of {room}")


def compare(context: Any, builder: Any, name: str, index: Any, room: Any, size: int = 1) -> None:
    """Machine code for the same; nothing where the kernels are not checked. ``room`` makes the code that loads it."""
    if not IS_CHECKED:
        return
    from llvmlite import ir
    from numba.core import cgutils

    word = ir.IntType(64)
    last = builder.sub(room(), word(size))
    is_out = builder.or_(builder.icmp_signed("<", index, word(0)), builder.icmp_signed(">", index, last))
    with cgutils.if_unlikely(builder, is_out):
        _tell(builder, f"{name}[%lld] is out of its room of %lld, in {builder.function.name}", index, room())
        context.call_conv.return_user_exc(builder, OutOfRoom, (f"{name} is left",))


def _tell(builder: Any, text: str, *numbers: Any) -> None:
    """Machine code that prints a line on stderr."""
    from llvmlite import ir
    from numba.core import cgutils

    number, letters = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(number, [number, letters], var_arg=True)
    dprintf = cgutils.get_or_insert_function(builder.module, kind, "dprintf")
    line = cgutils.global_constant(builder, "told", cgutils.make_bytearray(f"tcptrace-tw: {text}\n\0".encode()))
    builder.call(dprintf, [number(STDERR), builder.bitcast(line, letters), *numbers])


@functools.cache
def check_arrays() -> None:
    """From now on numba compiles the indices of plain arrays so, too: it would take those below zero from the end."""
    from numba.core import cgutils
    from numba.core import types as numba_types
    from numba.np import arrayobj

    def as_it_is(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
        return context.cast(builder, index, kind, numba_types.intp)

    def do_boundscheck(context: Any, builder: Any, index: Any, size: Any, axis: Any = None) -> None:
        compare(context, builder, f"axis {axis} of an array", index, lambda: size)

    arrayobj.fix_integer_index = as_it_is
    cgutils.do_boundscheck = do_boundscheck
