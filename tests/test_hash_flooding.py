"""Tuples, keys and times that strangers choose so that their hashes agree cost no more steps than others.

What is counted are the places that a table looks at, not time. Who attacks knows everything but the seed of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tcptrace_tw import flow, keyed_hash, one_pass, pipeline
from tcptrace_tw.flow import FlowTable
from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.keyed_hash import FACTORS, LOW, TABLE, Seed, new_seed
from tcptrace_tw.measure import buckets
from tcptrace_tw.measure.keys import NUMBER_MASK, WORDS, Keys, hash_of
from tcptrace_tw.measure.series import Series, add
from tcptrace_tw.measure.vlan_splits import VlanSplits
from tcptrace_tw.report.summary.grouping import Groups
from tcptrace_tw.report.summary.sink import SummarySink
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema import segments
from tests.compiled import compiled as compiled_step
from tests.compiled import why_not
from tests.report_rows import blank
from tests.scenario import parse, render
from tests.scenario.play import engine

FIXTURES = Path(__file__).parent.parent / "fixtures"
MODULUS = 1 << 64
MOST_STEPS = 3
"""A table may look at this many places for each key, on the average; at its fullest, 2 are expected."""

Columns = dict[str, NDArray[np.int64]]


def seed_of(number: int) -> Seed:
    """A seed that is the same in every run of the tests."""
    seed = np.random.default_rng(number).integers(-(1 << 63), (1 << 63) - 1, FACTORS + 4 * TABLE, np.int64)
    seed[FACTORS:] &= (1 << 31) - 1
    return seed


def blind(seed: Seed) -> Seed:
    """The worst seed for time: all hashes are 0."""
    seed = seed.copy()
    seed[FACTORS:] = 0
    return seed


def words(count: int, number: int = 1) -> NDArray[np.int64]:
    return np.random.default_rng(number).integers(-(1 << 63), (1 << 63) - 1, count, np.int64)


def batches(tuples: Columns) -> Iterator[Any]:
    size = len(next(iter(tuples.values())))
    for begin in range(0, size, segments.MOST):
        batch = segments.allocate(min(segments.MOST, size - begin))
        for name, column in tuples.items():
            batch[name] = column[begin : begin + segments.MOST]
        yield batch


def steps_of_tuples(tuples: Columns, seed: Seed) -> float:
    """How many places the index of tuples looks at for each of them."""
    table = FlowTable(compiled=False, seed=seed)
    for batch in batches(tuples):
        table.assign(batch)
    index = table._index
    places = np.flatnonzero(index)
    return float(np.mean(((places - (index[places] >> 32)) & (index.size - 1)) + 1))


def steps_of_keys(rows: NDArray[np.int64], seed: Seed) -> float:
    """The same of an index of keys."""
    keys = Keys(1 << 11, compiled=False, seed=seed)
    keys.number(*rows.T)
    index, parts = keys.table.index.astype(np.int64), keys.table.parts
    places = np.flatnonzero(index)
    homes = np.array([hash_of(seed, *parts[(index[place] & NUMBER_MASK) - 1]) for place in places])
    return float(np.mean(((places - homes) & (index.size - 1)) + 1))


def steps_of_buckets(entries: list[tuple[int, int]], seed: Seed) -> float:
    """The same of an index of keys and times."""
    table, steps = Series(seed, 1 << 11).table, 0
    for key, second in entries:
        word = buckets.word_of(table, key, second)
        place, steps = buckets.seat_of(table, word) & buckets.SEAT_MASK, steps + 1
        while table.index[place] and table.entries[buckets.number_in(table, place)].word != word:
            place, steps = buckets.next_place(table, place), steps + 1
        buckets.entry_of(table, key, second, add).new += 1
    return steps / len(entries)


def plain_total(seed: Seed, *halves: tuple[int, NDArray[np.int64]]) -> NDArray[np.uint64]:
    """Factors and 32-bit halves of words, multiplied and summed up."""
    factors = seed.view(np.uint64)
    total = np.zeros(1, np.uint64) + factors[0]
    for factor, half in halves:
        total = total + factors[factor] * half.astype(np.uint64)
    return total


def plain_hash(seed: Seed, total: NDArray[np.uint64]) -> NDArray[np.int64]:
    """One random number for each of the four upper bytes."""
    found = np.zeros(total.size, np.int64)
    for n in range(4):
        byte = (total >> np.uint64(32 + 8 * n)) & np.uint64(0xFF)
        found ^= seed[FACTORS + n * TABLE + byte.astype(np.int64)]
    return found


def plain_hash_of_ipv4(seed: Seed, tuples: Columns) -> NDArray[np.int64]:
    """Of tuples whose source is endpoint a."""
    ports = tuples["sport"] << 16 | tuples["dport"]
    words = ((keyed_hash.A_LO, tuples["src_lo"]), (keyed_hash.B_LO, tuples["dst_lo"]))
    halves = [(f + n, word >> 32 * n & LOW) for f, word in words for n in range(2)]
    return plain_hash(seed, plain_total(seed, *halves, (keyed_hash.PORTS, ports)))


def some_ipv4(count: int, number: int = 1) -> Columns:
    random = np.random.default_rng(number)
    mapped = 0xFFFF << 32
    return {
        "src_lo": mapped + random.integers(1 << 24, 1 << 30, count),
        "dst_lo": mapped + random.integers(1 << 30, 1 << 31, count),
        "sport": random.integers(1024, 65536, count),
        "dport": random.integers(1, 1024, count),
    }


def chosen_for(seed: Seed, count: int) -> Columns:
    """IPv4 tuples that all begin to look near one place of an index, in a run with this seed."""
    candidates = some_ipv4(count * 200)
    which = np.flatnonzero(plain_hash_of_ipv4(seed, candidates) & 0x1FFF < 64)[:count]
    return {name: column[which] for name, column in candidates.items()}


def mixed(h: int, x: int) -> int:
    """A step of the hash that releases before 0.2 had, whose beginning was the same everywhere."""
    h = (h ^ x) * 0x2545F4914F6CDD1D & (1 << 62) - 1
    return h ^ h >> 32


def chosen_for_the_old_hash(count: int) -> Columns:
    """IPv6 tuples on which every step of it can be undone: all have one hash of 31 bits."""
    undo = pow(0x2545F4914F6CDD1D, -1, 1 << 62)
    lows = (words(2 * count) & (1 << 61) - 1).reshape(2, -1)
    src_lo, dst_lo, ports = lows.min(0), lows.max(0), 40000 << 16 | 80
    dst_hi = []
    for i, (a_lo, b_lo) in enumerate(zip(src_lo.tolist(), dst_lo.tolist(), strict=True)):
        h = mixed(mixed(mixed(mixed(0x1234567, a_lo), b_lo), ports), 1)
        last = i << 31 | 0x2AAAAAAA
        before = (last ^ last >> 32) * undo & (1 << 62) - 1
        dst_hi.append((before ^ before >> 32) * undo & (1 << 62) - 1 ^ h)
    ones = np.ones(count, np.int64)
    return {
        "src_hi": ones, "src_lo": src_lo, "dst_hi": np.array(dst_hi), "dst_lo": dst_lo,
        "sport": 40000 * ones, "dport": 80 * ones,
    }  # fmt: skip


def in_a_row(count: int, step: int, name: str) -> Columns:
    """Tuples that differ in one field, by the same each time."""
    tuples = {key: np.repeat(column, count) for key, column in some_ipv4(1).items()}
    tuples["src_hi"], tuples["dst_hi"], tuples["scope"] = (np.zeros(count, np.int64) for _ in range(3))
    with np.errstate(over="ignore"):
        tuples[name] = tuples[name] + np.arange(count) * step
    return tuples


SEEDS = [pytest.param(seed_of(number), id=str(number)) for number in range(3)]


@pytest.mark.parametrize("seed", SEEDS)
def test_tuples_that_collide_under_a_known_hash_do_not_under_that_of_a_run(seed: Seed) -> None:
    """The fixed hash of earlier releases, and the hash of another run."""
    other = seed_of(99)

    assert steps_of_tuples(chosen_for(other, 1000), other) > 200
    assert steps_of_tuples(chosen_for(other, 1000), seed) < MOST_STEPS
    assert steps_of_tuples(chosen_for_the_old_hash(1000), seed) < MOST_STEPS


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "step"),
    [("sport", 1), ("dport", 2), ("src_lo", 1), ("src_lo", 256), ("dst_lo", 1 << 16), ("dst_lo", 1 << 31),
     ("src_hi", 1), ("dst_hi", 1 << 32), ("dst_hi", 1 << 48), ("scope", 1), ("scope", 1 << 32)],
)  # fmt: skip
def test_tuples_at_equal_distances_form_no_long_runs(seed: Seed, name: str, step: int) -> None:
    """A scan of ports or addresses; the index is as full as it may be."""
    count = 5400 if step < 1 << 48 else 1 << 12

    assert steps_of_tuples(in_a_row(count, step, name), seed) < MOST_STEPS


def test_every_bit_of_a_key_matters_and_none_more_than_others() -> None:
    """Two keys that differ in one bit share one place of 64 as often as any two: under one seed of 64."""
    base, bits, seeds = words(WORDS, 7), 64 * WORDS, 40
    flips = np.zeros((bits, WORDS), np.uint64)
    flips[np.arange(bits), np.arange(bits) // 64] = np.uint64(1) << (np.arange(bits) % 64).astype(np.uint64)
    shared = np.zeros(bits, np.int64)
    for seed in map(seed_of, range(seeds)):
        place = int(hash_of(seed, *base)) & 63
        shared += [int(hash_of(seed, *row)) & 63 == place for row in base ^ flips.view(np.int64)]

    assert shared.max() <= 8
    assert 0.6 < shared.sum() / (bits * seeds / 64) < 1.4


def hash_keys(compiled: bool) -> Callable[..., None]:
    """The step of ``assign_slots``, which the library has only within that kernel."""
    if not compiled:
        return flow.hash_keys
    if why_not():
        pytest.skip(why_not())
    return compiled_step(flow.hash_keys, segments.BATCH_KIND, INTEGER, Array(np.int64), Array(np.int64))


@pytest.mark.parametrize("compiled", [False, True], ids=["interpreted", "compiled"])
def test_the_hash_is_the_sum_of_products_and_four_tables(compiled: bool) -> None:
    """Whatever the signs are, for both directions of a tuple, and in both modes."""
    columns = {"src_lo": words(256, 2), "dst_lo": words(256, 3), "src_hi": words(256, 4), "dst_hi": words(256, 5),
               "scope": words(256, 6) & (1 << 62) - 1, "sport": words(256, 7) & 0xFFFF,
               "dport": words(256, 8) & 0xFFFF}  # fmt: skip
    columns["src_hi"][:64] = columns["dst_hi"][:64] = columns["scope"][:64] = 0
    columns["src_lo"][:3] = -1, -(1 << 63), (1 << 63) - 1
    seed, there, hashes = seed_of(5), next(batches(columns)), np.zeros(256, np.int64)
    back = next(batches(columns))
    for a, b in (("src_hi", "dst_hi"), ("src_lo", "dst_lo"), ("sport", "dport")):
        back[a], back[b] = there[b], there[a]
    kernel = hash_keys(compiled)
    found = []
    for batch in (there, back):
        kernel(batch, batch.size, seed, hashes)
        found.append(hashes.tolist())
    is_swapped = there.direction == 1
    a_lo, b_lo, a_hi, b_hi, a_port, b_port = (
        np.where(is_swapped, columns[y], columns[x])
        for x, y in (pair for name in ("_lo", "_hi", "port") for pair in ends(name))
    )
    parts = (
        (keyed_hash.A_LO, a_lo),
        (keyed_hash.B_LO, b_lo),
        (keyed_hash.A_HI, a_hi),
        (keyed_hash.B_HI, b_hi),
        (keyed_hash.SCOPE, columns["scope"]),
    )
    halves = [(f + n, half) for f, word in parts for n, half in enumerate((word & LOW, word >> 32))]

    expected = plain_hash(seed, plain_total(seed, *halves, (keyed_hash.PORTS, a_port << 16 | b_port)))
    assert found == [expected.tolist(), expected.tolist()]
    assert (there.direction + back.direction == 1).all()


def ends(name: str) -> list[tuple[str, str]]:
    src, dst = ("sport", "dport") if name == "port" else (f"src{name}", f"dst{name}")
    return [(src, dst), (dst, src)]


def test_fingerprints_are_the_same_in_both_modes() -> None:
    """Large numbers wrap when compiled, and grow when interpreted."""
    batch, prints = next(batches(some_ipv4(256))), []
    for n, name in enumerate(("seq", "ack", "tsval", "payload_len", "checksum", "ip_id", "flags")):
        batch[name] = words(256, n) & np.iinfo(batch[name].dtype).max
    for compiled in (False, True):
        hash_keys(compiled)(batch, batch.size, seed_of(1), np.zeros(256, np.int64))
        prints.append(batch["print"].tolist())

    assert prints[0] == prints[1]
    assert len(set(prints[0])) == 256


def test_the_place_of_a_fingerprint_is_the_same_in_every_run() -> None:
    """Which copies are found must not depend on the seed; what they are compared by must."""
    runs = []
    for number in range(2):
        (batch,) = batches({**some_ipv4(500), "seq": words(500) & LOW})
        FlowTable(compiled=False, seed=seed_of(number)).assign(batch)
        runs.append(batch["print"] // segments.PRINT_PLACES)
        places = batch["print"] % segments.PRINT_PLACES
        runs.append(places)

    assert runs[1].tolist() == runs[3].tolist()
    assert len(np.unique(runs[1])) > 450
    assert not (runs[0] == runs[2]).any()


def test_every_field_that_tells_copies_apart_is_in_the_fingerprint() -> None:
    """A segment that differs in one bit is no copy; the place is not needed to see that."""
    widths = {"seq": 32, "ack": 32, "tsval": 32, "checksum": 16, "ip_id": 16, "payload_len": 14, "flags": 9,
              "src_lo": 64, "src_hi": 64, "dport": 16, "scope": 62}  # fmt: skip
    bits = [(name, 1 << bit) for name, width in widths.items() for bit in range(width)]
    (batch,) = batches({name: column.repeat(len(bits) + 1) for name, column in some_ipv4(1).items()})
    for i, (name, bit) in enumerate(bits, 1):
        value = int(batch[name][i]) ^ bit
        batch[name][i] = value - MODULUS if value >= 1 << 63 else value
    FlowTable(compiled=False, seed=seed_of(3)).assign(batch)

    assert len(np.unique(batch["print"] // segments.PRINT_PLACES)) == len(bits) + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_cost_the_same_however_they_were_chosen(seed: Seed) -> None:
    """Keys that collide in another run, in the hash of earlier releases, and in a row."""
    other, candidates = seed_of(99), words(WORDS * 100_000).reshape(-1, WORDS)
    halves = [(f + n, half) for w, f in ((4, 1), (1, 3), (3, 5), (0, 7), (2, 9))
              for n, half in enumerate((candidates[:, w] & LOW, candidates[:, w] >> 32))]  # fmt: skip
    near = candidates[plain_hash(other, plain_total(other, *halves)) & 0xFFF < 32][:700]
    cancelling = np.zeros((1500, WORDS), np.int64)
    cancelling[:, 2] = np.arange(1500)
    cancelling[:, 0] = cancelling[:, 2] << 1
    row = np.zeros((2000, WORDS), np.int64)
    row[:, 1] = np.arange(2000)

    assert steps_of_keys(near, other) > 200
    for rows in (near, cancelling, row):
        assert steps_of_keys(rows, seed) < MOST_STEPS


@pytest.mark.parametrize("seed", SEEDS)
def test_buckets_cost_the_same_however_keys_and_times_were_chosen(seed: Seed) -> None:
    """Seconds that collide in another run, neighbours of one line only, and many keys in one second."""
    other = seed_of(99)
    table, rng = Series(other, 1 << 11).table, np.random.default_rng(4)
    near = [
        (key, second)
        for key, second in rng.integers(0, (1 << 10, 1 << 30), (16_000, 2)).tolist()
        if buckets.seat_of(table, buckets.word_of(table, key, second)) & buckets.SEAT_MASK < 128
    ]
    diagonal = [(key, (key & 15) + 16 * n) for n in range(20) for key in range(64)]

    assert steps_of_buckets(near, other) > 10
    for entries in (near, diagonal, [(key, 1 << 30) for key in range(1900)]):
        assert steps_of_buckets(entries, seed) < MOST_STEPS


def test_python_looks_for_addresses_by_a_hash_of_this_process() -> None:
    """The hash of a tuple of numbers is known, and a number has that of the number 2**61 - 1 above."""
    halves, pools = VlanSplits(), Groups(1 << 10)
    rows = blank(c.CONNECTIONS, 256)
    same = np.arange(4) * ((1 << 61) - 1)
    names = ("orig_ip_hi", "orig_ip_lo", "resp_ip_hi", "resp_ip_lo")
    for n, name in enumerate(names):
        rows[name] = np.tile(same.repeat(4**n), 64 // 4**n)
    rows.scope, rows.orig_segments = 1, 1
    halves.see(rows)
    pools.number([np.ascontiguousarray(rows[name]) for name in names])

    assert len({hash(half) for half in halves._waiting}) == len(halves._waiting) == 256
    assert len({hash(pool) for pool in pools._numbers}) == len(pools._numbers) == 256


def test_each_run_draws_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the system, for every run; all tables of a run have the same."""
    seeds = [new_seed() for _ in range(2)]
    given: list[Seed] = []

    def flow_table(*, compiled: bool, seed: Seed) -> FlowTable:
        given.append(seed)
        return FlowTable(compiled=compiled, seed=seed)

    monkeypatch.setattr(one_pass, "FlowTable", flow_table)
    for _ in range(2):
        told(FIXTURES / "kernel-reuse-by-other-stack" / "capture.pcap", None)

    for one, another in (*pairwise(given), seeds):
        assert (one[:FACTORS] != another[:FACTORS]).all()
        assert np.mean(one[FACTORS:] != another[FACTORS:]) > 0.99
    assert {int(x) >> 31 for seed in given for x in seed[FACTORS:]} == {0}
    assert len(np.unique(seeds[0][FACTORS:] & 0xFF)) > 200


@pytest.mark.parametrize(
    "name",
    ["duplicated-frames", "duplicate-frames-nearly", "kernel-any-interface", "directions-in-two-vlans",
     "same-tuple-in-two-vlans", "abort-linger0-habit", "nat-many-clocks", "kernel-ipv6", "kernel-port-range-of-one"],
)  # fmt: skip
def test_no_row_finding_or_report_depends_on_the_seed(name: str, tmp_path: Path) -> None:
    """Not even where every tuple has the same hash."""
    pcap, seed = FIXTURES / name / "capture.pcap", seed_of(1)
    if not pcap.exists():
        scenario = parse((FIXTURES / name / "scenario.pkt").read_text())
        pcap = tmp_path / "scenario.pcap"
        pcap.write_bytes(render(scenario.frames, scenario.link))
    expected = told(pcap, seed)

    assert expected[0]
    for other in (seed_of(2), new_seed(), blind(seed)):
        assert told(pcap, other) == expected


def told(pcap: Path, seed: Seed | None) -> Any:
    """Every row and finding of a run, in the order in which they came, and its report."""
    sink, totals = Everything(), SummarySink()
    with engine(compiled=False):
        summary = pipeline.analyze([str(pcap)], pipeline.Settings(), [sink, totals], seed=seed)
    return sink.said, totals.digest(summary).to_json()


class Everything:
    """A sink that keeps the numbers of rows and findings."""

    tables = frozenset(c.BY_NAME)

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        self.said.append((table, rows.tolist()))

    def findings(self, findings: Any) -> None:
        confidence = np.asarray(findings.confidence).tolist()
        self.said.append((findings.rule.id, findings.rows.tolist(), confidence, findings.caveats))
