"""The blocks of README.md that begin with a command are printed by it: ``python -m tests.readme`` writes them anew."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"```text\n\$ (tcptrace-tw [^\n]*)\n(.*?)```", re.DOTALL)


def printed(command: str) -> str:
    """What a command prints at 80 columns, without blank lines at the ends and blanks at the ends of lines."""
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    for name in ("FORCE_COLOR", "NO_COLOR"):
        environment.pop(name, None)
    words = [sys.executable, "-m", "tcptrace_tw", *shlex.split(command)[1:]]
    done = subprocess.run(words, capture_output=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    lines = [line.rstrip() for line in done.stdout.decode().splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def blocks() -> list[tuple[str, str]]:
    """Each command and the text below it."""
    return [(match[1], match[2]) for match in BLOCK.finditer(README.read_text())]


def rewrite() -> None:
    """Put what the commands print today into README.md."""
    README.write_text(BLOCK.sub(lambda m: f"```text\n$ {m[1]}\n{printed(m[1])}```", README.read_text()))


if __name__ == "__main__":
    rewrite()
