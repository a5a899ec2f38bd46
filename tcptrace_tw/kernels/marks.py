"""One source, two speeds: kernels are plain Python functions that numba can also compile.

The marks change nothing: an interpreted kernel calls its helpers as ordinary functions. ``kernel`` marks a loop or one
of its steps, ``entry`` a kernel that Python calls. ``python -m tcptrace_tw.kernels build`` compiles every entry kernel
for the kinds of arguments that its mark declares, and ``load`` hands out either the function itself or the machine
code from the library.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from tcptrace_tw.kernels.kinds import Kind

Function = TypeVar("Function", bound=Callable[..., Any])


class Lowering(NamedTuple):
    """What compiled kernels do in the place of a Python function; made by ``intrinsics``."""

    signature: Callable[..., Any]
    """From numba's types of the arguments: numba's signature."""
    code: Callable[..., Any]
    """From numba's context, builder, signature and values: the value of LLVM that is returned."""


KERNELS: dict[Callable[..., Any], bool] = {}
"""Every marked function, and whether it is always compiled into its callers."""

ENTRIES: dict[Callable[..., Any], tuple[Kind, ...]] = {}
"""The kernels that Python calls, and the kinds of their arguments."""

INTRINSICS: dict[Callable[..., Any], Callable[[], Lowering]] = {}

LAZY_KERNELS: dict[Callable[..., Any], Callable[[], Callable[..., Any]]] = {}


def kernel(function: Function) -> Function:
    """Mark a hot loop or one of its steps. It only borrows arrays: it cannot allocate one."""
    KERNELS[function] = False
    return function


def inlined(function: Function) -> Function:
    """Mark a small step of a kernel that is always compiled into its callers.

    A call hands over every array as seven words; for a step that reads a few bytes that costs more than the step.
    """
    KERNELS[function] = True
    return function


def entry(*kinds: Kind) -> Callable[[Function], Function]:
    """Mark a kernel that Python calls, with the kinds of its arguments."""

    def mark(function: Function) -> Function:
        ENTRIES[function] = kinds
        return kernel(function)

    return mark


def intrinsic(make: Callable[[], Lowering]) -> Callable[[Function], Function]:
    """Mark a function that compiled kernels replace by what ``make()`` returns; interpreted ones call the function."""

    def mark(function: Function) -> Function:
        INTRINSICS[function] = make
        return function

    return mark


def lazy_kernel(make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A kernel that ``make()`` writes when it is compiled, or first called interpreted."""
    make_once = functools.cache(make)

    def stand_in(*arguments: Any) -> Any:
        return make_once()(*arguments)

    LAZY_KERNELS[stand_in] = make_once
    return stand_in


def name_of(function: Callable[..., Any]) -> str:
    """How the library calls an entry kernel: ``flow.assign_slots``."""
    return f"{function.__module__.removeprefix('tcptrace_tw.')}.{function.__name__}"


def load(function: Function, *, compiled: bool) -> Function:
    """Return the kernel to call: the function itself, or its machine code."""
    return load_named(name_of(function), compiled=True) if compiled else function  # type: ignore[return-value]


def load_named(name: str, *, compiled: bool) -> Callable[..., Any]:
    """The same by a name (see ``name_of``): the module is not imported where its machine code is called."""
    if compiled:
        from tcptrace_tw.kernels.library import compiled_kernel

        return compiled_kernel(name)
    module, _, own = name.rpartition(".")
    kernel: Callable[..., Any] = getattr(importlib.import_module(f"tcptrace_tw.{module}"), own)
    return kernel
