"""The tools of mutation testing: which changes there are, who can meet them, and what is noted of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fuzz import borders
from tests.mutate import meets
from tests.mutate.operators import Mutant, mutants

CODE = """
def f(a, row, pool):
    if a < 3:
        row.is_late = 1
    pool.reserve(a + 7)
    return within("rows", a, 9)
"""


def changes(folder: Path, code: str = CODE) -> dict[str, Mutant]:
    path = folder / "code.py"
    path.write_text(code)
    return {mutant.text: mutant for mutant in mutants(path, folder)}


def test_what_nobody_can_notice_is_left_out(tmp_path: Path) -> None:
    """2 is as true as 1, more room stays empty, and an index is only checked in interpreted kernels."""
    assert sorted(changes(tmp_path)) == [
        "1  ->  0", "3  ->  2", "3  ->  4", "7  ->  6", "a < 3  ->  a <= 3", "if a < 3  ->  if not",
    ]  # fmt: skip


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!="])
@pytest.mark.parametrize("change", ["3  ->  4", "3  ->  2", ""])
def test_a_change_is_met_where_the_sides_differ_by_so_much(
    operator: str, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each value of ``a`` the changed function is run: where it says something else, it must count as met."""
    monkeypatch.setattr(meets, "ROOT", tmp_path)
    meets._tree.cache_clear()
    code = f"def f(a):\n    return a {operator} 3\n"
    for text, mutant in changes(tmp_path, code).items():
        if change and change != text:
            continue
        needed = meets.needed(mutant)
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        exec(code, before)
        exec(compile(mutant.tree(code), "code", "exec"), after)
        differing = {a - 3 for a in range(-5, 10) if before["f"](a) != after["f"](a)}
        assert differing == set(needed[1]) if needed else len(differing) > 2
    meets._tree.cache_clear()


def test_notes_tell_how_far_the_sides_of_a_comparison_are_apart() -> None:
    borders.met.clear()

    assert borders.compare("m", 1, "lt", 2, 3)
    assert borders.compare("m", 2, "ge", np.array([5, 9, 3]), 4).tolist() == [True, True, False]
    assert borders.met == {
        ("m", 1, -1), ("m", 1, borders.TRUE), ("m", 2, 1), ("m", 2, borders.FAR), ("m", 2, -1),
        ("m", 2, borders.TRUE), ("m", 2, borders.FALSE),
    }  # fmt: skip
