"""Findings like a compiler's: ``lab.pcap:94: RU002 warning: ... (reuse-inside-2msl, likely)``."""

from collections.abc import Iterator

from tcptrace_tw.report.checked import Checked, Entry
from tcptrace_tw.report.phrases import counted, tally


def write(checked: Checked) -> Iterator[str]:
    """One line a finding, by file and frame."""
    for entry in checked.entries:
        yield line(entry) + "\n"


def line(entry: Entry) -> str:
    """One finding."""
    notes = [entry.batch.name, entry.confidence, *(["known"] if entry.is_known else [])]
    return f"{entry.where}: {entry.batch.rule} {entry.severity}: {entry.message} ({', '.join(notes)})"


def total(checked: Checked) -> str:
    """``12 findings: warning 2, info 10; 1 at or above error:likely; 1 known``."""
    count = sum(checked.severities.values())
    parts = [counted(count, "finding") + (f": {tally(checked.severities, checked.severities)}" if count else "")]
    parts.append(f"{checked.failing:,} at or above {checked.fail_on}")
    if checked.known:
        parts.append(f"{checked.known:,} known")
    if checked.ignored:
        parts.append(f"{checked.ignored:,} ignored by {checked.policy}")
    return "; ".join(parts)
