"""Test a wheel as a user has it: ``python -m tests.wheel dist/tcptrace_tw-*.whl``.

The wheel is installed into a fresh environment, without numba, and a small suite runs beside it, away from the sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ("pytest>=8.3", "pytest-xdist>=3.6", "hypothesis>=6.115", "communityid>=1.5")
SUITE = (
    "test_kernel_library", "test_fixtures", "test_source_same", "test_flow", "test_measure_twin", "test_twin_tracker",
    "test_memory", "test_community_id",
)  # fmt: skip
WITHOUT = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('numba', 'llvmlite'))))"


def main(wheel: Path) -> int:
    """Install, look, test; the exit code of the first thing that fails."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        venv.create(place / "venv", with_pip=True)
        python = str(place / "venv" / "bin" / "python")
        for part in ("tests", "fixtures"):
            shutil.copytree(ROOT / part, place / part)
        shutil.copy(ROOT / "pyproject.toml", place)
        environment = {**os.environ, "TCPTRACE_TW_KERNELS": "library"}
        for words in (
            [python, "-m", "pip", "install", "-q", str(wheel.resolve()), *TOOLS],
            [python, "-c", WITHOUT],
            [python, "-m", "tcptrace_tw.kernels"],
            [python, "-m", "pytest", "-q", "-m", "not slow", *(f"tests/{each}.py" for each in SUITE)],
        ):
            print("+", *words[1:], flush=True)
            code = subprocess.run(words, cwd=place, env=environment, check=False).returncode
            if code:
                return code
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
