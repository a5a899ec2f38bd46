"""Options that are the fields of a record: a command takes the record, and typer sees a parameter for each field.

Commands share most of their options. So these are declared once, as ``options.Shared``, and a command that has not all
of them says which it has not::

    def show(*, captures: Captures = None, own: ShowOptions, shared: Annotated[Shared, Without("since")]) -> None
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints


class Without(tuple[str, ...]):
    """The fields of a record that a command has not: they keep their defaults."""

    __slots__ = ()

    def __new__(cls, *names: str) -> "Without":
        """Of their names."""
        return super().__new__(cls, names)


class Spread(NamedTuple):
    """What typer sees of a function, and how what it hands over becomes records again."""

    signature: inspect.Signature
    records: Mapping[str, tuple[type, tuple[str, ...]]]
    """For each parameter that is a record: its class, and the fields that typer knows."""

    def gathered(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of the function; every field is in one record."""
        arguments = dict(given)
        for name, (record, known) in self.records.items():
            arguments[name] = record(**{field: arguments.pop(field) for field in known if field in arguments})
        return arguments


def spread(function: Callable[..., Any]) -> Spread:
    """The parameters of a function, with the fields of each record in its place."""
    hints = get_type_hints(function, include_extras=True)
    seen: list[inspect.Parameter] = []
    records: dict[str, tuple[type, tuple[str, ...]]] = {}
    for parameter in inspect.signature(function).parameters.values():
        record, left_out = _record(hints[parameter.name])
        if record is None:
            seen.append(_keyword(parameter.name, hints[parameter.name], parameter.default))
        else:
            parts = _fields(record)
            if unknown := set(left_out) - {part.name for part in parts}:
                raise TypeError(f"{function.__name__}: {record.__name__} has no {', '.join(sorted(unknown))}")
            parts = [part for part in parts if part.name not in left_out]
            records[parameter.name] = record, tuple(part.name for part in parts)
            seen += parts
    return Spread(inspect.Signature(seen), records)


def _record(hint: Any) -> tuple[type | None, tuple[str, ...]]:
    """The class of a record, and what is left out of it; None for a parameter that is none."""
    bare, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if not (isinstance(bare, type) and issubclass(bare, tuple)):
        return None, ()
    return bare, tuple(name for extra in extras if isinstance(extra, Without) for name in extra)


@cache
def _fields(record: type) -> list[inspect.Parameter]:
    hints, defaults = get_type_hints(record, include_extras=True), record._field_defaults  # type: ignore[attr-defined]
    return [_keyword(name, hint, defaults.get(name, inspect.Parameter.empty)) for name, hint in hints.items()]


def _keyword(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
