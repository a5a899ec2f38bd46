"""``tcptrace-tw report``: the report on the terminal, as one JSON object, or as one HTML page."""

import codecs
import json
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from tcptrace_tw.cli import options as o
from tcptrace_tw.cli import run
from tcptrace_tw.cli.interrupts import is_pipe
from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.pipeline import Settings
    from tcptrace_tw.report.notebook.trace import Trace
    from tcptrace_tw.report.pages.html_report import Stories
    from tcptrace_tw.report.summary.digest import Digest

_MOST_LADDERS = 40
"""A page with more of them is slow to open."""

_MOST_SEGMENTS = 100_000
"""Of a longer connection the ladder has the state changes alone."""


@run.command
def report(
    captures: o.CapturesOrFolder = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object.", rich_help_panel=o.OUTPUT)
    ] = False,
    html: Annotated[
        str | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write the report as one HTML page with ladder diagrams; - for stdout.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None,
    profile: o.Profile = "linux",
    two_msl: o.TwoMsl = None,
    select: o.Select = None,
    ignore: o.Ignore = None,
    filter_: o.Filter = "",
    since: o.Since = "",
    until: o.Until = "",
    ignore_vlan: o.IgnoreVlan = False,
    max_memory: o.MaxMemory = None,
    findings: o.Findings = "notice",
    files_from: o.FilesFrom = "",
    color: o.ColorOption = o.Color.AUTO,
    quiet: o.Quiet = False,
    no_progress: o.NoProgress = False,
    debug: o.Debug = False,
) -> None:
    """Summarise a capture: its connections, TIME-WAIT sockets and findings, with cause and remedy."""
    from tcptrace_tw.cli import targets

    if as_json and html:
        raise UsageError("report: give either --json or --html FILE")
    if html == "":
        raise UsageError("--html: the name of the file is empty")
    captures = run.sources(captures, files_from)
    targets.keep_apart([targets.Target(html, f"--html {html}")] if html else [], captures, [files_from])
    settings = run.settings(
        profile,
        two_msl,
        select,
        ignore,
        filter=filter_,
        since=since,
        until=until,
        ignore_vlan=ignore_vlan,
        max_memory=max_memory,
        findings=findings,
    )
    with _opened(html) if html else nullcontext() as page:
        digest = digest_of(captures, settings, quiet, no_progress)
        if page is not None:
            _write_page(page, digest, captures, settings, quiet)
        elif as_json:
            print(json.dumps(digest.to_json(), indent=1))
        else:
            from tcptrace_tw.report.pages.terminal import draw

            draw(digest, run.console(color), run.glob_for(captures))


def _opened(html: str) -> "AtomicFile":
    from tcptrace_tw.atomic import AtomicFile

    return AtomicFile(html)


def digest_of(captures: list[str], settings: "Settings", quiet: bool, no_progress: bool) -> "Digest":
    """The report of captures, or of a folder that ``analyze`` wrote."""
    folder = run.written_folder(captures)
    if folder is not None:
        from tcptrace_tw.report.tables.stored import stored_digest

        return stored_digest(folder, settings.select, settings.ignore, settings.findings)
    from tcptrace_tw.report.summary.sink import SummarySink

    sink = SummarySink(run.has_several_files(captures), settings.least)
    return sink.digest(run.analyze(captures, settings, [sink], quiet, no_progress, "tcptrace_tw.report.pages.terminal"))


def _write_page(page: "AtomicFile", digest: "Digest", captures: list[str], settings: "Settings", quiet: bool) -> None:
    from tcptrace_tw.atomic import STDOUT
    from tcptrace_tw.report.pages.html_report import document
    from tcptrace_tw.report.summary.headline import headline

    text = document(digest, run.glob_for(captures), _stories(digest, captures, settings))
    encoding = codecs.lookup(sys.stdout.encoding or "ascii").name if page.target == STDOUT else "utf-8"
    if encoding == "utf-8":
        page.write(text)
    else:  # references are read in any encoding
        page.write(text.encode("ascii", "xmlcharrefreplace").decode().encode(encoding))
    page.commit()
    if page.target != STDOUT and not quiet:
        run.warn(f"{page.target}: {headline(digest, 'notice')}")


def _stories(digest: "Digest", captures: list[str], settings: "Settings") -> "Stories":
    """The connections that the examples are about: one pass for their rows, and one for their segments."""
    from tcptrace_tw import load, pipeline
    from tcptrace_tw.report.notebook.trace import Trace
    from tcptrace_tw.report.pages.html_report import wanted
    from tcptrace_tw.report.tables.sinks import ConnectionSink

    numbers = wanted(digest, _MOST_LADDERS)
    folder = run.written_folder(captures)
    if folder is not None:
        return _told(load(folder), numbers)
    if not numbers or any(capture == "-" or is_pipe(capture) for capture in captures):
        return {}  # stdin and pipes cannot be read twice
    sink = ConnectionSink(numbers, run.has_several_files(captures))
    pipeline.analyze(captures, settings, [sink])
    found = _told(Trace(digest, sink.finish({})), numbers)
    numbers = [number for number, (story, _) in found.items() if story.segments <= _MOST_SEGMENTS]
    met = {other for number in numbers for other in found[number][0].met}
    steps = pipeline.ladders(captures, settings, {*numbers, *met}, sink.neighbours)
    whole = Trace(digest, sink.finish({}), segments=lambda ids: {n: steps.get(n, []) for n in ids})
    return _told(whole, list(found))


def _told(trace: "Trace", numbers: list[int]) -> "Stories":
    """Those that have a row: --since and --until may leave a connection out that a finding names."""
    known = set(trace.table("connections")["connection_id"].to_pylist()) if numbers else set()
    connections = [trace.connection(number) for number in numbers if number in known]
    return {one.connection_id: (one.story, one.ladder.ladder) for one in connections}
