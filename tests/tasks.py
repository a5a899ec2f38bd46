"""Common tasks of this project: ``python -m tests.tasks lint``; without a word it lists them.

What follows the word goes to the last command of the task: ``python -m tests.tasks tests -k last_ack``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Task(NamedTuple):
    """What it is for, and the commands that it runs one after the other."""

    purpose: str
    commands: tuple[str, ...]
    environment: dict[str, str] = {}  # noqa: RUF012 (a constant)


QUICK = " ".join(
    f"tests/test_{name}.py"
    for name in (
        "fixtures", "conversations", "numbers", "rule_numbers", "models", "decision_tables", "syn_answers", "states",
        "flow", "selection", "settings", "report_findings", "report_digest", "check_policy", "capture_decode",
        "names",
    )
)  # fmt: skip

TASKS = {
    "lint": Task("style, format, and who imports whom", ("ruff check .", "ruff format --check .", "lint-imports")),
    "types": Task("mypy, strict", ("mypy",)),
    "tests": Task("all tests; kernels that were changed are built first", ("pytest",)),
    "quick": Task("the tests that a change breaks first, within a minute", (f"pytest -m 'not slow' {QUICK}",)),
    "interpreted": Task("all tests without compiled kernels", ("pytest",), {"TCPTRACE_TW_KERNELS": "interpreted"}),
    "build": Task("compile the kernels, about a minute", ("python -m tcptrace_tw.kernels build",)),
    "docs": Task(
        "write the generated pages anew, and build the site into site/",
        (
            "python -m tcptrace_tw.kernels build --unless-fit",
            "python -m tests.docs",
            "python -m tests.readme",
            "zensical build",
        ),
    ),
    "said": Task(
        "write what is compared: what the tool says about fixtures and random captures, and the named numbers",
        ("python -m tests.numbers", "python -m tests.conversations", "python -m tests.said"),
    ),
    "pictures": Task("draw the pictures and screenshots of the site again", ("python -m tests.docs.rule_pictures",)),
    "fuzz": Task("mutated captures through the readers", ("python -m tests.fuzz",)),
    "kernels": Task("random conversations through compiled and interpreted kernels", ("python -m tests.fuzz kernels",)),
    "maxima": Task("the most that one segment brings about, measured", ("python -m tests.fuzz maxima",)),
    "mutate": Task("small changes in the code, and whether the quick tests notice", ("python -m tests.mutate",)),
    "bench": Task("the tool timed beside tcpdump and tcptrace", ("python -m tests.bench.run",)),
    "lab": Task("record the Linux captures in fixtures/ again (root, Linux)", ("python -m tests.lab.record",)),
}


def run(name: str, more: list[str]) -> int:
    """Run a task; the first command that fails ends it."""
    task = TASKS[name]
    for number, command in enumerate(task.commands):
        words = shlex.split(command) + (more if number == len(task.commands) - 1 else [])
        print("+", shlex.join(words), flush=True)
        found = _found(words)
        if shutil.which(found[0]) is None:
            print(f"{words[0]} is not installed: pip install -e '.[test]'", file=sys.stderr)
            return 2
        code = subprocess.run(found, cwd=ROOT, env={**os.environ, **task.environment}, check=False).returncode
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
    """List the tasks, or run one."""
    if len(sys.argv) < 2 or sys.argv[1] not in TASKS:
        for name, task in TASKS.items():
            print(f"{name:12} {task.purpose}")
        return 0 if len(sys.argv) < 2 else 2
    return run(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
