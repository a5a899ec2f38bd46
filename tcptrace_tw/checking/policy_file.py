"""Where the policy is, and what is wrong with it: ``tcptrace-tw.toml``, or ``[tool.tcptrace-tw]`` of pyproject.toml."""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from tcptrace_tw.checking.plan import Plan
from tcptrace_tw.checking.search import FILE, PYPROJECT, TABLE, candidates
from tcptrace_tw.errors import UsageError, hint
from tcptrace_tw.pipeline import Settings
from tcptrace_tw.schema.words import SEVERITY

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from tcptrace_tw.checking.policy import Policy


class Found(NamedTuple):
    """A policy file and what stands in it."""

    path: Path
    data: dict[str, Any]


def find(start: Path) -> Found | None:
    """The nearest policy from ``start`` upwards; in one folder ``tcptrace-tw.toml`` comes before pyproject.toml."""
    for path in candidates(start):
        found = read(path)
        if found.data or path.name == FILE:
            return found
    return None


def read(path: Path) -> Found:
    """One policy file; ``UsageError`` where it cannot be read or is no TOML."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not valid TOML: {error}; --no-config ignores the file") from error
    if path.name == PYPROJECT:
        data = data.get("tool", {}).get(TABLE, {})
    return Found(path, data)


def policy_of(found: Found) -> "Policy":
    """The checked policy; ``UsageError`` names the file and every key that is wrong."""
    from pydantic import ValidationError

    from tcptrace_tw.checking.policy import Policy

    try:
        return Policy.model_validate(found.data)
    except ValidationError as error:
        mistakes = _mistakes(error, Policy)
        first, *rest = mistakes if len(mistakes) == 1 else [f"{len(mistakes)} errors", *(f"  {m}" for m in mistakes)]
        raise UsageError(f"{path_from_here(found.path)}: {first}", *rest) from None


def plan_of(found: Found) -> Plan:
    """The policy as a plan."""
    policy = policy_of(found)
    return Plan(
        Settings(
            profile=policy.profile,
            two_msl_s=policy.two_msl,
            select=tuple(policy.select),
            ignore=tuple(policy.ignore),
            thresholds=policy.bounds,
        ),
        fail_on=policy.fail_on,
        show=policy.show,
        severities=tuple((rule, SEVERITY.code(word)) for rule, word in policy.severities.items()),
        waivers=policy.waivers,
        baseline=None if policy.baseline is None else Path(path_from_here(found.path.parent / policy.baseline)),
        policy=path_from_here(found.path),
        said=found.data,
    )


def path_from_here(path: Path) -> str:
    """The path as a person would type it here."""
    below = os.path.relpath(path)
    return str(path) if below.startswith("..") else below


def _mistakes(error: "ValidationError", model: "type[BaseModel]") -> list[str]:
    found = []
    for each in error.errors(include_url=False):
        if not _is_meant(each):
            continue
        place = [part for part in each["loc"] if not _is_branch(part)]
        key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        found.append(f"{key}: {_said(each, place, model)}" if key else _said(each, place, model))
    return list(dict.fromkeys(found))


def _said(error: Any, place: Sequence[int | str], model: "type[BaseModel]") -> str:
    text: str = error["msg"]
    if error["type"] == "extra_forbidden":
        return f"unknown key; {hint(str(place[-1]), _model_at(model, place[:-1]).model_fields)}"
    if error["type"] == "value_error":
        return text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _is_meant(error: Any) -> bool:
    """Of a union, pydantic tells the errors of every branch: a table means ``Between``, anything else does not."""
    branches = [place for place, part in enumerate(error["loc"]) if _is_branch(part)]
    if not branches:
        return True
    is_table = branches[0] < len(error["loc"]) - 1 or isinstance(error["input"], dict)
    return bool((error["loc"][branches[0]] == "Between") == is_table)


def _is_branch(part: int | str) -> bool:
    """Names that pydantic gives to the branches of a union; they are no keys."""
    return part in ("int", "str", "Between")


def _model_at(model: Any, place: Sequence[int | str]) -> Any:
    """The model that holds the key at ``place``."""
    for part in place:
        if isinstance(part, str) and part in getattr(model, "model_fields", {}):
            model = model.model_fields[part].annotation
        while get_args(model):
            model = get_args(model)[-1]
    return model
