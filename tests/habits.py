"""One command for every habit of this project: ``python -m tests.habits lint``; without a word it lists them.

What follows the word goes to the last command of the habit: ``python -m tests.habits tests -k last_ack``.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Habit(NamedTuple):
    """What it is for, and the commands that it runs one after the other."""

    purpose: str
    commands: tuple[str, ...]
    environment: dict[str, str] = {}  # noqa: RUF012 (a constant)


HABITS = {
    "lint": Habit("style, format, and who imports whom", ("ruff check .", "ruff format --check .", "lint-imports")),
    "types": Habit("mypy, strict", ("mypy",)),
    "tests": Habit("all tests; kernels that were changed are built first", ("pytest",)),
    "interpreted": Habit("all tests without compiled kernels", ("pytest",), {"TCPTRACE_TW_KERNELS": "interpreted"}),
    "build": Habit("compile the kernels, half a minute", ("python -m tcptrace_tw.kernels build",)),
    "docs": Habit(
        "write the generated pages anew, and build the site into site/",
        ("python -m tests.docs", "python -m tests.readme", "zensical build"),
    ),
    "fuzz": Habit("mutated captures through the readers", ("python -m tests.fuzz",)),
    "kernels": Habit(
        "random conversations through compiled and interpreted kernels", ("python -m tests.fuzz kernels",)
    ),
    "maxima": Habit("the most that one segment brings about, measured", ("python -m tests.fuzz maxima",)),
    "bench": Habit("the tool timed beside tcpdump and tcptrace", ("python -m tests.bench.run",)),
    "lab": Habit("record the fixtures of the kernel anew (root, Linux)", ("python -m tests.lab.record",)),
}


def run(name: str, more: list[str]) -> int:
    """Run a habit; the first command that fails ends it."""
    habit = HABITS[name]
    for number, command in enumerate(habit.commands):
        words = shlex.split(command) + (more if number == len(habit.commands) - 1 else [])
        print("+", shlex.join(words), flush=True)
        code = subprocess.run(_found(words), cwd=ROOT, env={**os.environ, **habit.environment}, check=False).returncode
        if code:
            return code
    return 0


def _found(words: list[str]) -> list[str]:
    """The tool beside this Python, if there is one."""
    if words[0] == "python":
        return [sys.executable, *words[1:]]
    beside = Path(sys.executable).parent / words[0]
    return [str(beside), *words[1:]] if beside.exists() else words


def main() -> int:
    """List the habits, or run one."""
    if len(sys.argv) < 2 or sys.argv[1] not in HABITS:
        for name, habit in HABITS.items():
            print(f"{name:12} {habit.purpose}")
        return 0 if len(sys.argv) < 2 else 2
    return run(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
