"""The wheel build: compile the kernels, and tag the wheel with the platform (see docs/kernels.md).

Where kernels cannot be compiled, the wheel is the same for all platforms, and its kernels run interpreted.
``TCPTRACE_TW_KERNELS=interpreted`` asks for such a wheel.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NUMBA = "numba>=0.68,<0.69"
"""The compiler; the range of versions whose output was compared with the interpreted kernels by the tests."""

LINKER = "ziglang>=0.13,<0.17"
"""Brings a linker where there is no C compiler."""

PLATFORMS = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}
"""Where numba has wheels; for Intel Macs, Windows, musl and BSD it has none."""

PYTHONS = ((3, 11), (3, 14))
"""The first and the last version of Python for which it has."""


def can_compile() -> bool:
    """Whether this machine can compile the kernels, and was not told not to."""
    is_musl = "musl" in (sysconfig.get_config_var("SOABI") or "")
    return (
        os.environ.get("TCPTRACE_TW_KERNELS") != "interpreted"
        and (sys.platform, platform.machine()) in PLATFORMS
        and not is_musl
        and PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    )


class KernelsHook(BuildHookInterface[Any]):
    """What hatchling calls; it must not import numba while it is being imported itself."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling."""
        if not can_compile():
            return []
        has_linker = os.environ.get("CC") or any(map(shutil.which, ("cc", "gcc", "clang")))
        return [NUMBA] if has_linker else [NUMBA, LINKER]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernels in the source tree, unless those that are there fit."""
        if not can_compile():
            self.app.display_warning("tcptrace-tw: kernels are not compiled on this platform, so they run interpreted")
            return
        sys.path.insert(0, self.root)
        from tcptrace_tw.kernels import build, library

        try:
            library.Library(library.FOLDER)
        except library.Unfit:
            try:
                build.build(tell=lambda line: self.app.display_info(f"tcptrace-tw: {line}"))
            except build.BuildError as error:
                without = "to install without compiled kernels, set TCPTRACE_TW_KERNELS=interpreted"
                self.app.abort(f"tcptrace-tw: {error}; {without}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
