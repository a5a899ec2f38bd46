"""Findings to Arrow: a chunk of findings of one rule becomes rows of the ``findings`` table, column by column."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tcptrace_tw.report import findings as about
from tcptrace_tw.report.arrow import files as files_of
from tcptrace_tw.report.arrow import frames as frames_of
from tcptrace_tw.report.arrow import ips, numbers, words
from tcptrace_tw.report.arrow_text import bracketed, raw, said
from tcptrace_tw.report.messages import COUNT, Clause, Part, is_zero_absent, number_text, parse
from tcptrace_tw.report.schema import CAVEATS, FILE, FRAMES, TIME, WORD, schema
from tcptrace_tw.report.text import FRAME_MASK
from tcptrace_tw.rules.rule import Findings
from tcptrace_tw.spec.columns import BY_NAME, FINDINGS, FRAME_BITS
from tcptrace_tw.spec.words import CONFIDENCE, ENDPOINT, NULL_WORD, SEVERITY


def findings_batch(findings: Findings, several_files: bool = False) -> pa.RecordBatch:
    """All findings of a chunk as rows of the ``findings`` table."""
    rule, size = findings.rule, findings.rows.size
    frames, offsets = about.frame_lists(findings)
    peers, main = _peers(findings), about.main_frames(findings)
    columns = {
        "finding_id": pa.array(about.finding_ids(findings)),
        "rule": _always(rule.id, size),
        "name": _always(rule.name, size),
        "severity": words(findings.severity, SEVERITY),
        "confidence": words(findings.confidence, CONFIDENCE),
        "connection_id": numbers(about.connection_ids(findings)),
        "previous_connection_id": numbers(about.previous_connection_ids(findings)),
        "endpoint": words(about.endpoints(findings), ENDPOINT),
        **dict(zip(("ip", "port", "peer_ip", "peer_port"), peers, strict=True)),
        "time": pa.array(np.ascontiguousarray(about.times(findings))).cast(TIME),
        "end_time": numbers(np.ascontiguousarray(about.end_times(findings))).cast(TIME),
        "frame": frames_of(main),
        "file": files_of(main),
        "frames": pa.ListArray.from_arrays(offsets, frames & FRAME_MASK, type=FRAMES),
        "files": pa.ListArray.from_arrays(offsets, pa.array(frames >> FRAME_BITS, FILE)),
        "message": messages(findings, several_files),
        "values": _values(findings),
        "rival": _always(rule.rival, size),
        "caveats": _repeated(findings.caveats, size),
        "display_filter": _display_filters(frames, offsets, peers, several_files),
    }
    wanted = schema(FINDINGS, several_files)
    return pa.RecordBatch.from_arrays([columns[name] for name in wanted.names], schema=wanted)


def messages(findings: Findings, several_files: bool = False) -> pa.Array:
    """The sentence of every finding."""
    # The empty column gives the sentence its length where nothing else does.
    texts: list[Any] = [pa.repeat("", findings.rows.size)]
    for clause in parse(findings.rule.message):
        told = _told(findings, clause)
        if told is None or told.all():
            texts += _texts(findings, clause, several_files)
        elif told.any():
            whole = pc.binary_join_element_wise(texts[0], *_texts(findings, clause, several_files), "")
            texts.append(pc.if_else(pa.array(told), whole, ""))
    return pc.binary_join_element_wise(*texts, "")


def _told(findings: Findings, clause: Clause) -> NDArray[np.bool_] | None:
    """Where the clause is said; None for always."""
    if not clause.is_optional:
        return None
    table, told = BY_NAME[findings.rule.table], np.ones(findings.rows.size, np.bool_)
    for part in clause.parts:
        if not part.column or part.column == COUNT or part.column.endswith("ip"):
            continue
        column, values = table.column(part.column), findings.rows[part.column]
        if part.spec.startswith("=") and column.words is not None:
            told &= values == column.words.code(part.spec[1:])
        elif is_zero_absent(column):
            told &= values != 0
        else:
            told &= values != (NULL_WORD if column.words else -1)
    return told


def _texts(findings: Findings, clause: Clause, several_files: bool) -> list[Any]:
    """Literals and columns of a clause, in order."""
    texts: list[Any] = []
    for part in clause.parts:
        texts.append(pa.scalar(part.literal))
        if part.column and not part.is_silent:
            texts.append(_values_said(findings, part, several_files))
    return texts


def _values_said(findings: Findings, part: Part, several_files: bool) -> pa.Array:
    if part.column == COUNT or not part.is_plain:
        numbers = findings.count if part.column == COUNT else findings.rows[part.column]
        distinct, where = np.unique(numbers, return_inverse=True)
        texts = [str(n) if part.is_plain else number_text(part.spec, n) for n in distinct.tolist()]
        return pa.array(texts, pa.string()).take(pa.array(where))
    texts = said(BY_NAME[findings.rule.table], part.column, findings.rows, several_files)
    return bracketed(texts) if part.is_address else texts


def _always(text: str, size: int) -> pa.DictionaryArray:
    indices = pa.array(np.zeros(size, np.int32), mask=None if text else np.ones(size, bool))
    return pa.DictionaryArray.from_arrays(indices, pa.array([text]))


def _peers(findings: Findings) -> list[pa.Array]:
    rows, size = findings.rows, findings.rows.size
    columns: list[pa.Array] = []
    for name in about.peer_fields(findings):
        if not name:
            kind = WORD if len(columns) % 2 == 0 else pa.uint16()
            columns.append(pa.nulls(size, kind))
        elif name.endswith("ip"):
            columns.append(ips(*(np.ascontiguousarray(rows[f"{name}_{half}"]) for half in ("hi", "lo"))))
        else:
            columns.append(pa.array(np.ascontiguousarray(rows[name])))
    return columns


def _values(findings: Findings) -> pa.MapArray:
    """One map of ``rule.values`` per row: the texts of all columns, dealt out row by row."""
    table, names, size = BY_NAME[findings.rule.table], findings.rule.values, findings.rows.size
    columns = [
        pa.array(findings.count).cast(pa.string()) if name == COUNT else raw(table, name, findings.rows)
        for name in names
    ]
    if not columns:
        empty = pa.array([], pa.string())
        return pa.MapArray.from_arrays(np.zeros(size + 1, np.int32), empty, empty)
    dealt = np.arange(size * len(names)).reshape(len(names), size).T.ravel()
    items = pa.concat_arrays(columns).take(pa.array(dealt))
    keys = pa.array(names).take(pa.array(np.tile(np.arange(len(names), dtype=np.int32), size)))
    offsets = np.arange(0, items_end(size, len(names)), len(names), dtype=np.int32)
    if items.null_count:
        known = items.is_valid().to_numpy(zero_copy_only=False)
        offsets = np.concatenate(([0], np.cumsum(known)[offsets[1:] - 1])).astype(np.int32)
        keys, items = keys.filter(pa.array(known)), items.drop_null()
    return pa.MapArray.from_arrays(offsets, keys, items)


def items_end(size: int, names: int) -> int:
    """The bound of ``arange`` that makes ``size + 1`` offsets in steps of ``names``."""
    return size * names + 1


def _repeated(texts: tuple[str, ...], size: int) -> pa.ListArray:
    offsets = np.arange(0, size * len(texts) + 1, len(texts) or 1, dtype=np.int32)
    if not texts:
        offsets = np.zeros(size + 1, np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(texts * size, pa.string()), type=CAVEATS)


def _display_filters(
    frames: NDArray[np.int64], offsets: NDArray[np.int32], peers: list[pa.Array], several_files: bool
) -> pa.Array:
    size = offsets.size - 1
    tuples = None
    if several_files or (np.diff(offsets) == 0).any():
        tuples = _tuple_filters(peers, size)
    if several_files:
        return tuples
    lists = pa.ListArray.from_arrays(offsets, pa.array(frames & FRAME_MASK).cast(pa.string()))
    filters = pc.binary_join_element_wise("frame.number in {", pc.binary_join(lists, ", "), "}", "")
    return filters if tuples is None else pc.if_else(pa.array(np.diff(offsets) > 0), filters, tuples)


def _tuple_filters(peers: list[pa.Array], size: int) -> pa.Array:
    """``about.side_filter`` column by column: a part that the rows do not have is left out."""
    known = [p.cast(pa.string()) if p.null_count < size else None for p in peers]
    ip, port, peer_ip, peer_port = known
    if ip is None:
        return pa.array(["tcp"] * size)
    address = pc.if_else(pc.match_substring(ip, ":"), "ipv6.addr == ", "ip.addr == ")
    parts = [address, ip]
    if peer_ip is not None:
        parts += [" && ", address, peer_ip]
    for number in (port, peer_port):
        if number is not None:
            parts += [" && tcp.port == ", number]
    return pc.binary_join_element_wise(*parts, "")
