"""What is typed, as the functions of the commands take it.

Most of it is text and flags, which are what they are; only what has to be converted is given to typer.
typer has pydantic look at every parameter, and to import that takes longer than to read a small capture.
"""

import inspect
import os
from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from typer.core import TyperArgument, TyperCommand, TyperGroup


def without_types(parameters: list[Any]) -> list[Any]:
    """The parameters, whose help shows no Python type: a flag has none to show, an argument has its name."""
    for parameter in parameters:
        if isinstance(parameter, TyperArgument):
            vars(parameter)["display_type_rich"] = lambda ctx: None
        elif getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class Command(TyperCommand):
    """A command whose parameters are converted only where they must be."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters."""
        return without_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        skip_conversions(self, ctx)
        return super().parse_args(ctx, args)


_ENDINGS = (".pcap", ".pcapng", ".cap", ".gz", ".zst", ".xz", ".bz2", ".lz4", ".snoop", ".erf")


def looks_like_capture(word: str) -> bool:
    """Whether a word is a file or is called like a capture, as ``trace.pcap`` and ``ring.pcap17`` are."""
    ending = word.lower().rstrip("0123456789")
    return word == "-" or "://" in word or os.path.exists(word) or ending.endswith(_ENDINGS)


def skip_conversions(command: TyperCommand | TyperGroup, ctx: Any) -> None:
    """Have typer convert only values whose type is not yet right."""
    hints = {name: _bare(each.annotation) for name, each in inspect.signature(command.callback).parameters.items()}  # type: ignore[arg-type]
    for parameter in command.get_params(ctx):
        process = partial(_process, parameter, hints.get(parameter.name or "", bool), parameter.process_value)
        parameter.process_value = process  # type: ignore[method-assign]


def _bare(hint: Any) -> Any:
    """A hint without what typer reads beside it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _process(parameter: Any, hint: Any, convert: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    """The value of a parameter; ``convert(ctx, value)`` is typer's way."""
    is_missing = parameter.required and not value
    if is_missing or not (value is None or is_of(value, hint)):
        return convert(ctx, value)
    takes_several = parameter.nargs == -1 or getattr(parameter, "multiple", False)
    value = tuple(value or ()) if takes_several else value
    return parameter.callback(ctx, parameter, value) if parameter.callback is not None else value


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value is already what a hint says, as strictly as ``type(value)``.

    >>> is_of("a", str | None), is_of(["a", "b"], list[str]), is_of("1", int)
    (True, True, False)
    """
    if get_origin(hint) in (Union, UnionType):
        return any(is_of(value, part) for part in get_args(hint))
    if get_origin(hint) is list:
        return isinstance(value, (list, tuple)) and all(is_of(item, get_args(hint)[0]) for item in value)
    return type(value) is hint
