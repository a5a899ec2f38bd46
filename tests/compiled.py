"""A kernel of a test, compiled as the kernels of the package are, for this process alone."""

from __future__ import annotations

import ctypes
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcptrace_tw.kernels import build, compiler
from tcptrace_tw.kernels.calls import CompiledKernel
from tcptrace_tw.kernels.kinds import Kind


def why_not() -> str:
    """Why kernels cannot be compiled here; empty where they can."""
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed"
    try:
        build.find_linker()
        compiler.processor()
    except (build.BuildError, compiler.Unsupported) as error:
        return str(error)
    return ""


needs_compiler = pytest.mark.skipif(bool(why_not()), reason=why_not())


def compiled(function: Callable[..., Any], *kinds: Kind) -> CompiledKernel:
    """Compile and link it, and load the library; its file is gone then."""
    done = compiler.compile_function(function, kinds)
    with tempfile.TemporaryDirectory() as folder:
        part, made = Path(folder) / "kernel.o", Path(folder) / "kernel.so"
        part.write_bytes(done.code)
        build.link(build.find_linker(), [part], made)
        loaded = ctypes.CDLL(str(made))
    address = ctypes.cast(getattr(loaded, done.symbol), ctypes.c_void_p).value
    assert address is not None
    return CompiledKernel(done.name, address, done.kinds, done.result)
