"""Findings one JSON object a line: the objects that ``findings`` of the format json holds."""

from collections.abc import Iterator

from tcptrace_tw.report.checks.checked import Checked
from tcptrace_tw.report.checks.formats.json import record


def write(checked: Checked) -> Iterator[str]:
    """One line a finding, by file and frame."""
    for entry in checked.entries:
        yield record(entry) + "\n"
