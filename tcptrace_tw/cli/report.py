"""``tcptrace-tw report``: the report on the terminal, as one JSON object, or as one HTML page."""

import codecs
import json
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tcptrace_tw.cli import complete, policy, run
from tcptrace_tw.cli import options as o
from tcptrace_tw.cli.interrupts import is_pipe
from tcptrace_tw.cli.means import of_this_machine
from tcptrace_tw.cli.reading import Reading, prepared
from tcptrace_tw.errors import UsageError, hint

if TYPE_CHECKING:
    import pyarrow as pa

    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.pipeline import Settings, Sink
    from tcptrace_tw.report.notebook.trace import Trace
    from tcptrace_tw.report.pages.html_incidents import Stories
    from tcptrace_tw.report.pictures.sink import PictureSink
    from tcptrace_tw.report.summary.digest import Digest
    from tcptrace_tw.storage import Place

TIME_FORMATS = ("utc", "local")

_MOST_LADDERS = 40
"""A page with more of them is slow to open."""

_MOST_SEGMENTS = 100_000
"""Of a longer connection the ladder has the state changes alone."""


class ReportOptions(NamedTuple):
    """What a report looks like, and where it goes."""

    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object.", rich_help_panel=o.OUTPUT)
    ] = False
    html: Annotated[
        str | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write the report as one HTML page with ladder diagrams; - for stdout.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None
    save: o.Save = ""
    jobs: o.Jobs = 1
    time_format: Annotated[
        str,
        typer.Option(
            "--time-format",
            metavar="FORMAT",
            help="Time format: utc or local; --json is always in UTC.",
            autocompletion=complete.report_times,
            rich_help_panel=o.OUTPUT,
        ),
    ] = "utc"

    def check(self) -> None:
        """``UsageError`` for what cannot be meant."""
        if self.as_json and self.html:
            raise UsageError("report: give either --json or --html FILE")
        if self.html == "":
            raise UsageError("--html: the name of the file is empty")
        if self.time_format not in TIME_FORMATS:
            raise UsageError(f"--time-format {self.time_format}: {hint(self.time_format, TIME_FORMATS)}")


@run.command
def report(*, captures: o.CapturesOrFolder = None, own: ReportOptions, shared: o.Shared) -> None:
    """Summarise a capture: its connections, TIME-WAIT sockets and findings, with cause and remedy."""
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.words.phrases import local_times

    own.check()
    html = own.html
    captures = run.sources(captures, shared.files_from)
    files = [*targets.saved(own.save, captures), *([targets.Target(html, f"--html {html}")] if html else [])]
    reading = prepared(captures, shared, files, own.save)
    reading.means = of_this_machine(own.jobs)
    with _opened(html) if html else nullcontext() as page, local_times(own.time_format == "local"):
        if page is not None:
            _write_page(page, reading)
            return
        digest = digest_of(reading)
        if own.as_json:
            print(json.dumps(digest.to_json(), indent=1))
        else:
            from tcptrace_tw.report.pages.terminal import draw

            draw(digest, run.console(shared.color), reading.names)


def _opened(html: str) -> "AtomicFile":
    from tcptrace_tw.atomic import AtomicFile

    return AtomicFile(html)


def digest_of(reading: Reading, *others: "Sink") -> "Digest":
    """The report of captures, or of a folder that ``analyze`` wrote; ``others`` see the rows of captures, too."""
    if reading.folder is not None:
        from tcptrace_tw.report.tables.stored import stored_digest

        settings = reading.settings
        digest = stored_digest(reading.folder, settings.select, settings.ignore, settings.findings)
        policy.say_stored(reading, digest)
        return digest
    from tcptrace_tw.report.summary.sink import SummarySink

    sink = SummarySink(reading.has_several_files, reading.settings.least)
    return sink.digest(reading.analyze([sink, *others], "tcptrace_tw.report.pages.terminal"))


def _write_page(page: "AtomicFile", reading: Reading) -> None:
    from tcptrace_tw.atomic import STDOUT
    from tcptrace_tw.report.pages.html_report import document
    from tcptrace_tw.report.pictures.sink import PictureSink
    from tcptrace_tw.report.summary.headline import headline

    pictures = PictureSink()
    digest = digest_of(reading, pictures)
    if reading.folder is not None:
        pictures = _stored_pictures(reading.folder, reading.settings)
    stories = _stories(digest, reading)
    with reading.busy("drawing the page"):
        charts = pictures.charts(digest.capture.first_time, digest.capture.last_time)
        text = document(digest, reading.names, stories, charts)
    encoding = codecs.lookup(sys.stdout.encoding or "ascii").name if page.target == STDOUT else "utf-8"
    if encoding == "utf-8":
        page.write(text)
    else:  # references are read in any encoding
        page.write(text.encode("ascii", "xmlcharrefreplace").decode().encode(encoding))
    page.commit()
    if page.target != STDOUT and not reading.quiet:
        run.warn(f"{page.target}: {headline(digest, 'notice')}")


def _stored_pictures(folder: "Place", settings: "Settings") -> "PictureSink":
    from tcptrace_tw.report.pictures.sink import PictureSink
    from tcptrace_tw.report.tables.stored import is_wanted, read_table

    def table(name: str) -> "pa.Table":
        found = read_table(folder, name)
        if name != "findings":
            return found
        return found.filter([is_wanted(rule, settings.select, settings.ignore) for rule in found["rule"].to_pylist()])

    return PictureSink.of(table)


def _stories(digest: "Digest", reading: Reading) -> "Stories":
    """The connections that the examples are about: one pass for their rows, and one for their segments."""
    from tcptrace_tw import load
    from tcptrace_tw.report.notebook.trace import Trace
    from tcptrace_tw.report.pages.html_report import wanted
    from tcptrace_tw.report.tables.sinks import ConnectionSink

    numbers = wanted(digest, _MOST_LADDERS)
    if reading.folder is not None:
        return _told(load(str(reading.folder)), numbers)
    if not numbers or any(capture == "-" or is_pipe(capture) for capture in reading.captures):
        return {}  # stdin and pipes cannot be read twice
    sink = ConnectionSink(numbers, reading.has_several_files)
    reading.again().analyze([sink])
    found = _told(Trace(digest, sink.finish({})), numbers)
    numbers = [number for number, (story, _) in found.items() if story.segments <= _MOST_SEGMENTS]
    met = {other for number in numbers for other in found[number][0].met}
    steps = reading.ladders({*numbers, *met}, sink.neighbours, sink.met(met))
    whole = Trace(digest, sink.finish({}), segments=lambda ids: {n: steps.get(n, []) for n in ids})
    return _told(whole, list(found))


def _told(trace: "Trace", numbers: list[int]) -> "Stories":
    """Those that have a row, and the incarnations that their SYNs met.

    --since and --until may leave a connection out that a finding names.
    """
    known = set(trace.table("connections")["connection_id"].to_pylist()) if numbers else set()
    connections = {number: trace.connection(number) for number in numbers if number in known}
    stories = {number: (one.story, one.ladder.ladder) for number, one in connections.items()}
    met = {other for story, _ in stories.values() for other in story.met} & known
    for other in met - set(stories):
        story = trace.connection(other).story
        stories[other] = (story, story.ladder([]))
    return stories
