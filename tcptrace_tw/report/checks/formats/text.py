"""Findings like a compiler's: ``lab.pcap:94: RU002 warning: ... (reuse-inside-2msl, likely)``."""

from collections import Counter
from collections.abc import Callable, Iterator

from tcptrace_tw.errors import at_line_start
from tcptrace_tw.report.checks.checked import Checked, Entry
from tcptrace_tw.report.words.findings import connection_of
from tcptrace_tw.report.words.phrases import command, counted, tally
from tcptrace_tw.report.words.styles import SEVERITY_STYLES

Paint = Callable[[str, str], str]
"""Text and one of ``SEVERITY_STYLES`` or ``bold``: the text with what a terminal wants around it."""


def plain(text: str, style: str) -> str:
    """For whatever is no terminal."""
    return text


def write(checked: Checked, paint: Paint = plain) -> Iterator[str]:
    """One line a finding, by file and frame."""
    for entry in checked.entries:
        yield line(entry, paint) + "\n"


def line(entry: Entry, paint: Paint = plain) -> str:
    """One finding."""
    notes = [entry.batch.name, entry.confidence, *(["known"] if entry.is_known else [])]
    style = SEVERITY_STYLES["info" if entry.is_known else entry.severity]
    severity = paint(f"{entry.batch.rule} {entry.severity}", style)
    return f"{paint(at_line_start(entry.place), 'bold')}: {severity}: {entry.message} ({', '.join(notes)})"


def look(checked: Checked, entry: Entry) -> str:
    """The command that draws the evidence."""
    number, captures = int(entry.batch.finding_id[entry.row]), entry.captures or checked.captures
    if connection_of(number) < 1:
        return command("report", captures)
    return command("show", captures, "--finding", str(number))


def incidents(checked: Checked) -> str:
    """``2 incidents: warning 1, notice 1; the worst: 7 SYNs from ...``; empty where there is none."""
    if not checked.incidents:
        return ""
    counts = Counter(each.severity for each in checked.incidents)
    worst, many = checked.incidents[0].sentence, counted(len(checked.incidents), "incident")
    return f"{many}: {worst}" if len(checked.incidents) == 1 else f"{many}: {tally(counts, counts)}; the worst: {worst}"


def total(checked: Checked) -> str:
    """``12 findings: warning 2, info 10; 1 at or above error:likely; 1 known``."""
    count = sum(checked.severities.values())
    parts = [counted(count, "finding") + (f": {tally(checked.severities, checked.severities)}" if count else "")]
    if checked.fail_on != "never":
        parts.append(f"{checked.failing:,} at or above {checked.fail_on}")
    if checked.known:
        parts.append(f"{checked.known:,} known")
    if checked.ignored:
        parts.append(f"{checked.ignored:,} ignored by {checked.policy}")
    return "; ".join(parts)
