"""``tcptrace-tw show``: the ladder of a connection, or of the worst ones of an incident."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tcptrace_tw.cli import complete, run
from tcptrace_tw.cli import options as o
from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from tcptrace_tw.pipeline import Settings
    from tcptrace_tw.report.pages.connection_report import Story
    from tcptrace_tw.report.pages.ladder import Ladder


@run.command
def show(
    captures: o.CapturesOrFolder = None,
    connection: Annotated[
        int | None, typer.Option("--connection", "-c", metavar="N", help="Number of the connection.")
    ] = None,
    finding: Annotated[
        int | None, typer.Option("--finding", "-f", metavar="N", help="Number of a finding, to show its connection.")
    ] = None,
    incident: Annotated[
        int | None,
        typer.Option("--incident", "-i", metavar="N", help="Number of an incident, to show its worst connections."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show absolute sequence numbers.", rich_help_panel=o.OUTPUT)
    ] = False,
    time_format: Annotated[
        str,
        typer.Option(
            "--time-format",
            metavar="FORMAT",
            help="Time format: rel, delta, utc, local or epoch.",
            autocompletion=complete.time_formats,
            rich_help_panel=o.OUTPUT,
        ),
    ] = "rel",
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="TIME",
            help="Also say in which states both endpoints were at TIME: +2.5s from the connection's first segment, "
            "or like 2026-11-21T04:16:26Z.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = "",
    all_segments: Annotated[
        bool, typer.Option("--all", help="Show all segments of a long connection.", rich_help_panel=o.OUTPUT)
    ] = False,
    profile: o.Profile = "linux",
    two_msl: o.TwoMsl = None,
    filter_: o.Filter = "",
    ignore_vlan: o.IgnoreVlan = False,
    max_memory: o.MaxMemory = None,
    files_from: o.FilesFrom = "",
    color: o.ColorOption = o.Color.AUTO,
    quiet: o.Quiet = False,
    no_progress: o.NoProgress = False,
    debug: o.Debug = False,
) -> None:
    """Draw a connection, or those of an incident, as ladder diagrams: segments, and the states of both endpoints."""
    from tcptrace_tw.capture.time_spec import parse_moment
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.pages.connection_report import tell
    from tcptrace_tw.report.pages.ladder import TIME_FORMATS, Style

    if time_format not in TIME_FORMATS:
        raise UsageError(f"--time-format {time_format}: write one of {', '.join(TIME_FORMATS)}")
    asked = _asked(connection, finding, incident)
    moment = parse_moment(at, "--at") if at else None
    captures = run.sources(captures, files_from)
    targets.keep_apart([], captures, [files_from])
    settings = run.settings(
        profile, two_msl, None, None, filter=filter_, ignore_vlan=ignore_vlan, max_memory=max_memory
    )
    folder = run.written_folder(captures)
    numbers = [asked] if incident is None else _of_incident(captures, settings, asked, quiet, no_progress)
    style = Style(not raw, time_format, None if all_segments else Style.most)
    console = run.console(color)
    if folder is not None:
        drawn = [_stored(folder, number) for number in numbers]
    else:
        drawn = _read(captures, settings, numbers, quiet, no_progress)
    for place, (story, ladder) in enumerate(drawn):
        if place:
            console.print()
        tell(console, story, ladder, style, moment.resolve(story.row["first_time"]) if moment else None)


def _asked(connection: int | None, finding: int | None, incident: int | None) -> int:
    """The number of the connection, or of the incident."""
    from tcptrace_tw.report.words.findings import connection_of

    if sum(number is not None for number in (connection, finding, incident)) != 1:
        raise UsageError("show: give one of --connection N, --finding N and --incident N")
    if finding is not None:
        number = int(connection_of(finding))
        if number < 1:
            raise UsageError("show: this finding is about the capture, not about a connection")
        return number
    number, what = (connection, "connection") if connection is not None else (incident or 0, "incident")
    if number < 1:
        raise UsageError(f"no {what} {number}; numbers start at 1")
    return number


def _of_incident(captures: list[str], settings: "Settings", number: int, quiet: bool, no_progress: bool) -> list[int]:
    """The connections of an incident that its report names, the worst first."""
    from tcptrace_tw.cli.report import digest_of
    from tcptrace_tw.report.words.findings import connection_of

    incidents = digest_of(captures, settings, quiet, no_progress).incidents
    if number > len(incidents):
        there = f"the capture has incidents 1 to {len(incidents):,}" if incidents else "the capture has none"
        raise UsageError(f"no incident {number}; {there}")
    found = dict.fromkeys(int(connection_of(each.finding_id)) for each in incidents[number - 1].examples)
    numbers = [connection for connection in found if connection]
    if not numbers:
        raise UsageError("show: this incident is about the capture, not about a connection")
    return numbers


def _stored(folder: Path, number: int) -> "tuple[Story, Ladder]":
    """From the tables; the segments from the captures, while they are where they were."""
    from tcptrace_tw import load

    try:
        found = load(folder).connection(number)
    except KeyError as error:
        raise UsageError(str(error.args[0])) from error
    return found.story, found.ladder.ladder


def _read(
    captures: list[str], settings: "Settings", numbers: list[int], quiet: bool, no_progress: bool
) -> "list[tuple[Story, Ladder]]":
    """By a pass over the capture for the rows of all, and another one for their segments."""
    from tcptrace_tw import pipeline
    from tcptrace_tw.report.notebook.connection import Connection
    from tcptrace_tw.report.tables.sinks import ConnectionSink

    if "-" in captures:
        raise UsageError("show: stdin cannot be read twice; save the capture to a file")
    sink = ConnectionSink(numbers, run.has_several_files(captures))
    summary = run.analyze(captures, settings, [sink], quiet, no_progress)
    if sink.counts["connections"] < len(numbers):
        there = (
            f"the capture has connections 1 to {summary.connections:,}"
            if summary.connections
            else "the capture has none"
        )
        raise UsageError(f"no connection {numbers[0]}; {there}")
    tables = sink.finish({})
    met = {each for number in numbers for each in Connection(number, tables.__getitem__).story.met}
    steps = pipeline.ladders(captures, settings, [*dict.fromkeys([*numbers, *sorted(met)])], sink.neighbours)
    tables = sink.finish({})
    stories = [Connection(number, tables.__getitem__).story for number in numbers]
    return [(one, one.ladder(steps[one.number], {each: steps[each] for each in one.met})) for one in stories]
