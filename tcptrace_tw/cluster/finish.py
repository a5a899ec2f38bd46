"""The third task: the tables that need no other part are written by the parts themselves, a file each."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture.time_window import WholeConnections
from tcptrace_tw.cluster.dealing import order_by_connection
from tcptrace_tw.cluster.numbering import Numbers
from tcptrace_tw.cluster.plan import Plan
from tcptrace_tw.cluster.rows import Rows
from tcptrace_tw.cluster.spare import Spare
from tcptrace_tw.cluster.spool import digest_of, read_note, write_note
from tcptrace_tw.cluster.tasks import REDUCED, read_rows
from tcptrace_tw.kernels.arrays import Buffers, zeros
from tcptrace_tw.kernels.marks import load
from tcptrace_tw.report.tables.folder import PartTables
from tcptrace_tw.report.tables.sinks import ParquetSink, row_blocks
from tcptrace_tw.rules.runner import classified
from tcptrace_tw.schema.columns import BY_NAME, Table
from tcptrace_tw.storage import Object, Place, bring, exists

FINISHED = "finish"

LEFT_TO_PARTS = ("connections", "transitions", "time_wait", "stale_segments", "resets", "anomalies")
"""Tables whose rows do not depend on other parts; ``reuses`` does: what happens elsewhere is filled in."""

PIECE_BYTES = 1 << 19
"""Rows are taken in pieces of this many bytes, which fit into the second-level cache."""


TRANSFERS = 16
"""This many files are moved to the output at the same time."""


class _Scratch:
    """Memory for the tables of one part: row groups, and the order of rows."""

    def __init__(self) -> None:
        self.blocks = row_blocks()
        self._numbers: dict[str, NDArray[np.int64]] = {}

    def numbers(self, name: str, size: int) -> NDArray[np.int64]:
        """An array of ``size`` numbers, whatever they are; it is valid until this name is asked for again."""
        if name not in self._numbers or self._numbers[name].size < size:
            self._numbers[name] = zeros(size, np.int64)
        return self._numbers[name][:size]


_SPARE_SCRATCH: Spare[None, _Scratch] = Spare(lambda _: _Scratch())


def finish_part(plan: Plan, part: int) -> int:
    """Write the tables of a part, with the numbers of the whole; returns how many rows they have."""
    note_path, target = plan.path(FINISHED, f"{part:03d}.json"), plan.path(FINISHED, f"{part:03d}")
    note, task = read_note(note_path), read_note(plan.path(FINISHED, "task.json"))
    is_done = note is not None and note.get("task") == task["digest"]
    if not is_done or not all(exists(target / f"{name}.parquet") for name in LEFT_TO_PARTS):
        note = _finish(plan, part, target, task)
        write_note(note_path, note)
    return sum(note["rows"].values())


def write_task(plan: Plan, described: dict[str, Any], begin: int) -> None:
    """Put down what all parts need: what the tables say about themselves, and when the capture begins.

    A part whose tables were made of other rows, or by other settings (in ``described``), makes them again.
    """
    rows = [read_note(plan.path(REDUCED, f"{part:03d}.json"))["digests"] for part in range(plan.parts)]
    digest = digest_of([described, begin, rows])
    write_note(plan.path(FINISHED, "task.json"), {"metadata": described, "begin": begin, "digest": digest})


def _finish(plan: Plan, part: int, target: Place, task: dict[str, Any]) -> dict[str, Any]:
    scratch, beside = _SPARE_SCRATCH.take(None), None if isinstance(target, Object) else target.parent
    partial = Path(tempfile.mkdtemp(prefix=f"{part:03d}.", suffix=".partial", dir=beside))
    try:
        sink = ParquetSink(
            partial, plan.several_files, tables=[BY_NAME[name] for name in LEFT_TO_PARTS], blocks=scratch.blocks,
            has_community_ids=plan.settings["community_id"],
        )  # fmt: skip
        try:
            for table, pieces in groupby(
                _rows(plan, part, int(task["begin"]), scratch), key=lambda piece: piece[0].name
            ):
                for _, rows in pieces:
                    sink.rows(table, rows)
                sink.end(table)
            sink.finish(task["metadata"])
        except BaseException:
            sink.abandon()
            raise
        _place(partial, target)
        _SPARE_SCRATCH.give_back(None, scratch)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"rows": {name: sink.counts[name] for name in LEFT_TO_PARTS}, "task": task["digest"]}


def _place(partial: Path, target: Place) -> None:
    if isinstance(target, Object):
        for path in partial.iterdir():
            bring(path, target / path.name)
        return
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)


def _rows(plan: Plan, part: int, begin: int, scratch: _Scratch) -> Iterator[tuple[Table, NDArray[Any]]]:
    """The rows that are wanted, table by table, in the order of their connections."""
    numbers, keeps = Numbers.load(plan, part), plan.checked().keeps()
    whole = None if keeps is None else WholeConnections(keeps)
    for name in LEFT_TO_PARTS:
        table = BY_NAME[name]
        for piece in _in_order(read_rows(plan, part, name), numbers.size(part), scratch, compiled=plan.compiled):
            numbers.renumber(part, piece)
            classified(table, piece)
            yield from [(table, piece)] if whole is None else whole.choose([(table, piece)], begin)
    if whole is not None:
        yield from whole.settle()


def _in_order(rows: Rows, connections: int, scratch: _Scratch, *, compiled: bool) -> Iterator[NDArray[Any]]:
    """The rows, sorted by connection, some at a time; ``connections``: the highest number."""
    order, ids = (scratch.numbers(name, rows.size) for name in ("order", "ids"))
    if rows.size:
        ends = zeros(connections + 1, np.int64)
        load(order_by_connection, compiled=compiled)(rows.column("connection_id", ids), ends, order)
    step = max(1, PIECE_BYTES // rows.dtype.itemsize)
    pieces = Buffers(rows.dtype, step)
    for start in range(0, order.size, step):
        piece = np.asarray(pieces.take())[: order.size - start]
        rows.take(order, start, piece)
        yield piece
        del piece


def place_tables(plan: Plan, output: PartTables, *, is_kept: bool) -> None:
    """Move the tables of all parts into the output folder, and note what they are."""
    moves: list[tuple[Place, Place]] = []
    for part in range(plan.parts):
        rows = read_note(plan.path(FINISHED, f"{part:03d}.json"))["rows"]
        for name in LEFT_TO_PARTS:
            if rows[name] or part == 0:  # one file at the least has the columns
                source = plan.path(FINISHED, f"{part:03d}") / f"{name}.parquet"
                moves.append((source, output.add(name, part, rows[name])))
    if isinstance(output.folder, Path):
        for name in LEFT_TO_PARTS:
            (output.folder / f"{name}.parquet").mkdir()
    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(lambda move: _bring(*move, is_kept=is_kept), moves))


def _bring(source: Place, target: Place, *, is_kept: bool) -> None:
    if is_kept or isinstance(source, Object) or isinstance(target, Object):
        bring(source, target)
    else:
        shutil.move(source, target)
