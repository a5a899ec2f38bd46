"""Several captures in one check: each is judged by itself, and what was found is put together."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tcptrace_tw.capture import ring
from tcptrace_tw.capture.name import Name
from tcptrace_tw.capture.rotation import rotations
from tcptrace_tw.checking.check import Judged
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.report.checks.checked import Group
from tcptrace_tw.report.words.phrases import counted
from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY

BY_NAME, EACH, TOGETHER = "by name", "each", "together"
"""How files become captures: rotated files together, each file by itself, or all of them as one."""

_MOST_NAMED = 3

_HOW = {
    BY_NAME: "files whose names differ in numbers only are one capture; --each and --together say otherwise",
    EACH: "--each",
    TOGETHER: "--together",
}


def captures_of(named: Sequence[str], how: str) -> list[list[str]]:
    """The captures that are named, each as its files; where it is one, as it was named."""
    if how == TOGETHER or (len(named) == 1 and not ring.is_search(named[0])):
        return [list(named)]
    files = ring.find(named).files
    captures = [[file] for file in files] if how == EACH else rotations(files)
    return captures if len(captures) > 1 else [list(named)]


def grouping_text(captures: Sequence[Sequence[str]], read: int, how: str) -> str:
    """``4 files as 2 captures: ring-0.pcap and 2 more, other.pcap (...)``; nothing of a single file.

    ``read`` is how many files were read: one capture may have been named by its directory.
    """
    files = read if len(captures) == 1 else sum(map(len, captures))
    if files < 2:
        return ""
    if len(captures) == 1:
        return f"{counted(files, 'file')} checked as one capture ({_HOW[how]})"
    names = [_named(each) for each in captures[:_MOST_NAMED]]
    more = f", and {len(captures) - _MOST_NAMED:,} more" if len(captures) > _MOST_NAMED else ""
    as_captures = f"{counted(files, 'file')} checked as {counted(len(captures), 'capture')}"
    return f"{as_captures}: {', '.join(names)}{more} ({_HOW[how]})"


def _named(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1:,} more"


def judged(
    captures: Sequence[Sequence[str]],
    named: Sequence[str],
    judge: Callable[[Sequence[str]], Judged],
    say: Callable[[str], object],
) -> Judged:
    """What ``judge`` makes of each capture, as one: groups of the same hosts are one group over all captures.

    A capture that cannot be read is said, and the others count; ``CaptureError`` where none can be read.
    """
    if len(captures) == 1:
        return judge(captures[0])
    one = Judged([Name(name) for name in named], [], {}, [], [], [], {}, 0)
    groups: dict[tuple[str, str], Group] = {}
    unreadable = 0
    for capture in captures:
        try:
            _add(one, judge(capture), groups)
        except CaptureError as error:
            unreadable += 1
            if unreadable == len(captures):
                raise
            say(str(error))
    one.groups = list(groups.values())
    one.incidents.sort(key=lambda each: (-SEVERITY.code(each.severity), -CONFIDENCE.code(each.confidence)))
    return one


def _add(one: Judged, more: Judged, groups: dict[tuple[str, str], Group]) -> None:
    before = max((each.incident_id for each in one.incidents), default=0)
    one.incidents += [replace(each, incident_id=before + each.incident_id) for each in more.incidents]
    for entry in more.entries:
        group = entry.group
        entry.group = groups.setdefault((group.rule, group.subject), Group(group.rule, group.name, group.subject))
        entry.group.entries.append(entry)
        entry.captures, entry.first_file, entry.first_incident = more.captures, len(one.files), before
    one.entries += more.entries
    one.files += more.files
    one.settings = more.settings
    one.ignored += more.ignored
    counts = {word: one.severities.get(word, 0) + more.severities.get(word, 0) for word in reversed(SEVERITY.words)}
    one.severities = {word: count for word, count in counts.items() if count}
