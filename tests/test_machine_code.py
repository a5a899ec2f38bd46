"""A kernel gives the same through its stored machine code as through numba, and numba need not be there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tcptrace_tw.machine_code import Entry, Unsupported

OPTIONS: dict[str, Any] = {"_nrt": False, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Pair(NamedTuple):
    left: np.ndarray[Any, Any]
    right: np.ndarray[Any, Any]


def weigh(pair: Any, rows: Any, matrix: Any, n: int, is_negative: bool, factor: float) -> tuple[int, bool, float]:
    total = 0
    for i in range(n):
        total += int(pair.left[i]) - int(pair.right[i]) + int(rows[i].a) + int(matrix[i, 1])
    rows[0].a = total
    return (-total if is_negative else total), not is_negative, factor * 2


def count(values: Any) -> int:
    return int(values.size)


def clear(values: Any) -> None:
    for i in range(values.size):
        values[i] = 0


def entry(function: Any, folder: Path | None = None, compile_: Any = None) -> Entry:
    import numba

    return Entry(function, compile_ or (lambda: numba.njit(**OPTIONS)(function)), folder)


def arguments() -> tuple[Any, ...]:
    pair = Pair(np.arange(5, dtype=np.uint8), np.arange(5, dtype=np.int64)[::-1].copy())
    rows = np.zeros(5, [("a", "i8"), ("b", "u1")]).view(np.recarray)
    rows.a = 7
    return pair, rows, np.arange(10, dtype=np.int32).reshape(5, 2), 5, True, 1.5


def no_compiler() -> None:
    raise AssertionError("it is stored")


def test_arrays_records_tuples_and_scalars_go_in_and_out(tmp_path: Path) -> None:
    expected, given = arguments(), arguments()

    assert weigh(*expected) == entry(weigh, tmp_path)(*given)
    assert expected[1].tolist() == given[1].tolist()


def test_what_is_stored_needs_no_compiler(tmp_path: Path) -> None:
    entry(weigh, tmp_path)(*arguments())

    assert weigh(*arguments()) == entry(weigh, tmp_path, no_compiler)(*arguments())


def test_other_kinds_of_arguments_are_compiled_anew(tmp_path: Path) -> None:
    kernel = entry(count, tmp_path)

    assert [kernel(np.zeros(3)), kernel(np.zeros(4, np.uint8)), kernel(np.zeros(4)[::2])] == [3, 4, 2]
    assert len(list(tmp_path.iterdir())) == 3


def test_one_value_or_none_is_returned_as_it_is() -> None:
    values = np.ones(3)

    assert entry(clear)(values) is None
    assert values.tolist() == [0, 0, 0]


def test_a_damaged_file_is_compiled_again(tmp_path: Path) -> None:
    entry(count, tmp_path)(np.zeros(3))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100])

    assert entry(count, tmp_path)(np.zeros(3)) == 3


def test_an_array_that_takes_the_place_of_another_is_seen() -> None:
    kernel = entry(count)

    assert list(range(50)) == [kernel(np.zeros(n)) for n in range(50)]


def test_what_ctypes_cannot_pass_is_refused() -> None:
    with pytest.raises(Unsupported, match="type str"):
        entry(count)("text")


def test_numba_is_not_imported_for_stored_code(tmp_path: Path) -> None:
    entry(count, tmp_path)(np.zeros(3))
    script = f"""
import sys, pathlib, numpy as np
from tcptrace_tw.machine_code import Entry
def count(values): ...
count.__module__ = {count.__module__!r}
assert 3 == Entry(count, None, pathlib.Path({str(tmp_path)!r}))(np.zeros(3))
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_kernels_of_one_name_from_two_processes_are_not_mixed_up(tmp_path: Path) -> None:
    """numba numbers what it compiles from 1 in each process, so both have the same symbol."""
    for answer in (1, 2):
        script = f"""
import pathlib, numba, numpy as np
from tcptrace_tw.machine_code import Entry
def same(values): return values.size + {answer}
Entry(same, lambda: numba.njit(**{OPTIONS!r})(same), pathlib.Path({str(tmp_path / str(answer))!r}))(np.zeros(3))
"""
        subprocess.run([sys.executable, "-c", script], check=True)

    def same(values: Any) -> None: ...

    same.__module__, same.__qualname__ = "__main__", "same"
    kernels = [entry(same, tmp_path / answer, no_compiler) for answer in ("1", "2")]

    assert len({file.read_bytes().split(b'"')[3] for file in tmp_path.rglob("*.o")}) == 1
    assert [kernel(np.zeros(3)) for kernel in kernels] == [4, 5]
