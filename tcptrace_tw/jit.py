"""One source, two speeds: kernels are plain Python functions that numba can also compile.

``@kernel`` only marks a function and returns it unchanged, so an interpreted kernel calls its helpers
as ordinary functions. ``load`` hands out either that function or its compiled twin; the twin is made
from the same code object with every kernel it names replaced by that kernel's own twin.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import hashlib
import importlib.util
import os
import platform
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tcptrace_tw import bounds, machine_code

Function = TypeVar("Function", bound=Callable[..., Any])

_KERNELS: dict[Callable[..., Any], dict[str, Any]] = {}
_NATIVES: dict[Callable[..., Any], Callable[[], Any]] = {}
_TWINS: dict[tuple[Callable[..., Any], bool], Any] = {}
_cache_folder: Path | None = None


_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": bounds.IS_CHECKED, "_nrt": False}


def kernel(function: Function) -> Function:
    """Mark a hot loop or one of its steps; numba's options are the same for all of them.

    ``nogil`` lets reading and tracking overlap in threads; ``error_model="numpy"`` drops the division
    checks; ``boundscheck`` stays off, unless ``TCPTRACE_TW_CHECKED`` is 1 (see ``bounds``): the interpreted run of the
    same source checks bounds;
    ``_nrt`` is off because a kernel only borrows arrays: counting references took half of the decoder's time.
    So a kernel cannot allocate an array.
    """
    _KERNELS[function] = _OPTIONS
    return function


def inlined(function: Function) -> Function:
    """Mark a small step of a kernel that is always compiled into its callers.

    A call hands over every array as seven words; for a step that reads a few bytes that costs more than the step.
    """
    _KERNELS[function] = {**_OPTIONS, "forceinline": True}
    return function


def native(make: Callable[[], Any]) -> Callable[[Function], Function]:
    """Mark a function that compiled kernels replace: ``make()`` returns what numba calls instead (an intrinsic)."""

    def mark(function: Function) -> Function:
        _NATIVES[function] = make
        return function

    return mark


def made_when_needed(make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A kernel that ``make()`` writes when it is compiled or called interpreted; stored machine code does without."""
    make_once = functools.cache(lambda: kernel(make()))

    def stand_in(*arguments: Any) -> Any:
        return make_once()(*arguments)

    _NATIVES[stand_in] = lambda: _twin(make_once(), is_entry=False)
    return stand_in


def load(function: Function, *, compiled: bool) -> Function:
    """Return the kernel to call: the function itself, or its compiled twin."""
    return _twin(function, is_entry=True) if compiled else function


def is_in_use() -> bool:
    """Whether this process has handed out compiled kernels: what works behind them may use them, too."""
    return bool(_TWINS)


def use_cache(folder: Path | None) -> None:
    """Keep machine code in ``folder`` from now on; ``None`` keeps it in memory only.

    The command line opts in. A library user's process is left alone.
    """
    global _cache_folder
    _cache_folder = folder


def cache_folder() -> Path:
    """The folder for this build of the kernels: named by a digest of every source and version it depends on.

    An edit anywhere changes the folder: a kernel holds the code of the steps and the numbers of other files.
    """
    base = os.environ.get("TCPTRACE_TW_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tcptrace-tw"
    )
    return Path(base) / _digest()


def is_cached(folder: Path) -> bool:
    """Whether a whole build of the kernels lies in ``folder``."""
    return (folder / "complete").exists()


def mark_cached(folder: Path) -> None:
    """Say that every kernel of this build has been stored; silently not, where the folder is read-only."""
    with contextlib.suppress(OSError):
        (folder / "complete").touch()


@functools.cache
def _digest() -> str:
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for version in _versions():
        digest.update(version)
    for source in sorted(package.rglob("*.py")):
        if source.parent.name not in ("cli", "report", "rules"):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _versions() -> Iterator[bytes]:
    """What else decides what the machine code looks like."""
    yield sys.version.encode()
    yield platform.machine().encode()
    for package in ("numba", "llvmlite", "numpy"):
        yield _version(package)
    if bounds.IS_CHECKED:
        yield b"checked"


def _version(package: str) -> bytes:
    """The file that says it; ``importlib.metadata`` takes longer to import than a small capture to read."""
    spec = importlib.util.find_spec(package)
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path()
    for name in ("_version.py", "version.py"):
        with contextlib.suppress(OSError):
            return (folder / name).read_bytes()
    from importlib.metadata import version

    return version(package).encode()


def _twin(function: Callable[..., Any], *, is_entry: bool) -> Any:
    key = (function, is_entry)
    if key not in _TWINS:
        _TWINS[key] = _entry(function) if is_entry else _compile(function)
    return _TWINS[key]


def _entry(function: Callable[..., Any]) -> machine_code.Entry:
    """What Python calls: machine code that is stored, or that numba makes now."""
    return machine_code.Entry(function, lambda: _twin(function, is_entry=False), _cache_folder)


def _native(function: Callable[..., Any]) -> Any:
    key = (function, False)
    if key not in _TWINS:
        _TWINS[key] = _NATIVES[function]()
    return _TWINS[key]


def _compile(function: Callable[..., Any]) -> Any:
    """Compile one kernel, without numba's wrappers for Python: they took most of the time (see ``machine_code``)."""
    import numba

    if bounds.IS_CHECKED:
        bounds.check_arrays()
    assert isinstance(function, types.FunctionType)
    names = dict(function.__globals__)
    for name in _globals_of(function):
        value = names.get(name)
        if isinstance(value, types.FunctionType) and value in _KERNELS:
            names[name] = _twin(value, is_entry=False)
        elif isinstance(value, types.FunctionType) and value in _NATIVES:
            names[name] = _native(value)
    copy = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    options = {**_KERNELS[function], "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher = numba.njit(**options)(copy)
    _compile_once(dispatcher)
    return dispatcher


def _compile_once(dispatcher: Any) -> None:
    """One compilation of a step for all its callers: numba would make another for every constant argument."""
    from numba.core import types as numba_types

    resolve = dispatcher.get_call_template

    def resolve_plain(args: Any, kws: Any) -> Any:
        return resolve(tuple(numba_types.unliteral(a) for a in args), kws)

    dispatcher.get_call_template = resolve_plain


def _globals_of(function: types.FunctionType) -> set[str]:
    """The global names that a function reads; ``co_names`` alone would take attributes for functions."""
    return {str(i.argval) for i in dis.get_instructions(function) if i.opname == "LOAD_GLOBAL"}
