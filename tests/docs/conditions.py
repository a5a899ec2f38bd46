"""The condition of a table row, as it stands in the source: a page and the code cannot say different things."""

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any


def text(when: Callable[..., Any]) -> str:
    """A lambda's body without the name of its argument, a function's name, or ``otherwise``."""
    if when.__name__ == "always":
        return "otherwise"
    return when.__name__ if is_named(when) else _plain(_lambda(when))


def is_named(when: Callable[..., Any]) -> bool:
    """Whether the condition is a function that other rows may share."""
    return when.__name__ != "<lambda>"


def meaning(when: Callable[..., Any]) -> str:
    """The docstring of a named condition."""
    return (inspect.getdoc(when) or "").split("\n\n")[0].rstrip(".") if is_named(when) else ""


def helpers(whens: Iterable[Callable[..., Any]]) -> list[tuple[str, str]]:
    """The named conditions that these ones use, with what their docstrings say."""
    found: dict[str, str] = {}
    for when in whens:
        for name in re.findall(r"\b[a-z]\w+\b", text(when)):
            function = when if is_named(when) and name == when.__name__ else when.__globals__.get(name)
            if name not in found and inspect.isfunction(function) and inspect.getdoc(function):
                said = meaning(function)
                found[name] = f"what {said} finds" if re.fullmatch(r"[A-Z]{2}\d{3}", said) else said
    return list(found.items())


def body(predicate: Callable[..., Any]) -> str:
    """What a predicate returns, as source; its docstring where that is not one expression."""
    function = _parsed(predicate)
    if function is None:
        return text(predicate)
    statements = [node for node in function.body if not _is_docstring(node)]
    last = statements[-1]
    if isinstance(last, ast.Return) and last.value is not None:
        names = dict(filter(None, map(_assignment, statements)))
        return _plain(ast.Lambda(function.args, _Inline(names).visit(last.value)))
    return ""


def _plain(function: ast.Lambda) -> str:
    arguments = [argument.arg for argument in function.args.args]
    shown = ast.unparse(function.body)
    for name in arguments:
        shown = re.sub(rf"\b{name}\.|\({name}\)", "", shown)
    return shown


def _lambda(when: Callable[..., Any]) -> ast.Lambda:
    code = when.__code__
    first = next(p for p in code.co_positions() if p[0] is not None and p[2] is not None and p[3] != 0)
    module = inspect.getmodule(when)
    assert module is not None
    found = [
        node
        for node in _lambdas(module.__name__, inspect.getsource(module))
        if (node.body.lineno, node.body.col_offset) <= (first[0], first[2])
        and (first[1], first[3]) <= (node.body.end_lineno, node.body.end_col_offset)
    ]
    return max(found, key=lambda node: (node.lineno, node.col_offset))


@cache
def _lambdas(name: str, source: str) -> list[ast.Lambda]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Lambda)]


def _parsed(function: Callable[..., Any]) -> ast.FunctionDef | None:
    if function.__name__ == "<lambda>":
        return None
    try:
        tree = ast.parse(inspect.getsource(function))
    except (OSError, SyntaxError, TypeError):
        return None
    return next((node for node in tree.body if isinstance(node, ast.FunctionDef)), None)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _assignment(node: ast.stmt) -> tuple[str, ast.expr] | None:
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    value = getattr(node, "value", None)
    return (target.id, value) if isinstance(target, ast.Name) and value is not None else None


class _Inline(ast.NodeTransformer):
    """Put the value of a local name where the name stands."""

    def __init__(self, names: dict[str, ast.expr]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self.names.get(node.id)
        return self.visit(value) if value is not None else node
