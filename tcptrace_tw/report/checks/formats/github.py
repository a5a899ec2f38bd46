"""Annotations of a GitHub workflow: ``::error file=lab.pcap,line=94,title=...::...``.

GitHub shows ten errors, ten warnings and ten notices of a step, so no more are written; the tenth tells the rest.
"""

from collections.abc import Iterator

from tcptrace_tw.report.checks.checked import Checked
from tcptrace_tw.report.checks.formats.folding import Item, folded
from tcptrace_tw.report.checks.formats.paths import relative
from tcptrace_tw.report.words.phrases import counted

LEVELS = {"error": "error", "warning": "warning", "notice": "notice", "info": "notice"}
MOST = 10


def write(checked: Checked) -> Iterator[str]:
    """One annotation a group, the worst first; known findings are left out."""
    items = folded([group for group in checked.groups if not group.is_known], len(checked.groups))
    for level in dict.fromkeys(LEVELS.values()):
        of_level = [item for item in items if LEVELS[item.worst.severity] == level]
        shown = of_level if len(of_level) <= MOST else of_level[: MOST - 1]
        for item in shown:
            yield _annotation(level, item)
        if len(of_level) > MOST:
            yield _rest(level, of_level[MOST - 1 :])


def _annotation(level: str, item: Item) -> str:
    title = f"{item.rule} {item.name} ({item.worst.confidence})"
    line = f",line={item.worst.frame}" if item.worst.frame else ""
    place = f"file={_property(relative(item.worst.path))}{line}"
    return f"::{level} {place},title={_property(title)}::{_data(item.text)}\n"


def _rest(level: str, items: list[Item]) -> str:
    counts: dict[str, int] = {}
    for item in items:
        counts[item.rule] = counts.get(item.rule, 0) + len(item.entries)
    listed = ", ".join(f"{rule} {count:,}" for rule, count in counts.items())
    title = f"{counted(sum(counts.values()), 'more finding')}"
    return f"::{level} title={_property(title)}::{_data(listed)}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
