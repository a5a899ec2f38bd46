"""Rows of the spool come back: all of them, in any order, whatever numbers they have."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcptrace_tw.cluster import packing, rows, spool
from tcptrace_tw.cluster.tasks import TRACKED
from tcptrace_tw.kernels.arrays import Buffers
from tcptrace_tw.schema.columns import BY_NAME

PLAIN = np.dtype([("connection_id", "i8"), ("number", "i8"), ("word", "u1"), ("port", "u2")], align=True)
LEAST, MOST = -(1 << 63), (1 << 63) - 1
SPANS = (0, 1, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 34) + 5)


def some(dtype: np.dtype[Any], count: int, seed: int = 1) -> Any:
    """Rows with numbers of all sizes, and bytes between their fields that belong to none."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 256, count * dtype.itemsize, np.uint8).view(dtype)
    for name in dtype.names or ():
        if dtype[name].itemsize == 8:
            base, span = int(rng.integers(-(1 << 62), 1 << 62)), int(rng.choice(SPANS))
            found[name] = base + rng.integers(0, span + 1, count)
    found["connection_id"] = 1 + np.arange(count) // 3
    return found


def written(path: Path, given: Any, *, compiled: bool, chunk: int = 7_000, is_checked: bool = True) -> rows.Rows:
    with spool.appearing(path, is_checked=is_checked) as file:
        writer = rows.RowWriter(file, given.dtype, compiled=compiled)
        for begin in range(0, given.size, chunk):
            writer.add(given[begin : begin + chunk])
        writer.close()
    assert spool.is_whole(path, file.digest)
    return rows.Rows(path, given.dtype, compiled=compiled)


def assert_equal(found: Any, wanted: Any) -> None:
    for name in wanted.dtype.names:
        assert (found[name] == wanted[name]).all(), name


@pytest.mark.parametrize("table", TRACKED)
@pytest.mark.parametrize("compiled", [True, False])
def test_rows_come_back_in_any_order(table: str, compiled: bool, tmp_path: Path) -> None:
    given = some(BY_NAME[table].dtype, 3 * packing.BLOCK + 5 if compiled else 40)
    read = written(tmp_path / "rows", given, compiled=compiled)
    order, found = np.random.default_rng(2).permutation(given.size), np.zeros(given.size, given.dtype)
    read.take(order, 0, found)

    assert read.size == given.size
    assert_equal(found, given[order])
    assert read.column("connection_id").tolist() == given["connection_id"].tolist()
    read.take(order, 7, found[:20])
    assert_equal(found[:20], given[order[7:27]])


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("numbers", [
    [LEAST, MOST, 0], [MOST, MOST], [LEAST, LEAST + 255], [MOST - (1 << 32), MOST], [-1, 0, 1 << 40], [0, 1 << 33],
    [-(1 << 33), 1 << 33], [LEAST, 0], [-1, -256], [7],
])  # fmt: skip
def test_numbers_of_any_distance_come_back(numbers: list[int], compiled: bool, tmp_path: Path) -> None:
    given = np.zeros(len(numbers), PLAIN)
    given["number"] = numbers
    read, found = written(tmp_path / "rows", given, compiled=compiled), np.zeros(given.size, PLAIN)
    read.take(np.arange(given.size), 0, found)

    assert found["number"].tolist() == numbers


def test_a_table_without_rows_has_none(tmp_path: Path) -> None:
    read = written(tmp_path / "rows", np.zeros(0, PLAIN), compiled=True)

    assert (read.size, (tmp_path / "rows").stat().st_size) == (0, 0)
    assert read.column("number").size == 0


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    """Whatever is between their fields, in how many chunks they come, and what was packed before."""
    given = some(PLAIN, packing.BLOCK + 99)
    other = given.copy()
    other.view(np.uint8).reshape(-1, PLAIN.itemsize)[:, 17] ^= 0xFF
    written(tmp_path / "one", given, compiled=True)
    written(tmp_path / "between", some(PLAIN, 500, seed=3), compiled=True)
    written(tmp_path / "other", other, compiled=True, chunk=packing.BLOCK + 1)

    assert_equal(other, given)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_words_that_do_not_change_take_no_room(tmp_path: Path) -> None:
    given = np.zeros(packing.BLOCK, PLAIN)
    given["connection_id"], given["number"], given["port"] = 1 << 40, np.arange(given.size), 443
    written(tmp_path / "rows", given, compiled=True)

    assert (tmp_path / "rows").stat().st_size < 8 * given.size + 200


def test_pieces_end_where_a_connection_does(tmp_path: Path) -> None:
    given = some(PLAIN, 5 * rows.PIECE_ROWS)
    given["connection_id"][rows.PIECE_ROWS - 1 : 2 * rows.PIECE_ROWS] = 9
    read = written(tmp_path / "rows", given, compiled=True)
    pieces = [piece.copy() for piece in read.whole_connections(Buffers(PLAIN, rows.MOST_PIECE_ROWS))]

    assert_equal(np.concatenate(pieces), given)
    assert len(pieces) > 2
    for before, after in pairwise(pieces):
        assert before["connection_id"][-1] != after["connection_id"][0]
