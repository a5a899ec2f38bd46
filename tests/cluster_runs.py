"""An analysis in one pass and the same one dealt to parts, side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from tcptrace_tw import pipeline
from tcptrace_tw.cluster import run
from tcptrace_tw.report.summary.sink import SummarySink
from tcptrace_tw.report.tables.manifest import metadata
from tcptrace_tw.report.tables.sinks import ArrowSink
from tcptrace_tw.settings import Settings

Tables = dict[str, list[str]]

ROOT = str(Path(__file__).parent.parent)
PATIENCE_S = 60.0


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """The command line, in a process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, *sys.path])}
    return subprocess.Popen([sys.executable, "-m", "tcptrace_tw", *arguments], env=environment, **options)


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(listed) and not listed.startswith("Z")


def wait_for(condition: Callable[[], object]) -> None:
    """Until it is so; fails where that does not come."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Here(Executor):
    """Does every task at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def tables_of(captures: Sequence[str], analyze: Callable[..., Any], **settings: Any) -> tuple[Tables, dict[str, Any]]:
    """Every table, its rows sorted, and the report."""
    checked = Settings(**{"findings": "info", **settings})
    several = len(captures) > 1 or Path(captures[0]).is_dir()
    totals = SummarySink(several, checked.least)
    tables = ArrowSink(several, totals.incidents, checked.least)
    digest = totals.digest(analyze(captures, checked, [tables, totals]))
    found = tables.finish(metadata(digest))
    return {name: sorted(map(repr, table.to_pylist())) for name, table in found.items()}, digest.to_json()


def in_one_pass(captures: Sequence[str], **settings: Any) -> tuple[Tables, dict[str, Any]]:
    """By one process."""
    return tables_of(captures, pipeline.analyze, **settings)


def in_parts(
    captures: Sequence[str], parts: int, spool: str = "", means: run.Means | None = None, **settings: Any
) -> tuple[Tables, dict[str, Any]]:
    """Dealt to so many parts."""
    with tempfile.TemporaryDirectory() as folder:
        own = means or run.Means(executor=Here(), workers=1, spool=spool or folder, parts=parts)

        def analyze(*arguments: Any) -> Any:
            return run.analyze(*arguments, means=own)

        return tables_of(captures, analyze, **settings)


def assert_same(one: tuple[Tables, dict[str, Any]], other: tuple[Tables, dict[str, Any]]) -> None:
    """Every table has the same rows, and the reports are equal."""
    for name in one[0]:
        assert one[0][name] == other[0][name], name
    assert one[1] == other[1]
