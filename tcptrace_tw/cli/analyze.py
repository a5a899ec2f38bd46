"""``tcptrace-tw analyze``: the tables as Parquet."""

from pathlib import Path
from typing import Annotated

import typer

from tcptrace_tw.cli import options as o
from tcptrace_tw.cli import policy, run
from tcptrace_tw.cli.means import means_of, own_tables
from tcptrace_tw.cli.reading import Reading
from tcptrace_tw.errors import printable


@run.command
def analyze(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="Directory for the tables.", show_default=False)
    ],
    captures: o.Captures = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a directory that contains other files.")] = False,
    save: o.Save = "",
    config: o.Config = None,
    no_config: o.NoConfig = False,
    profile: o.Profile = None,
    two_msl: o.TwoMsl = None,
    select: o.Select = None,
    ignore: o.Ignore = None,
    filter_: o.Filter = "",
    read_filter: o.ReadFilter = "",
    since: o.Since = "",
    until: o.Until = "",
    ignore_vlan: o.IgnoreVlan = False,
    max_memory: o.MaxMemory = None,
    findings: o.Findings = "notice",
    files_from: o.FilesFrom = "",
    jobs: o.Jobs = 1,
    cluster: o.Cluster = "",
    spool: o.Spool = "",
    keep_spool: o.KeepSpool = False,
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
    obeyed = policy.obeyed(
        config, no_config, profile, two_msl, select, ignore, filter=filter_, read_filter=read_filter,
        since=since, until=until, ignore_vlan=ignore_vlan, max_memory=max_memory, findings=findings,
    )  # fmt: skip
    targets.keep_apart(
        [*targets.folder(output), *targets.saved(save, captures)], captures, policy.also_read(files_from, obeyed)
    )
    how = means_of(jobs, cluster, spool, keep_spool=keep_spool)
    with how as means, Folder(Path(output), force) as folder:
        reading = Reading(captures, *obeyed, quiet, no_progress, save, means and means.writing(folder.path))
        several, least = reading.has_several_files, reading.settings.least
        totals = SummarySink(several, least)
        tables = ParquetSink(folder.path, several, totals.incidents, least, own_tables(reading.means))
        try:
            digest = totals.digest(reading.analyze([tables, totals]))
            with reading.busy("writing tables"):
                tables.finish(metadata(digest))
        except BaseException:
            tables.abandon()
            raise
        counts = {**tables.counts, **(reading.means.counts if reading.means else {})}
        write_manifest(folder.path, digest, captures, counts)
        folder.commit()
    run.say_policy(digest.policy, quiet)
    if not quiet:
        print(headline(digest))
        for name, count in counts.items():
            print(f"{count:>12,} {printable(str(Path(output) / name))}.parquet")
