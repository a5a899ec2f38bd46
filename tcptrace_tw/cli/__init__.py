"""The command line: options to settings, errors to exit codes; no analysis."""

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; its exit code is that of the contract."""
    try:
        from tcptrace_tw.cli.process import short_lived

        with short_lived():
            from tcptrace_tw.cli.app import run

            run()
    except KeyboardInterrupt:  # before there is a command to interrupt
        sys.exit(128 + signal.SIGINT)
