"""Lines on a terminal: headings, labels with a hanging indent, columns, and lines to paste."""

import textwrap
from collections.abc import Collection, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from tcptrace_tw.errors import at_line_start, printable
from tcptrace_tw.report.words.styles import LABEL, PASTE

LABEL_WIDTH = 13


class Page:
    """Prints to a console; no line ends with blanks, and what is to be pasted is never folded."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def heading(self, name: str, rest: str = "") -> None:
        """A blank line, the name, and the most important number beside it."""
        self.console.print()
        self.console.print(Text.assemble((name, "bold"), "  " if rest else "", printable(rest)), soft_wrap=True)

    def line(self, label: str, text: str, style: str = "") -> None:
        """A label and what it says."""
        room = max(20, self.console.width - LABEL_WIDTH - 3)
        label = printable(label)
        for piece in folded(text, room):
            line = Text.assemble("  ", (label.ljust(LABEL_WIDTH), LABEL), " ", (piece, style))
            self.console.print(line, soft_wrap=True)
            label = ""

    def paste(self, label: str, text: str) -> None:
        """A line to copy."""
        line = Text.assemble("  ", (label.ljust(LABEL_WIDTH + 1), LABEL), (printable(text), PASTE))
        self.console.print(line, soft_wrap=True)

    def columns(
        self,
        rows: Sequence[Sequence[str]],
        right: Collection[int],
        head: bool = False,
        styles: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        """Rows in columns as wide as they need to be; the last column is folded where the line is full.

        ``styles`` has the style of each cell of some columns.
        """
        rows = [[printable(cell) for cell in row] for row in rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for number, row in enumerate(rows):
            cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            margin = sum(widths[:-1]) + 2 * len(widths)
            style = LABEL if head and number == 0 else ""
            lead = Text("  ", style)
            for i, cell in enumerate(cells[:-1]):
                lead.append(f"{cell}  ", styles[i][number] if styles and i in styles else None)
            for piece in self._folded(cells[-1], margin, is_number=len(row) - 1 in right):
                lead.append(piece)
                lead.rstrip()
                self.console.print(lead, soft_wrap=True)
                lead = Text(" " * margin, style)

    def _folded(self, cell: str, margin: int, is_number: bool) -> list[str]:
        if is_number:
            return [cell]
        return folded(cell, max(20, self.console.width - margin))


def folded(text: str, room: int) -> list[str]:
    """The lines of a text, at least one; it may come from outside."""
    pieces = textwrap.wrap(printable(text), room, break_on_hyphens=False) or [""]
    return [at_line_start(piece) for piece in pieces]
