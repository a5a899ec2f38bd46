"""Machine code of kernels without numba: taken from the compiler once, stored as one small file each, called by ctypes.

numba is the compiler and nothing else. To import it, and to let it find what it has cached, takes longer than the
analysis of a million segments; to load an object file takes a millisecond. The functions keep numba's own calling
convention (``numba.core.callconv.CPUCallConv``): a pointer to the result, a pointer for exceptions, then every
argument, an array as seven words or more. To have ctypes pass two hundred words takes longer than many a kernel runs,
so each has a way in: a function that takes a pointer to the words and hands them over.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import hashlib
import json
import re
import struct
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from tcptrace_tw.errors import UsageError

_ONE_AT_A_TIME = threading.RLock()
"""Held by whoever compiles or loads a kernel: the rooms run in threads of their own."""

_OK = (0, -2)  # RETCODE_OK, RETCODE_NONE
_INTEGER, _FLOAT = struct.Struct("=q"), struct.Struct("=d")
_VALUES = {"i": ctypes.c_int64, "u": ctypes.c_uint64, "b": ctypes.c_int8, "f": ctypes.c_double}
_RESULTS = {"int64": "i", "uint64": "u", "bool": "b", "boolean": "b", "float64": "f"}
_NEEDS_NUMBA = re.compile(rb"\0_?(NRT_|numba_|Py_?[A-Z][A-Za-z]{2})")
"""Symbols that only a process with numba in it can resolve."""


class Unsupported(Exception):
    """A kernel that must be called through numba after all."""


class Code(NamedTuple):
    """One kernel, compiled for one kind of arguments."""

    symbol: str
    result: str
    """One letter of ``_VALUES`` for each value that is returned; a tuple if there are several."""
    object: bytes
    way_in: bytes
    """The object file of the function ``_WAY_IN`` before the symbol."""


class Entry:
    """A compiled kernel as Python calls it; compiled when it is called, unless it lies in the folder."""

    def __init__(self, function: Callable[..., Any], compile_: Callable[[], Any], folder: Path | None) -> None:
        """``compile_()`` gives numba's dispatcher, made without wrappers."""
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._compile = compile_
        self._folder = folder
        self._calls: dict[tuple[str, ...], Callable[[bytes], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Call the kernel."""
        kinds: list[str] = []
        words: list[bytes] = []
        _flatten(arguments, kinds, words)
        call = self._calls.get(tuple(kinds)) or self._bound(tuple(kinds), arguments)
        return call(b"".join(words))

    def _bound(self, kinds: tuple[str, ...], arguments: tuple[Any, ...]) -> Callable[[bytes], Any]:
        with _ONE_AT_A_TIME:
            if kinds not in self._calls:
                self._calls[kinds] = _bind(self._find(",".join(kinds), arguments))
        return self._calls[kinds]

    def _find(self, kind: str, arguments: tuple[Any, ...]) -> Code:
        path = self._folder / _file_name(self._name, kind) if self._folder is not None else None
        code = _read(path) if path is not None else None
        if code is None:
            with _without_collector():
                code = emit(self._compile(), arguments)
            if path is not None:
                _write(path, code)
        return code


@contextmanager
def _without_collector() -> Iterator[None]:
    """A compiler makes millions of objects that all stay: to look for garbage among them takes a tenth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def emit(dispatcher: Any, arguments: tuple[Any, ...]) -> Code:
    """Compile for these arguments and take the machine code out; raises ``Unsupported``."""
    import numba

    type_of: Any = numba.typeof
    kinds = tuple(type_of(argument) for argument in arguments)
    dispatcher.compile(kinds)
    done = dispatcher.overloads[kinds]
    library = done.library
    library.get_pointer_to_function(done.fndesc.llvm_func_name)
    code = bytes(library._get_compiled_object())
    if _NEEDS_NUMBA.search(code):
        raise Unsupported(f"{done.fndesc.llvm_func_name} calls into numba")
    symbol = done.fndesc.llvm_func_name
    return Code(symbol, _result(done.signature.return_type), code, _make_way_in(symbol, _letters(arguments)))


def _result(kind: Any) -> str:
    from numba.core import types

    if isinstance(kind, types.NoneType):
        return ""
    parts = list(cast(Any, kind)) if isinstance(kind, types.BaseTuple) else [kind]
    try:
        return ("(" if isinstance(kind, types.BaseTuple) else "") + "".join(_RESULTS[str(part)] for part in parts)
    except KeyError as missing:
        raise Unsupported(f"a kernel returns {missing}") from None


def _letters(value: Any) -> str:
    """One letter of ``_VALUES`` for each word of an argument."""
    if isinstance(value, np.ndarray):
        return "i" * (5 + 2 * value.ndim)
    if isinstance(value, tuple):
        return "".join(_letters(part) for part in value)
    return "b" if isinstance(value, (bool, np.bool_)) else "f" if isinstance(value, (float, np.floating)) else "i"


_WAY_IN = "way_in."


def _make_way_in(symbol: str, letters: str) -> bytes:
    """An object file: a function like the kernel that finds its arguments at a pointer, each in eight bytes."""
    from llvmlite import binding, ir

    word, octet, status = ir.IntType(64), ir.IntType(8), ir.IntType(32)
    types = {"i": word, "b": octet, "f": ir.DoubleType()}
    module = ir.Module()
    kernel_type = ir.FunctionType(status, [word, word, *(types[letter] for letter in letters)])
    kernel = ir.Function(module, kernel_type, symbol)
    way_in = ir.Function(module, ir.FunctionType(status, [word, word, word.as_pointer()]), _WAY_IN + symbol)
    build = ir.IRBuilder(way_in.append_basic_block())
    result, exception, words = way_in.args
    arguments = []
    for place, letter in enumerate(letters):
        found = build.load(build.gep(words, [word(place)]))
        arguments.append(build.trunc(found, octet) if letter == "b" else build.bitcast(found, types[letter]))
    build.ret(build.call(kernel, [result, exception, *arguments]))
    return bytes(_new_machine().emit_object(binding.parse_assembly(str(module))))


_Known = tuple[weakref.ref[Any], str, bytes]

_MOST_KNOWN = 1000
"""Arrays, and dtypes: every view of records as a recarray makes a dtype of its own."""

_ARRAYS: dict[int, _Known] = {}
"""The kind and the words of arrays that were passed lately; most are passed again and again."""


def _flatten(values: tuple[Any, ...], kinds: list[str], words: list[bytes]) -> None:
    """Add the kinds of arguments and their words; this runs for every array of every call, so it asks for little."""
    for value in values:
        known = _ARRAYS.get(id(value))
        if known is not None and known[0]() is value:
            kinds.append(known[1])
            words.append(known[2])
        elif isinstance(value, tuple):
            kinds.append(f"{type(value).__name__}{len(value)}")
            _flatten(value, kinds, words)
        else:
            kind, value_words = _words_of(value)
            kinds.append(kind)
            words.append(value_words)


def _words_of(value: Any) -> tuple[str, bytes]:
    if isinstance(value, (bool, np.bool_)):
        return "b", _INTEGER.pack(value)
    if isinstance(value, (int, np.integer)):
        return "i", _INTEGER.pack(value)
    if isinstance(value, np.void):  # a row of an array: a pointer into it
        return _name_of(value.dtype), _INTEGER.pack(np.asarray(value).ctypes.data)
    if isinstance(value, np.ndarray):
        return _remember(value)
    if isinstance(value, (float, np.floating)):
        return "f", _FLOAT.pack(value)
    raise Unsupported(f"an argument of type {type(value).__name__}")


def _remember(array: np.ndarray[Any, Any]) -> tuple[str, bytes]:
    plain = np.asarray(array)  # a recarray looks for each of its attributes among the columns
    flags = plain.flags
    layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    kind = f"{_name_of(plain.dtype)}{plain.ndim}{layout}{'' if flags.writeable else 'r'}"
    numbers = (0, 0, plain.size, plain.itemsize, plain.ctypes.data, *plain.shape, *plain.strides)
    words = struct.pack(f"={len(numbers)}q", *numbers)
    if len(_ARRAYS) > _MOST_KNOWN:
        _ARRAYS.clear()
    _ARRAYS[id(array)] = (weakref.ref(array), kind, words)
    return kind, words


_NAMES: dict[int, tuple[np.dtype[Any], str]] = {}


def _name_of(dtype: np.dtype[Any]) -> str:
    """The dtype in words; to spell a record out takes longer than a call."""
    known = _NAMES.get(id(dtype))
    if known is None:
        if len(_NAMES) > _MOST_KNOWN:
            _NAMES.clear()
        known = _NAMES[id(dtype)] = (dtype, _spell(dtype))
    return known[1]


def _spell(dtype: np.dtype[Any]) -> str:
    """What decides how a kernel reaches the elements; ``str(dtype)`` takes three times as long.

    >>> _spell(np.dtype([("a", "i8"), ("b", "u1", 4)]))
    '{a 0 <i8,b 8 |u1(4,)}12'
    """
    if dtype.fields is not None:
        fields = [f"{name} {field[1]} {_spell(field[0])}" for name, field in dtype.fields.items()]
        return f"{{{','.join(fields)}}}{dtype.itemsize}"
    return dtype.str if dtype.subdtype is None else f"{_spell(dtype.base)}{dtype.shape}"


def _bind(code: Code) -> Callable[[bytes], Any]:
    """The function behind a piece of machine code: takes words, returns what the kernel returns."""
    letters = code.result.removeprefix("(")
    fields = [(f"r{i}", _VALUES[letter]) for i, letter in enumerate(letters)]
    result_type = type("Result", (ctypes.Structure,), {"_fields_": fields or [("none", ctypes.c_int64)]})
    engine = _load(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int32)(engine.get_function_address(_WAY_IN + code.symbol))
    are_bools = [letter == "b" for letter in letters]

    def call(words: bytes, _engine: Any = engine) -> Any:
        result, exception = result_type(), ctypes.c_void_p()
        status = function(ctypes.byref(result), ctypes.byref(exception), words)
        if status not in _OK:
            raise RuntimeError(f"{code.symbol} ended with status {status}")
        values = [getattr(result, name) for name, _ in fields]
        values = [bool(v) if is_bool else v for v, is_bool in zip(values, are_bools, strict=True)]
        return tuple(values) if code.result.startswith("(") else values[0] if values else None

    return call


_loaded: dict[str, bytes] = {}
"""What the engine that kernels share holds, by symbol."""


def _load(code: Code) -> Any:
    """An engine that holds this kernel: the one that is shared, unless it holds another kernel of the name."""
    from llvmlite import binding as llvm

    engine = _shared_engine() if _loaded.setdefault(code.symbol, code.object) is code.object else _new_engine()
    for file in (code.object, code.way_in):
        engine.add_object_file(llvm.ObjectFileRef.from_data(file))
    engine.finalize_object()
    return engine


@functools.cache
def _shared_engine() -> Any:
    """To make an engine takes as long as to load ten kernels into it."""
    return _new_engine()


def _new_engine() -> Any:
    from llvmlite import binding as llvm

    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), _new_machine())


def _new_machine() -> Any:
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine()


def _file_name(name: str, kind: str) -> str:
    """One file for each kernel, kind of arguments and processor: a home directory may be shared by several."""
    from llvmlite import binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    digest = hashlib.sha256(f"{kind} {llvm.get_host_cpu_name()} {features}".encode()).hexdigest()[:16]
    return f"{name}-{digest}.o"


def _read(path: Path) -> Code | None:
    try:
        head, _, code = path.read_bytes().partition(b"\n")
        about = json.loads(head)
        if about["sha256"] != hashlib.sha256(code).hexdigest():
            return None
        return Code(about["symbol"], about["result"], code[: about["size"]], code[about["size"] :])
    except (OSError, ValueError, KeyError):
        return None


def _write(path: Path, code: Code) -> None:
    """All at once; silently not, where the folder cannot be written."""
    from tcptrace_tw.atomic import AtomicFile

    both = code.object + code.way_in
    about = {"symbol": code.symbol, "result": code.result, "size": len(code.object)}
    about["sha256"] = hashlib.sha256(both).hexdigest()
    with suppress(OSError, UsageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with AtomicFile(path) as file:
            file.write(json.dumps(about).encode() + b"\n" + both)
            file.commit()
