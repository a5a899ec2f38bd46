"""How one value of a row is written for people: addresses, spans, times, words.

``arrow_text`` writes whole columns the same way; a test holds the two together.
"""

import socket
from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from tcptrace_tw.schema.columns import FRAME_BITS, Column, Table
from tcptrace_tw.schema.words import NULL_WORD

UNKNOWN = "unknown"
"""What stands for null."""

STEPS_NS = (1_000, 999_500, 99_950_000, 999_500_000, 1_995_000_000, 599_950_000_000)
"""From which span on the next form of ``duration_text`` is used: where the one before would round up to its end."""

FRAME_MASK = (1 << FRAME_BITS) - 1
MAPPED = 0xFFFF
"""The upper half of ``lo`` where an address is ``::ffff:a.b.c.d``, that is IPv4."""


@lru_cache(1 << 12)
def ip_text(hi: int, lo: int) -> str:
    """An address from its two int64 halves."""
    if hi == 0 and (lo >> 32) & 0xFFFFFFFF == MAPPED:
        return socket.inet_ntop(socket.AF_INET, (lo & 0xFFFFFFFF).to_bytes(4, "big"))
    raw = (hi & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big") + (lo & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
    return socket.inet_ntop(socket.AF_INET6, raw)


def ip_halves(text: str) -> tuple[int, int]:
    """The two int64 halves of an address: what ``ip_text`` takes. ``ValueError`` if it is none."""
    if ":" in text:
        raw = socket.inet_pton(socket.AF_INET6, text)
    else:
        raw = bytes(10) + b"\xff\xff" + socket.inet_pton(socket.AF_INET, text)
    return int.from_bytes(raw[:8], "big", signed=True), int.from_bytes(raw[8:], "big", signed=True)


def endpoint_text(ip: str, port: int) -> str:
    """``192.0.2.1:80`` or ``[2001:db8::1]:80``."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def duration_text(ns: int) -> str:
    """``23 h 53 min``, ``40 min 5 s``, ``94.4 s``, ``1.03 s``, ``1.0 s``, ``300 ms``, ``12.3 ms``, ``45 us``, ``9 ns``.

    Rounded, as a person would say it; the exact numbers are in the values of a finding.
    """
    sign, size = ("-", -ns) if ns < 0 else ("", ns)
    return sign + _FORMS[bisect_right(STEPS_NS, size)](size)


def _rounded(size: int, unit: int) -> int:
    return (size + unit // 2) // unit


def _tenths(count: int, unit: str) -> str:
    return f"{count // 10}.{count % 10} {unit}"


def _hundredths(count: int) -> str:
    """``1.03 s``, ``1.5 s``, ``1.0 s``."""
    return _tenths(count // 10, "s") if count % 10 == 0 else f"{count // 100}.{count % 100:02} s"


_FORMS: tuple[Callable[[int], str], ...] = (
    lambda size: f"{size} ns",
    lambda size: f"{_rounded(size, 1_000)} us",
    lambda size: _tenths(_rounded(size, 100_000), "ms"),
    lambda size: f"{_rounded(size, 1_000_000)} ms",
    lambda size: _hundredths(_rounded(size, 10_000_000)),
    lambda size: _tenths(_rounded(size, 100_000_000), "s"),
    lambda size: long_text(_rounded(size, 1_000_000_000)),
)
"""One more than ``STEPS_NS``."""


def long_text(seconds: int) -> str:
    """``12 min 5 s``, ``3 h 2 min``, ``2 d 4 h``."""
    for limit, big, small, names in ((7200, 60, 1, "min s"), (172800, 3600, 60, "h min"), (0, 86400, 3600, "d h")):
        if seconds < limit or not limit:
            one, two = names.split()
            rest = f" {seconds % big // small} {two}" if seconds % big // small else ""
            return f"{seconds // big} {one}{rest}"
    raise AssertionError("the last unit takes everything")


def time_text(ns: int) -> str:
    """A time in ns since 1970 as ``2026-11-21T04:16:27.000000001Z``."""
    whole, fraction = divmod(ns, 1_000_000_000)
    return f"{_second_text(whole)}.{fraction:09}Z"


@lru_cache(1 << 10)
def _second_text(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def frame_text(frame: int, several_files: bool = False) -> str:
    """``12``, or ``12 of file 3`` where several files were read."""
    return f"{frame & FRAME_MASK} of file {frame >> FRAME_BITS}" if several_files else str(frame & FRAME_MASK)


def is_null(column: Column, value: int) -> bool:
    """Whether ``value`` stands for null in a kernel row."""
    if column.kind == "word":
        return value == NULL_WORD
    return value == -1 and column.kind in ("id", "frame", "time", "ns")


Value = bool | int | str
"""A number, a word, an address or a time, as JSON writes it."""

Row = Mapping[str, int]
"""One kernel row as plain integers, by field."""


def row_of(rows: Any, index: int) -> dict[str, int]:
    """Row ``index``: reading a field of a dictionary is ten times as fast as reading one of a numpy record."""
    return dict(zip(rows.dtype.names, rows[index].item(), strict=True))


def value_text(table: Table, name: str, row: Row, several_files: bool = False) -> str:
    """Column ``name`` of one kernel row, as a message says it."""
    column = table.column(name)
    if column.kind == "ip":
        return ip_text(row[f"{name}_hi"], row[f"{name}_lo"])
    value = row[name]
    if is_null(column, value):
        return UNKNOWN
    if column.words is not None:
        return column.words.prose[value]
    return _say(column, value, several_files)


def _say(column: Column, value: int, several_files: bool) -> str:
    if column.words is not None:
        return column.words.words[value]
    if column.kind == "ns":
        return duration_text(value)
    if column.kind == "time":
        return time_text(value)
    if column.kind == "frame":
        return frame_text(value, several_files)
    if column.kind == "bool":
        return "yes" if value else "no"
    return str(value)


def plain_value(table: Table, name: str, row: Row) -> Value | None:
    """Column ``name`` of one kernel row, as a program reads it: numbers stay numbers, ns stay ns; None for null."""
    column = table.column(name)
    if column.kind == "ip":
        return ip_text(row[f"{name}_hi"], row[f"{name}_lo"])
    value = row[name]
    if is_null(column, value):
        return None
    if column.kind == "bool":
        return bool(value)
    if column.kind == "frame":
        return value & FRAME_MASK
    return _say(column, value, several_files=False) if column.kind in ("word", "time") else value
