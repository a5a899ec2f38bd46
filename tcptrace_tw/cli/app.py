"""The commands, and what holds for all of them."""

import os
import sys
from typing import Annotated

import typer

from tcptrace_tw.cli.analyze import analyze
from tcptrace_tw.cli.annotate import annotate
from tcptrace_tw.cli.check import check
from tcptrace_tw.cli.examples import epilog
from tcptrace_tw.cli.export import export
from tcptrace_tw.cli.parameters import Command, Group
from tcptrace_tw.cli.report import report
from tcptrace_tw.cli.rules import rules
from tcptrace_tw.cli.run import BROKEN_PIPE, FINDINGS, Failed, fail
from tcptrace_tw.cli.show import show
from tcptrace_tw.cli.watch import watch
from tcptrace_tw.version import __version__

app = typer.Typer(
    cls=Group,
    name="tcptrace-tw",
    help="Finds TIME-WAIT, RST and PAWS problems in tcpdump captures and explains their causes.",
    epilog=epilog(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (report, analyze, check, watch, show, export, annotate, rules):
    app.command(epilog=epilog(command.__name__), cls=Command)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tcptrace-tw {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Read the command line and do what it says; ends with ``SystemExit``."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - to the end of the process
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        try:
            app(prog_name="tcptrace-tw")
        finally:
            sys.stdout.flush()
    except OSError as error:  # of a help page or a message of typer; commands have their own end
        fail(error)
    except SystemExit as end:
        # rich and typer end a broken pipe with 1; that is the code of findings, and check raises Failed for it.
        if end.code == FINDINGS and not isinstance(end, Failed):
            sys.exit(BROKEN_PIPE)
        raise
