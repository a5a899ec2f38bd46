"""``tcptrace-tw export``: the original frames of one connection."""

from typing import Annotated

import typer

from tcptrace_tw.cli import options as o
from tcptrace_tw.cli import run
from tcptrace_tw.errors import UsageError


@run.command
def export(
    captures: o.Captures,
    out: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to write; - for stdout.")],
    connection: Annotated[int, typer.Option("--connection", "-c", metavar="N", help="The number of the connection.")],
    profile: o.Profile = "linux",
    two_msl: o.TwoMsl = None,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Copy the frames of one connection, byte for byte."""
    from tcptrace_tw import engine, pipeline

    if "-" in captures:
        raise UsageError("export: stdin cannot be read twice; save the capture to a file")
    engine.use_disk_cache()
    settings = run.settings(profile, two_msl, None, None)
    count = pipeline.export(captures, settings, connection, out, None if quiet else run.complain)
    if not quiet:
        run.complain(f"{out}: {count} frames of connection {connection}")
