"""Where the kernels can be compiled, and with what; the wheel build and the messages of a run both ask here."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig

VARIABLE = "TCPTRACE_TW_KERNELS"

NUMBA = "numba>=0.68,<0.69"
"""The compiler; the versions whose output the tests compare with the interpreted kernels. Also in pyproject.toml."""

LINKER = "ziglang>=0.13,<0.17"
"""Brings a linker where there is no C compiler."""

PLATFORMS = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}
"""Where a library is built: numba has wheels for these, and the build has been written for them."""

PYTHONS = ((3, 11), (3, 14))
"""The first and the last version of Python that ``NUMBA`` supports."""


def this_platform() -> str:
    """System and processor, as in ``linux x86_64``."""
    return f"{sys.platform} {platform.machine()}"


def why_not() -> str:
    """Why the kernels cannot be compiled here; empty where they can."""
    if (sys.platform, platform.machine()) not in PLATFORMS:
        return f"kernels are not compiled for {this_platform()}"
    if "musl" in (sysconfig.get_config_var("SOABI") or ""):
        return "kernels are not compiled for musl"
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return f"kernels are not compiled with Python {sys.version_info[0]}.{sys.version_info[1]}"
    return ""


def is_unwanted() -> bool:
    """Whether the builder asked for an installation without compiled kernels."""
    return os.environ.get(VARIABLE) == "interpreted"
