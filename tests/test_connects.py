"""Connects that came to nothing: the tallies agree with plain loops, and scans and floods stay bounded and apart."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.measure.measurements import Measurements
from tcptrace_tw.measure.moves import Moves
from tcptrace_tw.measure.tallies import SKETCH_BITS, Tallies
from tcptrace_tw.measure.traits import note_traits
from tcptrace_tw.protocol.states import CLOSED, ESTABLISHED, SYN_SENT
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema import words as w
from tests.report_rows import blank

NS = 10**9
START = 1_700_000_000 * NS
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


class Connect(NamedTuple):
    """What became of one connect: answered, refused, or so many SYNs sent again in so many seconds."""

    client: int
    server: int
    kind: str
    retries: int = 0
    seconds: int = 0


CONNECTS = st.builds(
    Connect, st.integers(1, 3), st.integers(11, 12), st.sampled_from(("answered", "refused", "silent", "silent")),
    st.integers(0, 4), st.integers(0, 9),
)  # fmt: skip


def rows_of(connects: list[Connect]) -> Any:
    rows = blank(c.CONNECTIONS, len(connects))
    for i, one in enumerate(connects):
        rows.connection_id[i], rows.opened[i], rows.orig_syn_frame[i] = i + 1, w.OPENED_HANDSHAKE, i + 1
        rows.orig_ip_lo[i], rows.resp_ip_lo[i], rows.resp_port[i] = one.client, one.server, 80
        rows.orig_port[i], rows.orig_segments[i], rows.completeness[i] = 1024 + i, 1 + one.retries, 1
        rows.first_time[i], rows.first_frame[i], rows.last_frame[i] = START + i * NS, i + 1, i + 1
        rows.last_time[i] = rows.first_time[i] + (one.seconds * NS if one.retries else 0)
        rows.orig_state[i], rows.close[i], rows.syn_retries[i] = SYN_SENT, w.CLOSE_UNANSWERED, one.retries
        if one.kind != "silent":
            is_answered = one.kind == "answered"
            rows.resp_segments[i], rows.orig_state[i] = 1, ESTABLISHED if is_answered else CLOSED
            rows.close[i] = w.CLOSE_NORMAL if is_answered else w.CLOSE_REFUSED
            if is_answered:
                rows.resp_syn_frame[i], rows.established_time[i], rows.completeness[i] = i + 1, rows.first_time[i], 7
            else:
                rows.rst_frame[i] = i + 1
    return rows


def said(connects: list[Connect], chunk: int = 7) -> dict[str, Any]:
    measured = Measurements(compiled=False, wants_seconds=False, seed=new_seed())
    rows = rows_of(connects)
    for begin in range(0, rows.size, chunk):
        measured.see("connections", rows[begin : begin + chunk])
    kept = ("connects", "scans", "floods")
    return {table.name: found.view(np.recarray) for table, found in measured.close({}) if table.name in kept}


@FEW
@given(st.lists(CONNECTS, max_size=40))
def test_pairs_are_counted_as_plain_loops_count_them(connects: list[Connect]) -> None:
    found = said(connects).get("connects", [])
    counted: dict[tuple[int, int], Counter[str]] = {}
    for one in connects:
        mine = counted.setdefault((one.client, one.server), Counter())
        is_repeated = one.kind == "silent" and one.retries > 0
        mine.update(answered=one.kind == "answered", refused=one.kind == "refused", unanswered=is_repeated)
        mine.update(failed=is_repeated and one.retries >= 2 and one.seconds >= 2)
        mine.update(syns=is_repeated * (one.retries + 1))

    def is_told(mine: Counter[str]) -> bool:
        return mine["unanswered"] > 0 or mine["refused"] >= 3

    told = {pair for pair, mine in counted.items() if is_told(mine)}
    assert {(int(row.ip_lo), int(row.peer_ip_lo)) for row in found} == told
    for row in found:
        mine = counted[int(row.ip_lo), int(row.peer_ip_lo)]
        assert {name: int(row[name]) for name in mine} == dict(mine)


def test_a_scan_is_one_row_and_its_pairs_say_so() -> None:
    connects = [Connect(1, server, "silent", 2, 3) for server in range(100, 130)]
    found = said(connects)

    assert found["scans"].vain.tolist() == [30]
    assert found["connects"].is_scan.all()


def test_a_flood_leaves_no_pairs() -> None:
    found = said([Connect(client, 9, "silent") for client in range(1000, 1200)])

    assert set(found) == {"floods"}
    assert found["floods"].vain.tolist() == [200]
    assert 150 <= found["floods"].clients[0] <= 256


@pytest.mark.parametrize("count", [1, 10, 100, 200])
def test_what_is_different_is_counted_roughly(count: int) -> None:
    tallies = Tallies(4, (), compiled=False, seed=new_seed())
    numbers = tallies.numbers(np.zeros(5 * count, np.int64), np.zeros(5 * count, np.int64))
    tallies.mark(numbers, np.arange(5 * count) % count)

    assert abs(int(tallies.different()[0]) - count) <= max(1, count // 3)
    assert tallies.different().max() <= SKETCH_BITS


def test_a_key_without_room_is_left_out() -> None:
    tallies = Tallies(4, ("count",), compiled=False, seed=new_seed())
    numbers = tallies.numbers(np.arange(9), np.zeros(9, np.int64))
    tallies.take(numbers, count=1)

    assert tallies["count"].tolist() == [1, 1, 1, 1]
    assert numbers.tolist()[4:] == [-1] * 5


def test_many_connects_with_one_isn_take_no_square_of_time() -> None:
    moves = Moves()
    rows = blank(c.CONNECTIONS, 20_000)
    rows.opened, rows.orig_syn_has_ts, rows.orig_isn = w.OPENED_HANDSHAKE, 1, 7
    rows.orig_port = rows.connection_id = np.arange(rows.size)
    rows.first_time = START + np.arange(rows.size)
    rows.orig_syn_tsval = np.arange(rows.size)
    rows.close = w.CLOSE_UNANSWERED
    traits = np.zeros(rows.size, np.uint8)
    note_traits(rows, traits)
    moves.see(rows, traits)

    assert sum(found.size for _, found in moves.close()) == 4096


@pytest.mark.parametrize(
    ("vain", "answered", "is_scan"), [(20, 0, True), (19, 0, False), (40, 10, True), (40, 11, False)]
)
def test_a_scan_is_twenty_connects_and_four_times_those_that_are_answered(
    vain: int, answered: int, is_scan: bool
) -> None:
    silent = [Connect(1, server, "silent", 2, 3) for server in range(100, 100 + vain)]
    found = said([*silent, *(Connect(1, 9, "answered") for _ in range(answered))])

    assert ("scans" in found) == is_scan


def test_a_scan_is_of_many_services() -> None:
    assert "scans" not in said([Connect(1, 100 + n % 5, "silent", 2, 3) for n in range(40)])


@pytest.mark.parametrize(
    ("vain", "answered", "is_flood"), [(50, 0, True), (49, 0, False), (80, 20, True), (80, 21, False)]
)
def test_a_flood_is_fifty_syns_and_four_times_those_that_are_answered(vain: int, answered: int, is_flood: bool) -> None:
    silent = [Connect(client, 9, "silent") for client in range(1000, 1000 + vain)]
    found = said([*silent, *(Connect(7, 9, "answered") for _ in range(answered))])

    assert ("floods" in found) == is_flood


@pytest.mark.parametrize(("refused", "is_told"), [(2, False), (3, True)])
def test_three_refusals_are_remarkable(refused: int, is_told: bool) -> None:
    assert ("connects" in said([Connect(1, 11, "refused")] * refused)) == is_told


@pytest.mark.parametrize(("wait_ns", "failed"), [(1_979_999_999, 0), (1_980_000_000, 1)])
def test_a_connect_has_failed_after_two_seconds(wait_ns: int, failed: int) -> None:
    """Stacks count in coarse ticks: 20 ms less are enough."""
    rows = rows_of([Connect(1, 11, "silent", 2, 1)])
    rows.last_time = rows.first_time + wait_ns
    measured = Measurements(compiled=False, wants_seconds=False, seed=new_seed())
    measured.see("connections", rows)
    found = {table.name: rows for table, rows in measured.close({})}

    assert found["connects"]["failed"].tolist() == [failed]
