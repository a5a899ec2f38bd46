"""Synthetic kernel rows and rules: what the report reads, without a capture."""

import ipaddress
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tcptrace_tw.report.tables.arrow import batch_of, taken_apart
from tcptrace_tw.rules.rule import Grade, Rule, RuleHits
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema import zeek

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def halves(ip: str) -> tuple[int, int]:
    """The two signed halves of an address, IPv4 as ::ffff:a.b.c.d."""
    address = ipaddress.ip_address(ip)
    value = int(address) | (0xFFFF << 32 if address.version == 4 else 0)
    hi, lo = value >> 64, value & (1 << 64) - 1
    return hi - (1 << 64) * (hi >> 63), lo - (1 << 64) * (lo >> 63)


def blank(table: c.Table, size: int = 1):
    """Rows in which every nullable column is null and every other is zero."""
    rows = np.zeros(size, table.dtype).view(np.recarray)
    for column in table.columns:
        if column.is_nullable and column.name in rows.dtype.names:
            rows[column.name] = w.NULL_WORD if column.kind == "word" else -1
    return rows


def record_batch(table: c.Table, rows: NDArray[Any], several_files: bool = False) -> pa.RecordBatch:
    """Rows of one table, as they are written."""
    return batch_of(table, taken_apart([rows]), several_files)


def put_ip(rows, name: str, ip: str) -> None:
    """Fill in an address column."""
    rows[f"{name}_hi"], rows[f"{name}_lo"] = halves(ip)


def connections(size: int = 3):
    """Ordinary connections from 192.0.2.1 to 198.51.100.7:80, one a second, closed by resp."""
    rows, n = blank(c.CONNECTIONS, size), np.arange(size)
    rows.connection_id = rows.tuple_id = n + 1
    rows.incarnation = 1
    put_ip(rows, "orig_ip", "192.0.2.1")
    put_ip(rows, "resp_ip", "198.51.100.7")
    rows.orig_port, rows.resp_port = 40000 + n, 80
    rows.first_time = START + n * SECOND
    rows.last_time = rows.first_time + 20_000_000
    rows.first_frame, rows.last_frame = n * 8 + 1, n * 8 + 8
    rows.orig_segments = rows.resp_segments = 4
    rows.orig_payload_bytes, rows.resp_payload_bytes = 100, 2000
    rows.orig_state, rows.resp_state = w.STATE.code("CLOSED"), w.STATE.code("TIME-WAIT")
    rows.active_closer, rows.close = w.RESP, w.CLOSE_NORMAL
    rows.established_time = rows.first_time + 1_000_000
    rows.completeness = 31
    rows.history_lo, rows.history_hi = zeek.pack("ShADadfFa")
    return rows


def time_wait(size: int = 3):
    """A TIME-WAIT span of the server for each of ``connections``; the last is open at the end."""
    rows, n = blank(c.TIME_WAIT, size), np.arange(size)
    rows.connection_id = n + 1
    rows.holder = w.RESP
    put_ip(rows, "ip", "198.51.100.7")
    put_ip(rows, "peer_ip", "192.0.2.1")
    rows.port, rows.peer_port = 80, 40000 + n
    rows.start = START + n * SECOND + 10_000_000
    rows.start_frame, rows.fin_frame = n * 8 + 8, n * 8 + 7
    rows.end = rows.start + 60 * SECOND
    rows.end_reason = w.END_EXPIRED
    if size:
        rows.end[-1] = -1
        rows.end_reason[-1] = w.END_CAPTURE
    rows.two_msl_ns = 60 * SECOND
    return rows


def reuses(size: int = 2):
    """SYNs from the holder, inside 2MSL, each over the connection with the same number."""
    rows, n = blank(c.REUSES, size), np.arange(size)
    rows.connection_id = rows.attempt_id = n + 11
    rows.previous_connection_id = n + 1
    put_ip(rows, "ip", "192.0.2.1")
    put_ip(rows, "peer_ip", "198.51.100.7")
    rows.port, rows.peer_port = 40000 + n, 80
    rows.time = START + (n + 2) * SECOND
    rows.syn_frame, rows.fin_frame, rows.time_wait_frame = n * 8 + 9, n * 8 + 7, n * 8 + 8
    rows.gap_ns, rows.cost_ns, rows.two_msl_ns = 1_204_000_000, 12_300_000, 60 * SECOND
    rows.holder, rows.is_by_holder = w.ORIG, 1
    rows.sender_state, rows.receiver_state = w.STATE.code("TIME-WAIT"), w.STATE.code("CLOSED")
    rows.previous_orig_state, rows.previous_resp_state = w.STATE.code("TIME-WAIT"), w.STATE.code("CLOSED")
    rows.answer = w.ANSWER_SYN_ACK
    return rows


def rule(**changes) -> Rule:
    """A rule over ``reuses``; any field can be changed."""
    fields = {
        "id": "RU002",
        "name": "reuse-inside-2msl",
        "severity": w.NOTICE,
        "summary": "A client reused a 4-tuple before 2MSL had passed.",
        "table": "reuses",
        "predicate": lambda rows: rows.is_by_holder != 0,
        "grades": (Grade(lambda rows: np.ones(rows.size, bool), w.NOTICE, w.CONFIRMED),),
        "message": "{ip}:{port} > {peer_ip}:{peer_port} was reused {gap_ns} after TIME-WAIT began ({answer}).",
        "frames": ("fin_frame", "time_wait_frame", "syn_frame", "answer_frame"),
        "values": ("gap_ns", "isn_delta", "answer", "cost_ns", "answer_time"),
        "set_when": ("the holder itself sends the SYN",),
        "not_set_when": ("the SYN is a retransmission",),
        "rfc": ("RFC 9293 3.6.1",),
        "remedy": "Widen the source port range, or pool connections.",
        "example": "reuse-inside-2msl",
    }
    return Rule(**{**fields, **changes})


def findings(rows=None, caveats=(), severity=w.NOTICE, confidence=w.CONFIRMED, **changes) -> RuleHits:
    """What ``rule`` says about ``rows``, all of one grade."""
    rows = reuses() if rows is None else rows
    size = rows.size
    return RuleHits(
        rule(**changes),
        rows,
        np.full(size, severity, np.uint8),
        np.full(size, confidence, np.uint8),
        np.ones(size, np.int64),
        caveats,
    )
