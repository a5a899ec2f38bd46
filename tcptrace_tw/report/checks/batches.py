"""Findings as batches of a check: fresh from a rule, or read back from the table that ``analyze`` wrote."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from tcptrace_tw.errors import printable
from tcptrace_tw.report.checks.checked import NO_PORT, Batch, Ints, Subject
from tcptrace_tw.report.tables.read_columns import addresses, codes, numbers
from tcptrace_tw.report.words import findings as about
from tcptrace_tw.report.words.codec import Time, shown
from tcptrace_tw.report.words.findings import Finding
from tcptrace_tw.report.words.messages import message
from tcptrace_tw.report.words.text import endpoint_text
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.columns import FRAME_BITS
from tcptrace_tw.schema.words import CONFIDENCE, ENDPOINT, SEVERITY


def fresh(findings: RuleHits, several_files: bool = False) -> Batch:
    """What one rule says about a chunk."""
    fields = about.peer_fields(findings)
    return Batch(
        findings.rule.id,
        findings.rule.name,
        about.finding_ids(findings),
        about.main_frames(findings),
        findings.severity,
        findings.confidence,
        _subject(findings, fields),
        sum(bool(name) for name in (fields[0], fields[2])),
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
    frame = numbers(table["frame"])
    if "file" in table.column_names:
        frame = np.where(frame == -1, -1, frame | numbers(table["file"]) << FRAME_BITS)
    return Batch(
        rule,
        table["name"][0].as_py(),
        numbers(table["finding_id"]),
        frame,
        codes(table["severity"], SEVERITY),
        codes(table["confidence"], CONFIDENCE),
        Subject(
            *addresses(table["ip"]), numbers(table["port"]),
            *addresses(table["peer_ip"]), numbers(table["peer_port"]),
            codes(table["endpoint"], ENDPOINT),
        ),
        sum(table[name].null_count < table.num_rows for name in ("ip", "peer_ip")),
        np.arange(table.num_rows),
        partial(_message, table),
        partial(_finding, table, several_files=several_files),
    )  # fmt: skip


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
        dict(row["values"]), row["rival"] or "", tuple(row["caveats"] or ()), row["display_filter"],
    )  # fmt: skip


def _in_ns(schema: Any) -> Any:
    """The same columns with times as numbers."""
    import pyarrow as pa

    return pa.schema([pa.field(f.name, pa.int64()) if pa.types.is_timestamp(f.type) else f for f in schema])
