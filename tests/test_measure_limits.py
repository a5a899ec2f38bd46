"""Where the measurements decide otherwise: rows on both sides of each limit, function by function."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tcptrace_tw.flow import place_of_print
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.measure import census, clocks, endings, measurements, moves, syns, traits
from tcptrace_tw.measure.connects import COLUMNS, Connects, _Kinds
from tcptrace_tw.measure.idles import Idles
from tcptrace_tw.measure.meanwhile import _asks, _facts
from tcptrace_tw.measure.picked import Picked
from tcptrace_tw.measure.ramp_up import ports_used
from tcptrace_tw.measure.vlan_splits import VlanSplits
from tcptrace_tw.protocol.states import CLOSED, ESTABLISHED, LAST_ACK, SYN_SENT, TIME_WAIT
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.observed import ACKS, OPTIONS, PAYLOAD
from tcptrace_tw.schema.segments import PRINT_PLACES, SHARDS, Segment
from tests.report_rows import blank
from tests.test_connects import Connect, said

NS = 1_000_000_000
START = 1_700_000_000 * NS
MINUTE_NS = 60 * NS


def rows_of(table: c.Table, count: int = 1, **columns: Any) -> Any:
    rows = blank(table, count)
    for name, value in columns.items():
        rows[name] = value
    return rows


def reuses(gaps: list[int], **columns: Any) -> Any:
    """What is known of a source after SYNs of the holder, so long after TIME-WAIT began anew."""
    measured = census.Census(compiled=False, wants_seconds=False, seed=new_seed())
    known = {"is_by_holder": 1, "is_linux_tw_reuse": 1, "two_msl_ns": 60 * NS, **columns}
    measured.see("reuses", rows_of(c.REUSES, len(gaps), gap_ns=gaps, **known))
    return measured._sources[0]


@pytest.mark.parametrize(("gap", "floor", "inside", "expiry"), [
    (NS - 1, 0, 1, 0), (NS, 1, 1, 0), (NS * 12 // 10, 1, 1, 0), (NS * 12 // 10 + 1, 0, 1, 0), (60 * NS - 1, 0, 1, 0),
    (60 * NS, 0, 0, 1), (72 * NS, 0, 0, 1), (72 * NS + 1, 0, 0, 0),
])  # fmt: skip
def test_a_port_is_taken_again_at_the_floor_or_at_the_expiry(gap: int, floor: int, inside: int, expiry: int) -> None:
    """From one second of tcp_tw_reuse, or from 2MSL on, a fifth longer at the most."""
    source = reuses([gap])

    assert (source.at_floor, source.inside, source.at_expiry) == (floor, inside, expiry)
    assert (source.reuses, source.fastest_ns) == (1, gap)


def test_only_the_holders_own_syns_count_and_the_fastest_is_kept() -> None:
    assert reuses([5], is_by_holder=0).reuses == 0
    assert reuses([NS], is_linux_tw_reuse=0).at_floor == 0
    assert [reuses([5, 7, 6]).fastest_ns, reuses([7, 5]).fastest_ns, reuses([7, 0]).fastest_ns] == [5, 5, 0]


@pytest.mark.parametrize(("low", "high", "size"), [
    (32768, 60999, 28232), (32767, 60999, 55536), (49152, 65535, 16384), (32768, 61000, 32768), (49151, 65535, 32768),
    (10000, 61000, 55536), (9999, 61000, 64512), (1024, 65535, 64512), (1023, 65535, 65536), (50000, 60000, 28232),
])  # fmt: skip
def test_the_first_known_range_that_holds_all_ports(low: int, high: int, size: int) -> None:
    """Those of Linux, IANA, both, FreeBSD, and all from 1024 on."""
    assert census.range_size(np.array([low]), np.array([high])).tolist() == [size]


def test_a_source_keeps_its_first_connection_and_its_ports() -> None:
    source = SimpleNamespace(first_connection=0, opened=0, lowest_port=0, highest_port=0)
    for number, port, first, low, high in ((7, 50, 7, 50, 50), (9, 40, 7, 40, 50), (1, 60, 1, 40, 60)):
        census.meet(source, number)
        census.use_port(source, port)

        assert (source.first_connection, source.lowest_port, source.highest_port) == (first, low, high)


@pytest.mark.parametrize(("active", "waiting", "used"), [(2, 3, 5), (-1, 3, 3), (2, -1, 2), (0, 0, 0)])
def test_ports_in_use_are_never_below_nothing(active: int, waiting: int, used: int) -> None:
    assert ports_used(SimpleNamespace(active=active, waiting=waiting)) == used


PAIR = dict.fromkeys(syns.PAIR.names or (), 0)
ENTRY = dict.fromkeys(syns.ENTRY.names or (), 0)


def syn(time: int, tsval: int = 0, frame: int = 1, number: int = 1) -> Any:
    return SimpleNamespace(first_time=time, orig_syn_frame=frame, connection_id=number, orig_syn_tsval=tsval)


@pytest.mark.parametrize("ignored", [0, 1])
def test_the_first_and_the_last_syn_of_a_pair(ignored: int) -> None:
    """By time, of one moment by frame, in whatever order they come."""
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)):
        pair, entry = SimpleNamespace(**PAIR), SimpleNamespace(**ENTRY)
        taken = [syn(5, 10, 3, 30), syn(5, 10, 2, 20), syn(9, 10, 8, 80), syn(9, 10, 9, 90)]
        for place in order:
            syns.take_syn(pair, entry, taken[place], ignored)

        assert (pair.time, pair.frame, pair.connection_id, pair.end_time) == (5, 2, 20, 9)
        assert (pair.answered, pair.ignored) == ((0, 4) if ignored else (4, 0))
        if ignored:
            assert (pair.first_time, pair.first_frame, pair.first_id) == (5, 2, 20)
            assert (pair.last_time, pair.last_frame) == (9, 9)


@pytest.mark.parametrize(("time", "tsval", "stale"), [
    (11, 98, 1), (11, 99, 0), (10, 98, 0), (9, 98, 0),  # after the highest, and below it by two ticks
    (9, 102, 1), (9, 101, 0), (10, 102, 0), (11, 102, 0),  # before the lowest, and above it
])  # fmt: skip
def test_an_answered_syn_is_stale_by_more_than_a_tick(time: int, tsval: int, stale: int) -> None:
    entry = SimpleNamespace(**ENTRY)
    syns.add_answered(entry, 100, 10)
    syns.add_answered(entry, tsval, time)

    assert (entry.answered, entry.stale) == (2, stale)
    assert (entry.first, entry.first_time) == ((tsval, 9) if time < 10 else (100, 10))
    assert (entry.high, entry.low) == (max(tsval, 100), min(tsval, 100))


def test_of_one_timestamp_the_first_is_high_and_the_last_is_low() -> None:
    """What came first is above longer."""
    for times in ((10, 11, 9), (9, 10, 11), (11, 9, 10)):
        entry = SimpleNamespace(**ENTRY)
        for time in times:
            syns.add_answered(entry, 100, time)

        assert (entry.high_time, entry.low_time, entry.first_time) == (9, 11, 9)


def test_ignored_syns_keep_their_span_and_their_highest_timestamp() -> None:
    entry = SimpleNamespace(**ENTRY)
    for tsval, time in ((100, 10), (99, 12), (101, 8)):
        syns.add_ignored(entry, tsval, time)

    assert (entry.ignored, entry.ignored_high, entry.ignored_begin, entry.ignored_end) == (3, 101, 8, 12)


def entry_of(*answered: tuple[int, int], ignored: tuple[tuple[int, int], ...] = ()) -> Any:
    entry = SimpleNamespace(**ENTRY)
    for tsval, time in answered:
        syns.add_answered(entry, tsval, time)
    for tsval, time in ignored:
        syns.add_ignored(entry, tsval, time)
    return entry


@pytest.mark.parametrize(("one", "other", "stale"), [
    (((100, 10),), ((98, 11),), 1), (((100, 10),), ((99, 11),), 0), (((98, 11),), ((100, 10),), 1),
    ((), ((98, 11),), 0), (((100, 10),), (), 0), (((100, 10),), ((98, 10),), 0),
])  # fmt: skip
def test_buckets_are_added_as_if_they_had_been_one(one: Any, other: Any, stale: int) -> None:
    """A SYN that another bucket's overtook counts once more."""
    entry = entry_of(*one)
    syns.add_syns(entry, entry_of(*other, ignored=((7, 5), (9, 6))))

    assert (entry.answered, entry.stale, entry.ignored) == (len(one) + len(other), stale, 2)
    assert (entry.ignored_high, entry.ignored_begin, entry.ignored_end) == (9, 5, 6)
    if one or other:
        tsvals = [tsval for tsval, _ in (*one, *other)]
        assert (entry.high, entry.low) == (max(tsvals), min(tsvals))


def test_a_bucket_without_ignored_syns_adds_none() -> None:
    entry = entry_of(ignored=((7, 5),))
    syns.add_syns(entry, entry_of((100, 9)))

    assert (entry.ignored, entry.ignored_high, entry.ignored_begin, entry.ignored_end) == (1, 7, 5, 5)


@pytest.mark.parametrize(("time", "begin", "end", "is_fresh"), [
    (9, 10, 20, True), (10, 10, 20, False), (9, 10, 9 + MINUTE_NS, True), (9, 10, 10 + MINUTE_NS, False),
])  # fmt: skip
def test_a_timestamp_is_remembered_for_a_minute(time: int, begin: int, end: int, is_fresh: bool) -> None:
    assert bool(syns.is_fresh(time, begin, end)) == is_fresh


@pytest.mark.parametrize(("first", "later", "gap", "answered_stale"), [
    (100, 98, NS, 1), (100, 99, NS, 0), (100, 98, MINUTE_NS, 1), (100, 98, MINUTE_NS + 1, 0), (98, 100, NS, 0),
])  # fmt: skip
def test_a_bucket_is_held_against_the_minute_before(first: int, later: int, gap: int, answered_stale: int) -> None:
    """The very first entry counts as well, but none of another pair."""
    for is_other_pair in (False, True):
        table = syns.syn_table(2, new_seed())
        for place, (tsval, time, number) in enumerate(((first, START, int(is_other_pair)), (later, START + gap, 0))):
            entry = table.table.entries[place]
            entry.word = time >> syns.NARROWEST << syns.KEY_BITS | number
            syns.add_answered(entry, tsval, time)
        table.table.counters[syns.USED] = 2
        table.pairs[0].ignored = 1
        syns.judge(table, syns.by_pair_and_time(table))

        assert table.pairs[0].answered_stale == (0 if is_other_pair else answered_stale)
        assert table.pairs[1].answered_stale == 0


@pytest.mark.parametrize(("begin", "end", "last", "first", "has"), [
    (5, 9, 6, 5 + MINUTE_NS, True), (0, 9, 6, 5, False), (6, 9, 6, 5, False), (5, 9, 6, 9 + MINUTE_NS, False),
    (5, 9, 6, 8 + MINUTE_NS, True),
])  # fmt: skip
def test_the_server_waited_in_the_minute_before_an_ignored_syn(
    begin: int, end: int, last: int, first: int, has: bool
) -> None:
    pair = SimpleNamespace(waits_begin=begin, waits_end=end, last_time=last, first_time=first)

    assert bool(clocks.has_waited(pair)) == has


def samples(*syns_of: tuple[int, int, int]) -> Any:
    mine = np.zeros(max(len(syns_of), 1), clocks.SAMPLE)
    for place, (time_ms, tsval, port) in enumerate(syns_of):
        mine["time"][place], mine["tsval"][place], mine["port"][place] = START + time_ms * 10**6, tsval, port
        mine["frame"][place] = place
    return mine


def clusters(apart_ms: int, rate: int = 1000) -> tuple[int, int]:
    """Three SYNs of one clock, and three whose clock is so much ahead."""
    one = [(n * 1000, n * rate, n) for n in range(3)]
    other = [(5000 + n * 1000, (5 + n) * rate + apart_ms * rate // 1000, 10 + n) for n in range(3)]
    mine, scratch = samples(*one, *other), np.zeros((3, 6), np.int64)
    clocks.sort_by_time(mine, 6, scratch[0])
    found, span = clocks.clusters(mine, 6, rate, scratch)
    return int(found), int(span)


def test_clocks_are_apart_by_more_than_the_slack() -> None:
    assert clusters(clocks.SLACK_MS) == (1, 0)
    assert clusters(clocks.SLACK_MS + 1) == (2, clocks.SLACK_MS + 1)
    assert clusters(-clocks.SLACK_MS - 1) == (2, clocks.SLACK_MS + 1)


def test_a_clock_that_is_seen_on_one_port_is_unsure() -> None:
    mine, scratch = samples((0, 0, 1), (1000, 1000, 1), (2000, 2000, 1)), np.zeros((3, 3), np.int64)
    clocks.sort_by_time(mine, 3, scratch[0])

    assert clocks.clusters(mine, 3, 1000, scratch) == (clocks.UNSURE, 0)


def ticking(
    port: int, count: int, begin_ms: int = 0, ahead_ms: int = 0, rate: int = 1000
) -> list[tuple[int, int, int]]:
    """SYNs of one clock, a second apart, each from a port of its own."""
    times = [begin_ms + 1000 * n for n in range(count)]
    return [(time, (time + ahead_ms) * rate // 1000 % 2**32, port + n) for n, time in enumerate(times)]


def clocks_of(*syns_of: tuple[int, int, int], rates: tuple[int, ...] = (1000,)) -> tuple[int, ...]:
    """How many clocks, at which rate, and how far apart."""
    mine, scratch = samples(*syns_of), np.zeros((3, len(syns_of)), np.int64)
    clocks.sort_by_time(mine, len(syns_of), scratch[0])
    return tuple(int(each) for each in clocks.clocks(mine, len(syns_of), np.array(rates), scratch))


def test_where_no_rate_gives_clocks_there_is_no_rate_and_nothing_between_them() -> None:
    assert clocks_of((0, 0, 1), rates=(1000, 100)) == (clocks.UNSURE, 0, 0)


@pytest.mark.parametrize("rates", [(1000, 100), (100, 1000)])
def test_the_rate_that_needs_the_fewest_clocks_is_taken(rates: tuple[int, ...]) -> None:
    """At the wrong rate the SYNs of one clock drift apart, into as many clocks as there are bursts."""
    bursts = [*ticking(1, 3, rate=100), *ticking(11, 3, begin_ms=600_000, rate=100)]

    assert clocks_of(*bursts, rates=(1000,)) == (2, 1000, 540_000)
    assert clocks_of(*bursts, rates=rates) == (1, 100, 0)


def test_of_rates_that_need_as_many_clocks_the_first_is_taken() -> None:
    assert clocks_of((0, 7, 1), (0, 7, 2), (0, 7, 3), rates=(1000, 100, 10)) == (1, 1000, 0)


@pytest.mark.parametrize("rates", [(1000, 10), (10, 1000)])
def test_a_rate_at_which_syns_do_not_cluster_is_not_taken(rates: tuple[int, ...]) -> None:
    assert clocks_of(*ticking(1, 4), rates=rates) == (1, 1000, 0)


@pytest.mark.parametrize("ahead_ms", [-5000, 5000])
@pytest.mark.parametrize("count", [3, 4])
def test_one_syn_with_a_timestamp_of_its_own_makes_clocks_unsure(ahead_ms: int, count: int) -> None:
    assert clocks_of(*ticking(1, count)) == (1, 1000, 0)
    assert clocks_of(*ticking(1, count), *ticking(11, 1, 500, ahead_ms)) == (clocks.UNSURE, 0, 0)


@pytest.mark.parametrize("counts", [(3, 3), (3, 4), (4, 3), (4, 4)])
def test_two_clocks_are_two_however_many_syns_each_has(counts: tuple[int, int]) -> None:
    assert clocks_of(*ticking(1, counts[0]), *ticking(11, counts[1], 500, 5000)) == (2, 1000, 5000)


@pytest.mark.parametrize("sign", [-1, 1])
def test_clocks_are_held_against_that_of_the_earliest_syn(sign: int) -> None:
    """Timestamps go round, so the farthest clock behind it may be the farthest one ahead of another."""
    earliest, ahead, behind = (
        ticking(11, 3), ticking(21, 3, 100, sign * 1_800_000_000), ticking(31, 3, 900, -sign * 1_800_000_000)
    )  # fmt: skip
    syns_of = [*ahead, *earliest, *behind]

    assert clocks_of(*syns_of) == (3, 1000, 3_600_000_000)
    assert clocks_of(*syns_of, rates=(10, 1000)) == (3, 1000, 3_600_000_000)


def test_clocks_are_apart_from_the_least_ahead_to_the_next_ones_least_ahead() -> None:
    one = [(0, 0, 1), (1000, 1100, 2), (2000, 2200, 3)]
    other = [(5000, 14_000, 4), (6000, 15_100, 5), (7000, 16_200, 6)]

    assert clocks_of(*one, *other) == (2, 1000, 9000)


@pytest.mark.parametrize(("ahead_ms", "found"), [
    (clocks.SLACK_MS, (1, 1000, 0)), (clocks.SLACK_MS + 1, (2, 1000, clocks.SLACK_MS + 1)),
    (-clocks.SLACK_MS, (1, 1000, 0)), (-clocks.SLACK_MS - 1, (2, 1000, clocks.SLACK_MS + 1)),
])  # fmt: skip
def test_a_clock_is_the_same_an_hour_later(ahead_ms: int, found: tuple[int, int, int]) -> None:
    assert clocks_of(*ticking(1, 3), *ticking(11, 3, 3_600_000, ahead_ms)) == found


@pytest.mark.parametrize(("apart_ms", "is_shared"), [
    (clocks.SLACK_MS, True), (clocks.SLACK_MS + 1, False), (-clocks.SLACK_MS, True), (-clocks.SLACK_MS - 1, False),
])  # fmt: skip
def test_two_ports_share_a_clock_an_hour_later(apart_ms: int, is_shared: bool) -> None:
    mine = samples(*ticking(1, 1), *ticking(2, 1, 3_600_000, apart_ms))

    assert bool(clocks.is_clock_shared(mine, 2, np.array([1000]))) == is_shared


@pytest.mark.parametrize(("apart_ms", "port", "is_shared"), [
    (clocks.SLACK_MS, 2, True), (clocks.SLACK_MS + 1, 2, False), (-clocks.SLACK_MS, 2, True),
    (-clocks.SLACK_MS - 1, 2, False), (0, 1, False),
])  # fmt: skip
def test_two_ports_share_a_clock(apart_ms: int, port: int, is_shared: bool) -> None:
    mine = samples((0, 5000, 1), (10_000, 15_000 + apart_ms, port))

    assert bool(clocks.is_clock_shared(mine, 2, np.array([1000]))) == is_shared


@pytest.mark.parametrize("ignored", [0, 1])
def test_the_first_syns_of_each_kind_are_kept(ignored: int) -> None:
    """In whatever order they come; the last of them makes room for an earlier one."""
    most = clocks.MOST_SAMPLES
    for order in (range(2 * most), range(2 * most - 1, -1, -1)):
        kept = np.zeros(2 * most, clocks.SAMPLE).view(np.recarray)
        pair = SimpleNamespace(**PAIR)
        for place in order:
            row = syn(START + place // 2, place, place)
            row.orig_port = place
            clocks.keep_sample(kept, pair, row, ignored)
            pair.answered, pair.ignored = pair.answered + (not ignored), pair.ignored + ignored
        mine = kept[most:] if ignored else kept[:most]

        assert sorted(mine["tsval"].tolist()) == list(range(most))


CONNECT = {"opened": w.OPENED_HANDSHAKE, "orig_syn_frame": 1, "orig_segments": 1, "established_time": -1,
           "rst_frame": -1, "close": w.CLOSE_UNANSWERED, "resp_syn_frame": -1, "resp_fin_frame": -1,
           "orig_state": SYN_SENT, "completeness": 1}  # fmt: skip


def kinds(**columns: int) -> _Kinds:
    return _Kinds(Picked(rows_of(c.CONNECTIONS, 1, **{**CONNECT, **columns}), COLUMNS))


@pytest.mark.parametrize(("columns", "which"), [
    ({}, "silent"), ({"resp_segments": 1}, ""), ({"syn_retries": 1}, "silent unanswered"),
    ({"syn_retries": 2, "last_time": 1_980_000_000}, "silent unanswered failed"),
    ({"syn_retries": 2, "last_time": 1_979_999_999}, "silent unanswered"),
    ({"syn_retries": 1, "last_time": 1_980_000_000}, "silent unanswered"), ({"close": w.CLOSE_REFUSED}, "refused"),
    ({"close": w.CLOSE_REFUSED, "resp_syn_frame": 2}, "refused"),
    ({"close": w.CLOSE_OPEN, "resp_syn_frame": 2}, "answered"),
    ({"close": w.CLOSE_OPEN, "completeness": 33, "resp_segments": 1}, "misreset silent"),
    ({"close": w.CLOSE_OPEN, "completeness": 37, "resp_segments": 1}, "misreset silent"),
    ({"close": w.CLOSE_OPEN, "completeness": 41, "resp_segments": 1}, ""),
    ({"close": w.CLOSE_OPEN, "completeness": 33, "resp_segments": 0}, ""),
    ({"close": w.CLOSE_OPEN, "completeness": 33, "resp_segments": 1, "orig_segments": 2}, ""),
    ({"close": w.CLOSE_OPEN, "completeness": 33, "resp_segments": 1, "established_time": 5,
     "orig_state": ESTABLISHED}, "unread"),
    ({"close": w.CLOSE_UNANSWERED, "completeness": 33, "resp_segments": 1}, ""),
    ({"close": w.CLOSE_ABORT, "completeness": 33, "syn_retries": 1}, "silent unanswered"),
    ({"close": w.CLOSE_ABORT, "completeness": 33, "syn_retries": 0}, ""),
    ({"close": w.CLOSE_ABORT, "completeness": 37, "syn_retries": 1}, ""),
    ({"close": w.CLOSE_ABORT, "completeness": 33, "syn_retries": 1, "resp_segments": 1}, ""),
    ({"resp_syn_frame": 2, "synack_retries": 1, "close": w.CLOSE_OPEN}, "answered half_open"),
    ({"resp_syn_frame": 2, "synack_retries": 1, "close": w.CLOSE_OPEN, "orig_state": CLOSED}, "answered"),
    ({"resp_syn_frame": 2, "synack_retries": 1, "close": w.CLOSE_OPEN, "orig_segments": 2}, "answered"),
    ({"resp_syn_frame": 2, "synack_retries": 1, "close": w.CLOSE_OPEN, "syn_retries": 1}, "answered"),
    ({"resp_syn_frame": 2, "synack_retries": 1, "close": w.CLOSE_OPEN, "rst_frame": 3}, "answered"),
    ({"resp_syn_frame": 2, "close": w.CLOSE_OPEN, "established_time": 5, "orig_state": ESTABLISHED}, "answered unread"),
    ({"resp_syn_frame": 2, "close": w.CLOSE_OPEN, "established_time": 5, "orig_state": ESTABLISHED,
     "resp_payload_bytes": 1}, "answered"),
    ({"resp_syn_frame": 2, "close": w.CLOSE_OPEN, "established_time": 5, "orig_state": ESTABLISHED,
     "resp_fin_frame": 0}, "answered"),
])  # fmt: skip
def test_what_became_of_a_connect(columns: dict[str, int], which: str) -> None:
    found = kinds(**columns)
    names = ("silent", "unanswered", "failed", "refused", "answered", "misreset", "half_open", "unread")

    assert {name for name in names if getattr(found, f"is_{name}")[0]} == set(which.split())


REUSED = {"receiver_state": CLOSED, "is_previous_reset": 0, "holder": w.RESP, "gap_ns": 240 * NS, "opened_frame": -1,
          "answer": w.ANSWER_NONE, "syn_retries": 1, "meanwhile": w.MEANWHILE_UNKNOWN}  # fmt: skip
TAKEN = {"opened_frame": 3, "syn_retries": 0, "answer": w.ANSWER_SYN_ACK}


@pytest.mark.parametrize(("columns", "counts"), [
    ({}, (1, 0)), ({"gap_ns": 240 * NS + 1}, (0, 0)), ({"gap_ns": -1}, (0, 0)), ({"gap_ns": 0}, (1, 0)),
    ({"receiver_state": TIME_WAIT}, (0, 0)), ({"receiver_state": ESTABLISHED}, (0, 0)),
    ({"is_previous_reset": 1}, (0, 0)), ({"holder": w.NONE}, (0, 0)),
    ({"holder": w.ORIG}, (0, 0)), ({"holder": w.BOTH}, (1, 0)), ({"answer": w.ANSWER_CHALLENGE}, (0, 0)),
    ({"syn_retries": 0}, (0, 0)), ({"meanwhile": w.NOBODY_ANSWERED}, (0, 0)), (TAKEN, (0, 1)),
    ({**TAKEN, "receiver_state": TIME_WAIT}, (0, 1)), ({**TAKEN, "syn_retries": 1}, (0, 0)),
    ({**TAKEN, "gap_ns": 240 * NS + 1}, (0, 0)),
])  # fmt: skip
def test_which_syns_came_from_ports_that_had_been_in_use(columns: dict[str, int], counts: tuple[int, int]) -> None:
    """Closed on both sides at most four minutes before; one that was taken only after a retry speaks for nothing."""
    connects = Connects(compiled=False, seed=new_seed())
    connects.see_reuses(rows_of(c.REUSES, 1, **{**REUSED, **columns}))

    assert (connects._pairs["reused"].sum(), connects._pairs["reused_answered"].sum()) == counts


@pytest.mark.parametrize(("count", "kind", "retries", "answered", "is_flood"), [
    (50, "silent", 0, 0, True), (49, "silent", 0, 0, False), (50, "silent", 1, 0, False), (50, "refused", 0, 0, False),
    (50, "silent", 0, 12, True), (50, "silent", 0, 13, False), (50, "answered", 0, 0, False),
])  # fmt: skip
def test_a_flood_is_fifty_syns_that_are_sent_once(
    count: int, kind: str, retries: int, answered: int, is_flood: bool
) -> None:
    """Four times as many as are answered."""
    vain = [Connect(client, 9, kind, retries) for client in range(count)]

    assert ("floods" in said(vain + [Connect(client, 9, "answered") for client in range(answered)])) == is_flood


@pytest.mark.parametrize(("services", "count", "answered", "is_scan"), [
    (20, 20, 0, True), (20, 19, 0, False), (5, 20, 0, False), (20, 20, 5, True), (20, 20, 6, False),
])  # fmt: skip
def test_a_scan_is_twenty_connects_to_many_services(services: int, count: int, answered: int, is_scan: bool) -> None:
    vain = [Connect(1, 100 + n % services, "silent") for n in range(count)]

    assert ("scans" in said(vain + [Connect(1, 9, "answered")] * answered)) == is_scan


ENDED = {"opened": w.OPENED_HANDSHAKE, "close": w.CLOSE_NORMAL, "orig_segments": 1, "resp_segments": 1,
         "orig_syn_frame": 1,
         "resp_syn_frame": 2, "established_time": 5, "observed": OPTIONS, "survived_ns": -1,
         "silence_ns": -1}  # fmt: skip


@pytest.mark.parametrize(("columns", "found"), [
    ({}, traits.ORDINARY), ({"orig_segments": 0}, 0), ({"resp_segments": 0}, 0), ({"orig_syn_frame": -1}, 0),
    ({"resp_syn_frame": -1}, 0), ({"established_time": -1}, 0), ({"close": w.CLOSE_OPEN}, traits.LEFT_OPEN),
    ({"close": w.CLOSE_REFUSED}, 0), ({"close": w.CLOSE_UNANSWERED}, 0), ({"close": w.CLOSE_ABORT}, traits.ORDINARY),
    ({"close": w.CLOSE_HALF_CLOSED}, traits.ORDINARY | traits.LEFT_OPEN),
    ({"close": w.CLOSE_OPEN, "orig_segments": 0}, 0),
    ({"orig_syn_has_ts": 1}, traits.ORDINARY | traits.TOLD_APART),
    ({"observed": 0}, traits.ORDINARY | traits.TOLD_APART),
    ({"survived_ns": 0}, traits.ORDINARY | traits.SILENT), ({"silence_ns": 0}, traits.ORDINARY | traits.SILENT),
    ({"opened": w.OPENED_MIDSTREAM}, traits.MIDSTREAM),
    ({"opened": w.OPENED_MIDSTREAM, "orig_syn_has_ts": 1}, traits.MIDSTREAM),
])  # fmt: skip
def test_the_traits_of_a_connection(columns: dict[str, int], found: int) -> None:
    assert traits.traits_of(rows_of(c.CONNECTIONS, 1, **{**ENDED, **columns})[0]) == found


WAITED = {
    "opened_frame": -1,
    "previous_connection_id": 3,
    "answer": w.ANSWER_NONE,
    "syn_retries": 1,
    "receiver_state": TIME_WAIT,
}


@pytest.mark.parametrize(("columns", "asks"), [
    ({}, True), ({"syn_retries": 0}, False), ({"receiver_state": LAST_ACK}, True), ({"receiver_state": CLOSED}, False),
    ({"receiver_state": CLOSED, "is_last_ack_likely": 1}, True),
    ({"receiver_state": CLOSED, "is_last_ack_lost": 1}, True),
    ({"opened_frame": 0}, False), ({"previous_connection_id": -1}, False), ({"previous_connection_id": 0}, True),
    ({"answer": w.ANSWER_RST}, False), ({"answer": w.ANSWER_RST, "is_last_ack_likely": 1}, True),
    ({"answer": w.ANSWER_REFUSED, "is_last_ack_lost": 1}, True), ({"answer": w.ANSWER_REFUSED}, False),
    ({"answer": w.ANSWER_CHALLENGE, "is_last_ack_likely": 1}, False),
])  # fmt: skip
def test_a_syn_may_be_in_vain_because_of_the_earlier_connection(columns: dict[str, int], asks: bool) -> None:
    assert _asks(rows_of(c.REUSES, 1, **{**WAITED, **columns})).tolist() == [asks]


@pytest.mark.parametrize(("columns", "told"), [
    ({"resp_syn_frame": 2}, [True]), ({"resp_syn_frame": 0}, [True]), ({"close": w.CLOSE_REFUSED}, [False]),
    ({"syn_retries": 1}, [False]), ({}, []), ({"resp_syn_frame": 2, "orig_syn_frame": -1}, []),
])  # fmt: skip
def test_connects_whose_outcome_is_known(columns: dict[str, int], told: list[bool]) -> None:
    assert _facts(rows_of(c.CONNECTIONS, 1, **{**CONNECT, **columns}))["is_answered"].tolist() == told


LIVING = {"connection_id": 1, "orig_ip_lo": 1, "orig_port": 50, "resp_ip_lo": 2, "resp_port": 80, "first_time": START,
          "last_time": START + 100, "established_time": START, "orig_isn": 1000, "orig_nxt": 1101, "resp_isn": 5000,
          "resp_nxt": 5101, "rst_frame": -1, "orig_segments": 5, "resp_segments": 5}  # fmt: skip
STRAY = {"connection_id": 2, "orig_ip_lo": 1, "orig_port": 50, "resp_ip_lo": 3, "resp_port": 80,
         "first_time": START + 50,
         "last_time": START + 60, "orig_isn": 1050, "resp_isn": 5050, "rst_frame": 9, "orig_segments": 0,
         "resp_segments": 1, "orig_payload_bytes": 0}  # fmt: skip


def kept(first: dict[str, int], **columns: int) -> Any:
    rows = np.zeros(1, [(name, "i8") for name in moves.KEPT]).view(np.recarray)
    for name, value in {**first, **columns}.items():
        rows[name] = value
    return rows[0]


@pytest.mark.parametrize(("old", "stray", "is_within"), [
    ({}, {}, True), ({"established_time": -1}, {}, False), ({"established_time": 0}, {}, True),
    ({}, {"first_time": START}, True),
    ({"established_time": START + 1}, {"first_time": START}, False), ({}, {"first_time": START + 100}, True),
    ({}, {"first_time": START + 101}, False), ({}, {"orig_isn": 1001}, True), ({}, {"orig_isn": 1000}, False),
    ({}, {"orig_isn": 1101}, True), ({}, {"orig_isn": 1102}, False), ({}, {"resp_isn": 5101 + moves.NEAR}, True),
    ({}, {"resp_isn": 5102 + moves.NEAR}, False), ({"resp_nxt": 1 << 25}, {"resp_isn": (1 << 25) - moves.NEAR}, True),
    ({"resp_nxt": 1 << 25}, {"resp_isn": (1 << 25) - moves.NEAR - 1}, False),
])  # fmt: skip
def test_a_stray_fits_into_a_living_connection(old: dict[str, int], stray: dict[str, int], is_within: bool) -> None:
    """It acknowledges what the client had sent, and lies near what the server sends."""
    assert moves._is_within(kept(LIVING, **old), kept(STRAY, **stray)) == is_within


@pytest.mark.parametrize(("stray", "is_strange"), [
    ({}, True), ({"orig_ip_lo": 9}, False), ({"orig_ip_hi": 9}, False), ({"orig_port": 51}, False),
    ({"resp_ip_lo": 2}, False),
    ({"resp_ip_lo": 2, "resp_port": 81}, True), ({"resp_segments": 0}, False), ({"resp_segments": 8}, True),
    ({"resp_segments": 9}, False), ({"orig_segments": 1, "resp_segments": 8}, False),
    ({"orig_payload_bytes": 1}, False),
])  # fmt: skip
def test_a_stranger_replies_to_the_client(stray: dict[str, int], is_strange: bool) -> None:
    """Few segments to its address and port, from another address or port than its peer's, and no data of its own."""
    assert bool(moves._is_from_stranger(kept(LIVING), kept(STRAY, **stray))) == is_strange


GOES_ON = {"connection_id": 2, "orig_ip_lo": 9, "orig_port": 51, "resp_ip_lo": 2, "resp_port": 80,
           "first_time": START + 100 + NS, "orig_isn": 1101, "resp_isn": 5101, "rst_frame": -1}  # fmt: skip


@pytest.mark.parametrize(("later", "same", "is_rebinding"), [
    ({}, True, True), ({"connection_id": 1}, True, False), ({"first_time": START + 99 + NS}, True, False),
    ({"first_time": START + 100, "rst_frame": 5}, True, True),
    ({"first_time": START + 99, "rst_frame": 5}, True, False),
    ({"first_time": START + 100, "rst_frame": 0}, True, True), ({"orig_isn": 0}, True, False),
    ({"resp_isn": 0}, True, False),
    ({"resp_port": 81}, True, False), ({"resp_ip_hi": 1}, True, False),
    ({"resp_ip_lo": 3, "orig_ip_lo": 1}, True, True),
    ({}, False, False), ({"orig_ip_lo": 2, "orig_port": 80, "resp_ip_lo": 77}, False, True),
    ({"resp_ip_lo": 1}, False, True),
])  # fmt: skip
def test_a_connection_goes_on_under_another_4_tuple(later: dict[str, int], same: bool, is_rebinding: bool) -> None:
    """A second after the other was heard last, with the same service or client; a RST may show it sooner."""
    assert bool(moves._is_rebinding(kept(LIVING), kept(GOES_ON, **later), same=same)) == is_rebinding


@pytest.mark.parametrize(("gap", "ticks", "has_ts", "is_later"), [
    (0, 5, 1, False), (1, 5, 1, True), (moves.RETRY_NS, 5, 1, True), (moves.RETRY_NS + 1, 5, 1, False),
    (1, 0, 1, False),
    (1, 1, 1, True), (1, (1 << 31) - 1, 1, True), (1, 1 << 31, 1, False), (1, 0, 0, True),
])  # fmt: skip
def test_a_syn_is_an_earlier_one_from_another_port(gap: int, ticks: int, has_ts: int, is_later: bool) -> None:
    """Within 130 s, by the clock of its sender too, where the capture shows that."""
    old = kept({"first_time": START, "orig_syn_tsval": 7, "orig_syn_has_ts": 1})
    row = kept({"first_time": START + gap, "orig_syn_tsval": (7 + ticks) % (1 << 32), "orig_syn_has_ts": has_ts})

    assert moves._is_later(old, row) == is_later


@pytest.mark.parametrize(("acked", "sent", "new_lo", "time", "is_met"), [
    (1001, 5001, 3, 1, True), (1000, 5001, 3, 1, False), (1101, 5101, 3, 1, True), (1102, 5101, 3, 1, False),
    (1001, 5000, 3, 1, False), (1101, 5102, 3, 1, False), (1001, 5001, 2, 1, False), (1001, 5001, 3, 0, False),
])  # fmt: skip
def test_a_challenge_has_the_numbers_of_a_connection_to_another_address(
    acked: int, sent: int, new_lo: int, time: int, is_met: bool
) -> None:
    """Above its ISNs, and up to what it had sent."""
    new = kept(LIVING, connection_id=2, resp_ip_lo=new_lo, orig_isn=9000, resp_isn=8000)
    row = SimpleNamespace(time=START + time, isn_delta=9000 - acked, answer_isn_delta=8000 - sent)

    assert moves._is_met(kept(LIVING), new, row) == is_met


def silences(*rows: dict[str, int]) -> Any:
    idles = Idles(compiled=False, seed=new_seed())
    for number, columns in enumerate(rows, start=1):
        row = {"connection_id": number, "last_frame": 10 * number, "survived_ns": -1, "silence_by": w.RESP, **columns}
        idles.see(rows_of(c.CONNECTIONS, 1, **row), np.array([traits.SILENT], np.uint8))
    return next(found for _, found in idles.close())[0]


UNANSWERED, RESET = w.SILENCE_UNANSWERED, w.SILENCE_RESET


@pytest.mark.parametrize(("silence", "end", "counts"), [
    (20 * NS, UNANSWERED, (1, 0, 0)), (20 * NS - 1, UNANSWERED, (0, 0, 0)), (20 * NS, w.SILENCE_ANSWERED_BY_RESET,
    (1, 0, 0)),
    (20 * NS, RESET, (0, 1, 0)), (20 * NS - 1, RESET, (0, 0, 0)), (NS, w.SILENCE_FIN, (0, 0, 1)),
])  # fmt: skip
def test_what_ends_after_20_seconds_may_be_a_devices_doing(silence: int, end: int, counts: tuple[int, ...]) -> None:
    """Sooner it is a program's."""
    row = silences({"silence_ns": silence, "silence_end": end})

    assert (row.drops, row.resets, row.closes) == counts


@pytest.mark.parametrize(("repeats", "said", "drops"), [(0, 0, 1), (1, 0, 0), (1, 1, 1)])
def test_a_handshake_that_the_server_never_completed_was_not_idle(repeats: int, said: int, drops: int) -> None:
    """It repeated its SYN+ACK, and never said more."""
    row = silences(
        {"silence_ns": 20 * NS, "silence_end": UNANSWERED, "synack_retries": repeats, "resp_payload_bytes": said}
    )

    assert row.drops == drops


def test_the_shortest_silence_gives_the_example() -> None:
    """Of drops before resets, and of equal ones the first connection."""
    longer, shorter = ({"silence_ns": 1000 * n * NS, "silence_end": UNANSWERED} for n in (3, 2))
    reset = {"silence_ns": 500 * NS, "silence_end": RESET}

    assert silences(longer, shorter).connection_id == silences(shorter, longer).connection_id + 1 == 2
    assert silences(reset, longer).connection_id == 2
    assert silences(longer, reset).connection_id == 1
    assert (silences(shorter, shorter).connection_id, silences(shorter, shorter).frame) == (1, 10)


def test_halves_in_two_vlans_are_one_connection() -> None:
    """Each shows one direction; which of the two came first does not matter."""

    def half(scope: int, frame: int, *, is_orig: bool) -> Any:
        ends = {"orig_ip_lo": 1, "orig_port": 50, "resp_ip_lo": 2, "resp_port": 80}
        sent = {"orig_segments": int(is_orig), "resp_segments": int(not is_orig)}
        return rows_of(c.CONNECTIONS, 1, scope=scope, first_frame=frame, **ends, **sent)

    for second, count in (
        (half(7, 5, is_orig=False), 1),
        (half(6, 5, is_orig=False), 0),
        (half(7, 5, is_orig=True), 0),
    ):
        splits = VlanSplits()
        splits.see(half(6, 4, is_orig=True))
        splits.see(second)

        assert (splits.count, splits.frame) == (count, 5 if count else -1)


@pytest.mark.parametrize(("columns", "expected"), [
    ({}, {}), ({"opened": w.OPENED_MIDSTREAM}, {"MIDSTREAM": 1, "MIDSTREAM_FRAME": 7}),
    ({"orig_segments": 0}, {"ONE_WAY": 1}),
    ({"resp_segments": 0}, {"ONE_WAY": 1}), ({"resp_segments": 0, "scope": 5}, {"ONE_WAY": 1, "ONE_WAY_SCOPED": 1}),
    ({"observed": 0}, {"HIDDEN": 1}), ({"observed": ACKS}, {}), ({"observed": PAYLOAD}, {}),
    ({"observed": 0, "orig_payload_bytes": 1}, {}), ({"observed": 0, "resp_payload_bytes": 1}, {}),
    ({"observed": 0, "orig_fin_frame": 0}, {"HIDDEN": 1, "HIDDEN_WITH_FIN": 1}),
    ({"observed": 0, "resp_fin_frame": 0}, {"HIDDEN": 1, "HIDDEN_WITH_FIN": 1}),
])  # fmt: skip
def test_odd_connections_are_counted(columns: dict[str, int], expected: dict[str, int]) -> None:
    """From mid-stream, with one direction, in VLANs, with hidden text."""
    plain = {"orig_segments": 1, "resp_segments": 1, "observed": ACKS | PAYLOAD, "first_frame": 7, **columns}
    tally = np.zeros(measurements.TALLIES, np.int64)
    measurements.count_odd_ones(rows_of(c.CONNECTIONS, 1, **plain), tally)

    assert {name: int(tally[getattr(measurements, name)]) for name in expected} == expected
    assert np.count_nonzero(tally) == len(expected)


def test_endpoints_without_room_have_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that came before keep theirs."""
    monkeypatch.setattr(endings, "MOST_ENDPOINTS", 4)
    counted = endings.Endings(compiled=False, seed=new_seed())
    counted.see(rows_of(c.CONNECTIONS, 5, orig_ip_lo=range(5), orig_fin_frame=[0] * 5, resp_fin_frame=-1, resp_port=80))
    asked = rows_of(c.RESETS, 5, ip_lo=range(5), endpoint=w.ORIG, peer_port=80)

    assert counted.of(asked)[0].tolist() == [1, 1, 1, 1, 0]


def test_fingerprints_are_spread_over_their_places() -> None:
    """Segments of one connection, which differ in one number only, have places of their own."""
    places, nothing = PRINT_PLACES // SHARDS, Segment._make([0] * len(Segment._fields))
    for field in ("seq", "ack", "tsval"):
        found = [int(place_of_print(nothing._replace(**{field: 1448 * n}), 0, 0)) for n in range(places // 8)]

        assert all(0 <= place < places for place in found)
        assert len(set(found)) > len(found) // 2
