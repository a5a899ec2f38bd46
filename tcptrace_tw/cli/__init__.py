"""The command line: options to settings, errors to exit codes; no analysis."""

from tcptrace_tw.cli import interrupts

__all__ = ["main"]


def main() -> None:
    """Run the command line as this process; its exit code is that of the contract."""
    interrupts.install()
    from tcptrace_tw.cli.process import leaving, short_lived

    with leaving(), short_lived():
        from tcptrace_tw.cli.app import run

        run()
