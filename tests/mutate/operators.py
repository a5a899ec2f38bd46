"""The changes: one in each mutant, small enough to be a slip of the pen."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
FROM_ONE = ("frame", "_id", "_time")
"""Names that end so begin at 1: whether they are compared with 0 by ``>=`` or by ``>`` is the same."""


class Mutant(NamedTuple):
    """One change of one module: the node with this number (as ``ast.walk`` finds them), and what is done to it."""

    path: str
    node: int
    change: str
    line: int
    function: str
    text: str
    first: int
    last: int
    """The lines of the statement, or of the lambda: fixtures that run none of them do not meet the change."""

    def tree(self, source: str) -> ast.Module:
        """The module with the change."""
        tree = ast.parse(source)
        node = list(ast.walk(tree))[self.node]
        _apply(node, self.change)
        return ast.fix_missing_locations(tree)


def mutants(path: Path, root: Path) -> Iterator[Mutant]:
    """All changes of a module, in the order of its text."""
    source = path.read_text()
    tree = ast.parse(source)
    functions = _functions(tree)
    homes = _homes(tree)
    skipped, not_more = {*_skipped(tree), *_hints(tree), *_checks(tree)}, {*_true_or_roomy(tree)}
    for number, node in enumerate(ast.walk(tree)):
        if node in skipped:
            continue
        for change in _changes(node):
            if change == "plus 1" and node in not_more:
                continue
            around = functions.get(node, "")
            text, line = _said(node, change), node.lineno  # type: ignore[attr-defined]
            yield Mutant(path.relative_to(root).as_posix(), number, change, line, around, text, *homes[node])


def _changes(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            if type(operator) in COMPARISONS and not (type(operator) in (ast.Lt, ast.GtE) and _is_from_one(node)):
                yield f"compare {place}"
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield "plus 1"
        yield "minus 1"
    elif isinstance(node, ast.BoolOp):
        yield "and or"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)):
        yield "bit and or"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        yield "no not"
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield "branches"


def _apply(node: ast.AST, change: str) -> None:
    if isinstance(node, ast.Compare):
        place = int(change.split()[1])
        node.ops[place] = COMPARISONS[type(node.ops[place])]()
    elif isinstance(node, ast.Constant):
        node.value += 1 if change == "plus 1" else -1  # type: ignore[operator]
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.BinOp):
        node.op = ast.BitOr() if isinstance(node.op, ast.BitAnd) else ast.BitAnd()
    elif isinstance(node, ast.UnaryOp):
        node.operand = ast.UnaryOp(node.op, node.operand)
    elif isinstance(node, (ast.If, ast.IfExp)):
        node.test = ast.UnaryOp(ast.Not(), node.test)


def _said(node: ast.AST, change: str) -> str:
    """What the change looks like: ``a < b  ->  a <= b``."""
    changed = copy.deepcopy(node)
    _apply(changed, change)
    if isinstance(node, ast.If):
        return f"if {ast.unparse(node.test)}  ->  if not"
    return f"{ast.unparse(node)[:70]}  ->  {ast.unparse(ast.fix_missing_locations(changed))[:70]}"


def _is_from_one(node: ast.Compare) -> bool:
    """Whether it asks for a number that begins at 1, or is -1 where it is not known."""
    left, right = node.left, node.comparators[0]
    name = left.attr if isinstance(left, ast.Attribute) else left.id if isinstance(left, ast.Name) else ""
    if isinstance(left, ast.Call) and left.args and isinstance(left.args[0], ast.Attribute):  # np.int64(record.field)
        name = left.args[0].attr
    return name.endswith(FROM_ONE) and isinstance(right, ast.Constant) and right.value == 0


def _skipped(tree: ast.Module) -> Iterator[ast.AST]:
    """What is no decision: annotations, default values of types, and what only tests look at."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and _is_from_one(node):
            yield node.comparators[0]
        elif isinstance(node, (ast.AnnAssign, ast.arg)) and node.annotation is not None:
            yield from ast.walk(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield from ast.walk(node.returns)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
            yield from node.args  # the codes of an enumeration


def _functions(tree: ast.Module) -> dict[ast.AST, str]:
    """The function around each node; the innermost one that has a name."""
    found: dict[ast.AST, str] = {}
    for node in ast.walk(tree):  # outer ones first
        if isinstance(node, ast.FunctionDef):
            for inside in ast.walk(node):
                found[inside] = node.name
    return found


def _homes(tree: ast.Module) -> dict[ast.AST, tuple[int, int]]:
    """The lines of the statement around each node, of the head of a compound one, or of a lambda within it."""
    found: dict[ast.AST, tuple[int, int]] = {}
    for node in ast.walk(tree):  # outer ones first
        if isinstance(node, (ast.stmt, ast.Lambda)):
            last = node.end_lineno or node.lineno
            if isinstance(node, (ast.If, ast.For, ast.While, ast.With, ast.FunctionDef, ast.ClassDef, ast.Try)):
                last = max(node.body[0].lineno - 1, node.lineno)
            for inside in ast.walk(node):
                found[inside] = (node.lineno, last)
    return found


HINTS = ("prefetch", "ask_entry", "ask_place", "look_ahead")
"""Functions whose names begin so only bring memory nearer. No row depends on what they ask for, or when."""

AHEAD = {"FARTHEST", "FAR", "NEAR"}
"""How far ahead, in modules that call hints."""

DECLARED = {"entry", "intrinsic", "bundle", "Array"}
"""What they are told only the compiler reads; the library does not build if the arguments are of other kinds."""

ROOM_AT_FIRST = {"Pool"}
"""They grow: the room that they begin with decides nothing."""


def _hints(tree: ast.Module) -> Iterator[ast.AST]:
    """What no test can notice, because by its purpose it decides nothing that anybody sees."""
    calls_hints = any(_is_hint(node) for node in ast.walk(tree))
    for node in ast.walk(tree):
        name = _called(node)
        if (
            _is_hint(node)
            or name in DECLARED | ROOM_AT_FIRST
            or _only_hints(node)
            or (isinstance(node, ast.FunctionDef) and node.name.startswith(HINTS))
        ):
            yield from ast.walk(node)
        elif isinstance(node, ast.Assign) and calls_hints:
            names = {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
            if names <= AHEAD:
                yield from ast.walk(node)


def _checks(tree: ast.Module) -> Iterator[ast.AST]:
    """What can only be noticed by who does not use it.

    ``within`` lets an interpreted kernel stop at an index that no kernel may have; compiled ones have no such call.
    Packing kernels of all kinds of records are called alike: a record without sides takes a 0 for its side, and what
    is unpacked takes a number of pending changes, that only packing asks for.
    """
    for node in ast.walk(tree):
        if _called(node) == "within":
            yield from ast.walk(node)
        elif isinstance(node, ast.Call) and _called(node).startswith(ALIKE):
            yield from (each for each in node.args if isinstance(each, ast.Constant))


ALIKE = ("pack_connection", "pack_span", "pack_cause", "unpack_")

PROMISES = ("RESTORED", "LET_GO", "ATTEMPTS_LET_GO", "ARCHIVED_OR_LET_GO", "TOUCHED", "MOVES", "SPARE", "EACH")
"""How much room is made before a batch, at the least: with more of it the same rows are written. Less is a mutant."""


def _true_or_roomy(tree: ast.Module) -> Iterator[ast.AST]:
    """Constants of which one more is the same: 2 is as true as 1, and a place more in a growing array stays empty."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and all(_is_flag(target) for target in node.targets):
            value = node.value
            for each in (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,):
                if isinstance(each, ast.Constant) and each.value == 1:
                    yield each
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reserve":
            yield from (each for each in ast.walk(node) if isinstance(each, ast.Constant))
        elif isinstance(node, ast.Assign) and all(getattr(target, "id", "") in PROMISES for target in node.targets):
            yield from ast.walk(node)


def _is_flag(node: ast.expr) -> bool:
    """Whether it is asked for as a yes or no: its name says so."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.startswith(("is_", "has_", "was_"))


def _called(node: ast.AST) -> str:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def _is_hint(node: ast.AST) -> bool:
    return _called(node).startswith(HINTS)


def _only_hints(node: ast.AST) -> bool:
    """An ``if`` in which hints are given and nothing else is done than to see for what."""
    if not isinstance(node, ast.If) or node.orelse:
        return False
    names = (ast.Assign, ast.If, ast.Expr)
    return any(_is_hint(each) for each in ast.walk(node)) and all(
        isinstance(each, names) and (not isinstance(each, ast.Expr) or _is_hint(each.value)) for each in node.body
    )
