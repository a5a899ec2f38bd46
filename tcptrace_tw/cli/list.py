"""``tcptrace-tw list``: connections as a table, one a line."""

import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tcptrace_tw.cli import complete, filters, run
from tcptrace_tw.cli import options as o
from tcptrace_tw.cli.means import of_this_machine
from tcptrace_tw.cli.reading import Reading, prepared
from tcptrace_tw.cli.records import Without
from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tcptrace_tw.report.summary.listing import Listed, Listing
    from tcptrace_tw.storage import Place

LIMIT = 30
"""The most connections that a terminal shows unless the user says how many."""


class ListOptions(NamedTuple):
    """Which connections are listed, and how."""

    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="ORDER",
            help="Order: number, duration, bytes, silence or findings; all but number put the most first.",
            autocompletion=complete.sorts,
            rich_help_panel=o.OUTPUT,
        ),
    ] = "number"
    is_reversed: Annotated[
        bool, typer.Option("--reverse", "-r", help="Reverse the order.", rich_help_panel=o.OUTPUT)
    ] = False
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            metavar="N",
            help="List at most N connections; 0 lists all.",
            show_default=f"{LIMIT} on a terminal, else all",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.", rich_help_panel=o.OUTPUT)
    ] = False
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.", rich_help_panel=o.OUTPUT)] = False
    time_format: Annotated[
        str,
        typer.Option(
            "--time-format",
            metavar="FORMAT",
            help="Time format: utc, local, epoch, or rel to the first one in the list.",
            autocompletion=complete.list_times,
            rich_help_panel=o.OUTPUT,
        ),
    ] = "utc"
    save: o.Save = ""
    jobs: o.Jobs = 1

    @property
    def most(self) -> int:
        """The most connections that are listed; 0 is all."""
        if self.limit is not None:
            return self.limit
        return LIMIT if sys.stdout.isatty() and not (self.as_json or self.as_csv) else 0

    def check(self) -> None:
        """``UsageError`` for what cannot be meant."""
        from tcptrace_tw.report.pages.connection_list import known_format

        if self.as_json and self.as_csv:
            raise UsageError("list: give either --json or --csv")
        if self.limit is not None and self.limit < 0:
            raise UsageError(f"--limit {self.limit}: give 0 or more; 0 lists all")
        known_format(self.time_format)


@run.command
def list_(
    *,
    captures: o.CapturesAndFilter = None,
    own: ListOptions,
    shared: Annotated[o.Shared, Without("select", "ignore", "findings")],
) -> None:
    """List the connections of a capture, or those that a filter selects: when, who, how they closed, findings.

    FILTER has the words of tcpdump: host, net, port, portrange, src, dst, and, or, not.
    It also has words about connections: state TIME-WAIT, opened midstream, closed by server, finding RU004.
    """
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.summary.listing import Listing

    own.check()
    captures, said = filters.split(captures, shared.filter_, has_list=bool(shared.files_from))
    listing = Listing(filters.selection(said), own.sort, own.most, is_reversed=own.is_reversed)
    captures = run.sources(captures, shared.files_from)
    reading = prepared(captures, shared, targets.saved(own.save, captures), own.save, filter="")
    reading.means = of_this_machine(own.jobs)
    listed = listed_of(reading, listing)
    if own.as_json or own.as_csv:
        from tcptrace_tw.report.pages.connection_records import write_csv, write_json

        (write_json if own.as_json else write_csv)(listed, sys.stdout)
    elif len(listed.rows):
        console = run.console(shared.color)
        draw(listed, console, own.time_format)
        if console.is_terminal:
            draw_next(listed, console, reading, said, own.sort, own.is_reversed)
    if not listed.matched and not shared.quiet:
        run.warn(nothing(listed, said))


def listed_of(reading: Reading, listing: "Listing") -> "Listed":
    """The connections of captures, or of a folder that ``analyze`` wrote."""
    if reading.folder is not None:
        with reading.busy("reading tables"):
            return _stored(reading.folder, listing)
    summary = reading.analyze([listing], "tcptrace_tw.report.pages.connection_list")
    run.say_policy(summary.policy, reading.quiet)
    return listing.result()


def draw(listed: "Listed", console: "Console", time_format: str = "utc") -> None:
    """The table."""
    from tcptrace_tw.report.pages import connection_list
    from tcptrace_tw.report.words.phrases import local_times

    with local_times(time_format == "local"):
        connection_list.draw(listed, console, time_format)


def draw_next(
    listed: "Listed", console: "Console", reading: Reading, said: str, sort: str = "number", is_reversed: bool = False
) -> None:
    """How many are not in the table, how to see one of them, and how to list them all."""
    from tcptrace_tw.report.pages import connection_list
    from tcptrace_tw.report.pages.sentences import options
    from tcptrace_tw.report.words.codec import to_json

    same = [said] if said else []
    for option, value in (("--sort", sort if sort != "number" else ""), ("--since", reading.settings.since),
                          ("--until", reading.settings.until)):  # fmt: skip
        same += [option, value] if value else []
    same += ["--reverse"] if is_reversed else []
    connection_list.draw_next(listed, console, reading.names, same, options(to_json(reading.settings)))


def nothing(listed: "Listed", said: str) -> str:
    """Why the list is empty."""
    from tcptrace_tw.report.words.phrases import counted

    there = counted(listed.total, "connection")
    return f"no connection matches {said!r}; the capture has {there}" if said else f"the capture has {there}"


def _stored(folder: "Place", listing: "Listing") -> "Listed":
    from tcptrace_tw.report.tables.stored_list import stored_list

    return stored_list(folder, listing)
