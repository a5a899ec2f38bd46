"""The library of compiled kernels beside this file: whether it fits the sources, and its functions.

It was built with the package (see ``build``). Before it is loaded, its digest and that of the sources are compared
with the index that the build has written; nothing that does not fit is loaded. Then kernels run interpreted, and
``choose`` says so once, with what to do. ``TCPTRACE_TW_KERNELS`` decides otherwise:

- ``library``: the compiled kernels, or an error.
- ``interpreted``: the Python functions; nothing is said.
- ``compiled``: kernels that are compiled for this process, with numba: while kernels are being changed.
- ``checked``: the same, and every index is compared with the room of its array (see ``bounds``).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tcptrace_tw.errors import UsageError, hint
from tcptrace_tw.kernels import platforms
from tcptrace_tw.kernels.calls import CompiledKernel
from tcptrace_tw.kernels.index import FORMAT, INDEX, digest_of_index
from tcptrace_tw.kernels.platforms import VARIABLE as VARIABLE
from tcptrace_tw.kernels.platforms import this_platform

MODES = ("library", "interpreted", "compiled", "checked")

FOLDER = Path(__file__).parent
LIBRARY = f"_kernels.{'dylib' if sys.platform == 'darwin' else 'so'}"
LARGEST_FILE = 1 << 24
"""Bytes of the library or its index; more than ten times what a checked build has."""

BUILD = "-m tcptrace_tw.kernels build"


class Unfit(Exception):
    """The library cannot be used: why, as a sentence without a full stop."""


class Unwanted(Unfit):
    """Whoever installed the package wanted it so."""


class Library:
    """A library that fits."""

    def __init__(self, folder: Path) -> None:
        """Load what lies in ``folder``; ``Unfit`` where it is not the library of these sources."""
        index = _read_index(folder)
        check_platform(index)
        if digest_of(index["files"]) != index["sources"]:
            raise Unfit("the sources of the compiled kernels were changed after these were built")
        path = folder / LIBRARY
        if hashlib.sha256(_content(path)).hexdigest() != index["library"]:
            raise Unfit(f"{path.name} is damaged, or is that of another build")
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise Unfit(f"the system cannot load {path.name} ({error})") from None
        self.kernels: dict[str, dict[str, Any]] = index["kernels"]

    def kernel(self, name: str) -> CompiledKernel:
        """A kernel by its name in ``marks.name_of``."""
        about = self.kernels[name]
        address = ctypes.cast(getattr(self._library, about["symbol"]), ctypes.c_void_p).value
        assert address is not None
        return CompiledKernel(name, address, about["kinds"], about["result"])


def _read_index(folder: Path) -> dict[str, Any]:
    """The index, as the build has written it."""
    text = _content(folder / INDEX, "this installation has no compiled kernels")
    damaged = Unfit(f"{INDEX}, the index of the compiled kernels, is damaged")
    try:
        index: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise damaged from None
    if not isinstance(index, dict):
        raise damaged
    if index.get("format") != FORMAT:
        raise Unfit(f"{INDEX}, the index of the compiled kernels, is of another version")
    if index.pop("digest", None) != digest_of_index(index):
        raise damaged
    if index.get("is_unwanted"):
        raise Unwanted("tcptrace-tw was installed without compiled kernels")
    return index


def _content(path: Path, missing: str = "") -> bytes:
    """The bytes of a file, which may have been replaced by something that never ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Unfit(missing or f"{path.name} is missing") from None
    except OSError as error:
        raise Unfit(f"{path.name} cannot be read ({error.strerror})") from None
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST_FILE:
            raise Unfit(f"{path.name} is not a file that the build has written")
        try:
            return file.read()
        except OSError as error:
            raise Unfit(f"{path.name} cannot be read ({error.strerror})") from None


def check_platform(index: dict[str, Any]) -> None:
    """``Unfit`` where the library is one of another system or processor."""
    if index.get("platform") != this_platform():
        raise Unfit(f"the compiled kernels are for {index.get('platform')}, not for {this_platform()}")


def digest_of(files: Iterable[str]) -> str:
    """Of the sources that decide what the machine code does; ``files`` are paths within the package.

    Raises ``Unfit`` where one of them cannot be read.
    """
    digest = hashlib.sha256()
    package = str(FOLDER.parent)
    try:
        for name in files:
            with open(os.path.join(package, name), "rb", buffering=0) as file:
                source = file.readall()
            digest.update(f"{name} {len(source)}\n".encode())
            digest.update(source)
    except OSError as error:
        raise Unfit(f"the sources of the compiled kernels cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def mode() -> str:
    """What ``TCPTRACE_TW_KERNELS`` asks for, or ``""``; ``UsageError`` for an unknown word."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted and wanted not in MODES:
        raise UsageError(f"{VARIABLE}={wanted}: {hint(wanted, MODES)}")
    return wanted


def choose(notice: Callable[[str], None] | None = None) -> bool:
    """Whether this run uses compiled kernels; ``notice`` is told, once in a process, where it has to do without."""
    wanted = mode()
    if wanted == "interpreted":
        return False
    try:
        _library(wanted)
    except Unfit as unfit:
        if wanted == "library":
            raise UsageError(f"{VARIABLE}=library: {unfit}; {_remedy()}") from None
        if not isinstance(unfit, Unwanted):
            _say_once(f"kernels run interpreted, a few thousand segments a second: {unfit}; {_remedy()}", notice)
        return False
    return True


def compiled_kernel(name: str) -> CompiledKernel:
    """A kernel by its name; ``Unfit`` where there is no library."""
    return _kernel(mode(), name)


_ONE_AT_A_TIME = threading.Lock()
"""Held by whoever loads the library: the rooms run in threads of their own."""


def _library(wanted: str) -> Library:
    with _ONE_AT_A_TIME:
        return _loaded(wanted)


@functools.cache
def _loaded(wanted: str) -> Library:
    if wanted in ("compiled", "checked"):
        return _compiled_now(is_checked=wanted == "checked")
    return Library(FOLDER)


@functools.cache
def _kernel(wanted: str, name: str) -> CompiledKernel:
    return _library(wanted).kernel(name)


def _compiled_now(*, is_checked: bool) -> Library:
    """A library for this process alone; its file is gone when it has been loaded."""
    from tempfile import TemporaryDirectory

    from tcptrace_tw.kernels.build import BuildError, build
    from tcptrace_tw.unfinished import unfinished

    with (
        TemporaryDirectory(prefix="tcptrace-tw-") as folder,
        unfinished(functools.partial(shutil.rmtree, folder, True)),
    ):
        try:
            build(Path(folder), is_checked=is_checked)
        except (BuildError, OSError) as error:
            raise UsageError(f"{VARIABLE}={mode()}: {error}") from None
        return Library(Path(folder))


def _remedy() -> str:
    """What to do about it, where something can be done."""
    if reason := platforms.why_not():
        return reason
    build = f"{shlex.quote(sys.executable)} {BUILD}"
    if importlib.util.find_spec("numba") is not None:
        return f"build them, which takes a minute: {build}"
    numba = f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(platforms.NUMBA)}"
    return f"install tcptrace-tw again, or build them: {numba} && {build}"


_said: set[str] = set()


def _say_once(words: str, notice: Callable[[str], None] | None) -> None:
    """Once in a process: an API may be called a thousand times."""
    if words not in _said and notice is not None:
        _said.add(words)
        notice(words)
