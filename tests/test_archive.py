"""Burial loses nothing, and keeps few records in hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.flow import FlowTable
from tcptrace_tw.kernels.wide_records import Records
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.tcp import tracker
from tcptrace_tw.tcp.store import delta_codec
from tcptrace_tw.tcp.store import records as s
from tests.bench.workloads import generate
from tests.generate import conversations_on_one_tuple, healthy_traffic, merged
from tests.scenario import Result, play_frames, play_pcap
from tests.scenario.play import why_unfit

FIXTURES = Path(__file__).parent.parent / "fixtures"
RECORDS = {"CONNECTION": s.CONNECTION, "TCB": s.TCB, "SPAN": s.SPAN, "PENDING_CAUSE": s.PENDING_CAUSE}


def said(result: Result) -> dict[str, Counter[str]]:
    """All rows without what depends on the order in which the last ones are let go."""
    loose = {"transition_id": None, "retracts": None}
    tables = {name: Counter(str({**row, **loose}) for row in rows) for name, rows in result.tables.items()}
    tables.pop("capture")
    tables["findings"] = Counter(str(f) for f in result.findings if not f.rule.startswith("CP"))
    return tables


def buried(monkeypatch: pytest.MonkeyPatch, linger_ns: int = 0) -> None:
    """From now on whoever is over or silent is buried."""
    monkeypatch.setattr(tracker, "ARCHIVE_FROM", 0)
    monkeypatch.setattr(tracker, "LINGER_NS", linger_ns)
    monkeypatch.setattr(tracker, "IDLE_AFTER_NS", linger_ns)


RECORDED = sorted(p.parent.name for p in FIXTURES.glob("kernel-*/capture.pcap") if p.stat().st_size < 40_000)
"""The larger ones have the same kinds of segments, only more of them."""


@pytest.mark.parametrize("name", RECORDED)
def test_burial_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded captures: an incarnation is buried after every segment and dug out for the next one."""
    capture = FIXTURES / name / "capture.pcap"
    plain = said(play_pcap(capture))
    buried(monkeypatch)

    assert said(play_pcap(capture)) == plain


@pytest.mark.parametrize("seed", range(8))
def test_burial_does_not_matter_under_loss(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random conversations on one tuple with losses and repeats."""
    frames = merged(conversations_on_one_tuple(seed, 3, is_lossy=True))
    plain = said(play_frames(frames))
    buried(monkeypatch)

    assert said(play_frames(frames)) == plain


def test_burial_does_not_matter_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for machine code, which reads and writes the archived records with other instructions."""
    frames = list(healthy_traffic(7, 200))
    plain = said(play_frames(frames))
    buried(monkeypatch, 1_000_000)

    assert said(play_frames(frames, compiled=True)) == plain


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_is_packed(name: str) -> None:
    """A new field is kept without anybody thinking of it; what is not kept is named."""
    kept = {field.place.split(".")[1].split("[")[0] for field in delta_codec.fields(name, RECORDS[name])}

    assert kept | set(delta_codec.NOT_KEPT[name]) == set(RECORDS[name].names or ())
    assert not kept & set(delta_codec.NOT_KEPT[name])


@pytest.mark.parametrize("seed", range(20))
def test_packing_turns_back(seed: int) -> None:
    """Records of any content, small and extreme, come back as they were."""
    rng = np.random.default_rng(seed)
    state: Any = _State()
    kept, back_kept = (np.zeros(1, s.CONNECTION) for _ in range(2))
    both, back_both = (np.zeros(2, s.TCB) for _ in range(2))
    for records in (kept, both):
        for name in records.dtype.names:
            records[name] = _values(rng, records.dtype[name], records.size)
    kept["first_time"], kept["first_frame"] = 10**18, 5000
    both["pending"] = 3
    conn, twin, ends, twins = (Records(each) for each in (kept, back_kept, both, back_both))
    at = delta_codec.pack_connection(state, conn[0], conn[0], conn[0], 0, 0, 0)
    for side in range(2):
        at = delta_codec.pack_tcb(state, ends[side], ends[1 - side], conn[0], side, 3, at)
    back = delta_codec.unpack_connection(state, twin[0], twin[0], twin[0], 0, 0, 0)
    for side in range(2):
        back = delta_codec.unpack_tcb(state, twins[side], twins[1 - side], twin[0], side, 3, back)

    assert back == at <= delta_codec.MOST_UNITS
    for name, records, others in (("CONNECTION", kept, back_kept), ("TCB", both, back_both)):
        for field in set(records.dtype.names) - set(delta_codec.NOT_KEPT[name]):
            assert records[field].tolist() == others[field].tolist(), field


PACKERS = {
    "CONNECTION": delta_codec.pack_connection,
    "TCB": delta_codec.pack_tcb,
    "SPAN": delta_codec.pack_span,
    "PENDING_CAUSE": delta_codec.pack_cause,
}
FRAME, TIME = 10**12, 10**18
"""When an incarnation begins, late in a long capture."""


def near(record: str, field: str, dtype: np.dtype[Any]) -> tuple[int, int]:
    """What stands in a field of which nothing is known, and what soon after the incarnation has begun."""
    if dtype == np.int64 and (field.endswith("frame") or field == "again_since"):
        return -1, FRAME + 5
    if dtype == np.int64 and (field.endswith("time") or record == "SPAN"):
        return -1, TIME + 5
    return (-1, 5) if dtype == np.int32 else (0, 5)


def units(record: str, **known: int) -> int:
    """How many units a record takes in which only this is known."""
    kept = {name: np.zeros(1, dtype) for name, dtype in RECORDS.items()}
    for name, rows in kept.items():
        for field in rows.dtype.names or ():
            rows[field] = near(name, field, rows.dtype[field].base)[0]
    kept["CONNECTION"]["first_frame"], kept["CONNECTION"]["first_time"] = FRAME, TIME
    for field, value in known.items():
        kept[record][field] = value
    one, conn = Records(kept[record])[0], Records(kept["CONNECTION"])[0]
    return int(PACKERS[record](_State(), one, one, conn, 0, 0, 0))


MEASURED_FROM = ("id", "first_frame", "first_time", "ttl")
"""Others are nearer to these, or farther, when these change."""


@pytest.mark.parametrize(("record", "field"), [
    (record, field) for record, dtype in RECORDS.items() for field in dtype.names or ()
    if field not in (*delta_codec.BASES, *delta_codec.NOT_KEPT[record], *MEASURED_FROM) and not dtype[field].shape
])  # fmt: skip
def test_what_is_near_the_beginning_takes_one_unit(record: str, field: str) -> None:
    """Frames lie near the first frame, times near the first time, and all other numbers near 0 or none."""
    unknown, known = near(record, field, RECORDS[record][field])

    assert units(record, **{field: unknown}) == units(record)
    assert units(record, **{field: known}) == units(record) + 1


@pytest.mark.parametrize("record", RECORDS)
def test_what_is_not_known_takes_no_unit(record: str) -> None:
    tags = delta_codec.tag_units(delta_codec.fields(record, RECORDS[record]))

    assert units(record) == tags + (8 if record == "CONNECTION" else 0)  # its first frame and first time


class _State:
    archive = np.zeros(4096, np.uint16)


def _values(rng: np.random.Generator, dtype: np.dtype[Any], count: int) -> Any:
    base = dtype.base
    low, high = (-1, 1 << 62) if base.kind == "i" else (0, np.iinfo(base).max)
    high = min(high, np.iinfo(base).max)
    small = rng.integers(max(low, -1), min(high, 40000), (count, *dtype.shape))
    wild = rng.integers(low, high, (count, *dtype.shape), endpoint=True, dtype=np.uint64 if low == 0 else np.int64)
    return np.where(rng.random(small.shape) < 0.5, small, wild.astype(small.dtype)).astype(base)


def tracked(path: str) -> tracker.Tracker:
    """A tracker that has seen a whole capture within 2MSL, in which nothing is forgotten."""
    is_compiled = not why_unfit()
    flow = FlowTable(compiled=is_compiled, seed=new_seed())
    hands = tracker.Tracker(profile("linux"), compiled=is_compiled, transitions=False, seed=new_seed())
    for batch in Reader(open_stream(path), compiled=is_compiled).batches():
        flow.assign(batch)
        assert not list(hands.arrive(batch, flow.tuples))
    return hands


def test_few_records_are_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2000 remembered connections most take less than 300 bytes, and have no record any more."""
    monkeypatch.setattr(tracker, "ARCHIVE_FROM", 100)
    written = generate("short-100k", tmp_path, 0.02, say=lambda text: None)
    hands = tracked(written.path)

    assert hands.live == written.connections
    assert hands.counters[s.CONNS_USED] < 1500
    assert 2 * int(hands.counters[s.ARCHIVE_USED]) < 300 * hands.counters[s.ARCHIVED] + (1 << 16)


def test_a_sleeper_takes_less_than_400_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Established connections without a word: packed as well, and still there however long they sleep."""
    monkeypatch.setattr(tracker, "ARCHIVE_FROM", 100)
    monkeypatch.setattr(tracker, "IDLE_AFTER_NS", 10_000_000)
    written = generate("long-tail", tmp_path, 0.002, say=lambda text: None)
    hands = tracked(written.path)

    assert hands.live == written.connections
    assert hands.counters[s.ARCHIVED] > written.connections // 2
    assert 2 * int(hands.counters[s.ARCHIVE_USED]) < 300 * hands.counters[s.ARCHIVED] + (1 << 16)
