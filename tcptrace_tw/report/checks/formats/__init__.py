"""The formats of a check: each takes a ``Checked`` and yields pieces of text."""

from collections.abc import Callable, Iterator
from importlib import import_module

from tcptrace_tw.errors import UsageError, hint
from tcptrace_tw.report.checks.checked import Checked

Write = Callable[[Checked], Iterator[str]]

FORMATS = {
    "text": "one line per finding, for people",
    "json": "one object with all findings",
    "ndjson": "one JSON object per line",
    "sarif": "SARIF 2.1.0, for code scanning",
    "junit": "JUnit XML, one test case per rule",
    "github": "annotations of a GitHub workflow",
    "gitlab": "GitLab code quality",
    "markdown": "a table of groups, for the summary of a job or a merge request",
}
"""Each has a module of its own name here with ``write(checked)``."""


def writer(name: str, option: str = "--format") -> Write:
    """What writes a format; ``UsageError`` with a suggestion if there is none of that name."""
    if name not in FORMATS:
        raise UsageError(f"{option} {name}: {hint(name, FORMATS)}")
    write: Write = import_module(f"{__name__}.{name}").write
    return write
