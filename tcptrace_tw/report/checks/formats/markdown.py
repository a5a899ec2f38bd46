"""A table of groups in Markdown: for ``$GITHUB_STEP_SUMMARY``, a merge request, a chat."""

import re
from collections.abc import Iterator

from tcptrace_tw.report.checks.checked import Checked
from tcptrace_tw.report.checks.formats.folding import Item, folded
from tcptrace_tw.report.checks.formats.text import total

MOST = 100


def write(checked: Checked) -> Iterator[str]:
    """The totals, and the groups, the worst first."""
    yield f"### tcptrace-tw: {'failed' if checked.failing else 'passed'}\n\n{_cell(total(checked))}\n"
    items = folded(checked.groups, MOST)
    if items:
        yield "\n| severity | rule | between | findings | the worst |\n|---|---|---|---|---|\n"
    for item in items:
        yield _row(item)


def _row(item: Item) -> str:
    mark = "**" if any(entry.fails for entry in item.entries) else ""
    known = ", known" if all(entry.is_known for entry in item.entries) else ""
    between = f"{item.groups:,} more groups of hosts" if item.groups > 1 else _code(item.subject)
    cells = (
        f"{mark}{item.worst.severity}{mark}, {item.worst.confidence}{known}",
        f"{item.rule} {item.name}",
        between,
        f"{len(item.entries):,}",
        f"{_code(item.worst.place)}: {_cell(item.worst.message)}",
    )
    return f"| {' | '.join(cells)} |\n"


def _code(text: str) -> str:
    """As it is, between more backticks than it has; only the bar would end the cell."""
    if not text:
        return ""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    blank = " " if "`" in text else ""
    return f"{fence}{blank}{text}{blank}{fence}".replace("|", "\\|")


def _cell(text: str) -> str:
    """Prose in which nothing is markup."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
