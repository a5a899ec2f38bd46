"""The command line: options to settings, errors to exit codes; no analysis."""

import _signal  # type: ignore[import-not-found]  # ``signal`` itself takes longer to import than all up to here
import os

__all__ = ["main"]


def main() -> None:
    """Run the command line as this process; its exit code is that of the contract."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, lambda number, frame: os._exit(128 + number))
    from tcptrace_tw.cli import interrupts

    interrupts.install()
    from tcptrace_tw.cli.process import leaving, short_lived

    with leaving(), short_lived():
        from tcptrace_tw.cli.app import run

        run()
