"""The command line: options to settings, errors to exit codes; no analysis."""

__all__ = ["main"]


def main() -> None:
    """Run the command line; its exit code is that of the contract."""
    from tcptrace_tw.cli.process import short_lived

    with short_lived():
        from tcptrace_tw.cli.app import run

        run()
