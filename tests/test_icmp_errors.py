"""ICMP errors in the rows of ``icmp_errors``: which are taken, and what is added up."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tcptrace_tw.measure.icmp_errors import IcmpErrors
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema.words import ORIG, RESP
from tests.report_rows import blank

BEGIN, END = 10**18, 10**18 + 5 * 10**9
MINUTE_NS = 60 * 10**9
CLIENT, SERVER, ROUTER = (0, 1), (0, 2), (0, 3)


class Quote(NamedTuple):
    """An ICMP error as the reader keeps it."""

    src: tuple[int, int] = CLIENT
    sport: int = 5000
    dst: tuple[int, int] = SERVER
    dport: int = 80
    router: tuple[int, int] = ROUTER
    time: int = BEGIN
    frame: int = 7
    error: int = 1
    seq: int = 100
    mtu: int = 0


def connections(count: int = 1) -> Any:
    """Connections that nothing answered, one behind the other from the same port."""
    rows = blank(c.CONNECTIONS, count)
    for place in range(count):
        rows.connection_id[place] = place + 1
    rows.orig_ip_lo, rows.resp_ip_lo, rows.orig_port, rows.resp_port = 1, 2, 5000, 80
    rows.first_time, rows.last_time, rows.orig_isn, rows.established_time = BEGIN, END, 100, -1
    rows.syn_retries = 2
    return rows


def told(*quotes: Quote, rows: Any = None, scanners: set[tuple[int, int]] | None = None) -> list[Any]:
    errors = IcmpErrors(quotes)
    errors.see(connections() if rows is None else rows)
    return [row for _, found in errors.close(scanners or set()) for row in found]


@pytest.mark.parametrize(
    ("time", "count"), [(BEGIN - 1, 0), (BEGIN, 1), (END, 1), (END + MINUTE_NS, 1), (END + MINUTE_NS + 1, 0)]
)
def test_an_error_comes_while_its_connection_is_remembered(time: int, count: int) -> None:
    """From the first segment until a minute after the last one."""
    assert len(told(Quote(time=time))) == count


@pytest.mark.parametrize(("seq", "established", "is_connect"), [(100, -1, 1), (101, -1, 0), (100, BEGIN, 0)])
def test_an_error_about_a_syn_is_about_the_connect(seq: int, established: int, is_connect: int) -> None:
    """If no connection came of it."""
    rows = connections()
    rows.established_time = established
    (row,) = told(Quote(seq=seq), rows=rows)

    assert row.is_connect == is_connect


def test_errors_of_one_kind_are_one_row() -> None:
    """With the first frame, the last time, the least MTU and the connections; the SYN says how often it was sent."""
    (row,) = told(
        Quote(frame=9, time=BEGIN + 2, mtu=1400), Quote(frame=8, time=BEGIN + 1, mtu=1300), Quote(frame=10, mtu=0),
        rows=connections(2),
    )  # fmt: skip

    assert (row.frame, row.time, row.end_time) == (8, BEGIN + 1, BEGIN + 2)
    assert (row.errors, row.connections, row.connection_id) == (6, 2, 1)
    assert (row.mtu, row.most_retries) == (1300, 2)
    assert (row.router_ip_lo, row.error) == (3, 1)


def test_errors_of_different_kinds_are_several_rows() -> None:
    """Another router, another error, or one about what the server sent; in the order of their frames."""
    there_and_back = Quote(src=SERVER, sport=80, dst=CLIENT, dport=5000, frame=6)
    rows = told(Quote(frame=9), Quote(frame=8, router=(0, 4)), Quote(frame=7, error=2), there_and_back)

    assert [row.frame for row in rows] == [6, 7, 8, 9]
    assert [row.endpoint for row in rows] == [RESP, ORIG, ORIG, ORIG]
    assert [(row.ip_lo, row.port, row.peer_ip_lo, row.peer_port) for row in rows[:2]] == [
        (2, 80, 1, 5000), (1, 5000, 2, 80),
    ]  # fmt: skip


@pytest.mark.parametrize(("scanners", "is_scan"), [({CLIENT}, 1), ({SERVER}, 0), (set(), 0)])
def test_errors_about_a_scanner_are_marked(scanners: set[tuple[int, int]], is_scan: int) -> None:
    """By the client's address."""
    (row,) = told(Quote(), scanners=scanners)

    assert row.is_scan == is_scan


def test_errors_about_other_tuples_are_left_out() -> None:
    """Each part of the 4-tuple counts."""
    others = (Quote(src=(0, 9)), Quote(sport=5001), Quote(dst=(0, 9)), Quote(dport=81), Quote(src=(1, 1)))

    assert told(*others) == []


def test_the_connects_are_named_by_client_and_service() -> None:
    """Only those of errors about a SYN."""
    errors = IcmpErrors((Quote(), Quote(seq=500, router=(0, 4))))
    errors.see(connections())

    assert errors.connects() == {(*CLIENT, *SERVER, 80)}
