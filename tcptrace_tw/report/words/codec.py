"""Dataclasses to JSON and back; fields of type ``Time`` are ISO 8601 there and int64 ns here."""

import dataclasses
import types
import typing
from collections.abc import Hashable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NewType, TypeVar

from tcptrace_tw.errors import printable
from tcptrace_tw.report.words.text import time_text

Time = NewType("Time", int)
Data = TypeVar("Data")


def to_json(value: Any) -> Any:
    """What ``json.dumps`` takes, for a dataclass and all it holds; strings are as they are shown (``printable``)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {name: _encode(getattr(value, name), hint) for name, hint in hints.items()}
    return printable_data(value)


def printable_data(value: Any) -> Any:
    """Plain data whose strings are as they are shown, at any depth: what JSON from outside becomes, too."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_data(key): printable_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_data(item) for item in value]
    return value


def from_json(kind: type[Data], data: dict[str, Any]) -> Data:
    """The dataclass that ``to_json`` made ``data`` of; names that ``kind`` does not know are left out."""
    if not isinstance(data, dict):
        raise ValueError(f"{str(data)[:40]!r} where there must be names and values")
    hints = _hints(typing.cast("Hashable", kind))
    return kind(**{name: _decode(data[name], hint) for name, hint in hints.items() if name in data})


def parse_time(text: str) -> Time:
    """The ns since 1970 of what ``time_text`` wrote."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return Time(seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9]))


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _encode(value: Any, hint: Any) -> Any:
    hint = _some(hint)
    if value is None:
        return None
    if hint is Time:
        return time_text(value)
    if isinstance(value, (list, tuple)):
        inner = (typing.get_args(hint) or (Any,))[0]
        return [_encode(item, inner) for item in value]
    return to_json(value)


def _decode(value: Any, hint: Any) -> Any:
    some = _some(hint)
    if value is None:
        if some is hint and hint is not Any:
            raise ValueError("null where there must be a value")
        return None
    kind = typing.get_origin(some) or some
    if not _is_of(value, kind, hint):
        raise ValueError(f"{str(value)[:40]!r} where there must be {getattr(kind, '__name__', kind)}")
    inner = typing.get_args(some)
    if some is Time:
        return parse_time(value)
    if isinstance(value, list):
        items = [_decode(item, (inner or (Any,))[0]) for item in value]
        return tuple(items) if kind is tuple else items
    if dataclasses.is_dataclass(some):
        return from_json(typing.cast("type[Any]", some), value)
    if isinstance(value, dict) and len(inner) == 2:
        return {name: _decode(item, inner[1]) for name, item in value.items()}
    return value


def _is_of(value: Any, kind: Any, hint: Any) -> bool:
    """Whether JSON has such a value for a field of this kind; where the hint names several, any will do."""
    if isinstance(hint, types.UnionType) and len(set(typing.get_args(hint)) - {types.NoneType}) > 1:
        return True
    if isinstance(value, bool) and kind in (int, float):
        return False
    wanted = str if kind is Time else dict if dataclasses.is_dataclass(kind) else _JSON_KINDS.get(kind, object)
    return isinstance(value, wanted)


_JSON_KINDS: dict[Any, Any] = {tuple: list, list: list, dict: dict, str: str, int: int, float: (int, float), bool: bool}
"""What JSON has for the types of fields."""


def _some(hint: Any) -> Any:
    """``X`` of ``X | None``."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(arg for arg in typing.get_args(hint) if arg is not types.NoneType)
    return hint
