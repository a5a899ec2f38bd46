"""The commands, and what holds for all of them."""

import os
import re
import sys
from typing import Annotated

import typer

from tcptrace_tw.cli.commands import LOOK, Group
from tcptrace_tw.cli.examples import epilog
from tcptrace_tw.cli.run import BROKEN_PIPE, FINDINGS, Failed, fail
from tcptrace_tw.errors import TcptraceError
from tcptrace_tw.version import __version__

_SIZE = re.compile("[1-9][0-9]{0,5}")
"""Of a terminal, as the environment may say it."""

app = typer.Typer(
    cls=Group,
    name="tcptrace-tw",
    help="Finds TIME-WAIT, RST and PAWS problems in tcpdump captures and explains their causes.",
    epilog=epilog(),
    no_args_is_help=True,
    **LOOK,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    for name in ("COLUMNS", "LINES"):
        if _SIZE.fullmatch(os.environ.get(name, "1")) is None:  # rich would take it for a number
            del os.environ[name]
    try:
        try:
            app(prog_name="tcptrace-tw")
        finally:
            sys.stdout.flush()
    except (OSError, TcptraceError) as error:  # of what comes before a command; commands have their own end
        fail(error)
    except SystemExit as end:
        # rich and typer end a broken pipe with 1; that is the code of findings, and check raises Failed for it.
        if end.code == FINDINGS and not isinstance(end, Failed):
            sys.exit(BROKEN_PIPE)
        raise
