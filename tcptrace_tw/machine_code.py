"""Machine code of kernels without numba: taken from the compiler once, stored as one small file each, called by ctypes.

numba is the compiler and nothing else. To import it, and to let it find what it has cached, takes longer than the
analysis of a million segments; to load an object file takes a millisecond. The functions keep numba's own calling
convention (``numba.core.callconv.CPUCallConv``): a pointer to the result, a pointer for exceptions, then every
argument, an array as seven words or more.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import hashlib
import json
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

_ONE_AT_A_TIME = threading.RLock()
"""Held by whoever compiles or loads a kernel: the rooms run in threads of their own."""

_OK = (0, -2)  # RETCODE_OK, RETCODE_NONE
_WORDS = {"i": ctypes.c_int64, "u": ctypes.c_uint64, "b": ctypes.c_int8, "f": ctypes.c_double}
_RESULTS = {"int64": "i", "uint64": "u", "bool": "b", "boolean": "b", "float64": "f"}
_NEEDS_NUMBA = re.compile(rb"\0_?(NRT_|numba_|Py_?[A-Z][A-Za-z]{2})")
"""Symbols that only a process with numba in it can resolve."""


class Unsupported(Exception):
    """A kernel that must be called through numba after all."""


class Code(NamedTuple):
    """One kernel, compiled for one kind of arguments."""

    symbol: str
    result: str
    """One letter for each value that is returned, in the order of ``_WORDS``' letters; a tuple if there are several."""
    object: bytes


class Entry:
    """A compiled kernel as Python calls it; compiled when it is called, unless it lies in the folder."""

    def __init__(self, function: Callable[..., Any], compile_: Callable[[], Any], folder: Path | None) -> None:
        """``compile_()`` gives numba's dispatcher, made without wrappers."""
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._compile = compile_
        self._folder = folder
        self._calls: dict[tuple[str, ...], Callable[[list[Any]], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Call the kernel."""
        kinds: list[str] = []
        words: list[Any] = []
        for argument in arguments:
            _flatten(argument, kinds, words)
        call = self._calls.get(tuple(kinds))
        return call(words) if call is not None else self._bound(tuple(kinds), arguments)(words)

    def _bound(self, kinds: tuple[str, ...], arguments: tuple[Any, ...]) -> Callable[[list[Any]], Any]:
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
    return Code(done.fndesc.llvm_func_name, _result(done.signature.return_type), code)


def _result(kind: Any) -> str:
    from numba.core import types

    if isinstance(kind, types.NoneType):
        return ""
    parts = list(cast(Any, kind)) if isinstance(kind, types.BaseTuple) else [kind]
    try:
        return ("(" if isinstance(kind, types.BaseTuple) else "") + "".join(_RESULTS[str(part)] for part in parts)
    except KeyError as missing:
        raise Unsupported(f"a kernel returns {missing}") from None


def _flatten(value: Any, kinds: list[str], words: list[Any]) -> None:
    """Add the kind of an argument and its words; this runs for every array of every call, so it asks for little."""
    if isinstance(value, np.ndarray):
        known = _ARRAYS.get(id(value))
        if known is None or known[0]() is not value:
            known = _remember(value)
        kinds.append(known[1])
        words += known[2]
    elif isinstance(value, np.void):  # a row of an array: a pointer into it
        kinds.append(_name_of(value.dtype))
        words.append(ctypes.c_void_p(np.asarray(value).ctypes.data))
    elif isinstance(value, tuple):
        kinds.append(f"{type(value).__name__}{len(value)}")
        for part in value:
            _flatten(part, kinds, words)
    elif isinstance(value, (bool, np.bool_)):
        kinds.append("b")
        words.append(ctypes.c_int8(bool(value)))
    elif isinstance(value, (int, np.integer)):
        kinds.append("i")
        words.append(ctypes.c_int64(int(value)))
    elif isinstance(value, (float, np.floating)):
        kinds.append("f")
        words.append(ctypes.c_double(float(value)))
    else:
        raise Unsupported(f"an argument of type {type(value).__name__}")


_Known = tuple[weakref.ref[Any], str, list[Any]]

_MOST_KNOWN = 1000
"""Arrays, and dtypes: every view of records as a recarray makes a dtype of its own."""

_ARRAYS: dict[int, _Known] = {}
"""The kind and the words of arrays that were passed lately; most are passed again and again."""


def _remember(array: np.ndarray[Any, Any]) -> _Known:
    plain = np.asarray(array)  # a recarray looks for each of its attributes among the columns
    flags = plain.flags
    layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    kind = f"{_name_of(plain.dtype)}{plain.ndim}{layout}{'' if flags.writeable else 'r'}"
    words: list[Any] = [ctypes.c_void_p(0), ctypes.c_void_p(0), ctypes.c_int64(plain.size)]
    words += [ctypes.c_int64(plain.itemsize), ctypes.c_void_p(plain.ctypes.data)]
    words += [ctypes.c_int64(size) for size in (*plain.shape, *plain.strides)]
    if len(_ARRAYS) > _MOST_KNOWN:
        _ARRAYS.clear()
    known = _ARRAYS[id(array)] = (weakref.ref(array), kind, words)
    return known


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


def _bind(code: Code) -> Callable[[list[Any]], Any]:
    """The function behind a piece of machine code: takes words, returns what the kernel returns."""
    letters = code.result.removeprefix("(")
    fields = [(f"r{i}", _WORDS[letter]) for i, letter in enumerate(letters)]
    result_type = type("Result", (ctypes.Structure,), {"_fields_": fields or [("none", ctypes.c_int64)]})
    engine = _load(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int32)(engine.get_function_address(code.symbol))
    are_bools = [letter == "b" for letter in letters]

    def call(words: list[Any], _engine: Any = engine) -> Any:
        result, exception = result_type(), ctypes.c_void_p()
        status = function(ctypes.byref(result), ctypes.byref(exception), *words)
        if status not in _OK:
            raise RuntimeError(f"{code.symbol} ended with status {status}")
        values = [getattr(result, name) for name, _ in fields]
        values = [bool(v) if is_bool else v for v, is_bool in zip(values, are_bools, strict=True)]
        return tuple(values) if code.result.startswith("(") else values[0] if values else None

    return call


_loaded: dict[str, bytes] = {}
"""What the engine that kernels share holds, by symbol."""


def _load(code: Code) -> Any:
    """An engine that holds this object file: the one that is shared, unless it holds another kernel of the name."""
    from llvmlite import binding as llvm

    engine = _shared_engine() if _loaded.setdefault(code.symbol, code.object) is code.object else _new_engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.object))
    engine.finalize_object()
    return engine


@functools.cache
def _shared_engine() -> Any:
    """To make an engine takes as long as to load ten kernels into it."""
    return _new_engine()


def _new_engine() -> Any:
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


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
        return Code(about["symbol"], about["result"], code)
    except (OSError, ValueError, KeyError):
        return None


def _write(path: Path, code: Code) -> None:
    """All at once; silently not, where the folder cannot be written."""
    about = {"symbol": code.symbol, "result": code.result, "sha256": hashlib.sha256(code.object).hexdigest()}
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(json.dumps(about).encode() + b"\n" + code.object)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
