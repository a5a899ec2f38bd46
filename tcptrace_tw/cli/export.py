"""``tcptrace-tw export``: the original frames of connections and findings."""

from typing import TYPE_CHECKING, Annotated

import typer

from tcptrace_tw.cli import complete, filters, policy, run
from tcptrace_tw.cli import options as o
from tcptrace_tw.cli.reading import Reading
from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from tcptrace_tw.selection import Selection

_MOST_NAMED = 12


@run.command
def export(
    out: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file, .pcap or .pcapng; - for stdout.",
            show_default=False,
        ),
    ],
    captures: o.CapturesAndFilter = None,
    connection: Annotated[
        list[int] | None,
        typer.Option(
            "--connection",
            "-c",
            metavar="N",
            help="Number of a connection; may be repeated.",
            autocompletion=complete.connections,
        ),
    ] = None,
    finding: Annotated[
        list[int] | None,
        typer.Option(
            "--finding",
            "-f",
            metavar="N",
            help="Number of a finding: its connection and the previous one; may be repeated.",
        ),
    ] = None,
    config: o.Config = None,
    no_config: o.NoConfig = False,
    profile: o.Profile = None,
    two_msl: o.TwoMsl = None,
    filter_: o.Filter = "",
    read_filter: o.ReadFilter = "",
    ignore_vlan: o.IgnoreVlan = False,
    max_memory: o.MaxMemory = None,
    files_from: o.FilesFrom = "",
    quiet: o.Quiet = False,
    no_progress: o.NoProgress = False,
    debug: o.Debug = False,
) -> None:
    """Copy the original frames of connections or findings, byte for byte.

    A FILTER as in list copies all connections that match.
    """
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.words.phrases import counted

    captures, said = filters.split(captures, filter_, has_list=bool(files_from))
    if not connection and not finding and not said:
        raise UsageError("export: give --connection N or --finding N, or a filter as in 'host 10.0.0.1 and port 80'")
    selection = filters.selection(said)
    captures = run.sources(captures, files_from)
    if "-" in captures:
        raise UsageError("export: stdin cannot be read twice; tcptrace-tw report - --save FILE keeps it")
    obeyed = policy.obeyed(
        config, no_config, profile, two_msl, read_filter=read_filter, ignore_vlan=ignore_vlan, max_memory=max_memory
    )
    targets.keep_apart(
        [targets.Target(out, f"-o {out}", takes_captures=True)], captures, policy.also_read(files_from, obeyed)
    )
    reading = Reading(captures, *obeyed, quiet, no_progress)
    with AtomicFile(out) as file:
        found = _connections_of(finding, reading) if finding else set()
        if selection is not None:
            found |= _matching(reading, selection)
        numbers = sorted({*(connection or ()), *found})
        count = reading.export(numbers, file)
    if not quiet:
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
    from tcptrace_tw.report.words.findings import Involved

    sink = Involved(numbers)
    reading.analyze([sink])
    for number in numbers:
        if number not in sink.connections:
            raise UsageError(f"no finding {number}; tcptrace-tw report lists their numbers")
        if not sink.connections[number]:
            raise UsageError(f"finding {number} is about the capture, not about a connection; there is nothing to copy")
    return {connection for involved in sink.connections.values() for connection in involved}
