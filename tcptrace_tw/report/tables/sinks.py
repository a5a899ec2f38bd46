"""Rows to tables: ``ParquetSink`` writes the folder of the contract, ``ArrowSink`` keeps tables in memory."""

import contextlib
import json
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import Buffers
from tcptrace_tw.report.summary.incidents import Incidents
from tcptrace_tw.report.tables.arrow import Gathered, batch_of, most_padding
from tcptrace_tw.report.tables.arrow_schema import TIME, compressions, dictionary_columns, encodings, schema
from tcptrace_tw.report.tables.background_writer import BackgroundWriter
from tcptrace_tw.report.tables.findings_arrow import findings_batch
from tcptrace_tw.report.tables.incidents_arrow import incidents_batch
from tcptrace_tw.report.tables.waiting import WaitingFindings
from tcptrace_tw.report.words.findings import connection_ids, is_about, kept
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.columns import BY_NAME, FINDINGS, INCIDENTS, TABLES, Table
from tcptrace_tw.schema.row_numbers import row_numbers
from tcptrace_tw.schema.words import INFO, NOTICE

ROW_GROUP_BYTES = 1 << 24
"""Bytes of the rows, as the kernels write them, that become one row group."""

WAITING_GROUPS = 1
"""Row groups that wait for the writer, beside the one that it writes."""

METADATA_KEY = "tcptrace_tw"

Make = Callable[[], pa.RecordBatch]
Spill = Callable[[], BinaryIO] | None


def row_blocks() -> Buffers:
    """Room for row groups."""
    return Buffers(np.dtype(np.uint8), ROW_GROUP_BYTES + most_padding())


class TableSink:
    """Gathers rows until a row group is full, makes Arrow of them and hands them to ``write``.

    ``several_files`` says whether frames need the index of their file beside them. ``incidents`` numbers the findings;
    without it they have none. Findings below the severity ``least`` are left out, unless an incident tells of them:
    other tables have their rows. ``has_community_ids``: whether connections are written with theirs.
    """

    tables = frozenset(table.name for table in TABLES)

    def __init__(
        self,
        several_files: bool = False,
        incidents: Incidents | None = None,
        least: int = INFO,
        spill: Spill = None,
        *,
        has_community_ids: bool = True,
    ) -> None:
        self.several_files, self._has_community_ids = several_files, has_community_ids
        self.counts = dict.fromkeys(BY_NAME, 0)
        self._gathered: dict[str, Gathered] = {}
        self._blocks = row_blocks()
        self._incidents, self._least = incidents, least
        self._waiting = WaitingFindings(spill)

    def write(self, table: Table, make: Make) -> None:
        """Take one batch of a table: what ``make()`` gives."""
        raise NotImplementedError

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Take finished rows of one table."""
        rows = np.asarray(rows)
        self.counts[table] += rows.size
        while rows.size:
            if table not in self._gathered:
                self._gathered[table] = self._room_for(BY_NAME[table].dtype)
            rows = self._gathered[table].take(rows)
            if self._gathered[table].is_full:
                self._flush_rows(table)

    def end(self, table: str) -> None:
        """Write what waits of a table of which no more rows are expected: another one can have its memory."""
        if table in self._gathered:
            self._flush_rows(table)

    def _room_for(self, dtype: np.dtype[Any]) -> Gathered:
        """Room for a row group, in memory that an earlier one has left, if there is any."""
        return Gathered(dtype, ROW_GROUP_BYTES // dtype.itemsize, np.asarray(self._blocks.take()))

    def findings(self, findings: RuleHits) -> None:
        """Take what one rule says; findings wait until all incidents are known, and those of one rule stay together."""
        marks = np.full(findings.rows.size, -1) if self._incidents is None else self._incidents.add(findings)
        is_shown = (findings.severity >= self._least) | (marks >= 0) & (self._least <= NOTICE)
        findings = kept(findings, is_shown)
        if findings.rows.size:
            self._waiting.add(findings, marks[is_shown])
            self.counts[FINDINGS.name] += findings.rows.size

    def flush(self) -> None:
        """Write what is still waiting."""
        for name in BY_NAME:
            if name in self._gathered:
                self._flush_rows(name)
        for findings, marks in self._waiting.groups():
            numbers = None if self._incidents is None else self._incidents_of(self._incidents, findings, marks)
            self.write(FINDINGS, partial(findings_batch, findings, self.several_files, numbers))
        incidents = [] if self._incidents is None else list(self._incidents.digests(self.several_files))
        if incidents:
            self.counts[INCIDENTS.name] += len(incidents)
            self.write(INCIDENTS, partial(incidents_batch, incidents))

    @staticmethod
    def _incidents_of(incidents: Incidents, findings: RuleHits, marks: NDArray[np.int64]) -> NDArray[np.int64]:
        return incidents.numbers(findings.rule.id, connection_ids(findings), marks)

    def _flush_rows(self, name: str) -> None:
        columns = self._gathered.pop(name).columns
        make = partial(batch_of, BY_NAME[name], columns, self.several_files, self._has_community_ids)
        self.write(BY_NAME[name], make)


class ArrowSink(TableSink):
    """Keeps every table in memory."""

    def __init__(self, several_files: bool = False, incidents: Incidents | None = None, least: int = INFO) -> None:
        super().__init__(several_files, incidents, least)
        self._batches: dict[str, list[pa.RecordBatch]] = {name: [] for name in BY_NAME}

    def write(self, table: Table, make: Make) -> None:
        """Keep one batch."""
        self._batches[table.name].append(make())

    def finish(self, metadata: dict[str, Any]) -> dict[str, pa.Table]:
        """All tables, with ``metadata`` in their schemas."""
        self.flush()
        return {
            name: pa.Table.from_batches(batches, schema(BY_NAME[name], self.several_files))
            .unify_dictionaries()
            .replace_schema_metadata({METADATA_KEY: json.dumps(metadata)})
            for name, batches in self._batches.items()
        }


class ConnectionSink(ArrowSink):
    """Keeps only the rows and findings of some incarnations, and of connections on the same tuples when told to."""

    tables = frozenset({"connections", "transitions", "time_wait", "reuses"})

    def __init__(self, connection_ids: Iterable[int], several_files: bool = False) -> None:
        super().__init__(several_files)
        self.connection_ids = row_numbers(connection_ids)
        self._own: list[NDArray[Any]] = []

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Take what belongs to the incarnations."""
        mine = np.isin(rows["connection_id"], self.connection_ids)
        if mine.any():
            super().rows(table, rows[mine])
            if table == "connections":
                self._own.append(rows[mine])

    def findings(self, findings: RuleHits) -> None:
        """Take what is about the incarnations."""
        mine = np.zeros(findings.rows.size, np.bool_)
        for connection_id in self.connection_ids.tolist():
            mine |= is_about(findings, connection_id)
        if mine.any():
            super().findings(kept(findings, mine))

    def neighbours(self, rows: NDArray[Any]) -> None:
        """Of rows of ``connections`` take the other incarnations of the same tuples."""
        found = np.zeros(rows.size, np.bool_)
        for own in (row for chunk in self._own for row in chunk):
            found |= is_same_tuple(rows, own)
        found &= ~np.isin(rows["connection_id"], self.connection_ids)
        if found.any():
            super().rows("connections", rows[found])

    def met(self, connection_ids: Iterable[int]) -> Callable[[NDArray[Any]], None]:
        """Takes the rows of ``transitions`` of other incarnations, which these have met."""
        others = np.array(sorted(set(connection_ids) - set(self.connection_ids.tolist())), np.int64)

        def take(rows: NDArray[Any]) -> None:
            mine = np.isin(rows["connection_id"], others)
            if mine.any():
                super(ConnectionSink, self).rows("transitions", rows[mine])

        return take


def is_same_tuple(rows: NDArray[Any], own: Any) -> NDArray[np.bool_]:
    """Which rows of ``connections`` have the endpoints of ``own``, whoever opened them."""
    same = np.zeros(rows.size, np.bool_)
    for here, there in (("orig", "resp"), ("resp", "orig")):
        match = rows["scope"] == own["scope"]
        for name in ("ip_hi", "ip_lo", "port"):
            match &= rows[f"{here}_{name}"] == own[f"orig_{name}"]
            match &= rows[f"{there}_{name}"] == own[f"resp_{name}"]
        same |= match
    return same


class ParquetSink(TableSink):
    """Streams every table into ``folder/<name>.parquet``; tables without rows are written too."""

    def __init__(
        self,
        folder: Path,
        several_files: bool = False,
        incidents: Incidents | None = None,
        least: int = INFO,
        tables: Collection[Table] = TABLES,
        blocks: Buffers | None = None,
        has_community_ids: bool = False,
    ) -> None:
        """``tables``: those to write here. ``blocks``: memory for row groups that an earlier sink has used."""
        super().__init__(several_files, incidents, least, partial(_spill, folder), has_community_ids=has_community_ids)
        self._blocks = self._blocks if blocks is None else blocks
        self.tables = frozenset(table.name for table in tables)
        # Arrow gets open files, not their names, as in ``stored.read_table``.
        self._files = {table.name: (folder / f"{table.name}.parquet").open("wb") for table in tables}
        self._writers = {table.name: _writer(self._files[table.name], schema(table, several_files)) for table in tables}
        self._background = BackgroundWriter(WAITING_GROUPS)

    def write(self, table: Table, make: Make) -> None:
        """Write one batch as a row group, while the pass goes on."""
        self._background.do(partial(self._write, table.name, make))

    def _write(self, name: str, make: Make) -> None:
        batch = make()
        self._writers[name].write_batch(batch, row_group_size=max(1, batch.num_rows))

    def finish(self, metadata: dict[str, Any]) -> None:
        """Write the rest and close the files; ``metadata`` goes into each of them."""
        self.flush()
        self._background.finish()
        text = json.dumps(metadata)
        for writer in self._writers.values():
            writer.add_key_value_metadata({METADATA_KEY: text})
        self.close()

    def close(self) -> None:
        """Close the files as they are."""
        for writer in self._writers.values():
            writer.close()
        for file in self._files.values():
            file.close()

    def abandon(self) -> None:
        """Let go of files that could not be written to their end: what is wrong has been said already."""
        self._background.stop()
        self._waiting.close()
        for writer in self._writers.values():
            with contextlib.suppress(OSError):
                writer.close()
            writer.is_open = False  # or it would try once more when it is collected, and warn
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()


def _spill(folder: Path) -> BinaryIO:
    """A file that has no name, so that nothing of it is left whatever happens."""
    return TemporaryFile(dir=folder)


def _writer(file: BinaryIO, arrow: pa.Schema) -> pq.ParquetWriter:
    """Deltas, dictionaries, and level 1 of zstd where it gains something: half as large as by the defaults, and faster.

    Statistics of dictionary columns cost as much as all the rest, and no reader prunes by them.
    """
    ordered = [f.name for f in arrow if pa.types.is_integer(f.type) or f.type == TIME]
    compression = compressions(arrow)
    return pq.ParquetWriter(
        file,
        arrow,
        compression=compression,
        compression_level={name: 1 for name, codec in compression.items() if codec == "zstd"},
        use_dictionary=dictionary_columns(arrow),
        column_encoding=encodings(arrow),
        write_statistics=ordered,
    )
