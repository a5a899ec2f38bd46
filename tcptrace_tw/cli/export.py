"""``tcptrace-tw export``: the original frames of connections and findings."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tcptrace_tw.cli import complete, filters, run
from tcptrace_tw.cli import options as o
from tcptrace_tw.cli.reading import Reading, prepared
from tcptrace_tw.cli.records import Without
from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from tcptrace_tw.selection import Selection

_MOST_NAMED = 12


class ExportOptions(NamedTuple):
    """What is copied, and where it goes."""

    out: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file, .pcap or .pcapng; - for stdout.",
            show_default=False,
        ),
    ]
    connection: Annotated[
        list[int] | None,
        typer.Option(
            "--connection",
            "-c",
            metavar="N",
            help="Number of a connection; may be repeated.",
            autocompletion=complete.connections,
        ),
    ] = None
    finding: Annotated[
        list[int] | None,
        typer.Option(
            "--finding",
            "-f",
            metavar="N",
            help="Number of a finding: its connection and the previous one; may be repeated.",
        ),
    ] = None


@run.command
def export(
    *,
    captures: o.CapturesAndFilter = None,
    own: ExportOptions,
    shared: Annotated[o.Shared, Without("select", "ignore", "since", "until", "findings", "color")],
) -> None:
    """Copy the original frames of connections or findings, byte for byte.

    A FILTER as in list copies all connections that match.
    """
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.words.phrases import counted

    out = own.out
    captures, said = filters.split(captures, shared.filter_, has_list=bool(shared.files_from))
    if not own.connection and not own.finding and not said:
        raise UsageError("export: give --connection N or --finding N, or a filter as in 'host 10.0.0.1 and port 80'")
    selection = filters.selection(said)
    captures = run.sources(captures, shared.files_from)
    if "-" in captures:
        raise UsageError("export: stdin cannot be read twice; tcptrace-tw report - --save FILE keeps it")
    reading = prepared(captures, shared, [targets.Target(out, f"-o {out}", takes_captures=True)], filter="")
    with AtomicFile(out) as file:
        found = _connections_of(own.finding, reading) if own.finding else set()
        if selection is not None:
            found |= _matching(reading, selection)
        numbers = sorted({*(own.connection or ()), *found})
        count = reading.export(numbers, file)
    if not shared.quiet:
        run.warn(f"{out if out != '-' else 'stdout'}: {counted(count, 'frame')} of {_named(numbers)}")


def _named(numbers: list[int]) -> str:
    """``connections 1, 2``; of many only how many."""
    if len(numbers) > _MOST_NAMED:
        return f"{len(numbers):,} connections"
    return f"{'connection' if len(numbers) == 1 else 'connections'} {', '.join(map(str, numbers))}"


def _matching(reading: Reading, selection: "Selection") -> set[int]:
    from tcptrace_tw.cli import list as list_
    from tcptrace_tw.report.summary.listing import Listing

    listed = list_.listed_of(reading, Listing(selection))
    if not listed.matched:
        raise UsageError(list_.nothing(listed, selection.text))
    return set(listed.rows["connection_id"].tolist())


def _connections_of(numbers: list[int], reading: Reading) -> set[int]:
    from tcptrace_tw.report.words.findings import Involved, no_finding

    sink = Involved(numbers)
    reading.analyze([sink])
    for number in numbers:
        if number not in sink.connections:
            raise UsageError(no_finding(number))
        if not sink.connections[number]:
            raise UsageError(f"finding {number} is about the capture, not about a connection; there is nothing to copy")
    return {connection for involved in sink.connections.values() for connection in involved}
