"""``python -m tcptrace_tw`` is the command ``tcptrace-tw``."""

from tcptrace_tw.cli import main

main()
