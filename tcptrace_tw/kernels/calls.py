"""Calling machine code from Python: arguments become words, words become a result.

The functions in the library keep numba's calling convention (``numba.core.callconv.CPUCallConv``): a pointer to the
result, a pointer for exceptions, then every argument, an array as seven words or more. To have ctypes pass two hundred
words takes longer than many a kernel runs, so each kernel has a trampoline: a function that takes a pointer to the
words and hands them over (``compiler``).
"""

from __future__ import annotations

import ctypes
import struct
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tcptrace_tw.kernels.kinds import array_kind, spell

_OK = (0, -2)  # RETCODE_OK, RETCODE_NONE
_INTEGER, _FLOAT = struct.Struct("=q"), struct.Struct("=d")
_VALUES = {"i": ctypes.c_int64, "u": ctypes.c_uint64, "b": ctypes.c_int8, "f": ctypes.c_double}


class CompiledKernel:
    """A kernel of the library as Python calls it."""

    def __init__(self, name: str, address: int, kinds: Sequence[str], result: str) -> None:
        """``address``: of the trampoline; ``kinds``: what ``flatten`` makes of right arguments.

        ``result``: one letter for each value that is returned, after ``(`` if it is a tuple.
        """
        self._name = name
        self._kinds = list(kinds)
        self._call = _binding(name, address, result)

    def __call__(self, *arguments: Any) -> Any:
        """Call the kernel; ``TypeError`` where an argument is of another kind than the kernel was compiled for."""
        kinds: list[str] = []
        words: list[bytes] = []
        flatten(arguments, kinds, words)
        if kinds != self._kinds and not _are_fit(kinds, self._kinds):
            raise TypeError(f"{self._name} is called with {kinds}, and was compiled for {self._kinds}")
        return self._call(b"".join(words))


def _are_fit(given: list[str], wanted: list[str]) -> bool:
    """Whether arrays of these kinds may be handed over: one without gaps is a case of one with any strides."""
    pairs = zip(given, wanted, strict=False)
    return len(given) == len(wanted) and all(
        one == other or (other.endswith("A") and one[:-1] == other[:-1]) for one, other in pairs
    )


def _binding(name: str, address: int, result: str) -> Callable[[bytes], Any]:
    """The function behind an address: takes words, returns what the kernel returns."""
    letters = result.removeprefix("(")
    fields = [(f"r{i}", _VALUES[letter]) for i, letter in enumerate(letters)]
    result_type = type("Result", (ctypes.Structure,), {"_fields_": fields or [("none", ctypes.c_int64)]})
    function = ctypes.CFUNCTYPE(ctypes.c_int32)(address)
    are_bools = [letter == "b" for letter in letters]

    def call(words: bytes) -> Any:
        returned, exception = result_type(), ctypes.c_void_p()
        status = function(ctypes.byref(returned), ctypes.byref(exception), words)
        if status not in _OK:
            raise RuntimeError(f"{name} ended with status {status}")
        values = [getattr(returned, field) for field, _ in fields]
        values = [bool(v) if is_bool else v for v, is_bool in zip(values, are_bools, strict=True)]
        return tuple(values) if result.startswith("(") else values[0] if values else None

    return call


_Known = tuple[weakref.ref[Any], str, bytes]

_MOST_KNOWN = 1000
"""Arrays, and dtypes: every view of records as a recarray makes a dtype of its own."""

_ARRAYS: dict[int, _Known] = {}
"""The kind and the words of arrays that were passed lately; most are passed again and again."""


def flatten(values: tuple[Any, ...], kinds: list[str], words: list[bytes]) -> None:
    """Add the kinds of arguments and their words; this runs for every array of every call, so it asks for little."""
    for value in values:
        known = _ARRAYS.get(id(value))
        if known is not None and known[0]() is value:
            kinds.append(known[1])
            words.append(known[2])
        elif isinstance(value, tuple):
            kinds.append(f"{type(value).__name__}{len(value)}")
            flatten(value, kinds, words)
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
    raise TypeError(f"a kernel takes no argument of type {type(value).__name__}")


def _remember(array: np.ndarray[Any, Any]) -> tuple[str, bytes]:
    plain = np.asarray(array)  # a recarray looks for each of its attributes among the columns
    flags = plain.flags
    layout = "C" if flags.c_contiguous else "A"
    kind = array_kind(_name_of(plain.dtype), plain.ndim, layout, is_writable=flags.writeable)
    numbers = (0, 0, plain.size, plain.itemsize, plain.ctypes.data, *plain.shape, *plain.strides)
    words = struct.pack(f"={len(numbers)}q", *numbers)
    if len(_ARRAYS) > _MOST_KNOWN:
        _ARRAYS.clear()
    _ARRAYS[id(array)] = (weakref.ref(array), kind, words)
    return kind, words


_NAMES: dict[int, tuple[np.dtype[Any], str]] = {}

_SPELLINGS: dict[np.dtype[Any], str] = {}
"""By what a dtype says, where another object says the same: to compare them is faster than to spell it."""


def _name_of(dtype: np.dtype[Any]) -> str:
    """The dtype in words; to spell a record out takes longer than a call."""
    known = _NAMES.get(id(dtype))
    if known is None:
        if len(_NAMES) > _MOST_KNOWN:
            _NAMES.clear()
        if dtype not in _SPELLINGS:
            _SPELLINGS[dtype] = spell(dtype)
        known = _NAMES[id(dtype)] = (dtype, _SPELLINGS[dtype])
    return known[1]
