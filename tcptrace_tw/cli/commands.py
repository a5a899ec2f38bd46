"""The commands by name. Only the one that is typed is imported and built: all take longer than a small capture."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import typer.main
from typer.core import TyperCommand, TyperGroup

from tcptrace_tw.cli.examples import epilog
from tcptrace_tw.cli.parameters import Command, looks_like_capture, skip_conversions, without_types
from tcptrace_tw.errors import UsageError, printable

COMMANDS = ("report", "list", "show", "check", "watch", "analyze", "export", "annotate", "rules")
"""In the order of the help. Each is a module of this room, and a function in it."""

LOOK: dict[str, Any] = {"rich_markup_mode": "rich", "pretty_exceptions_enable": False}
"""What typer is told of each of them and of the whole."""


class Commands(Mapping[str, TyperCommand]):
    """Builds a command when it is asked for."""

    def __init__(self) -> None:
        self._built: dict[str, TyperCommand] = {}

    def __getitem__(self, name: str) -> TyperCommand:
        if name not in COMMANDS:
            raise KeyError(name)
        if name not in self._built:
            self._built[name] = _command(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS


def _command(name: str) -> TyperCommand:
    module = import_module(f"tcptrace_tw.cli.{name}")
    function = getattr(module, name, None) or getattr(module, f"{name}_")  # ``list`` is Python's
    alone = typer.Typer(**LOOK, add_completion=False)
    alone.command(name, epilog=epilog(name), cls=Command)(function)
    built = typer.main.get_command(alone)
    assert isinstance(built, TyperCommand)
    return built


class Group(TyperGroup):
    """The whole command line; no option breaks the line of its error."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = Commands()  # type: ignore[assignment] # nobody adds to it

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return list(COMMANDS)

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters."""
        return without_types(super().get_params(ctx))

    def make_context(self, *args: Any, **others: Any) -> Any:
        """The context of the whole command line."""
        with _printable_errors():
            return super().make_context(*args, **others)

    def invoke(self, ctx: Any) -> Any:
        """Find the command, read its arguments, and run it."""
        with _printable_errors():
            return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        skip_conversions(self, ctx)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named; where it is a capture, the command that was meant."""
        if args and args[0] not in self.commands and looks_like_capture(args[0]):
            from tcptrace_tw.report.words.phrases import command

            raise UsageError(f"{args[0]}: is not a command; did you mean {command('report', args)}?")
        return super().resolve_command(ctx, args)


@contextmanager
def _printable_errors() -> Iterator[None]:
    """What typer says about a wrong option repeats it; its errors differ from version to version in all but this."""
    try:
        yield
    except Exception as error:
        message = getattr(error, "message", None)
        if isinstance(message, str) and hasattr(error, "format_message"):
            vars(error)["message"] = printable(message)
        raise
