"""``tcptrace-tw check``: findings like a linter's, and an exit code for CI."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tcptrace_tw.cli import options as o
from tcptrace_tw.cli import run
from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from tcptrace_tw.report.lines import Tally


@run.command
def check(
    captures: o.CapturesOrFolder = None,
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on",
            metavar="SEVERITY[:CONFIDENCE]",
            help="Exit with 1 when a finding is at least this severe and this sure; never to always exit with 0.",
        ),
    ] = "error:likely",
    show: Annotated[
        str, typer.Option("--show", metavar="SEVERITY", help="Print findings of this severity or worse.")
    ] = "notice",
    profile: o.Profile = "linux",
    two_msl: o.TwoMsl = None,
    select: o.Select = None,
    ignore: o.Ignore = None,
    filter_: o.Filter = "",
    since: o.Since = "",
    until: o.Until = "",
    ignore_vlan: o.IgnoreVlan = False,
    files_from: o.FilesFrom = "",
    quiet: o.Quiet = False,
    no_progress: o.NoProgress = False,
    debug: o.Debug = False,
) -> None:
    """Print findings one a line, and exit with 1 when one is at or above the bar."""
    from tcptrace_tw.report.lines import Bar, LineSink, Tally
    from tcptrace_tw.spec.words import SEVERITY

    if show not in SEVERITY.words:
        raise UsageError(f"--show {show}: write one of {', '.join(SEVERITY.words)}")
    tally, least = Tally(Bar.parse(fail_on)), SEVERITY.code(show)
    captures = run.sources(captures, files_from)
    settings = run.settings(
        profile, two_msl, select, ignore, filter=filter_, since=since, until=until, ignore_vlan=ignore_vlan
    )
    folder = run.written_folder(captures)
    if folder is not None:
        from tcptrace_tw.report.stored import stored_lines

        lines, files = stored_lines(folder, tally, least, settings.select, settings.ignore)
    else:
        sink = LineSink(tally, least, run.has_several_files(captures))
        summary = run.analyze(captures, settings, [sink], quiet, no_progress)
        lines, files = sink.lines(), [file.name for file in summary.capture.files]
    for line in lines:
        print(line.text(files or [str(Path(captures[0]))]))
    if not quiet:
        _say_total(tally, fail_on)
    if tally.failing:
        sys.stdout.flush()
        raise run.Failed


def _say_total(tally: "Tally", fail_on: str) -> None:
    from tcptrace_tw.report.phrases import counted
    from tcptrace_tw.report.phrases import tally as listed

    total = int(tally.severities.sum())
    detail = f": {listed(tally.shown, tally.shown)}" if total else ""
    run.complain(f"{counted(total, 'finding')}{detail}; {tally.failing:,} at or above {fail_on}")
