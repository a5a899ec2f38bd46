"""Findings to Arrow: a chunk of findings of one rule becomes rows of the ``findings`` table, column by column."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tcptrace_tw.report.tables.arrow import distinct, numbers, words
from tcptrace_tw.report.tables.arrow import files as files_of
from tcptrace_tw.report.tables.arrow import frames as frames_of
from tcptrace_tw.report.tables.arrow_schema import CAVEATS, FILE, FRAMES, TIME, WORD, schema
from tcptrace_tw.report.tables.arrow_text import bracketed, joined, raw, said
from tcptrace_tw.report.tables.buffers import always, array, coded, flags, scalar, strings
from tcptrace_tw.report.tables.fields import Fields
from tcptrace_tw.report.words import findings as about
from tcptrace_tw.report.words.messages import COUNT, Clause, Part, is_zero_absent, number_text, parse, templates
from tcptrace_tw.report.words.text import FRAME_MASK
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.columns import BY_NAME, FINDINGS, FRAME_BITS, MOVES
from tcptrace_tw.schema.words import CONFIDENCE, ENDPOINT, NULL_WORD, SEVERITY

Piece: TypeAlias = "str | pa.Array"
"""A literal, or a text for every row."""

_HEAD = 256
_NOTHING = scalar("")


def findings_batch(
    findings: RuleHits, several_files: bool = False, incidents: NDArray[np.int64] | None = None
) -> pa.RecordBatch:
    """All findings of a chunk as rows of the ``findings`` table; their rows may be ``Fields`` already.

    ``incidents`` are the numbers of their incidents; -1 where there is none.
    """
    if not isinstance(findings.rows, Fields):
        findings = findings._replace(rows=Fields.of(findings.rows))
    columns = _finding_columns(findings, several_files, incidents)
    wanted = schema(FINDINGS, several_files)
    return pa.RecordBatch.from_arrays([columns[name] for name in wanted.names], schema=wanted)


def _finding_columns(
    findings: RuleHits, several_files: bool, incidents: NDArray[np.int64] | None
) -> dict[str, pa.Array]:
    rule, size = findings.rule, findings.rows.size
    frames, offsets = about.frame_lists(findings)
    peers, main = _peers(findings), about.main_frames(findings)
    columns = {
        "finding_id": array(about.finding_ids(findings)),
        "incident_id": numbers(np.full(size, -1, np.int64) if incidents is None else incidents),
        "rule": always(rule.id, size),
        "name": always(rule.name, size),
        "severity": words(findings.severity, SEVERITY),
        "confidence": words(findings.confidence, CONFIDENCE),
        "connection_id": numbers(about.connection_ids(findings)),
        "previous_connection_id": numbers(about.previous_connection_ids(findings)),
        "endpoint": words(about.endpoints(findings), ENDPOINT),
        **dict(zip(("ip", "port", "peer_ip", "peer_port"), peers, strict=True)),
        "time": array(about.times(findings), TIME),
        "end_time": numbers(about.end_times(findings), TIME),
        "frame": frames_of(main),
        "file": files_of(main),
        "frames": pa.ListArray.from_arrays(array(offsets), array(frames & FRAME_MASK), type=FRAMES),
        "message": messages(findings, several_files),
        "delay_ns": numbers(about.delays(findings)),
        "silence_ns": numbers(about.silences(findings)),
        "count": array(findings.count),
        "details": details(findings),
        "rival": always(rule.rival, size),
        "caveats": _repeated(findings.caveats, size),
        "display_filter": _display_filters(frames, offsets, _peers_of_filter(findings, peers), several_files),
    }
    if several_files:
        columns["files"] = pa.ListArray.from_arrays(
            array(offsets), array((frames >> FRAME_BITS).astype(np.int32), FILE)
        )
    return columns


def messages(findings: RuleHits, several_files: bool = False) -> pa.Array:
    """The sentence of every finding, of rows that are ``Fields``."""
    said = templates(findings)
    if len(said) == 1:
        return _filled_in(findings, said[0][0], several_files)
    places = [np.flatnonzero(told) for _, told in said]
    texts = [
        _filled_in(_some(findings, where), template, several_files)
        for (template, _), where in zip(said, places, strict=True)
    ]
    return pa.concat_arrays(texts).take(array(np.argsort(np.concatenate(places))))


def _filled_in(findings: RuleHits, template: str, several_files: bool) -> pa.Array:
    """One sentence for all of them."""
    pieces: list[Piece] = []
    for clause in parse(template):
        told = _told(findings, clause)
        if told is None or told.all():
            pieces += _pieces(findings, clause, several_files)
        elif told.any():
            whole = joined(_pieces(findings, clause, several_files), findings.rows.size)
            pieces.append(pc.if_else(flags(told), whole, scalar("")))
    return joined(pieces, findings.rows.size)


def _told(findings: RuleHits, clause: Clause) -> NDArray[np.bool_] | None:
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


def _pieces(findings: RuleHits, clause: Clause, several_files: bool) -> Iterator[Piece]:
    """Literals and columns of a clause, in order."""
    for part in clause.parts:
        yield part.literal
        if part.column and not part.is_silent:
            yield _piece(findings, part, several_files)


def _piece(findings: RuleHits, part: Part, several_files: bool) -> Piece:
    """A column; one text where all rows have the same."""
    if findings.rows.size and all((column[0] == column).all() for column in _columns(findings, part.column)):
        findings = _some(findings, np.zeros(1, np.int64))
        return str(_values_said(findings, part, several_files)[0])
    return _values_said(findings, part, several_files)


def _values_said(findings: RuleHits, part: Part, several_files: bool) -> pa.Array:
    if part.column == COUNT or not part.is_plain:
        (numbers,) = _columns(findings, part.column)
        uniques, where = np.unique(numbers, return_inverse=True)
        texts = [str(n) if part.is_plain else number_text(part.spec, n) for n in uniques.tolist()]
        return coded(where.astype(np.int32), strings(texts))
    texts = said(BY_NAME[findings.rule.table], part.column, findings.rows, several_files)
    return bracketed(texts) if part.is_address else texts


def _columns(findings: RuleHits, name: str) -> list[NDArray[Any]]:
    return [findings.count] if name == COUNT else findings.rows.numbers(name)


def _some(findings: RuleHits, places: NDArray[np.int64]) -> RuleHits:
    """Some of the findings; their grades are left out."""
    return findings._replace(rows=findings.rows.take(places), count=findings.count[places])


def _peers(findings: RuleHits) -> list[pa.Array]:
    columns: list[pa.Array] = []
    for name in about.peer_fields(findings):
        if not name:
            kind = WORD if len(columns) % 2 == 0 else pa.uint16()
            columns.append(pa.nulls(findings.rows.size, kind))
        elif name.endswith("ip"):
            columns.append(findings.rows.ips(name))
        else:
            columns.append(array(findings.rows[name]))
    return columns


def _peers_of_filter(findings: RuleHits, peers: list[pa.Array]) -> list[pa.Array]:
    """What went on from another port is shown with both."""
    if findings.rule.table != MOVES.name:
        return peers
    return [peers[0], pa.nulls(findings.rows.size, pa.uint16()), *peers[2:]]


def details(findings: RuleHits) -> pa.Array:
    """The values without a column of their own as JSON, of rows that are ``Fields``; nulls are left out.

    Where few of them differ, each distinct one is made once.
    """
    names = about.detail_names(findings.rule)
    columns = [column for name in names for column in _columns(findings, name)]
    if not columns or not _is_uniform(columns):
        return _objects(findings, names)
    indices, (uniques, *_) = distinct(*(column.astype(np.int64) for column in columns))
    leaders = np.zeros(uniques.size, np.int64)
    leaders[indices] = np.arange(indices.size)
    return _objects(_some(findings, leaders), names).take(array(indices))


def _is_uniform(columns: list[NDArray[Any]]) -> bool:
    """Whether the first rows look as if most rows were alike."""
    head = list(zip(*(column[:_HEAD].tolist() for column in columns), strict=True))
    return len(set(head)) * 4 < len(head)


def _objects(findings: RuleHits, names: list[str]) -> pa.StringArray:
    """One JSON object per row."""
    table, size = BY_NAME[findings.rule.table], findings.rows.size
    members = []
    for name in names:
        column = raw(table, name, findings.rows)
        is_text = table.column(name).kind in ("ip", "word", "time")
        begin, end = (f'"{name}": "', '", ') if is_text else (f'"{name}": ', ", ")
        member = pc.binary_join_element_wise(scalar(begin), column, scalar(end), _NOTHING)
        members.append(pc.fill_null(member, _NOTHING) if member.null_count else member)
    if not members:
        return joined(["{}"], size)
    together = pc.binary_join_element_wise(*members, _NOTHING)
    return joined(["{", pc.ascii_rtrim(together, ", "), "}"], size)


def _repeated(texts: tuple[str, ...], size: int) -> pa.ListArray:
    offsets = np.arange(0, size * len(texts) + 1, len(texts) or 1, dtype=np.int32)
    if not texts:
        offsets = np.zeros(size + 1, np.int32)
    return pa.ListArray.from_arrays(array(offsets), strings(texts * size), type=CAVEATS)


def _display_filters(
    frames: NDArray[np.int64], offsets: NDArray[np.int32], peers: list[pa.Array], several_files: bool
) -> pa.Array:
    size = offsets.size - 1
    tuples = None
    if several_files or (np.diff(offsets) == 0).any():
        tuples = _tuple_filters(peers, size)
    if several_files:
        return tuples
    lists = pa.ListArray.from_arrays(array(offsets), array(frames & FRAME_MASK).cast(pa.string()))
    filters = joined(["frame.number in {", pc.binary_join(lists, scalar(", ")), "}"], size)
    return filters if tuples is None else pc.if_else(flags(np.diff(offsets) > 0), filters, tuples)


def _tuple_filters(peers: list[pa.Array], size: int) -> pa.Array:
    """``about.side_filter`` column by column: a part that the rows do not have is left out."""
    known = [p.cast(pa.string()) if p.null_count < size else None for p in peers]
    ip, port, peer_ip, peer_port = known
    if ip is None:
        return joined(["tcp"], size)
    address = pc.if_else(pc.match_substring(ip, ":"), scalar("ipv6.addr == "), scalar("ip.addr == "))
    parts: list[Piece] = [address, ip]
    if peer_ip is not None:
        parts += [" && ", address, peer_ip]
    for number in (port, peer_port):
        if number is not None:
            parts += [" && tcp.port == ", number]
    return joined(parts, size)
