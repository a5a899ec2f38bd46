"""The wheel build: compile the kernels, and tag the wheel with the platform (see docs/kernels.md).

Where kernels cannot be compiled, the wheel is the same for all platforms, and its kernels run interpreted.
``TCPTRACE_TW_KERNELS=interpreted`` asks for such a wheel.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from tcptrace_tw.kernels import index, platforms


class KernelsHook(BuildHookInterface[Any]):
    """What hatchling calls; it must not import numba while it is being imported itself."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling."""
        if platforms.is_unwanted() or platforms.why_not():
            return []
        has_linker = os.environ.get("CC") or any(map(shutil.which, ("cc", "gcc", "clang")))
        return [platforms.NUMBA] if has_linker else [platforms.NUMBA, platforms.LINKER]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernels in the source tree, unless those that are there fit."""
        if platforms.is_unwanted():
            index.write_choice(Path(self.root) / "tcptrace_tw" / "kernels")
            build_data["artifacts"].append(f"tcptrace_tw/kernels/{index.INDEX}")
            return
        if reason := platforms.why_not():
            self.app.display_warning(f"tcptrace-tw: {reason}, so they run interpreted")
            return
        from tcptrace_tw.kernels import build, library  # they want numpy, which comes with numba

        try:
            library.Library(library.FOLDER)
        except library.Unfit:
            try:
                build.build(tell=lambda line: self.app.display_info(f"tcptrace-tw: {line}"))
            except (build.BuildError, ValueError, OSError) as error:
                without = f"to install without compiled kernels, set {platforms.VARIABLE}=interpreted"
                self.app.abort(f"tcptrace-tw: {error}; {without}")
        build_data["artifacts"] += [f"tcptrace_tw/kernels/{name}" for name in (library.LIBRARY, index.INDEX)]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
