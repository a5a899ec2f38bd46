"""Small pieces of Markdown."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A pipe table; a bar within a cell is escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "".join(f"- {item}\n" for item in items)


def code(text: object) -> str:
    """Text in backticks; empty text stays empty."""
    return f"`{text}`" if str(text) else ""


def yes(value: object) -> str:
    """A fact as yes or no."""
    return "yes" if value else "no"


def _cell(cell: object) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")
