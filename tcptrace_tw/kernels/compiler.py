"""From marked functions to object files: what numba is asked for, and what is made of its answer.

Only what numba documents is used: ``register_jitable`` and ``overload`` for the steps, ``type_callable`` and
``lower_builtin`` for the intrinsics, ``inspect_llvm`` for the code. The code is optimized as a whole and emitted again,
as position-independent code for the plain processor of an architecture: code for this machine's own processor is not
faster.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

import numpy as np

from tcptrace_tw.kernels import bounds, marks, wide_records
from tcptrace_tw.kernels.kinds import Array, Bundle, Kind, Record, Scalar

PROCESSORS = {"x86_64": "x86-64", "AMD64": "x86-64", "aarch64": "generic", "arm64": "generic"}
"""The least processor of each architecture, as LLVM calls it."""

_OPTIONS = {"_nrt": False, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""``error_model`` drops the checks of divisions. ``_nrt`` is off because a kernel only borrows arrays: counting
references took half of the decoder's time. No wrappers: neither Python nor C calls a step."""

_RESULTS = {"int64": "i", "uint64": "u", "bool": "b", "boolean": "b", "float64": "f"}

FROM_LIBC = frozenset({"memset", "memcpy", "memmove", "dprintf"})
"""What the machine code may call."""


class Unsupported(Exception):
    """A kernel cannot go into a library: what it does that the library has no means for."""


class Compiled(NamedTuple):
    """An entry kernel as an object file."""

    name: str
    symbol: str
    kinds: tuple[str, ...]
    result: str
    """One letter for each value that is returned, after ``(`` if it is a tuple."""
    code: bytes


def compile_entry(name: str) -> Compiled:
    """Compile the entry kernel of this name (``marks.name_of``)."""
    function = {marks.name_of(each): each for each in marks.ENTRIES}[name]
    return compile_function(function, marks.ENTRIES[function])


def compile_function(function: Callable[..., Any], kinds: tuple[Kind, ...]) -> Compiled:
    """Compile a kernel for these kinds of arguments; raises ``Unsupported``."""
    prepare()
    import numba

    wrap: Any = numba.njit
    types = tuple(_type_of(kind) for kind in kinds)
    dispatcher = wrap(**_options())(function)
    dispatcher.compile(types)
    done = dispatcher.overloads[types]
    name = marks.name_of(function)
    symbol = f"tcptrace_tw_{name.replace('.', '_')}"
    words = "".join(kind.words() for kind in kinds)
    code = _emit(dispatcher.inspect_llvm(types), done.fndesc.llvm_func_name, symbol, words)
    spelling = tuple(text for kind in kinds for text in kind.spelling())
    return Compiled(name, symbol, spelling, _result(done.signature.return_type), code)


def processor() -> str:
    """The plain processor of this machine's architecture."""
    machine = platform.machine()
    if machine not in PROCESSORS:
        raise Unsupported(f"kernels are compiled for {', '.join(PROCESSORS)}, not for {machine}")
    return PROCESSORS[machine]


@cache
def prepare() -> None:
    """Tell numba, before it is imported, which processor; then all kernels, steps and intrinsics."""
    os.environ.update(NUMBA_CPU_NAME=processor(), NUMBA_CPU_FEATURES="")
    from numba.extending import overload, register_jitable

    if bounds.IS_CHECKED:
        bounds.check_arrays()
    wide_records.declare()
    for function, is_inlined in marks.KERNELS.items():
        register_jitable(**_options(is_inlined))(function)
    for stand_in, make in marks.LAZY_KERNELS.items():
        overload(stand_in, jit_options=cast(Any, _options()), strict=False)(_always(make))
    for function, lowering in marks.INTRINSICS.items():
        _register_intrinsic(function, lowering())


def _options(is_inlined: bool = False) -> dict[str, Any]:
    return {**_OPTIONS, "boundscheck": bounds.IS_CHECKED, **({"forceinline": True} if is_inlined else {})}


def _always(make: Callable[[], Any]) -> Callable[..., Any]:
    return lambda *arguments: make()


def _register_intrinsic(function: Callable[..., Any], lowering: marks.Lowering) -> None:
    from numba import extending
    from numba.core import types

    of: Any = extending.type_callable(cast(Any, function))
    of(_taking_context(lowering.signature))
    extending.lower_builtin(function, *[types.Any] * function.__code__.co_argcount)(lowering.code)


def _taking_context(signature: Callable[..., Any]) -> Callable[..., Any]:
    def typed(context: Any) -> Callable[..., Any]:
        return signature

    return typed


def _type_of(kind: Kind) -> Any:
    """As numba calls it."""
    from numba.core import types
    from numba.np.numpy_support import from_dtype

    numba_types: Any = types
    match kind:
        case Scalar(letter):
            return {"i": types.int64, "b": types.boolean, "f": types.float64}[letter]
        case Array(dtype, ndim, layout):
            return numba_types.Array(from_dtype(np.dtype(dtype)), ndim, layout)
        case Record(dtype):
            return from_dtype(dtype)
        case Bundle(of, fields):
            parts = [_type_of(field) for field in fields]
            if len(set(parts)) == 1:
                return numba_types.NamedUniTuple(parts[0], len(parts), of)
            return numba_types.NamedTuple(parts, of)


def _result(kind: Any) -> str:
    from numba.core import types

    if isinstance(kind, types.NoneType):
        return ""
    parts = list(cast(Any, kind)) if isinstance(kind, types.BaseTuple) else [kind]
    try:
        return ("(" if isinstance(kind, types.BaseTuple) else "") + "".join(_RESULTS[str(part)] for part in parts)
    except KeyError as missing:
        raise Unsupported(f"a kernel returns {missing}") from None


def _emit(text: str, inner: str, symbol: str, words: str) -> bytes:
    """An object file of a module, in which only the trampoline ``symbol`` can be seen from outside."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    kernel = llvm.parse_assembly(text).get_function(inner)
    trampoline = _trampoline(inner, symbol, [str(argument.type) for argument in kernel.arguments], words)
    module = llvm.parse_assembly(text + trampoline)
    _hide(module, symbol)
    module.verify()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(cpu=processor(), opt=3, reloc="pic", codemodel="default")
    _optimize(module, machine)
    return bytes(machine.emit_object(module))


def _optimize(module: Any, machine: Any) -> None:
    """Optimize the steps together, once more: now that nobody else can call them, LLVM folds what numba must keep.

    That is a step with one caller, a status that is always the same, an argument that nobody reads.
    """
    from llvmlite import binding as llvm

    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)


def _hide(module: Any, symbol: str) -> None:
    from llvmlite import binding as llvm

    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != symbol:
            value.linkage = llvm.Linkage.internal
        elif value.is_declaration and not value.name.startswith("llvm.") and value.name not in FROM_LIBC:
            raise Unsupported(f"{symbol} calls {value.name}, which is in no library that it may need")


def _trampoline(inner: str, symbol: str, types: list[str], words: str) -> str:
    """A function like the kernel that finds its arguments at a pointer, each in eight bytes (least byte first)."""
    result, exception, *others = types
    if len(others) != len(words):
        raise Unsupported(f"{symbol} takes {len(others)} words, and its kinds have {len(words)}")
    lines, arguments = [], [f"{result} %result", f"{exception} %exception"]
    for n, kind in enumerate(others):
        lines.append(f"  %p{n} = getelementptr i64, ptr %words, i64 {n}")
        lines.append(f"  %a{n} = load {kind}, ptr %p{n}, align 8")
        arguments.append(f"{kind} %a{n}")
    head = f"define i32 @{symbol}({result} %result, {exception} %exception, ptr %words) {{"
    call = f'  %status = call i32 @"{inner}"({", ".join(arguments)})'
    return "\n".join(["", head, *lines, call, "  ret i32 %status", "}", ""])
