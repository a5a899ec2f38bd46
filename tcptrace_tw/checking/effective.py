"""What holds for a check, told as a policy file would tell it: ``--show-policy``."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from tcptrace_tw.checking.plan import CliOverrides, Plan

_WIDTH = 40


def policy_lines(plan: Plan, overrides: CliOverrides) -> Iterator[str]:
    """Lines of TOML; each key says where it comes from."""
    values = {
        "select": plan.settings.select,
        "ignore": plan.settings.ignore,
        "fail_on": plan.fail_on,
        "show": plan.show,
        "profile": plan.settings.profile,
        "two_msl": plan.settings.two_msl_s,
        "baseline": plan.baseline,
    }
    wished = {**overrides._asdict(), "two_msl": overrides.two_msl_s}
    yield f"# policy: {plan.policy or 'none'}"
    for key, value in values.items():
        source = "command line" if wished[key] is not None else plan.policy if key in plan.said else "default"
        yield f"# {key} is not set" if value is None else f"{f'{key} = {_toml(value)}':{_WIDTH}} # {source}"
    for name, table in plan.said.items():
        if isinstance(table, Mapping):
            yield from ("", f"[{name}]")
            yield from _pairs(table)
    for entry in plan.said.get("ignore_for", ()):
        yield from ("", "[[ignore_for]]")
        yield from _pairs(entry)


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{key} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_pairs(value))} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, (str, Path)):
        return '"' + "".join(_character(c) for c in str(value)) + '"'
    return value.isoformat() if isinstance(value, date) else f"{value:g}" if isinstance(value, float) else str(value)


def _character(c: str) -> str:
    """As TOML writes it in a string."""
    if c in '"\\':
        return f"\\{c}"
    return c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) <= 0xFFFF else f"\\U{ord(c):08x}"
