"""Who can meet a change of a comparison: only what has sides that differ by so much at this node.

``a < b`` and ``a <= b`` say the same unless the sides are equal. A capture that never has equal sides there need not
be played. What is known of each comparison is noted once (``tests/fuzz/borders.py``).
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.mutate.operators import Mutant

ROOT = Path(__file__).parent.parent.parent
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
FROM_NEXT = (ast.LtE, ast.Gt)
"""``a <= c`` is ``a < c + 1``: where the constant becomes another one, these decide otherwise one place further."""


def needed(mutant: Mutant) -> tuple[int, tuple[int, ...]] | None:
    """The comparison that must be met, by its number, and by how much its sides must differ; None: nobody knows."""
    nodes, parents = _tree(mutant.path)
    node = nodes[mutant.node]
    if not mutant.function:
        return None
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ORDER):
        return mutant.node, (0,)
    parent = parents.get(node)
    if isinstance(node, ast.Constant) and isinstance(parent, ast.Compare) and node is parent.comparators[-1]:
        kind, is_more = parent.ops[0], mutant.change == "plus 1"
        number = nodes.index(parent)
        if len(parent.ops) == 1 and isinstance(kind, ORDER):
            return number, ((1,) if is_more else (0,)) if isinstance(kind, FROM_NEXT) else ((0,) if is_more else (-1,))
        if len(parent.ops) == 1 and isinstance(kind, (ast.Eq, ast.NotEq)):
            return number, (0, 1 if is_more else -1)
    return None


@cache
def _tree(path: str) -> tuple[list[ast.AST], dict[ast.AST, ast.AST]]:
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text())))
    return nodes, {child: node for node in nodes for child in ast.iter_child_nodes(node)}
