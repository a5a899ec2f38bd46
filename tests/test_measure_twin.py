"""What is measured beside protocol state: the kernels agree with plain loops, and hold no more than they say."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.measure import clocks as measured
from tcptrace_tw.measure.buckets import KEY_BITS, KEY_MASK, SHIFT, USED, entry_of
from tcptrace_tw.measure.endings import Endings
from tcptrace_tw.measure.keys import Keys
from tcptrace_tw.measure.measurements import Measurements
from tcptrace_tw.measure.series import Series, add
from tcptrace_tw.measure.syns import NARROWEST, add_syns, by_pair_and_time, judge, syn_table, take_syn
from tcptrace_tw.protocol.states import CLOSED
from tcptrace_tw.report.summary.grouping import Groups
from tcptrace_tw.report.tables.background_writer import BackgroundWriter
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema import words as w
from tests.naive.census import NS, Life, Span, Syn, clocks, most_used, overtaken, paces
from tests.report_rows import blank

START = 1_700_000_000 * NS
FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

SOURCES = st.tuples(st.integers(1, 3), st.integers(11, 12), st.sampled_from((80, 443)))
TIMES = st.integers(0, 30 * NS).map(lambda ns: START + ns)
LIVES = st.builds(
    lambda source, port, begin, length: Life(source, port, begin, begin + length),
    SOURCES, st.integers(32768, 32999), TIMES, st.integers(0, 10 * NS),
)  # fmt: skip
SPANS = st.builds(
    lambda source, begin, length: Span(source, begin, None if length is None else begin + length),
    SOURCES, TIMES, st.none() | st.integers(0, 60 * NS),
)  # fmt: skip


def connection_rows(lives: list[Life]) -> Any:
    rows = blank(c.CONNECTIONS, len(lives))
    for i, life in enumerate(lives):
        rows.connection_id[i], rows.orig_syn_frame[i], rows.resp_syn_frame[i] = i + 1, 1, 2
        rows.orig_ip_lo[i], rows.resp_ip_lo[i], rows.resp_port[i] = life.source
        rows.orig_port[i], rows.first_time[i], rows.last_time[i] = life.port, life.begin, life.end
        rows.orig_state[i], rows.active_closer[i] = CLOSED, w.ORIG
    return rows


def span_rows(spans: list[Span]) -> Any:
    rows = blank(c.TIME_WAIT, len(spans))
    for i, span in enumerate(spans):
        rows.connection_id[i], rows.holder[i] = i + 1, w.ORIG
        rows.ip_lo[i], rows.peer_ip_lo[i], rows.peer_port[i] = span.source
        rows.start[i], rows.end[i] = span.begin, -1 if span.end is None else span.end
    return rows


@FEW
@given(st.lists(LIVES, min_size=1, max_size=40), st.lists(SPANS, max_size=40), st.integers(1, 40))
def test_the_peak_of_a_source_is_that_of_a_plain_count(lives: list[Life], spans: list[Span], cut: int) -> None:
    """Ports in use second by second, in whatever chunks the rows come (docs/semantics.md: ports)."""
    census = Measurements(compiled=False, wants_seconds=True, seed=new_seed())
    for rows in (connection_rows(lives[:cut]), connection_rows(lives[cut:])):
        census.see("connections", rows)
    census.see("time_wait", span_rows(spans))
    found = {}
    for table, rows in census.close({"end_time": 0}):
        if table is c.PORTS:
            for row in rows:
                source = (int(row["ip_lo"]), int(row["peer_ip_lo"]), int(row["peer_port"]))
                found[source] = (int(row["most_used"]), int(row["time"]) // NS)

    opened = {life.source for life in lives}
    assert found == {source: most for source, most in most_used(lives, spans).items() if source in opened}


@FEW
@given(st.lists(LIVES, min_size=1, max_size=40), st.lists(SPANS, max_size=40))
def test_the_pace_of_a_source_is_that_of_a_plain_count(lives: list[Life], spans: list[Span]) -> None:
    """Connections begun until its ports were in use, and after that (docs/semantics.md: ports)."""
    census = Measurements(compiled=False, wants_seconds=False, seed=new_seed())
    census.see("connections", connection_rows(lives))
    census.see("time_wait", span_rows(spans))
    found = {}
    for row in next((rows for table, rows in census.close({"end_time": 0}) if table is c.PORTS), ()):
        source = (int(row["ip_lo"]), int(row["peer_ip_lo"]), int(row["peer_port"]))
        filling_s, full_s = int(row["filling_ns"]) // NS, int(row["full_ns"]) // NS
        found[source] = (int(row["opened_filling"]), filling_s, int(row["opened_full"]), full_s)

    assert found == paces(lives, spans)


@FEW
@given(st.lists(st.builds(Syn, TIMES, st.integers(0, (1 << 32) - 1), st.integers(1, 9)), min_size=1, max_size=30),
       st.integers(0, 2), st.sampled_from(measured.RATES_HZ))  # fmt: skip
def test_clocks_are_told_apart_as_by_a_plain_count(syns: list[Syn], hosts: int, rate: int) -> None:
    """With offsets at random, of one clock, and of two that are an hour apart (docs/semantics.md: clocks)."""
    if hosts:
        syns = [
            s._replace(tsval=((s.time - START) * rate // NS + i % hosts * 3600 * rate) % (1 << 32))
            for i, s in enumerate(syns)
        ]
    rows = blank(c.CONNECTIONS, len(syns))
    rows.first_time, rows.orig_syn_tsval = [s.time for s in syns], [s.tsval for s in syns]
    rows.orig_port, rows.orig_syn_frame = [s.port for s in syns], np.argsort(np.argsort([s[:2] for s in syns], 0)[:, 0])
    rows.orig_syn_has_ts, rows.resp_syn_frame, rows.connection_id = 1, 2, np.arange(1, len(syns) + 1)
    tested = Measurements(compiled=False, wants_seconds=False, seed=new_seed())
    tested.see("connections", rows)
    found = [
        (int(row["clocks"]), int(row["rate_hz"]))
        for table, rows in tested.close({"end_time": 0})
        if table is c.CLOCKS
        for row in rows
    ]

    expected = clocks(syns, measured.RATES_HZ, measured.SLACK_MS, measured.MEMBERS)
    assert found == ([expected] if expected[0] else [])


TICKS = st.integers(0, 5000) | st.integers((1 << 32) - 5000, (1 << 32) - 1)
APART = st.lists(st.tuples(st.integers(300, 40_000), TICKS, st.booleans()), min_size=2, max_size=150)


@FEW
@given(APART, st.randoms(use_true_random=False))
def test_syns_are_held_against_all_of_the_minute_before(drawn: list[tuple[int, int, bool]], random: Any) -> None:
    """However many there are, and in whatever order their connections end (docs/semantics.md: clocks)."""
    times = START + np.cumsum([gap for gap, _, _ in drawn]) * 1_000_000
    syns = [Syn(int(time), tsval, port) for port, (time, (_, tsval, _)) in enumerate(zip(times, drawn, strict=True))]
    order = random.sample(range(len(syns)), len(syns))
    rows, is_ignored = syn_rows(syns, [drawn[i][2] for i in range(len(syns))]), [ignored for _, _, ignored in drawn]
    answered = [syn for syn, ignored in zip(syns, is_ignored, strict=True) if not ignored]
    ignored = [syn for syn in syns if syn not in answered]
    tested = Measurements(compiled=False, wants_seconds=False, seed=new_seed())
    tested.see("connections", rows[order])
    found = clock_rows(tested)

    assert bool(found) >= bool(overtaken(answered, ignored))
    for row in found:
        assert (row["answered"], row["ignored"]) == (len(answered), len(ignored))
        assert row["ignored_stale"] == overtaken(answered, ignored)
        assert row["answered_stale"] == (overtaken(answered, answered) if ignored else 0)
        assert row["first_ignored_frame"] == (ignored[0].port if ignored else -1)
        assert row["last_ignored_frame"] == (ignored[-1].port if ignored else -1)


def clock_rows(tested: Measurements) -> list[Any]:
    return [row for table, rows in tested.close({"end_time": 0}) if table is c.CLOCKS for row in rows]


def syn_rows(syns: list[Syn], is_ignored: list[bool]) -> Any:
    """Rows of connections of one pair; the frame of a SYN is its port."""
    rows, ignored = blank(c.CONNECTIONS, len(syns)), np.array(is_ignored)
    rows.first_time, rows.orig_syn_tsval, rows.orig_port, rows.orig_syn_frame = [
        [s.time for s in syns], [s.tsval for s in syns], [s.port for s in syns], [s.port for s in syns],
    ]  # fmt: skip
    rows.orig_syn_has_ts, rows.incarnation, rows.connection_id = 1, 1, np.arange(1, len(syns) + 1)
    rows.resp_syn_frame, rows.syn_retries = np.where(ignored, -1, 2), ignored
    rows.close[ignored] = w.CLOSE_UNANSWERED
    return rows


def test_few_buckets_for_many_syns_lose_no_drop() -> None:
    """With seconds made wider the counts stay, and what an older bucket shows is seen still."""
    few, count = syn_table(4, new_seed(), 64), 400
    syns = [Syn(START + i * NS // 2, 9_000_000 + i * 500, i) for i in range(count)]
    late = [Syn(START + (count // 2 + i) * NS, 1_000_000 + i * 1000, count + i) for i in range(3)]
    pair, rows = record_of(few.pairs, 1), syn_rows([*syns, *late], [False] * count + [True] * 3)
    for i in range(rows.size):
        row = record_of(rows, i)
        take_syn(pair, entry_of(few.table, 1, row.first_time >> NARROWEST, add_syns), row, i >= count)
    judge(few, by_pair_and_time(few))

    assert int(few.table.counters[USED]) <= 64
    assert few.table.counters[SHIFT] > 0
    assert (pair.answered, pair.ignored, pair.ignored_stale, pair.answered_stale) == (count, 3, 3, 0)


@pytest.mark.parametrize("most", [64, 1024])
def test_a_series_never_holds_more_than_its_entries(most: int) -> None:
    """Too many seconds become wider ones, and no count is lost."""
    random, series, counts = np.random.default_rng(793), Series(new_seed(), most), Counter[int]()
    for key, second in random.integers(0, (9, 3000), (4000, 2)).tolist():
        entry_of(series.table, key, START // NS + second, add).new += 1
        counts[key] += 1
    used = series.table.entries[: int(series.table.counters[USED])]
    sums = Counter[int]()
    for entry in used:
        sums[int(entry.word) & KEY_MASK] += int(entry.new)

    assert len(used) <= most
    assert len(np.unique(used.word)) == len(used)
    assert sums == counts
    assert series.bucket_s > 1
    assert {int(word) >> KEY_BITS for word in used.word} <= {(START // NS + s) // series.bucket_s for s in range(3000)}


def test_keys_are_numbered_as_they_come_until_there_is_no_room() -> None:
    """A key keeps its number; one too many has none, and takes none away."""
    random, keys, numbers = np.random.default_rng(1), Keys(64, compiled=False, seed=new_seed()), {}
    rows = random.integers(-5, 5, (3000, 3))
    found = [keys.number(*part.T) for part in np.array_split(rows, 7)]
    for row, number in zip(map(tuple, rows.tolist()), np.concatenate(found).tolist(), strict=True):
        expected = numbers.setdefault(row, len(numbers) if len(numbers) < 64 else -1)
        assert number == expected

    assert len(keys) == 64
    assert keys.column(1).tolist() == [row[1] for row, number in numbers.items() if number >= 0]


def test_groups_keep_their_numbers_from_chunk_to_chunk() -> None:
    """Rows that agree have one number for ever; with no room left they count with the first."""
    random, groups, numbers = np.random.default_rng(2), Groups(500), {}
    for _ in range(6):
        columns = list(random.integers(0, 30, (2, 4000)))
        for row, number in zip(zip(*columns, strict=True), groups.number(columns).tolist(), strict=True):
            numbers.setdefault(tuple(map(int, row)), number)
            assert numbers[tuple(map(int, row))] == number

    assert len(groups.rows) == 500
    assert all(groups.rows[number] == row for row, number in numbers.items() if number)


def test_who_closes_has_no_habit_of_aborting() -> None:
    """Closes and aborts are counted by endpoint, service and side."""
    endings, rows = Endings(compiled=False, seed=new_seed()), blank(c.CONNECTIONS, 3)
    rows.orig_ip_lo, rows.resp_ip_lo, rows.resp_port = [1, 1, 2], 9, 80
    rows.orig_fin_frame, rows.resp_fin_frame = [5, 6, -1], -1
    endings.see(rows)
    aborts = blank(c.RESETS, 4)
    aborts.ip_lo, aborts.peer_ip_lo, aborts.peer_port, aborts.endpoint = [1, 2, 2, 2], 9, 80, w.ORIG
    aborts.acked_bytes = [0, 0, 7, 0]
    endings.abort(aborts)
    closes, aborted, unacked = endings.of(aborts[:2])

    assert closes.tolist() == [2, 0]
    assert aborted.tolist() == [1, 3]
    assert unacked.tolist() == [0, 1]


def test_work_behind_is_done_in_order_and_its_error_comes_back() -> None:
    """Nothing is done after an error, and the one who hands in work learns of it."""
    done: list[int] = []

    def work(number: int) -> None:
        if number == 3:
            raise OSError(28, "No space left on device")
        done.append(number)

    writer = BackgroundWriter(1)

    def hand_in() -> None:
        for number in range(100):
            writer.do(lambda number=number: work(number))

    with pytest.raises(OSError, match="No space"):
        hand_in()
    writer.stop()

    assert done == [0, 1, 2]


SAMPLES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 4)), max_size=12)


@FEW
@given(SAMPLES)
def test_syns_are_sorted_by_time_and_frame(samples: list[tuple[int, int, int]]) -> None:
    """Of equals the earlier place comes first; values the same."""
    mine = np.zeros(len(samples), measured.SAMPLE)
    for i, (time, frame, port) in enumerate(samples):
        mine["time"][i], mine["frame"][i], mine["port"][i] = time, frame, port
    order = np.full(len(samples), -1)
    measured.sort_by_time(mine, mine.size, order)
    by_port = np.full(len(samples), -1)
    measured.sort_by(mine["port"], mine.size, by_port)

    assert order.tolist() == sorted(range(len(samples)), key=lambda i: samples[i][:2])
    assert by_port.tolist() == sorted(range(len(samples)), key=lambda i: samples[i][2])


@FEW
@given(SAMPLES.filter(len), st.data())
def test_a_group_has_members_if_three_ports_are_in_it(samples: list[tuple[int, int, int]], data: Any) -> None:
    mine = np.zeros(len(samples), measured.SAMPLE)
    mine["port"] = [port for _, _, port in samples]
    order = np.array(data.draw(st.permutations(range(len(samples)))))
    begin = data.draw(st.integers(0, len(samples) - 1))
    end = data.draw(st.integers(begin, len(samples)))

    ports = {int(mine["port"][place]) for place in order[begin:end]}
    assert measured.has_members(mine, order, begin, end) == (len(ports) >= 3)
