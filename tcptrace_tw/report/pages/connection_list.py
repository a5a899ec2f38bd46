"""A list of connections on a terminal: one line each; what does not fit into the line stands below it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from tcptrace_tw.errors import UsageError, hint
from tcptrace_tw.report.pages.page import Page, folded
from tcptrace_tw.report.summary.listing import Listed, duration, longest_silence, payload
from tcptrace_tw.report.words.phrases import command, date, epoch, precise_clock, size, zone
from tcptrace_tw.report.words.styles import LABEL, SEVERITY_STYLES
from tcptrace_tw.report.words.text import duration_text, endpoint_text, ip_text
from tcptrace_tw.rules import RULES
from tcptrace_tw.schema.words import (
    ACTIVE_CLOSER,
    CLOSE,
    CLOSE_REFUSED,
    CLOSE_UNANSWERED,
    OPENED,
    OPENED_HANDSHAKE,
    SEVERITY,
)

TIME_FORMATS = ("utc", "local", "epoch", "rel")

CLOSERS = {"orig": "client", "resp": "server", "both": "both", "none": "", "unknown": "unknown"}

_AT_ONCE = 1000
"""The number of lines that are laid out together, as wide as the widest of them."""

_WHOLE_LINE = 1 << 16
"""The width of what is no terminal: there a line is a connection, for grep and awk."""

_SEVERITY = {rule.id: SEVERITY.words[rule.severity] for rule in RULES}


def known_format(word: str) -> str:
    """One of ``TIME_FORMATS``; ``UsageError`` with a suggestion."""
    if word not in TIME_FORMATS:
        raise UsageError(f"--time-format {word}: {hint(word, TIME_FORMATS)}")
    return word


class Column(NamedTuple):
    """One column: its head, and which side its cells stand on."""

    name: str
    head: str
    is_right: bool = False


_COLUMNS = (
    Column("number", "#", is_right=True),
    Column("start", ""),
    Column("ends", "client → server"),
    Column("opened", "opened"),
    Column("closed", "closed"),
    Column("by", "first"),
    Column("took", "duration", is_right=True),
    Column("bytes", "bytes", is_right=True),
    Column("silence", "silence", is_right=True),
    Column("findings", "findings"),
)
_BELOW = ("opened", "silence", "findings", "bytes", "took", "by", "closed", "start")
"""What leaves the line where there is no room for all, the first one first."""

_ORDINARY = {"opened": ("handshake", "SYN"), "bytes": ("0 B",)}
"""What is not worth a place below the line."""

_NEVER_OPEN = (CLOSE_REFUSED, CLOSE_UNANSWERED)
"""Where there was no more than a SYN."""

_FRACTION = ".123"
"""What a time of day can do without on a narrow page."""

Cells = dict[str, str]


class _Writer:
    """How the rows of one list become cells."""

    def __init__(self, listed: Listed, time_format: str) -> None:
        self._hits = listed.hits
        self._format = time_format
        first = listed.rows["first_time"]
        self._begin = int(first.min(initial=np.iinfo(np.int64).max)) if first.size else 0
        self._has_days = bool(first.size) and date(self._begin) != date(int(first.max()))

    def head(self) -> str:
        """What the times are."""
        if self._format == "rel":
            return "start in s"
        return "start" if self._format == "epoch" else zone(self._begin)

    def cells(self, rows: NDArray[Any]) -> Iterator[Cells]:
        """The cells of each row."""
        columns = [rows["connection_id"], rows["first_time"], rows["opened"], rows["close"], rows["active_closer"],
                   duration(rows), payload(rows), longest_silence(rows)]  # fmt: skip
        found = self._hits.of(rows["connection_id"])
        for both, rules, *values in zip(ends(rows), found, *(column.tolist() for column in columns), strict=True):
            number, first, opened, close, closer, took, carried, silence = values
            yield {
                "number": str(number),
                "start": self._time(first),
                "ends": both,
                "opened": "SYN" if close in _NEVER_OPEN and opened == OPENED_HANDSHAKE else OPENED.words[opened],
                "closed": CLOSE.words[close],
                "by": CLOSERS[ACTIVE_CLOSER.words[closer]],
                "took": duration_text(took) if took else "0 s",
                "bytes": size(carried),
                "silence": duration_text(silence) if silence > 0 else "",
                "findings": " ".join(rules),
            }

    def _time(self, ns: int) -> str:
        if self._format == "rel":
            return f"{(ns - self._begin) / 1e9:.6f}"
        if self._format == "epoch":
            return epoch(ns)
        return f"{date(ns)} {precise_clock(ns)}" if self._has_days else precise_clock(ns)


def draw(listed: Listed, console: Console, time_format: str = "utc") -> None:
    """Print the table; nothing where there is no connection."""
    writer = _Writer(listed, time_format)
    width = console.width if console.is_terminal else _WHOLE_LINE
    table = _Table(console, width, writer.head(), is_clock=time_format in ("utc", "local"))
    for begin in range(0, len(listed.rows), _AT_ONCE):
        table.lines(list(writer.cells(listed.rows[begin : begin + _AT_ONCE])))


def draw_next(
    listed: Listed, console: Console, captures: Sequence[str], same: Sequence[str], options: Sequence[str]
) -> None:
    """How many connections there are, and the commands that draw one of them and list the others.

    ``same`` is what makes it the same list: filter and order. A stream cannot be read again: it has no commands.
    """
    page, number = Page(console), str(listed.rows["connection_id"][0])
    counts = f"{len(listed.rows):,} of {listed.matched:,} connections" if listed.left_out else ""
    if counts:
        console.print(Text(counts, LABEL), soft_wrap=True)
    if "-" in captures:
        return
    page.paste("look", command("show", captures, "--connection", number, *options))
    if counts:
        page.paste("list all", command("list", captures, *same, "--limit", "0", *options))


class _Table:
    """Lines as wide as the page; the head is printed once, and decides how the columns are arranged."""

    def __init__(self, console: Console, width: int, start: str, *, is_clock: bool) -> None:
        self._console = console
        self._width = width
        self._is_clock = is_clock
        self._is_plain = not console.is_terminal
        """Without colours: rich takes a hundred times as long to print a line."""
        self._heads = {column.name: column.head for column in _COLUMNS} | {"start": start}
        self._widths = {name: len(head) for name, head in self._heads.items()}
        self._clip = 0
        self._inside: list[Column] = []
        self._below: list[Column] = []

    def lines(self, rows: list[Cells]) -> None:
        """Print some rows."""
        for name in self._widths:
            self._widths[name] = max(self._widths[name], max(len(row[name]) for row in rows))
        if not self._inside:
            self._arrange()
            self._print(self._heads, is_head=True)
        for row in rows:
            self._print(row)
            self._print_below(row)

    def _arrange(self) -> None:
        """What stands in the line, and what below it: a time without its fraction is better than one line more."""
        self._inside = list(_COLUMNS)
        if self._is_clock and not self._has_room():
            self._clip = len(_FRACTION)
            self._widths["start"] = max(len(self._heads["start"]), self._widths["start"] - self._clip)
        for name in _BELOW:
            if self._has_room():
                break
            self._inside = [column for column in self._inside if column.name != name]
        self._below = [column for column in _COLUMNS if column not in self._inside]

    def _has_room(self) -> bool:
        return sum(self._widths[column.name] + 2 for column in self._inside) - 2 <= self._width

    def _print(self, cells: Cells, *, is_head: bool = False) -> None:
        if self._is_plain:
            self._console.file.write(f"{'  '.join(self._padded(column, cells) for column in self._inside).rstrip()}\n")
            return
        line = Text("", LABEL if is_head else "")
        for column in self._inside:
            padded = self._padded(column, cells, is_head=is_head)
            line.append(padded if column.name != "findings" or is_head else _coloured(padded))
            line.append("  ")
        line.rstrip()
        self._console.print(line, soft_wrap=True)

    def _padded(self, column: Column, cells: Cells, *, is_head: bool = False) -> str:
        width, cell = self._widths[column.name], cells[column.name]
        if column.name == "start" and self._clip and not is_head:
            cell = cell[: -self._clip]
        return cell.rjust(width) if column.is_right else cell.ljust(width)

    def _print_below(self, cells: Cells) -> None:
        """The cells that have no room above, where they say something."""
        said = [_told(column, cells[column.name]) for column in self._below]
        margin = self._widths["number"] + 2
        for piece in folded(", ".join(filter(None, said)), max(20, self._width - margin)) if any(said) else ():
            self._console.print(Text.assemble(" " * margin, _coloured(piece)), soft_wrap=True)


def ends(rows: NDArray[Any]) -> Iterator[str]:
    """``client → server`` of each row."""
    for orig, resp in zip(_endpoints(rows, "orig"), _endpoints(rows, "resp"), strict=True):
        yield f"{orig} → {resp}"


def _endpoints(rows: NDArray[Any], side: str) -> Iterator[str]:
    columns = (rows[f"{side}_ip_hi"], rows[f"{side}_ip_lo"], rows[f"{side}_port"])
    for hi, lo, port in zip(*(column.tolist() for column in columns), strict=True):
        yield endpoint_text(ip_text(hi, lo), port)


def _told(column: Column, cell: str) -> str:
    if not cell or cell in _ORDINARY.get(column.name, ()):
        return ""
    return cell if column.name == "findings" else f"{_LABELS[column.name]} {cell}"


_LABELS = {"start": "start", "opened": "opened", "closed": "closed", "by": "first by", "took": "duration",
           "bytes": "payload", "silence": "silence"}  # fmt: skip


def _coloured(text: str) -> Text:
    """Ids of rules in the colour of their severity."""
    styled = Text(text)
    for place, word in _words(text):
        if word in _SEVERITY:
            styled.stylize(SEVERITY_STYLES[_SEVERITY[word]], place, place + len(word))
    return styled


def _words(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    for word in text.split(" "):
        yield at, word.rstrip(",")
        at += len(word) + 1
