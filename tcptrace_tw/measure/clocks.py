"""Timestamp clocks behind one address, and SYNs that a server ignores for their timestamps (docs/semantics.md: clocks).

Compared is only what one client address sends to one server address: Linux gives other destinations other offsets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import Array, bundle
from tcptrace_tw.kernels.marks import entry, kernel, load
from tcptrace_tw.kernels.wide_records import Rows
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.measure.buckets import ask_entry, ask_place, entry_of
from tcptrace_tw.measure.keys import (
    BLOCK,
    KEYS_KIND,
    NEAR,
    WANTED_KIND,
    Keys,
    KeyTable,
    Wanted,
    number_keys,
    number_of,
    want,
    wanted,
)
from tcptrace_tw.measure.syns import (
    MEMORY_NS,
    NARROWEST,
    PAIR,
    SYNS_KIND,
    SynTable,
    add_syns,
    behind,
    by_pair_and_time,
    judge,
    syn_table,
    take_syn,
)
from tcptrace_tw.schema.columns import CLOCKS, TIME_WAIT, Table
from tcptrace_tw.schema.segments import prefetch
from tcptrace_tw.schema.words import CLOSE_UNANSWERED, RESP

MOST_PAIRS = 1 << 12
MOST_SAMPLES = 48
"""So many SYNs of each pair are kept to tell clocks apart, answered and ignored ones."""

RATES_HZ = (1000, 100, 250, 10, 1)
SLACK_MS = 1500
"""Offsets that differ by less may be of one clock."""

MEMBERS = 3
"""So many ports make a clock; single SYNs with offsets of their own are randomised ones."""

SAMPLE = np.dtype([("time", "i8"), ("tsval", "i8"), ("port", "i8"), ("frame", "i8")])
"""A SYN with timestamps."""

UNSURE = 0
"""How many clocks there are where the SYNs do not cluster."""


class ClockTables(NamedTuple):
    """What the kernels take: the tables, and room to work in."""

    keys: KeyTable
    syns: SynTable
    samples: Any
    wanted: Wanted
    seats: NDArray[np.int64]


CLOCKS_KIND = bundle(
    ClockTables, keys=KEYS_KIND, syns=SYNS_KIND, samples=Array(SAMPLE, ndim=2), wanted=WANTED_KIND,
    seats=Array(np.int64),
)  # fmt: skip


class Clocks:
    """Fed with rows of ``connections``; gives one row of ``clocks`` for each pair with something to say."""

    def __init__(self, *, compiled: bool, seed: Seed) -> None:
        self._keys = Keys(MOST_PAIRS, compiled=compiled, seed=seed)
        self._samples = zeros((MOST_PAIRS, 2 * MOST_SAMPLES), SAMPLE).view(np.recarray)
        self._syns = syn_table(MOST_PAIRS, seed)
        self.tables = ClockTables(self._keys.table, self._syns, self._samples, wanted(), zeros(BLOCK, np.int64))
        self._judge = load(judge, compiled=compiled)
        self._take_waits = load(take_waits, compiled=compiled)
        self._describe = load(describe, compiled=compiled)

    def see(self, table: str, rows: Any) -> None:
        """Take finished rows of other tables than ``connections``."""
        if table == "time_wait":
            self._take_waits(rows, self.tables)

    @property
    def refused(self) -> int:
        """How many rows are those of pairs for which there was no room."""
        return self._keys.refused

    def close(self) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture."""
        rows: Any = np.zeros(len(self._keys), CLOCKS.dtype).view(np.recarray)
        for word, name in enumerate(("ip_hi", "ip_lo", "peer_ip_hi", "peer_ip_lo")):
            rows[name] = self._keys.column(word)
        self._judge(self._syns, by_pair_and_time(self._syns))
        scratch = zeros((3, 2 * MOST_SAMPLES), np.int64)
        self._describe(rows, self._syns.pairs, self._samples, np.array(RATES_HZ), scratch)
        rows = rows[(rows["clocks"] > 0) | (rows["ignored_stale"] > 0)]
        if rows.size:
            yield CLOCKS, rows


@kernel
def take_syns(rows: Rows, tables: Any) -> None:
    """Take rows of ``connections``: SYNs with timestamps, of which the first of each pair are kept as samples."""
    pairs, syns = tables.wanted, tables.syns
    for begin in range(0, rows.size, BLOCK):
        block = rows[begin : begin + BLOCK]
        count = want_pairs(block, pairs)
        number_keys(tables.keys, pairs, count)
        for i in range(count):
            time = record_of(block, pairs.row[i] >> 1).first_time
            tables.seats[i] = ask_place(syns.table, pairs.numbers[i], time >> NARROWEST)
        for i in range(count):
            if i + NEAR < count:
                ask_entry(syns.table, tables.seats[i + NEAR])
                prefetch(syns.pairs, max(pairs.numbers[i + NEAR], 0))
            number = pairs.numbers[i]
            if number >= 0:
                r, ignored = record_of(block, pairs.row[i] >> 1), pairs.row[i] & 1
                pair = record_of(syns.pairs, number)
                keep_sample(tables.samples[number], pair, r, ignored)
                take_syn(pair, entry_of(syns.table, number, r.first_time >> NARROWEST, add_syns), r, ignored)


@entry(Array(TIME_WAIT.dtype), CLOCKS_KIND)
def take_waits(rows: Rows, tables: Any) -> None:
    """Take rows of ``time_wait``: a server that closed first remembers the timestamp of the client's address."""
    for i in range(rows.size):
        r = record_of(rows, i)
        if r.holder != RESP:
            continue
        number = number_of(tables.keys, r.peer_ip_hi, r.peer_ip_lo, r.ip_hi, r.ip_lo, 0)
        if number >= 0:
            pair = record_of(tables.syns.pairs, number)
            pair.waits_begin = r.start if pair.waits_begin == 0 else min(pair.waits_begin, r.start)
            pair.waits_end = max(pair.waits_end, r.start)


@kernel
def want_pairs(rows: Rows, pairs: Any) -> int:
    """Put the pairs of the SYNs down; returns how many. In ``pairs.row`` is the row, and 1 for an ignored SYN."""
    count = 0
    for i in range(rows.size):
        r = record_of(rows, i)
        # Ignored is a SYN that was sent again in vain, on a tuple that nothing was remembered of.
        ignored = r.close == CLOSE_UNANSWERED and r.syn_retries > 0 and r.incarnation == 1
        if r.orig_syn_has_ts and (r.resp_syn_frame >= 0 or ignored):
            row = i << 1 | ignored
            want(pairs, count, row, r.orig_ip_hi, r.orig_ip_lo, r.resp_ip_hi, r.resp_ip_lo, 0)
            count += 1
    return count


@kernel
def keep_sample(samples: Any, pair: Any, r: Any, ignored: int) -> None:
    """Keep the SYN of a row that its pair does not know yet: of each kind the first ones, in whatever order they come.

    Answered ones lie from the first place on, ignored ones from ``MOST_SAMPLES`` on.
    """
    count = pair.ignored if ignored else pair.answered
    begin = MOST_SAMPLES if ignored else 0
    if count >= MOST_SAMPLES:
        if r.first_time > (pair.ignored_samples_end if ignored else pair.answered_samples_end):
            return
        last = record_of(samples, begin)
        if last.time == r.first_time and last.frame < r.orig_syn_frame:
            return
    sample = samples[begin if count >= MOST_SAMPLES else begin + count]
    sample.time = r.first_time
    sample.tsval = r.orig_syn_tsval
    sample.port = r.orig_port
    sample.frame = r.orig_syn_frame
    if count >= MOST_SAMPLES - 1:
        bring_last(samples, begin)
        last = record_of(samples, begin)
        if ignored:
            pair.ignored_samples_end = last.time
        else:
            pair.answered_samples_end = last.time


@kernel
def bring_last(samples: Any, begin: int) -> None:
    """Let the last of the samples of a kind be in the first place: it is the one that makes room."""
    place = begin
    for i in range(begin + 1, begin + MOST_SAMPLES):
        if is_before(samples[place], samples[i]):
            place = i
    swap(samples[begin], samples[place])


@kernel
def swap(one: Any, other: Any) -> None:
    """Let two samples change places."""
    time, tsval, port, frame = other.time, other.tsval, other.port, other.frame
    other.time, other.tsval, other.port, other.frame = one.time, one.tsval, one.port, one.frame
    one.time, one.tsval, one.port, one.frame = time, tsval, port, frame


@kernel
def close_gap(samples: Any, pair: Any) -> int:
    """Let the samples of both kinds lie side by side; returns how many there are."""
    answered, ignored = min(pair.answered, MOST_SAMPLES), min(pair.ignored, MOST_SAMPLES)
    for i in range(ignored if answered < MOST_SAMPLES else 0):
        swap(samples[answered + i], samples[MOST_SAMPLES + i])
    return answered + ignored


@entry(Array(CLOCKS.dtype), Array(PAIR), Array(SAMPLE, ndim=2), Array(np.int64), Array(np.int64, ndim=2))
def describe(rows: Rows, pairs: Any, samples: Any, rates: Any, scratch: Any) -> None:
    """Fill the row of each pair: how many clocks, and whether ignored SYNs are told from others by their timestamps."""
    for number in range(rows.size):
        row, pair, mine = record_of(rows, number), record_of(pairs, number), samples[number]
        count = close_gap(mine, pair)
        sort_by_time(mine, count, scratch[0])
        row.time = pair.time
        row.end_time = pair.end_time
        row.connection_id = pair.first_id if pair.ignored > 0 else pair.connection_id
        row.syn_frame = pair.frame
        row.syns = count
        row.answered = pair.answered
        row.answered_stale = pair.answered_stale
        row.ignored = pair.ignored
        row.ignored_stale = pair.ignored_stale
        row.first_ignored_frame = pair.first_frame if pair.ignored > 0 else -1
        row.last_ignored_frame = pair.last_frame if pair.ignored > 0 else -1
        row.clocks, row.rate_hz, row.offset_ms = clocks(mine, count, rates, scratch)
        row.has_shared_clock = 1 if row.clocks > 0 or (pair.ignored > 0 and is_clock_shared(mine, count, rates)) else 0
        row.has_server_time_wait = 1 if has_waited(pair) else 0


@kernel
def has_waited(pair: Any) -> bool:
    """Whether the server entered TIME-WAIT towards the client in the minute before one of the ignored SYNs."""
    return 0 < pair.waits_begin < pair.last_time and pair.waits_end > pair.first_time - MEMORY_NS


@kernel
def is_clock_shared(mine: Any, count: int, rates: Any) -> bool:
    """Whether two SYNs from separate ports lie on one clock, at one of the rates; random offsets lie days apart."""
    for n in range(rates.size):
        for i in range(count):
            for j in range(i):
                one, other = record_of(mine, i), record_of(mine, j)
                elapsed_ms = (one.time - other.time) // 1_000_000
                apart = behind(one.tsval, other.tsval) * 1000 // rates[n] - elapsed_ms
                if one.port != other.port and -SLACK_MS <= apart <= SLACK_MS:
                    return True
    return False


@kernel
def clocks(mine: Any, count: int, rates: Any, scratch: Any) -> tuple[int, int, int]:
    """How many clocks the SYNs come from, at which rate, and how far apart (ms): the fewest of all rates."""
    fewest, rate, apart = UNSURE, 0, 0
    for i in range(rates.size):
        found, span = clusters(mine, count, rates[i], scratch)
        if found != UNSURE and (fewest == UNSURE or found < fewest):
            fewest, rate, apart = found, rates[i], span
    return fewest, rate, apart


@kernel
def clusters(mine: Any, count: int, rate: int, scratch: Any) -> tuple[int, int]:
    """How many clocks there are at this rate, and how far apart; none unless each is seen on several ports."""
    offset, order = scratch[1], scratch[2]
    first = record_of(mine, scratch[0, 0])
    for i in range(count):
        elapsed_ms = (record_of(mine, i).time - first.time) // 1_000_000
        offset[i] = behind(record_of(mine, i).tsval, first.tsval) * 1000 // rate - elapsed_ms
    sort_by(offset, count, order)
    found, begin, at = 0, 0, 0
    while at < count:
        begin = at
        at += 1
        while at < count and offset[order[at]] - offset[order[at - 1]] <= SLACK_MS:
            at += 1
        if not has_members(mine, order, begin, at):
            return UNSURE, 0
        found += 1
    return found, offset[order[begin]] - offset[order[0]]


@kernel
def has_members(mine: Any, order: Any, begin: int, end: int) -> bool:
    """Whether the SYNs of a group come from several ports."""
    found = 0
    for i in range(begin, end):
        is_new = True
        for j in range(begin, i):
            if record_of(mine, order[j]).port == record_of(mine, order[i]).port:
                is_new = False
        found += is_new
        if found == MEMBERS:
            return True
    return False


@kernel
def sort_by_time(mine: Any, count: int, order: Any) -> None:
    """Fill ``order`` with the places of the SYNs, earliest first; of one moment, the lower frame first."""
    for i in range(count):
        place, one = i, record_of(mine, i)
        while place > 0 and is_before(one, record_of(mine, order[place - 1])):
            order[place] = order[place - 1]
            place -= 1
        order[place] = i


@kernel
def is_before(one: Any, other: Any) -> bool:
    """Whether a SYN comes before another."""
    return one.time < other.time or (one.time == other.time and one.frame < other.frame)


@kernel
def sort_by(values: Any, count: int, order: Any) -> None:
    """Fill ``order`` with the places of the values, smallest first; equal ones keep their order."""
    for i in range(count):
        place = i
        while place > 0 and values[order[place - 1]] > values[i]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = i
