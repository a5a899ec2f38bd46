"""The command line: options to settings, errors to exit codes; no analysis."""

from tcptrace_tw.cli.app import main

__all__ = ["main"]
