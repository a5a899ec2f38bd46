"""Whole commands over hostile captures: every command, its formats, and the folder that ``analyze`` wrote.

A capture may be refused (3), a check may find something (1), ``show`` and ``export`` may be told to show what is not
there (2); nothing else. What is written for programs must be readable, and the capture must stay as it was.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
import sys
import traceback
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tcptrace_tw.capture.head import read_head
from tests.fuzz import captures

USAGE, UNREADABLE, BUG = 2, 3, 70


def _lines(text: str) -> None:
    for line in text.splitlines():
        json.loads(line)


Reads = Callable[[str], object]


class Line(NamedTuple):
    """A command line without its captures; ``{out}`` is a name for what it writes."""

    words: str
    reads: Reads | None = None
    """What must be able to read stdout."""
    codes: frozenset[int] = frozenset((0, UNREADABLE))
    then: tuple[str, ...] = ()
    """Commands over what was written."""


FOUND = frozenset((0, 1, UNREADABLE))
ABSENT = frozenset((0, USAGE, UNREADABLE))
REPORTS = (
    Line("report"),
    Line("report --color always"),
    Line("report --json", json.loads),
    Line("report --html {out}.html"),
    Line("report --html -"),
    Line("check --fail-on info:predicted", None, FOUND),
    Line("check --show info --format json", json.loads, FOUND),
    Line("check --show info --format ndjson", _lines, FOUND),
    Line("check --show info --format sarif", json.loads, FOUND),
    Line("check --show info --format junit", ET.fromstring, FOUND),
    Line("check --show info --format github", None, FOUND),
    Line("check --show info --format gitlab", json.loads, FOUND),
    Line("check --show info --format markdown --output sarif={out}.sarif", None, FOUND),
    Line("analyze --output {out}", None, then=("report", "report --json", "check --show info --format json")),
    Line("analyze --output {out}", None, then=("show --connection 1 --time-format utc", "show --finding 1 --all")),
)
"""Those that know ``--since``."""
LOOKS = (
    Line("show --connection 1 --raw", None, ABSENT),
    Line("show --connection 1 --time-format utc --all", None, ABSENT),
    Line("show --connection 2 --time-format local", None, ABSENT),
    Line("show --connection 1 --time-format epoch", None, ABSENT),
    Line("show --finding 1 --time-format delta", None, ABSENT),
    Line("list", None, ABSENT),
    Line("list --json --sort findings --since +0.5s", _lines, ABSENT),
    Line("list --csv --limit 3 --sort silence --reverse --time-format epoch", None, ABSENT),
    Line("export --connection 1 --output {out}.pcapng", None, ABSENT),
    Line("export --connection 1 --connection 2 --output {out}.pcap", None, ABSENT),
    Line("export --finding 1 --output {out}", None, ABSENT),
)
LINES = (*REPORTS, *LOOKS)
SETTINGS = (
    ("--ignore-vlan",), ("--profile", "rfc"), ("--two-msl", "0.001"), ("--two-msl", "3600"),
    ("--filter", "tcp and not port 1"), ("--read-filter", "host 10.0.0.1 or ip6"), ("--filter", "closed normal"),
)  # fmt: skip
TIMES = (
    ("--since", "+0.5s"), ("--until", "+1s"), ("--since", "1970-01-01T00:00:00Z", "--until", "2115-01-01"),
    ("--until", "2000-01-01T00:00:00Z"), ("--since", "+3600h"), ("--select", "CP,PE"),
)  # fmt: skip


def write(number: int, run: int, folder: Path) -> Path:
    """The capture of a case: a file, or a folder of several."""
    path = folder / "case"
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    files = captures.case(number, run).files
    if len(files) == 1:
        path.write_bytes(*files.values())
        return path
    path.mkdir()
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


def command(path: Path, number: int) -> None:
    """Run one command line over a capture; which one, the number says."""
    random = Random(f"commands/{number}")
    line = random.choice(LINES)
    named = [str(path)] if path.is_file() or random.random() < 0.5 else sorted(str(file) for file in path.iterdir())
    more: list[str] = [*random.choice(SETTINGS)] if random.random() < 0.3 else []
    if line in REPORTS and random.random() < 0.3:
        more += random.choice(TIMES)
    out = path.with_name("out")
    before = _bytes(path)
    try:
        _run(line, [*line.words.format(out=out).split(), *named, *more])
        for words in line.then if out.is_dir() else ():
            _run(Line(words, json.loads if "json" in words else None, FOUND | ABSENT), [*words.split(), str(out)])
        for copy in (out.with_name("out.pcapng"), out.with_name("out.pcap")):
            assert not copy.exists() or read_head(str(copy)) is not None, f"{copy.name} is no capture"
    finally:
        shutil.rmtree(out, ignore_errors=True)
        for left in path.parent.glob("out*"):
            left.unlink()
    assert _bytes(path) == before, "the capture has been changed"


def _bytes(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in ([path] if path.is_file() else path.iterdir())}


def _run(line: Line, words: Sequence[str]) -> None:
    code, stdout, stderr = _outcome(words)
    if code not in line.codes:
        where = _where([*words, "--debug"]) if code == BUG else ""
        raise AssertionError(f"exit code {code}: {' '.join(words)}: {stderr[-500:]}{where}")
    assert "Traceback" not in stderr, stderr[-2000:]
    if code in (0, 1) and line.reads is not None:
        line.reads(stdout)


def _outcome(words: Sequence[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, in this process."""
    stdout, stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    code: Any = 0
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            _command_line()([*words], prog_name="tcptrace-tw")
    except SystemExit as end:
        code = end.code
    stdout.flush()
    return code or 0, stdout.buffer.getvalue().decode(), stderr.getvalue()  # type: ignore[attr-defined]


def _where(words: Sequence[str]) -> str:
    """The last calls of a command that ends in a bug."""
    try:
        _outcome(words)
    except Exception:
        return "\n" + "".join(traceback.format_exception(*sys.exc_info())[-4:])
    return ""


@functools.cache
def _command_line() -> Any:
    """The command line, put together once."""
    import typer.main

    from tcptrace_tw.cli.app import app

    return typer.main.get_command(app)
