"""``tcptrace-tw export``: the original frames of connections and findings."""

from typing import TYPE_CHECKING, Annotated

import typer

from tcptrace_tw.cli import options as o
from tcptrace_tw.cli import run
from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from tcptrace_tw.pipeline import Settings


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
    captures: o.Captures = None,
    connection: Annotated[
        list[int] | None,
        typer.Option("--connection", "-c", metavar="N", help="Number of a connection; may be repeated."),
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
    profile: o.Profile = "linux",
    two_msl: o.TwoMsl = None,
    filter_: o.Filter = "",
    ignore_vlan: o.IgnoreVlan = False,
    max_memory: o.MaxMemory = None,
    files_from: o.FilesFrom = "",
    quiet: o.Quiet = False,
    no_progress: o.NoProgress = False,
    debug: o.Debug = False,
) -> None:
    """Copy the original frames of connections or findings, byte for byte."""
    from tcptrace_tw import pipeline
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.words.phrases import counted

    if not connection and not finding:
        raise UsageError("export: give --connection N or --finding N")
    captures = run.sources(captures, files_from)
    if "-" in captures:
        raise UsageError("export: stdin cannot be read twice; save the capture to a file")
    targets.keep_apart([targets.Target(out, f"-o {out}", takes_captures=True)], captures, [files_from])
    settings = run.settings(
        profile, two_msl, None, None, filter=filter_, ignore_vlan=ignore_vlan, max_memory=max_memory
    )
    with AtomicFile(out) as file:
        found = _connections_of(finding, captures, settings, quiet, no_progress) if finding else set()
        numbers = sorted({*(connection or ()), *found})
        count = pipeline.export(captures, settings, numbers, file, None if quiet else run.warn)
    if not quiet:
        of = "connection" if len(numbers) == 1 else "connections"
        run.warn(f"{out if out != '-' else 'stdout'}: {counted(count, 'frame')} of {of} {', '.join(map(str, numbers))}")


def _connections_of(
    numbers: list[int], captures: list[str], settings: "Settings", quiet: bool, no_progress: bool
) -> set[int]:
    from tcptrace_tw.report.words.findings import Involved

    sink = Involved(numbers)
    run.analyze(captures, settings, [sink], quiet, no_progress)
    for number in numbers:
        if number not in sink.connections:
            raise UsageError(f"no finding {number}; tcptrace-tw report lists their numbers")
        if not sink.connections[number]:
            raise UsageError(f"finding {number} is about the capture, not about a connection; there is nothing to copy")
    return {connection for involved in sink.connections.values() for connection in involved}
