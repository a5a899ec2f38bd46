"""``tcptrace-tw show``: the ladder of a connection, or of the worst ones of an incident."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tcptrace_tw.cli import complete, filters, run
from tcptrace_tw.cli import list as list_
from tcptrace_tw.cli import options as o
from tcptrace_tw.cli.reading import Reading, prepared
from tcptrace_tw.cli.records import Without
from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.capture.time_spec import Moment
    from tcptrace_tw.report.pages.connection_report import Story
    from tcptrace_tw.report.pages.ladder import Ladder, Style
    from tcptrace_tw.report.summary.listing import Listed
    from tcptrace_tw.selection import Selection
    from tcptrace_tw.storage import Place

    Drawn = tuple[Story, Ladder, list[Story]]
    """A connection, its ladder, and the connections that its SYNs met."""


PICTURES = ("ladder", "states", "sequence")


class ShowOptions(NamedTuple):
    """Which connection is drawn, and how."""

    connection: Annotated[
        int | None,
        typer.Option(
            "--connection", "-c", metavar="N", help="Number of the connection.", autocompletion=complete.connections
        ),
    ] = None
    finding: Annotated[
        int | None, typer.Option("--finding", "-f", metavar="N", help="Number of a finding, to show its connection.")
    ] = None
    incident: Annotated[
        int | None,
        typer.Option("--incident", "-i", metavar="N", help="Number of an incident, to show its worst connections."),
    ] = None
    raw: Annotated[bool, typer.Option("--raw", help="Show absolute sequence numbers.", rich_help_panel=o.OUTPUT)] = (
        False
    )
    time_format: Annotated[
        str,
        typer.Option(
            "--time-format",
            metavar="FORMAT",
            help="Time format: rel, delta, utc, local or epoch.",
            autocompletion=complete.time_formats,
            rich_help_panel=o.OUTPUT,
        ),
    ] = "rel"
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="TIME",
            help="Also say in which states both endpoints were at TIME: +2.5s from the connection's first segment, "
            "or like 2026-11-21T04:16:26Z.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = ""
    all_segments: Annotated[
        bool, typer.Option("--all", help="Show all segments of a long connection.", rich_help_panel=o.OUTPUT)
    ] = False
    svg: Annotated[
        str,
        typer.Option(
            "--svg",
            metavar="FILE",
            help="Write a picture of the connection as SVG; - for stdout.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = ""
    picture: Annotated[
        str,
        typer.Option(
            "--picture",
            metavar="PICTURE",
            help="What --svg draws: ladder, states (swim lanes of the 4-tuple) or sequence (numbers over time).",
            autocompletion=complete.pictures,
            rich_help_panel=o.OUTPUT,
        ),
    ] = "ladder"

    def check(self) -> None:
        """``UsageError`` for words that are not known."""
        from tcptrace_tw.report.pages.ladder import TIME_FORMATS

        if self.time_format not in TIME_FORMATS:
            raise UsageError(f"--time-format {self.time_format}: write one of {', '.join(TIME_FORMATS)}")
        if self.picture not in PICTURES:
            raise UsageError(f"--picture {self.picture}: write one of {', '.join(PICTURES)}")

    @property
    def style(self) -> "Style":
        """How a ladder is drawn."""
        from tcptrace_tw.report.pages.ladder import Style

        return Style(not self.raw, self.time_format, None if self.all_segments else Style.most)


_DIGITS_MAX = 30
"""Of a number of a connection; no capture has one with more than 19."""


@run.command
def show(
    *,
    captures: o.CapturesAndFilter = None,
    own: ShowOptions,
    shared: Annotated[o.Shared, Without("select", "ignore", "since", "until", "findings")],
) -> None:
    """Draw a connection, or those of an incident, as ladder diagrams: segments, and the states of both endpoints.

    The connection is named by its number, or by a FILTER as in list; if several match, they are listed.
    """
    from tcptrace_tw.capture.time_spec import parse_moment
    from tcptrace_tw.cli import targets

    own.check()
    captures, said = filters.split(captures, shared.filter_, has_list=bool(shared.files_from))
    if said.isdecimal() and own.connection is None:
        own, said = own._replace(connection=int(said[:_DIGITS_MAX])), ""
    asked = _asked(own.connection, own.finding, own.incident, said)
    selection = filters.selection(said)
    moment = parse_moment(own.at, "--at") if own.at else None
    captures = run.sources(captures, shared.files_from)
    drawn = [targets.Target(own.svg, f"--svg {own.svg}")] if own.svg else []
    reading = prepared(captures, shared, drawn, filter="")
    console = run.console(shared.color)
    if "-" in captures:
        raise UsageError("show: stdin cannot be read twice; tcptrace-tw report - --save FILE keeps it")
    if selection is not None:
        listed = _matching(reading, selection)
        if listed.matched > 1:
            list_.draw(listed, console, own.time_format if own.time_format in ("utc", "local", "epoch") else "utc")
            list_.draw_next(listed, console, reading, selection.text)
            return
        asked = int(listed.rows["connection_id"][0])
        reading = reading.again()
    if own.svg:
        _write_picture(reading, asked, own)
    else:
        _draw(*_numbers(reading, asked, own), own, console, moment)


def _numbers(reading: Reading, asked: int, own: ShowOptions) -> tuple[Reading, list[int]]:
    """The connections to draw, and what reads them."""
    if own.incident is None:
        return reading, [asked]
    numbers = _of_incident(reading, asked)
    return reading.again(), numbers


def _draw(reading: Reading, numbers: list[int], own: ShowOptions, console: "Console", moment: "Moment | None") -> None:
    """The ladders, one below the other."""
    from tcptrace_tw.report.pages.connection_report import tell
    from tcptrace_tw.report.words.phrases import local_times

    for place, (story, ladder, _) in enumerate(_drawn(reading, numbers, own.finding)):
        if place:
            console.print()
        with local_times(own.time_format == "local"):
            tell(console, story, ladder, own.style, moment.resolve(story.row["first_time"]) if moment else None)


def _write_picture(reading: Reading, asked: int, own: ShowOptions) -> None:
    """The picture of the connection, or of the worst one of an incident."""
    from tcptrace_tw.atomic import AtomicFile

    with AtomicFile(own.svg) as file:
        reading, numbers = _numbers(reading, asked, own)
        _write_svg(file, own.picture, *_drawn(reading, numbers[:1], own.finding)[0], own.style)
    if len(numbers) > 1 and not reading.quiet:
        worst = f"connection {numbers[0]}, the worst of {len(numbers)}"
        run.warn(f"{own.svg}: {worst}; --connection N draws another one")


def _write_svg(
    file: "AtomicFile", picture: str, story: "Story", ladder: "Ladder", others: "list[Story]", style: "Style"
) -> None:
    """One picture of the connection, all of it or nothing."""
    from tcptrace_tw.report.pages.connection_pictures import evidence, sequence_of, states_chart
    from tcptrace_tw.report.pages.ladder_svg import ladder_svg
    from tcptrace_tw.report.pictures.svg import file_svg

    hits = evidence(story)
    if picture == "ladder":
        file.write(ladder_svg(ladder, style, hits))
    else:
        chart = states_chart(story, ladder, others, hits=hits) if picture == "states" else sequence_of(ladder)
        if chart is None:
            raise UsageError(
                f"--picture {picture}: nothing of connection {ladder.head.connection_id} is at hand to draw"
            )
        file.write(file_svg(chart))
    file.commit()


def _asked(connection: int | None, finding: int | None, incident: int | None, said: str) -> int:
    """The number of the connection, or of the incident; 0 where a filter says which one."""
    from tcptrace_tw.report.words.findings import connection_of, is_rule_number, no_finding

    if sum(named is not None for named in (connection, finding, incident, said or None)) != 1:
        raise UsageError(
            "show: give one of --connection N, --finding N, --incident N, or a filter as in"
            " 'host 10.0.0.1 and port 80'; tcptrace-tw list lists the connections"
        )
    if said:
        return 0
    if finding is not None:
        number = int(connection_of(finding))
        if number < 1 and is_rule_number(finding):
            raise UsageError(
                f"finding {finding} is about the capture, not about a connection; there is nothing to draw"
            )
        if number < 1:
            raise UsageError(no_finding(finding))
        return number
    number, what = (connection, "connection") if connection is not None else (incident or 0, "incident")
    if number < 1:
        raise UsageError(f"no {what} {number}; numbers start at 1")
    return number


def _of_incident(reading: Reading, number: int) -> list[int]:
    """The connections of an incident that its report names, the worst first."""
    from tcptrace_tw.cli.report import digest_of
    from tcptrace_tw.report.words.findings import connection_of

    incidents = digest_of(reading).incidents
    if number > len(incidents):
        there = f"the capture has incidents 1 to {len(incidents):,}" if incidents else "the capture has none"
        raise UsageError(f"no incident {number}; {there}")
    found = dict.fromkeys(int(connection_of(each.finding_id)) for each in incidents[number - 1].examples)
    numbers = [connection for connection in found if connection]
    if not numbers:
        raise UsageError(f"incident {number} is about the capture, not about a connection; there is nothing to draw")
    return numbers


def _matching(reading: Reading, selection: "Selection") -> "Listed":
    """The connections that a filter means; ``UsageError`` where it means none."""
    from tcptrace_tw.report.summary.listing import Listing

    listed = list_.listed_of(reading, Listing(selection, limit=list_.LIMIT))
    if not listed.matched:
        raise UsageError(list_.nothing(listed, selection.text))
    return listed


def _drawn(reading: Reading, numbers: list[int], finding: int | None) -> "list[Drawn]":
    """Each connection with its ladder; ``UsageError`` where none of them has the ``finding``."""
    from tcptrace_tw.report.words.findings import no_finding

    if reading.folder is None:
        drawn = _read(reading, numbers)
    else:
        with reading.busy("reading tables"):
            drawn = [_stored(reading.folder, number) for number in numbers]
    if finding is not None and not any(finding == each["finding_id"] for story, *_ in drawn for each in story.findings):
        raise UsageError(no_finding(finding))
    return drawn


def _stored(folder: "Place", number: int) -> "Drawn":
    """From the tables; the segments from the captures, while they are where they were."""
    from tcptrace_tw import load

    trace = load(str(folder))
    try:
        found = trace.connection(number)
    except KeyError as error:
        raise UsageError(str(error.args[0])) from error
    known = set(trace.table("connections")["connection_id"].to_pylist())
    return found.story, found.ladder.ladder, [trace.connection(met).story for met in found.story.met if met in known]


def _read(reading: Reading, numbers: list[int]) -> "list[Drawn]":
    """By a pass over the capture for the rows of all, and another one for their segments."""
    from tcptrace_tw.report.notebook.connection import Connection
    from tcptrace_tw.report.tables.sinks import ConnectionSink

    sink = ConnectionSink(numbers, reading.has_several_files)
    summary = reading.analyze([sink])
    run.say_policy(summary.policy, reading.quiet or reading.is_again)
    if sink.counts["connections"] < len(numbers):
        there = (
            f"the capture has connections 1 to {summary.connections:,}"
            if summary.connections
            else "the capture has none"
        )
        raise UsageError(f"no connection {numbers[0]}; {there}")
    tables = sink.finish({})
    met = {each for number in numbers for each in Connection(number, tables.__getitem__).story.met}
    steps = reading.ladders([*dict.fromkeys([*numbers, *sorted(met)])], sink.neighbours, sink.met(met))
    tables = sink.finish({})
    known = set(tables["connections"]["connection_id"].to_pylist())
    told = {each: Connection(each, tables.__getitem__).story for each in (*numbers, *(met & known))}
    return [
        (
            told[number],
            told[number].ladder(steps[number], {each: steps[each] for each in told[number].met}),
            [told[each] for each in told[number].met if each in known],
        )
        for number in numbers
    ]
