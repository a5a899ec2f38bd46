"""Blocks of the hand-written pages that begin with a command are printed by it."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"```text\n\$ (tcptrace-tw [^\n]*)\n(.*?)```", re.DOTALL)


def printed(command: str) -> str:
    """What a command prints at 80 columns, without blank lines at the ends and blanks at the ends of lines."""
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    for name in ("FORCE_COLOR", "NO_COLOR"):
        environment.pop(name, None)
    words = [sys.executable, "-m", "tcptrace_tw", *shlex.split(command)[1:]]
    done = subprocess.run(words, capture_output=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode in (0, 1), done.stderr.decode()
    lines = [line.rstrip() for line in done.stdout.decode().splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def blocks() -> list[tuple[str, str, str]]:
    """Page, command and the text below it."""
    found = []
    for path in sorted(DOCS.rglob("*.md")):
        found += [(path.relative_to(DOCS).as_posix(), match[1], match[2]) for match in BLOCK.finditer(path.read_text())]
    return found


def rewrite() -> None:
    """Put what the commands print today into the pages."""
    for path in sorted(DOCS.rglob("*.md")):
        before = path.read_text()
        after = BLOCK.sub(lambda m: f"```text\n$ {m[1]}\n{printed(m[1])}```", before)
        if after != before:
            path.write_text(after)
