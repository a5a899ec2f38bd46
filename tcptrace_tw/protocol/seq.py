"""Arithmetic modulo 2**32 for sequence numbers and timestamps (RFC 9293 3.4, RFC 7323 5.2).

Values lie in 0 .. 2**32 - 1; ``seq_diff`` is signed. Every step is taken in int64: mixing numba's uint64 with
int64 would give a float, and numpy's uint32 would wrap on its own.
"""

from typing import Any

from tcptrace_tw.kernels.marks import kernel

MASK = 0xFFFFFFFF
HALF = 0x80000000


@kernel
def seq_diff(a: Any, b: Any) -> Any:
    """How far ``a`` is ahead of ``b``: a value in -2**31 .. 2**31 - 1."""
    return ((a - b + HALF) & MASK) - HALF


@kernel
def seq_le(a: Any, b: Any) -> Any:
    """Whether ``a`` comes before ``b`` or equals it."""
    return seq_diff(a, b) <= 0


@kernel
def seq_gt(a: Any, b: Any) -> Any:
    """Whether ``a`` comes after ``b``."""
    return seq_diff(a, b) > 0


@kernel
def seq_ge(a: Any, b: Any) -> Any:
    """Whether ``a`` comes after ``b`` or equals it."""
    return seq_diff(a, b) >= 0
