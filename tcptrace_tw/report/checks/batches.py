"""Findings as batches of a check: fresh from a rule, or read back from the table that ``analyze`` wrote."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.errors import printable
from tcptrace_tw.report.checks.checked import NO_PORT, Batch, Ints, Subject
from tcptrace_tw.report.words import findings as about
from tcptrace_tw.report.words.codec import Time, shown
from tcptrace_tw.report.words.findings import Finding
from tcptrace_tw.report.words.messages import message
from tcptrace_tw.report.words.text import endpoint_text, ip_halves
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.columns import FRAME_BITS
from tcptrace_tw.schema.words import CONFIDENCE, ENDPOINT, NULL_WORD, SEVERITY, Vocabulary


def fresh(findings: RuleHits, several_files: bool = False) -> Batch:
    """What one rule says about a chunk; nobody has looked for incidents yet."""
    fields, nothing = about.peer_fields(findings), np.full(findings.rows.size, -1)
    return Batch(
        findings.rule.id,
        findings.rule.name,
        about.finding_ids(findings),
        about.main_frames(findings),
        findings.severity,
        findings.confidence,
        _subject(findings, fields),
        sum(bool(name) for name in (fields[0], fields[2])),
        nothing,
        nothing,
        about.connection_ids(findings),
        np.arange(findings.rows.size),
        partial(message, findings, several_files=several_files),
        partial(about.finding, findings, several_files=several_files),
    )


def _subject(findings: RuleHits, fields: tuple[str, str, str, str]) -> Subject:
    def column(name: str) -> Ints:
        size = findings.rows.size
        return np.full(size, NO_PORT, np.int64) if not name else findings.rows[name].astype(np.int64)

    ip, port, peer, peer_port = fields
    halves = [f"{name}_{half}" if name else "" for name in (ip, peer) for half in ("hi", "lo")]
    ip_hi, ip_lo, peer_hi, peer_lo = (column(name) for name in halves)
    return Subject(ip_hi, ip_lo, column(port), peer_hi, peer_lo, column(peer_port), about.endpoints(findings))


def stored(table: Any, several_files: bool = False) -> Iterator[Batch]:
    """The rows of a ``findings`` table (``pyarrow.Table``), rule by rule."""
    import pyarrow.compute as pc

    for rule in sorted(set(table["rule"].to_pylist())):
        yield _stored(table.filter(pc.equal(table["rule"], rule)), rule, several_files)


def _stored(table: Any, rule: str, several_files: bool) -> Batch:
    frame = _numbers(table["frame"])
    if "file" in table.column_names:
        frame = np.where(frame == -1, -1, frame | _numbers(table["file"]) << FRAME_BITS)
    return Batch(
        rule,
        table["name"][0].as_py(),
        _numbers(table["finding_id"]),
        frame,
        _codes(table["severity"], SEVERITY),
        _codes(table["confidence"], CONFIDENCE),
        Subject(
            *_addresses(table["ip"]), _numbers(table["port"]),
            *_addresses(table["peer_ip"]), _numbers(table["peer_port"]),
            _codes(table["endpoint"], ENDPOINT),
        ),
        sum(table[name].null_count < table.num_rows for name in ("ip", "peer_ip")),
        _numbers(table["incident_id"]),
        _numbers(table["incident_id"]),
        _numbers(table["connection_id"]),
        np.arange(table.num_rows),
        partial(_message, table),
        partial(_finding, table, several_files=several_files),
    )  # fmt: skip


def _numbers(column: Any) -> Ints:
    values: Ints = column.cast("int64").fill_null(-1).to_numpy()
    return values


def _codes(column: Any, vocabulary: Vocabulary) -> NDArray[np.uint8]:
    import pyarrow as pa
    import pyarrow.compute as pc

    codes = pc.index_in(column.cast("string"), value_set=pa.array(vocabulary.words))
    filled: NDArray[np.uint8] = codes.fill_null(NULL_WORD).to_numpy().astype(np.uint8)
    return filled


def _addresses(column: Any) -> tuple[Ints, Ints]:
    encoded = column.cast("string").combine_chunks().dictionary_encode()
    halves = [ip_halves(text) for text in encoded.dictionary.to_pylist()]
    pairs = np.array([*halves, (-1, -1)], np.int64)
    chosen = pairs[encoded.indices.fill_null(len(halves)).to_numpy()]
    return chosen[:, 0], chosen[:, 1]


def _message(table: Any, index: int) -> str:
    return printable(table["message"][index].as_py())


def _finding(table: Any, index: int, several_files: bool) -> Finding:
    row = table.slice(index, 1).cast(_in_ns(table.schema)).to_pylist()[0]
    row = {name: shown(value) for name, value in row.items()}
    sides = [(row[ip], row[port]) for ip, port in (("ip", "port"), ("peer_ip", "peer_port")) if row[ip]]
    return Finding(
        row["finding_id"], row["rule"], row["name"], row["severity"], row["confidence"], row["connection_id"],
        " > ".join(ip if port is None else endpoint_text(ip, port) for ip, port in sides), Time(row["time"]),
        (row["file"] or 0) if several_files else 0, row["frame"], tuple(row["frames"]), row["message"],
        row["delay_ns"], row["silence_ns"], row["count"], about.stored_values(row), row["rival"] or "",
        tuple(row["caveats"] or ()), row["display_filter"], incident_id=row["incident_id"],
    )  # fmt: skip


def _in_ns(schema: Any) -> Any:
    """The same columns with times as numbers."""
    import pyarrow as pa

    return pa.schema([pa.field(f.name, pa.int64()) if pa.types.is_timestamp(f.type) else f for f in schema])
