"""Fields of records are read as int64 and stored in their width, interpreted and compiled alike."""

from __future__ import annotations

import ast
import importlib
import inspect
import struct
import textwrap
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace_tw.kernels import build, marks
from tcptrace_tw.kernels.bounds import OutOfRoom
from tcptrace_tw.kernels.calls import CompiledKernel
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.kernels.wide_records import Records
from tests.compiled import compiled, needs_compiler

FIELDS = [("a", "u1"), ("b", "u2"), ("c", "u4"), ("d", "i4"), ("e", "i8"), ("f", "f8"), ("g", "u1", 3)]
ROW = np.dtype(FIELDS)

IN_KERNELS_NARROW_IS_MEANT = {"capture.decode"}
"""The decoder writes segments, and reads back of them what it has just written, through ``int``."""


def read_and_store(rows: Any, i: int, value: int, out: Any) -> None:
    row = record_of(rows, i)
    out[0] = row.a - row.b
    out[1] = row.b - row.c
    out[2] = (row.c - row.d) << 8
    out[3] = row.e + row.g[1]
    out[4] = 1 if row.f > 1 else 0
    row.a = value
    row.b -= 1
    row.c &= ~7
    row.g[2] = 5
    row.e = value


@cache
def machine_code() -> CompiledKernel:
    return compiled(read_and_store, Array(ROW), INTEGER, INTEGER, Array(np.int64))


def rows_of(a: int, b: int, c: int, d: int, e: int) -> Any:
    rows = np.zeros(3, ROW).view(np.recarray)
    rows[1] = (a, b, c, d, e, 1.5, (1, 2, 3))
    return rows


def bits(count: int, *, signed: bool = False) -> st.SearchStrategy[int]:
    return st.integers(-(1 << count - 1), (1 << count - 1) - 1) if signed else st.integers(0, (1 << count) - 1)


@needs_compiler
@given(bits(8), bits(16), bits(32), bits(32, signed=True), bits(40, signed=True), bits(40, signed=True))
def test_interpreted_and_compiled_are_the_same(a: int, b: int, c: int, d: int, e: int, value: int) -> None:
    plain, machine = rows_of(a, b, c, d, e), rows_of(a, b, c, d, e)
    found, compiled_found = np.zeros(5, np.int64), np.zeros(5, np.int64)

    read_and_store(plain, 1, value, found)
    machine_code()(machine, 1, value, compiled_found)

    assert found.tolist() == compiled_found.tolist() == [a - b, b - c, (c - d) << 8, e + 2, 1]
    expected = rows_of(value & 0xFF, (b - 1) & 0xFFFF, c & ~7, d, value)
    expected[1].g[2] = 5
    assert plain.tobytes() == machine.tobytes() == expected.tobytes()


def test_a_record_out_of_its_array_is_an_error() -> None:
    with pytest.raises(OutOfRoom, match=r"an array\[3\] is out of its room of 3"):
        record_of(rows_of(0, 0, 0, 0, 0), 3)
    with pytest.raises(OutOfRoom, match=r"an array\[-1\]"):
        record_of(rows_of(0, 0, 0, 0, 0), -1)


def test_a_signed_number_that_does_not_fit_is_an_error_where_it_can_be_seen() -> None:
    """A place or a time that does not fit is a bug; only unsigned fields are meant to be cut."""
    with pytest.raises(struct.error):
        Records(np.zeros(1, ROW))[0].e = 1 << 63


def test_a_field_that_is_not_there_is_an_error() -> None:
    row = Records(np.zeros(1, ROW))[0]

    with pytest.raises(AttributeError):
        row.z = 1


@pytest.mark.parametrize("module", [each for each in build.MODULES if each not in IN_KERNELS_NARROW_IS_MEANT])
def test_kernels_read_fields_of_wide_records_only(module: str) -> None:
    """``rows[i].a - rows[i].b`` would be a difference of two narrow numbers, which may have no sign."""
    importlib.import_module(f"tcptrace_tw.{module}")
    for function in marks.KERNELS:
        if function.__module__ == f"tcptrace_tw.{module}":
            assert narrow_reads(textwrap.dedent(inspect.getsource(function))) == set(), function.__name__


def test_the_search_finds_both_kinds_of_narrow_reads() -> None:
    source = (
        "def f(rows, i):\n    row = rows[i]\n    other = record_of(rows, i)\n    return row.a - rows[i].b + other.c"
    )

    assert narrow_reads(source) == {"row.a", "rows[i].b"}


def narrow_reads(source: str) -> set[str]:
    """Fields that are read from an element of an array, or from a name that was given one."""
    tree = ast.parse(source)
    elements = {
        node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and is_element(node.value)
    }
    reads = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)]
    return {
        ast.unparse(node)
        for node in reads
        if is_element(node.value) or (isinstance(node.value, ast.Name) and node.value.id in elements)
    }


def is_element(node: ast.expr) -> bool:
    return isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice)
