"""Every table and every column, declared once: one face for the files in ``schema/tables``."""

from tcptrace_tw.schema.column import Column, Table
from tcptrace_tw.schema.tables.addresses import CENSUS, CLOCKS, HOLDERS, PORTS
from tcptrace_tw.schema.tables.anomalies import ANOMALIES
from tcptrace_tw.schema.tables.capture import CAPTURE
from tcptrace_tw.schema.tables.connections import CONNECTIONS, TRANSITIONS
from tcptrace_tw.schema.tables.findings import FINDINGS, INCIDENTS
from tcptrace_tw.schema.tables.resets import RESETS
from tcptrace_tw.schema.tables.segments import (
    ACK,
    AE,
    BEHIND,
    CWR,
    ECE,
    FIN,
    FRAME_BITS,
    HAS_MSS,
    HAS_SACK,
    HAS_TS,
    HAS_WSCALE,
    MALFORMED,
    PSH,
    REPEATED,
    RST,
    SACK_PERMITTED,
    SEGMENTS,
    SYN,
    TRUNCATED,
    URG,
)
from tcptrace_tw.schema.tables.services import CONNECTS, FLOODS, ICMP_ERRORS, IDLES, MOVES, SCANS, SERVICES
from tcptrace_tw.schema.tables.stale_segments import STALE_SEGMENTS
from tcptrace_tw.schema.tables.time_wait import REUSES, TIME_WAIT

SCHEMA_VERSION = 2

TABLES = (CONNECTIONS, TRANSITIONS, TIME_WAIT, REUSES, STALE_SEGMENTS, RESETS, ANOMALIES, CENSUS, HOLDERS, PORTS, SERVICES,
          CONNECTS, SCANS, FLOODS, IDLES, MOVES, ICMP_ERRORS, CLOCKS, CAPTURE, INCIDENTS, FINDINGS)  # fmt: skip
"""The tables of the contract, in the order of the docs."""

BY_NAME = {table.name: table for table in TABLES}

__all__ = [
    "ACK",
    "AE",
    "ANOMALIES",
    "BEHIND",
    "BY_NAME",
    "CAPTURE",
    "CENSUS",
    "CLOCKS",
    "CONNECTIONS",
    "CONNECTS",
    "CWR",
    "ECE",
    "FIN",
    "FINDINGS",
    "FLOODS",
    "FRAME_BITS",
    "HAS_MSS",
    "HAS_SACK",
    "HAS_TS",
    "HAS_WSCALE",
    "HOLDERS",
    "ICMP_ERRORS",
    "IDLES",
    "INCIDENTS",
    "MALFORMED",
    "MOVES",
    "PORTS",
    "PSH",
    "REPEATED",
    "RESETS",
    "REUSES",
    "RST",
    "SACK_PERMITTED",
    "SCANS",
    "SCHEMA_VERSION",
    "SEGMENTS",
    "SERVICES",
    "STALE_SEGMENTS",
    "SYN",
    "TABLES",
    "TIME_WAIT",
    "TRANSITIONS",
    "TRUNCATED",
    "URG",
    "Column",
    "Table",
]
