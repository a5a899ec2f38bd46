"""Objects that draw themselves on a terminal: the same in rich, in ``print`` and, where they say how, in a notebook."""

import io
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions
from rich.text import Text

_WIDTH = 100


class Shown:
    """``draw`` prints the object to a console; the rest follows from it."""

    def draw(self, console: Console) -> None:
        """Print the object."""
        raise NotImplementedError

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield Text.from_ansi(self._drawn(options.max_width, is_plain=False), overflow="fold")

    def __str__(self) -> str:
        return self._drawn(_WIDTH, is_plain=True)

    def _drawn(self, width: int, is_plain: bool) -> str:
        roll = Console(
            file=io.StringIO(),
            width=width,
            force_terminal=not is_plain,
            color_system=None if is_plain else "standard",
            highlight=False,
            markup=False,
            emoji=False,
        )
        self.draw(roll)
        return roll.file.getvalue().strip("\n")  # type: ignore[attr-defined,no-any-return]
