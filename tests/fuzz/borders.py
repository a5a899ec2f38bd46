"""Which borders of the kernels something meets: for each comparison whether its sides differ by -1, 0 or 1.

A comparison that is off by one says something else only where its sides are (nearly) equal, and an ``and`` that should
be an ``or`` only where its parts differ. So random captures are chosen by these borders (``choose``), not by lines.
The modules of the rooms are imported with a note beside each comparison, part of a condition and mask of bits.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import operator
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("tcptrace_tw.tcp.", "tcptrace_tw.measure.", "tcptrace_tw.flow")

COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip

FAR, TRUE, FALSE = 2, 3, 4
"""Codes beside the differences -1, 0 and 1; ``FAR`` with its sign."""

met: set[tuple[str, int, int]] = set()
"""Path of the module, number of the node (as ``ast.walk`` finds them), and what was met there."""


class Noting(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the modules of the rooms with notes."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Only modules of the rooms, no packages."""
        file = ROOT / (name.replace(".", "/") + ".py")
        if not name.startswith(ROOMS) or not file.exists():
            return None
        return importlib.util.spec_from_file_location(name, file, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """The module's code, with notes."""
        path = str(module.__file__)
        tree = ast.parse(Path(path).read_text())
        numbers = {node: number for number, node in enumerate(ast.walk(tree))}
        tree = ast.fix_missing_locations(_Notes(numbers).visit(tree))
        of = Path(path).relative_to(ROOT).as_posix()
        vars(module)["_note"] = lambda number, value: note(of, number, value)
        vars(module)["_note_apart"] = lambda number, name, left, right: compare(of, number, name, left, right)
        exec(compile(tree, path, "exec", dont_inherit=True), vars(module))


class _Notes(ast.NodeTransformer):
    """Puts calls around what decides, within functions."""

    def __init__(self, numbers: dict[ast.AST, int]) -> None:
        self._numbers = numbers
        self._depth = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._depth += 1
        node.body = [self.visit(each) for each in node.body]
        self._depth -= 1
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        name = COMPARISONS.get(type(node.ops[0]), "")
        if not self._depth or len(node.ops) > 1 or not name:
            return self._noted(node)
        return self._call("_note_apart", node, ast.Constant(name), node.left, node.comparators[0])

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        parts = list(node.values)
        self.generic_visit(node)
        node.values = [self._noted(new, old) for new, old in zip(node.values, parts, strict=True)]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return self._noted(node) if isinstance(node.op, (ast.BitAnd, ast.BitOr)) else node

    def visit_If(self, node: ast.If) -> ast.AST:
        return self._with_test(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        return self._with_test(node)

    def _with_test(self, node: ast.If | ast.IfExp) -> ast.AST:
        test = node.test
        self.generic_visit(node)
        node.test = self._noted(node.test, test)
        return node

    def _noted(self, node: ast.expr, of: ast.expr | None = None) -> ast.expr:
        is_noted = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("_note")
        return node if not self._depth or is_noted else self._call("_note", of or node, node)

    def _call(self, name: str, of: ast.expr, *arguments: ast.expr) -> ast.expr:
        return ast.Call(ast.Name(name, ast.Load()), [ast.Constant(self._numbers[of]), *arguments], [])


def note(module: str, number: int, value: Any) -> Any:
    """Note whether a value counts as true; for an array, whether there is one that does and one that does not."""
    if isinstance(value, np.ndarray) and value.ndim:
        if value.size:
            are_true = value.astype(bool)
            if are_true.any():
                met.add((module, number, TRUE))
            if not are_true.all():
                met.add((module, number, FALSE))
    else:
        met.add((module, number, TRUE if value else FALSE))
    return value


def compare(module: str, number: int, name: str, left: Any, right: Any) -> Any:
    """Compare, and note by how much the sides differ."""
    if isinstance(left, (int, np.integer)) and isinstance(right, (int, np.integer)):
        apart = int(left) - int(right)
        met.add((module, number, apart if -FAR < apart < FAR else FAR if apart > 0 else -FAR))
    elif isinstance(left, np.ndarray) and left.dtype.kind in "iu":
        apart = np.clip(left.astype(np.int64) - np.asarray(right).astype(np.int64), -FAR, FAR)
        met.update((module, number, int(each)) for each in np.unique(apart))
    result = getattr(operator, name)(left, right)
    return note(module, number, result)


def install() -> None:
    """From now on the rooms are imported with notes; none of them may have been imported before."""
    assert not [name for name in sys.modules if name.startswith(ROOMS)]
    sys.meta_path.insert(0, Noting())
