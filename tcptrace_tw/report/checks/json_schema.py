"""JSON Schemas (draft 2020-12) of what the commands print, made of the classes that are printed."""

import dataclasses
import types
import typing
from datetime import date
from typing import Any, Literal

from tcptrace_tw.report.words.codec import Time
from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Json = dict[str, Any]

_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string"}

_WORDS = {"severity": SEVERITY.words, "confidence": CONFIDENCE.words}
"""Fields that hold a word of a vocabulary, in every class."""

_MAPS = {"severities": SEVERITY.words, "confidences": CONFIDENCE.words}
"""Fields that count by such words."""


def schema(kind: Any, title: str) -> Json:
    """The schema of one class, with the classes that it holds as definitions."""
    definitions: Json = {}
    root = _object(kind, definitions)
    found: Json = {"$schema": DIALECT, "title": title, **root}
    return {**found, "$defs": dict(sorted(definitions.items()))} if definitions else found


def _object(kind: Any, definitions: Json) -> Json:
    """An object with the fields of a dataclass or of a pydantic model."""
    properties, required = {}, []
    for name, hint, doc, is_required, extra in _fields(kind):
        properties[name] = ({"description": doc} if doc else {}) | _constrained(name, _of(hint, definitions)) | extra
        if is_required:
            required.append(name)
    found: Json = {"type": "object", "description": _first_line(kind), "properties": properties}
    return {**found, **({"required": required} if required else {}), "additionalProperties": False}


def _fields(kind: Any) -> typing.Iterator[tuple[str, Any, str, bool, Json]]:
    """Name, type, meaning, whether it is always there (all that is printed is), and what else the schema says."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            yield field.name, hints[field.name], field.metadata.get("doc", ""), True, {}
    else:
        for name, info in kind.model_fields.items():
            yield name, info.annotation, info.description or "", info.is_required(), info.json_schema_extra or {}


def _constrained(name: str, found: Json) -> Json:
    if name in _WORDS and found == {"type": "string"}:
        return {"enum": list(_WORDS[name])}
    if name in _MAPS and found.get("additionalProperties") == {"type": "integer"}:
        return {**found, "propertyNames": {"enum": list(_MAPS[name])}}
    return found


def _of(hint: Any, definitions: Json) -> Json:
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if hint is Any:
        return {}
    if hint in (Time, date):
        return {"type": "string", "format": "date-time" if hint is Time else "date"}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if origin is typing.Annotated:
        return _of(arguments[0], definitions)
    if origin is Literal:
        return {"const": arguments[0]}
    if origin in (types.UnionType, typing.Union):
        return _either([_of(each, definitions) for each in arguments])
    if hint is types.NoneType:
        return {"type": "null"}
    if origin in (list, tuple):
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is dict:
        values = _of(arguments[1], definitions)
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    return _reference(hint, definitions)


def _either(schemas: list[Json]) -> Json:
    if all(list(each) == ["type"] for each in schemas):
        return {"type": [each["type"] for each in schemas]}
    return {"anyOf": schemas}


def _reference(kind: Any, definitions: Json) -> Json:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}
        definitions[kind.__name__] = _object(kind, definitions)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _first_line(kind: Any) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0]
