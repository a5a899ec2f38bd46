"""``tcptrace-tw show``: the ladder of one connection."""

from typing import TYPE_CHECKING, Annotated

import typer

from tcptrace_tw.cli import options as o
from tcptrace_tw.cli import run
from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from tcptrace_tw.pipeline import Settings
    from tcptrace_tw.report.ladder import Step
    from tcptrace_tw.report.trace import Trace


@run.command
def show(
    captures: o.CapturesOrFolder = None,
    connection: Annotated[
        int | None, typer.Option("--connection", "-c", metavar="N", help="The number of the connection.")
    ] = None,
    finding: Annotated[
        int | None, typer.Option("--finding", "-f", metavar="N", help="The number of a finding: its connection.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Sequence numbers as they are, not relative.", rich_help_panel=o.OUTPUT)
    ] = False,
    time_format: Annotated[
        str,
        typer.Option(
            "--time-format", metavar="FORMAT", help="rel, delta, utc, local or epoch.", rich_help_panel=o.OUTPUT
        ),
    ] = "rel",
    profile: o.Profile = "linux",
    two_msl: o.TwoMsl = None,
    filter_: o.Filter = "",
    ignore_vlan: o.IgnoreVlan = False,
    files_from: o.FilesFrom = "",
    color: o.ColorOption = o.Color.AUTO,
    quiet: o.Quiet = False,
    no_progress: o.NoProgress = False,
    debug: o.Debug = False,
) -> None:
    """The ladder of one connection: both endpoints' states beside the segments."""
    from tcptrace_tw import pipeline
    from tcptrace_tw.report.ladder import TIME_FORMATS, Style
    from tcptrace_tw.report.story import tell

    if time_format not in TIME_FORMATS:
        raise UsageError(f"--time-format {time_format}: write one of {', '.join(TIME_FORMATS)}")
    number = _number(connection, finding)
    captures = run.sources(captures, files_from)
    settings = run.settings(profile, two_msl, None, None, filter=filter_, ignore_vlan=ignore_vlan)
    trace = _look_up(captures, settings, number, quiet, no_progress)
    try:
        found = trace.connection(number)
    except KeyError as error:
        raise UsageError(str(error.args[0])) from error
    steps: list[Step] = []
    others: dict[int, list[Step]] = {}
    if run.written_folder(captures) is None:
        steps = pipeline.ladder(captures, settings, number)[1]
        others = {met: pipeline.ladder(captures, settings, met)[1] for met in found.met if met != number}
    tell(run.console(color), found, steps, Style(not raw, time_format), others)


def _number(connection: int | None, finding: int | None) -> int:
    from tcptrace_tw.report.findings import connection_of

    if (connection is None) == (finding is None):
        raise UsageError("show: give either --connection N or --finding N")
    number = connection if connection is not None else connection_of(finding or 0)
    if number < 1:
        raise UsageError("show: this finding is about the capture, not about a connection")
    return number


def _look_up(captures: list[str], settings: "Settings", number: int, quiet: bool, no_progress: bool) -> "Trace":
    """The tables of the connection: from the folder, or by a pass over the capture."""
    from tcptrace_tw.report.summary import SummarySink
    from tcptrace_tw.report.tables import ConnectionSink
    from tcptrace_tw.report.trace import Trace

    folder = run.written_folder(captures)
    if folder is not None:
        return Trace.load(folder)
    if "-" in captures:
        raise UsageError("show: stdin cannot be read twice; save the capture to a file")
    several = run.has_several_files(captures)
    tables, totals = ConnectionSink(number, several), SummarySink(several)
    digest = totals.digest(run.analyze(captures, settings, [tables, totals], quiet, no_progress))
    return Trace(digest, tables.finish({}))
