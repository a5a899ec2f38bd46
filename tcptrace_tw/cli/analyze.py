"""``tcptrace-tw analyze``: the tables as Parquet."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tcptrace_tw.cli import options as o
from tcptrace_tw.cli import run
from tcptrace_tw.cli.means import means_of, own_tables
from tcptrace_tw.cli.reading import Reading, prepared
from tcptrace_tw.cli.records import Without
from tcptrace_tw.errors import printable

if TYPE_CHECKING:
    from tcptrace_tw.cluster.run import Means
    from tcptrace_tw.report.summary.digest import Digest


class AnalyzeOptions(NamedTuple):
    """Where the tables go."""

    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="Directory for the tables.", show_default=False)
    ]
    force: Annotated[bool, typer.Option("--force", help="Write into a directory that contains other files.")] = False
    community_id: Annotated[
        bool,
        typer.Option("--community-id", help="Write the Community ID of each connection, to join with Zeek's logs."),
    ] = False
    save: o.Save = ""
    jobs: o.Jobs = 1
    cluster: o.Cluster = ""
    spool: o.Spool = ""
    keep_spool: o.KeepSpool = False


@run.command
def analyze(*, captures: o.Captures = None, own: AnalyzeOptions, shared: Annotated[o.Shared, Without("color")]) -> None:
    """Write connections, state changes, TIME-WAIT periods, findings and more as Parquet tables."""
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.summary.headline import headline
    from tcptrace_tw.storage import place

    output = own.output
    captures = run.sources(captures, shared.files_from)
    written = [*targets.folder(output), *targets.saved(own.save, captures)]
    reading = prepared(captures, shared, written, own.save)
    reading.settings = replace(reading.settings, community_id=own.community_id)
    with means_of(own.jobs, own.cluster, own.spool, keep_spool=own.keep_spool) as means:
        digest, counts = _write(reading, output, own.force, means)
    run.say_policy(digest.policy, shared.quiet)
    if not shared.quiet:
        print(headline(digest))
        for name, count in counts.items():
            print(f"{count:>12,} {printable(str(place(output, name)))}.parquet")


def _write(reading: Reading, output: str, force: bool, means: "Means | None") -> "tuple[Digest, dict[str, int]]":
    """The folder, all of it or nothing; and how many rows each table has."""
    from tcptrace_tw.report.summary.sink import SummarySink
    from tcptrace_tw.report.tables.folder import Folder
    from tcptrace_tw.report.tables.manifest import metadata, write_manifest
    from tcptrace_tw.report.tables.remote_folder import RemoteFolder
    from tcptrace_tw.report.tables.sinks import ParquetSink
    from tcptrace_tw.storage import is_remote

    several, least = reading.has_several_files, reading.settings.least
    with RemoteFolder(output, force) if is_remote(output) else Folder(Path(output), force) as folder:
        if means is not None:
            reading.means = means.writing(folder.parts)
        totals = SummarySink(several, least)
        tables = ParquetSink(
            folder.path, several, totals.incidents, least, own_tables(reading.means),
            has_community_ids=reading.settings.community_id,
        )  # fmt: skip
        try:
            digest = totals.digest(reading.analyze([tables, totals]))
            with reading.busy("writing tables"):
                tables.finish(metadata(digest))
        except BaseException:
            tables.abandon()
            raise
        counts = {**tables.counts, **folder.parts.rows}
        write_manifest(folder.path, digest, reading.captures, counts)
        folder.commit()
    return digest, counts
