"""A table of groups in Markdown: for ``$GITHUB_STEP_SUMMARY``, a merge request, a chat."""

from collections.abc import Iterator

from tcptrace_tw.report.checked import Checked
from tcptrace_tw.report.formats.folding import Item, folded
from tcptrace_tw.report.formats.text import total

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
    return f"`{_cell(text).replace('`', chr(39))}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
