"""``tcptrace-tw analyze``: the tables as Parquet."""

from pathlib import Path
from typing import Annotated

import typer

from tcptrace_tw.cli import options as o
from tcptrace_tw.cli import run
from tcptrace_tw.errors import printable


@run.command
def analyze(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="Directory for the tables.", show_default=False)
    ],
    captures: o.Captures = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a directory that contains other files.")] = False,
    profile: o.Profile = "linux",
    two_msl: o.TwoMsl = None,
    select: o.Select = None,
    ignore: o.Ignore = None,
    filter_: o.Filter = "",
    since: o.Since = "",
    until: o.Until = "",
    ignore_vlan: o.IgnoreVlan = False,
    max_memory: o.MaxMemory = None,
    findings: o.Findings = "notice",
    files_from: o.FilesFrom = "",
    quiet: o.Quiet = False,
    no_progress: o.NoProgress = False,
    debug: o.Debug = False,
) -> None:
    """Write connections, state changes, TIME-WAIT periods, findings and more as Parquet tables."""
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.summary.headline import headline
    from tcptrace_tw.report.summary.sink import SummarySink
    from tcptrace_tw.report.tables.folder import Folder
    from tcptrace_tw.report.tables.manifest import metadata, write_manifest
    from tcptrace_tw.report.tables.sinks import ParquetSink

    captures = run.sources(captures, files_from)
    targets.keep_apart(targets.folder(output), captures, [files_from])
    settings = run.settings(
        profile,
        two_msl,
        select,
        ignore,
        filter=filter_,
        since=since,
        until=until,
        ignore_vlan=ignore_vlan,
        max_memory=max_memory,
        findings=findings,
    )
    several = run.has_several_files(captures)
    with Folder(Path(output), force) as folder:
        totals = SummarySink(several, settings.least)
        tables = ParquetSink(folder.path, several, totals.incidents, settings.least)
        try:
            digest = totals.digest(run.analyze(captures, settings, [tables, totals], quiet, no_progress))
            tables.finish(metadata(digest))
        except BaseException:
            tables.abandon()
            raise
        write_manifest(folder.path, digest, captures, tables.counts)
        folder.commit()
    if not quiet:
        print(headline(digest))
        for name, count in tables.counts.items():
            print(f"{count:>12,} {printable(str(Path(output) / name))}.parquet")
