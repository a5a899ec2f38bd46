"""Findings once more, from the rows that were written: rules read nothing else.

So a folder is judged by a policy as its capture would be, and ordinary mechanisms, which are rows but no findings,
become findings again on request. Grades are lowered by what the whole capture shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
from numpy.typing import NDArray

from tcptrace_tw.kernels import library
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.report.summary.digest import Digest
from tcptrace_tw.report.summary.incidents import Incidents
from tcptrace_tw.report.tables.manifest import metadata
from tcptrace_tw.report.tables.sinks import ArrowSink
from tcptrace_tw.report.tables.written_rows import has_several_files, stored_records
from tcptrace_tw.rules.caveats import NO_CAVEATS, Caveats, caveats
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.rules.runner import RuleRunner, Threshold, chosen
from tcptrace_tw.schema.columns import CAPTURE, FINDINGS, INCIDENTS, TABLES, Table
from tcptrace_tw.schema.words import SEVERITY
from tcptrace_tw.storage import Place

Read = Callable[[Table], Iterable[NDArray[Any]]]
"""The rows of a table, piece by piece; those of one connection in one piece."""


class Takes(Protocol):
    """What a sink does with findings."""

    def findings(self, findings: RuleHits) -> None:
        """Take what one rule says about a chunk."""


def replay_folder(
    folder: Place,
    settings: Mapping[str, Any],
    sinks: Sequence[Takes],
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    thresholds: Sequence[Threshold] = (),
) -> None:
    """Hand the findings of a folder to sinks; ``settings`` are those of its manifest, and narrowed by the others."""
    ignored = (*settings["ignore"], *ignore)
    wanted = {rule.id for rule in chosen(settings["select"], ignored)} & {rule.id for rule in chosen(select, ())}
    bounds = [*map(tuple, settings["thresholds"]), *thresholds]
    for findings in replayed(lambda table: stored_records(folder, table), settings, tuple(sorted(wanted)), bounds):
        for sink in sinks:
            sink.findings(findings)


def findings_of(folder: Place, digest: Digest) -> dict[str, pa.Table]:
    """The tables ``findings`` and ``incidents`` with findings of the severity that the report's settings say."""
    sink = ArrowSink(has_several_files(folder), Incidents(), SEVERITY.code(digest.settings["findings"]))
    replay_folder(folder, digest.settings, [sink])
    tables = sink.finish(metadata(digest))
    return {table.name: tables[table.name] for table in (INCIDENTS, FINDINGS)}


def replayed(
    read: Read, settings: Mapping[str, Any], rules: Sequence[str], thresholds: Sequence[Any] = ()
) -> Iterator[RuleHits]:
    """What these rules say about the rows."""
    if not rules:
        return
    assumed = profile(settings["profile"], settings["two_msl_s"])
    runner = RuleRunner(rules, (), assumed, thresholds, compiled=library.choose(), seed=new_seed())
    runner.caveats = _caveats(read, settings)
    tables = {rule.table for rule in chosen(rules, ())}
    needs_ends = any(rule.is_held for rule in chosen(rules, ()))
    for table in TABLES:
        if table.name in tables or (needs_ends and table.name == "connections"):
            for rows in read(table):
                yield from runner.evaluate(table, runner.classify(table, rows))
    yield from runner.close()


def _caveats(read: Read, settings: Mapping[str, Any]) -> Caveats:
    """What was known of the capture at its end."""
    for rows in read(CAPTURE):
        if rows.size:
            figures = {name: int(rows[name][0]) for name in rows.dtype.names or ()}
            return caveats(figures, keeps_duplicates=settings["keep_duplicates"])
    return NO_CAVEATS
