"""Compiled or interpreted: compiling pays for a large capture, and never for anybody's first look at a small one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from tcptrace_tw import jit
from tcptrace_tw.capture.head import expected_size

WORTH_COMPILING_BYTES = 4_000_000
"""Interpreted, this much of a capture takes about as long as compiling the kernels once."""

_opted_in = False


def use_disk_cache() -> None:
    """The command line keeps the machine code for the next run; a library user's process does not."""
    global _opted_in
    _opted_in = True


def choose(files: Sequence[str], notice: Callable[[str], None] | None) -> bool:
    """Whether to run the kernels compiled for these files; ``TCPTRACE_TW_JIT`` = 0 or 1 decides it outright."""
    forced = os.environ.get("TCPTRACE_TW_JIT")
    if forced in ("0", "1"):
        if forced == "1" and _opted_in:
            jit.use_cache(jit.cache_folder())
        return forced == "1"
    if _opted_in:
        folder = jit.cache_folder()
        if jit.is_cached(folder):
            jit.use_cache(folder)
            return True
        if not _is_large(files):
            return False
        jit.use_cache(folder)
        if notice:
            notice("compiling the kernels for this machine, once")
        return True
    return _is_large(files)


def remember(make_rare_kernels: Callable[[], None]) -> None:
    """A whole run went well with compiled kernels: with those that it did without, the stored code is complete."""
    if _opted_in and not jit.is_cached(jit.cache_folder()):
        make_rare_kernels()
        jit.mark_cached(jit.cache_folder())


def _is_large(files: Sequence[str]) -> bool:
    total = 0
    for name in files:
        if name == "-" or "://" in name:
            return True  # a pipe or a remote file: nobody knows
        if not os.path.isfile(name):
            return os.path.exists(name)  # a named pipe: nobody knows either; what is missing will be said
        with contextlib.suppress(OSError):
            total += expected_size(name, WORTH_COMPILING_BYTES - total)
        if total >= WORTH_COMPILING_BYTES:
            break
    return total >= WORTH_COMPILING_BYTES
