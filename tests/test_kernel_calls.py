"""A compiled kernel gives the same as the Python function, and refuses what it was not compiled for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from tcptrace_tw.kernels import compiler, marks
from tcptrace_tw.kernels.calls import CompiledKernel, flatten
from tcptrace_tw.kernels.kinds import BOOLEAN, FLOAT, INTEGER, Array, Kind, Record, bundle
from tests.compiled import compiled, needs_compiler

pytestmark = needs_compiler

ROW = np.dtype([("a", "i8"), ("b", "u1")])


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


def total(values: Any) -> int:
    found = 0
    for i in range(values.size):
        found += values[i]
    return found


def see(row: Any) -> int:
    return int(row.a) * 2


KINDS: dict[Callable[..., Any], tuple[Kind, ...]] = {
    weigh: (
        bundle(Pair, left=Array(np.uint8), right=Array(np.int64)),
        Array(ROW), Array(np.int32, ndim=2), INTEGER, BOOLEAN, FLOAT,
    ),
    count: (Array(np.float64),),
    clear: (Array(np.float64),),
    total: (Array(np.int64, layout="A"),),
    see: (Record(ROW),),
}  # fmt: skip


@cache
def kernel(function: Callable[..., Any]) -> CompiledKernel:
    return compiled(function, *KINDS[function])


def arguments() -> tuple[Any, ...]:
    pair = Pair(np.arange(5, dtype=np.uint8), np.arange(5, dtype=np.int64)[::-1].copy())
    rows = np.zeros(5, ROW).view(np.recarray)
    rows.a = 7
    return pair, rows, np.arange(10, dtype=np.int32).reshape(5, 2), 5, True, 1.5


def test_arrays_records_tuples_and_scalars_go_in_and_out() -> None:
    expected, given = arguments(), arguments()

    assert weigh(*expected) == kernel(weigh)(*given)
    assert expected[1].tolist() == given[1].tolist()


def test_one_value_or_none_is_returned_as_it_is() -> None:
    values = np.ones(3)

    assert kernel(clear)(values) is None
    assert values.tolist() == [0, 0, 0]


def test_a_record_is_handed_over_by_its_address() -> None:
    rows = np.zeros(3, ROW).view(np.recarray)
    rows.a = [3, 4, 5]

    assert [kernel(see)(row) for row in rows] == [6, 8, 10]


def test_a_kernel_for_any_strides_takes_them_all() -> None:
    values = np.arange(12)

    assert [kernel(total)(values[::step]) for step in (1, 2, -3)] == [sum(values[::step]) for step in (1, 2, -3)]


@pytest.mark.parametrize(
    "value", [np.zeros(3, np.float32), np.zeros((3, 1)), np.zeros(6)[::2], 3, np.frombuffer(bytes(8))],
    ids=["type", "dimensions", "gaps", "number", "read-only"],
)  # fmt: skip
def test_an_argument_of_another_kind_is_refused_before_anything_is_read(value: Any) -> None:
    """Machine code would read it as what it was compiled for."""
    with pytest.raises(TypeError, match=r"test_kernel_calls\.count is called with .*, and was compiled for"):
        kernel(count)(value)
    with pytest.raises(TypeError, match="compiled for"):
        kernel(count)(np.zeros(3), np.zeros(3))


def test_what_no_kernel_takes_is_refused() -> None:
    with pytest.raises(TypeError, match="no argument of type str"):
        kernel(count)("text")


def test_an_array_that_takes_the_place_of_another_is_seen() -> None:
    assert list(range(50)) == [kernel(count)(np.zeros(n)) for n in range(50)]


def test_kinds_spell_what_arguments_are_flattened_to() -> None:
    found: list[str] = []
    words: list[bytes] = []
    flatten(arguments(), found, words)

    assert found == [text for kind in KINDS[weigh] for text in kind.spelling()]
    assert len(b"".join(words)) == 8 * len("".join(kind.words() for kind in KINDS[weigh]))


def test_a_bundle_has_the_fields_of_its_tuple() -> None:
    with pytest.raises(TypeError, match="Pair has the fields left, right, not right, left"):
        bundle(Pair, right=INTEGER, left=INTEGER)


def test_a_kernel_that_needs_more_than_libc_is_refused() -> None:
    """What prints a number calls the runtime of numba, or that of Python, which are not linked with it."""

    def prints(n: int) -> None:
        print(n)

    with pytest.raises(compiler.Unsupported, match="which is in no library that it may need"):
        compiled(prints, INTEGER)


def test_marks_change_nothing() -> None:
    assert marks.kernel(count) is count
    assert marks.load(count, compiled=False) is count
    del marks.KERNELS[count]
