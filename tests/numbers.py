"""``python -m tests.numbers``: write ``tests/numbers.txt``, the named numbers of rules/, tcp/, measure/ and flow.py.

A limit, a span of time or a mask that is changed by a slip decides otherwise only in rare captures. So each stands once
more in a file, which a test compares. Whoever means the change writes the file again, and the diff shows it.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
FILE = Path(__file__).parent / "numbers.txt"
ROOMS = ("rules", "tcp", "measure", "flow.py")


def lines() -> list[str]:
    """Path and name of each number, and its value."""
    return [
        f"{path.relative_to(ROOT / 'tcptrace_tw').as_posix()} {named}" for path in _sources() for named in _of(path)
    ]


def _sources() -> Iterator[Path]:
    for room in ROOMS:
        place = ROOT / "tcptrace_tw" / room
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]


def _of(path: Path) -> Iterator[str]:
    """Numbers and groups of numbers that the module names for all; no places of an enumeration, no sizes of records."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.Assign) or any(word in ast.unparse(node.value) for word in ("range(", "itemsize")):
            continue
        for target in node.targets:
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and name.id[0] != "_" and _is_number(value := getattr(module, name.id)):
                    yield f"{name.id} = {_said(value)}"


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_number, value)) and value != ()
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_said, value))
    return f"{int(value):_}"


if __name__ == "__main__":
    FILE.write_text("\n".join(lines()) + "\n")
