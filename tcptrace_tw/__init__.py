"""tcptrace-tw: rebuilds both endpoints' TCP state histories from a capture and reports what TIME-WAIT did.

    import tcptrace_tw as tw

    trace = tw.analyze("cap.pcap", profile="linux")   # or tw.load("out/")
    trace.findings           # a pandas DataFrame; the same name for every table
    trace.table("findings")  # a pyarrow.Table

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # to import ``typing`` takes longer than all of this, and the command hears no signal before
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor
    from typing import Any

    from tcptrace_tw.errors import CaptureError, TcptraceError, UsageError
    from tcptrace_tw.report.notebook.trace import Trace
    from tcptrace_tw.report.pages.ladder import Step
    from tcptrace_tw.rules import RULES
    from tcptrace_tw.version import __version__

__all__ = ["RULES", "CaptureError", "TcptraceError", "Trace", "UsageError", "__version__", "analyze", "load"]


def analyze(
    captures: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    profile: str | None = None,
    two_msl: float | None = None,
    select: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] | None = None,
    filter: str = "",
    read_filter: str = "",
    since: str = "",
    until: str = "",
    ignore_vlan: bool = False,
    max_memory: int | str | None = None,
    config: str | os.PathLike[str] | bool | None = None,
    findings: str = "notice",
    jobs: int | Executor = 1,
    spool: str | os.PathLike[str] = "",
) -> Trace:
    """Read a capture, or the files of one rotated capture, and keep all tables in memory.

    ``two_msl`` is in seconds; ``select`` and ``ignore`` are rule ids or prefixes, one or several; ``filter``,
    ``read_filter``, ``since``, ``until``, ``ignore_vlan`` and ``max_memory`` are as on the command line. ``findings``
    is the lowest severity that makes a row of ``trace.findings``: with ``"info"``, ordinary mechanisms do, too.
    The policy is that of the command line: the nearest ``tcptrace-tw.toml`` or pyproject.toml from the current folder
    upwards, or the file that ``config`` names; ``config=False`` ignores it, arguments win over it, and
    ``trace.summary.policy`` says what it did. ``jobs`` processes do the work, or the workers of an ``Executor``, which
    need a folder ``spool`` that all of them see. Raises ``CaptureError`` where nothing can be read, ``UsageError`` (a
    ``ValueError``) for a setting that cannot be.

        >>> import tcptrace_tw as tw
        >>> trace = tw.analyze("fixtures/kernel-active-close-server/capture.pcap", ignore=["CP"])
        >>> trace.time_wait[["ip", "port", "end_reason", "restarts"]]
                    ip  port end_reason  restarts
        0  198.19.2.20  5000    expired         0
    """
    paths = [os.fspath(captures)] if isinstance(captures, (str, os.PathLike)) else [os.fspath(c) for c in captures]
    overrides = {"profile": profile, "two_msl_s": two_msl, "select": select, "ignore": ignore}
    others = {"filter": filter, "read_filter": read_filter, "since": since, "until": until,
              "ignore_vlan": ignore_vlan, "max_memory": max_memory, "findings": findings}  # fmt: skip
    return _analyzed(paths, config, overrides, others, jobs, os.fspath(spool))


def _analyzed(*arguments: Any) -> Trace:
    from tcptrace_tw.errors import without_frames

    return without_frames(_analyze)(*arguments)


def _analyze(
    paths: list[str], config: Any, overrides: dict[str, Any], others: dict[str, Any], jobs: Any, spool: str
) -> Trace:
    from functools import partial

    from tcptrace_tw.capture import ring
    from tcptrace_tw.checking import obey
    from tcptrace_tw.errors import warn
    from tcptrace_tw.report.notebook.trace import Trace
    from tcptrace_tw.report.pages.sentences import policy_text
    from tcptrace_tw.report.summary.sink import SummarySink
    from tcptrace_tw.report.tables.manifest import metadata
    from tcptrace_tw.report.tables.sinks import ArrowSink

    several = len(paths) > 1 or any(ring.is_search(path) for path in paths)
    settings, policy = obey.obeyed(config, overrides, others)
    totals = SummarySink(several, settings.least)
    tables = ArrowSink(several, totals.incidents, settings.least)
    means = None
    if jobs != 1 or spool:
        from tcptrace_tw.cluster.run import Means

        means = Means(executor=jobs, spool=spool) if hasattr(jobs, "submit") else Means(jobs=jobs, spool=spool)
    digest = totals.digest(obey.analyze(paths, settings, policy, [tables, totals], notice=warn, means=means))
    if digest.policy is not None and (did := policy_text(digest.policy)):
        warn(f"{did}; config=False ignores it")
    segments = None if "-" in paths else partial(_segments, paths, settings)
    return Trace(digest, tables.finish(metadata(digest)), segments=segments)


def load(folder: str | os.PathLike[str], *, findings: str = "") -> Trace:
    """What ``tcptrace-tw analyze -o FOLDER`` wrote; ladders have segments while the captures are where they were.

    With ``findings="info"``, ordinary mechanisms are findings, too; else it is the severity that was written.

    The folder may be in an object store, as ``s3://bucket/out``.
    Raises ``CaptureError`` where the folder is none, or of another schema version.

        >>> import tcptrace_tw as tw
        >>> tw.load("fixtures")
        Traceback (most recent call last):
        tcptrace_tw.errors.CaptureError: fixtures: was not written by tcptrace-tw analyze
    """
    from functools import partial

    from tcptrace_tw import pipeline
    from tcptrace_tw.errors import without_frames
    from tcptrace_tw.report.notebook.trace import Trace
    from tcptrace_tw.report.tables.stored import captures_of
    from tcptrace_tw.storage import place

    where = place(os.fspath(folder))
    captures, settings = captures_of(where)
    is_at_hand = bool(captures) and all(os.path.exists(capture) for capture in captures)
    checked = pipeline.Settings(**{**settings, "findings": findings or settings["findings"]})
    segments = partial(_segments, captures, checked) if is_at_hand else None
    return without_frames(Trace.load)(where, segments, checked.findings)


def _segments(captures: list[str], settings: Any, connection_ids: Iterable[int]) -> dict[int, list[Step]]:
    """The segments of some connections, read out of the capture again."""
    from tcptrace_tw import pipeline
    from tcptrace_tw.errors import without_frames

    return without_frames(pipeline.ladders)(captures, settings, connection_ids)


_MODULES = {
    "CaptureError": "errors",
    "TcptraceError": "errors",
    "UsageError": "errors",
    "RULES": "rules",
    "Trace": "report.notebook.trace",
    "__version__": "version",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
