"""``tcptrace-tw report``: the report on the terminal, or as one JSON object."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from tcptrace_tw.cli import options as o
from tcptrace_tw.cli import run

if TYPE_CHECKING:
    from tcptrace_tw.pipeline import Settings
    from tcptrace_tw.report.digest import Digest


@run.command
def report(
    captures: o.CapturesOrFolder = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object.", rich_help_panel=o.OUTPUT)
    ] = False,
    profile: o.Profile = "linux",
    two_msl: o.TwoMsl = None,
    select: o.Select = None,
    ignore: o.Ignore = None,
    filter_: o.Filter = "",
    since: o.Since = "",
    until: o.Until = "",
    ignore_vlan: o.IgnoreVlan = False,
    files_from: o.FilesFrom = "",
    color: o.ColorOption = o.Color.AUTO,
    quiet: o.Quiet = False,
    no_progress: o.NoProgress = False,
    debug: o.Debug = False,
) -> None:
    """What the capture is, how connections ended, who sat in TIME-WAIT, and what was found."""
    captures = run.sources(captures, files_from)
    settings = run.settings(
        profile, two_msl, select, ignore, filter=filter_, since=since, until=until, ignore_vlan=ignore_vlan
    )
    digest = _digest(captures, settings, quiet, no_progress)
    if as_json:
        print(json.dumps(digest.to_json(), indent=1))
        return
    from tcptrace_tw.report.terminal import draw

    draw(digest, run.console(color), captures)


def _digest(captures: list[str], settings: "Settings", quiet: bool, no_progress: bool) -> "Digest":
    from tcptrace_tw.report.stored import stored_digest
    from tcptrace_tw.report.summary import SummarySink

    folder = run.written_folder(captures)
    if folder is not None:
        return stored_digest(folder, settings.select, settings.ignore)
    sink = SummarySink(run.has_several_files(captures))
    return sink.digest(run.analyze(captures, settings, [sink], quiet, no_progress))
