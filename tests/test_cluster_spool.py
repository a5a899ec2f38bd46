"""What is written into the spool is read back: blocks of segments, and rows in the order of their connections."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcptrace_tw.cluster import dealing, spool
from tcptrace_tw.kernels.marks import load
from tcptrace_tw.schema.segments import MOST, allocate

NARROW = {"src_hi": 0, "dst_hi": 0, "scope": 0}
COLUMNS = (
    "time", "frame", "src_hi", "src_lo", "dst_hi", "dst_lo", "scope", "seq", "ack", "tsval", "tsecr", "payload_len",
    "sack_start", "sack_end", "sport", "dport", "flags", "window", "ip_id", "options", "mss", "checksum", "wscale",
    "ttl",
)  # fmt: skip


def segments(count: int, *, is_wide: bool, seed: int = 1, pause_bits: int = 31) -> Any:
    """Some with every number that a column may have; a length that is not known, and columns of zeros only."""
    rng = np.random.default_rng(seed)
    batch = allocate(count)
    for name, most in {"seq": 32, "ack": 32, "tsval": 32, "sport": 16, "dport": 16, "flags": 9, "ttl": 8}.items():
        batch[name] = rng.integers(0, 1 << most, count)
    batch["time"] = 10**18 + np.cumsum(rng.integers(0, 1 << pause_bits, count))
    batch["frame"] = (3 << 40) + np.cumsum(rng.integers(1, 9, count))
    batch["payload_len"] = rng.integers(-1, 1 << 16, count)
    for name in ("src_lo", "dst_lo"):
        batch[name] = (dealing.IPV4_MAPPED << 32) + rng.integers(0, 1 << 32, count)
    if is_wide:
        odd = rng.random(count) < 0.3
        for name in ("src_hi", "dst_hi", "scope", "src_lo", "dst_lo"):
            batch[name][odd] = rng.integers(-(1 << 62), 1 << 62, count)[odd]
    return batch


def dealt_and_read(batches: list[Any], path: Path, parts: int, size: int, codec: int, *, compiled: bool) -> list[Any]:
    """By part: the segments, in copies of the batches in which they come back."""
    room, words = dealing.room_for(parts, size), np.full(dealing.DEALT + 1, -1, np.int64)
    words[[dealing.LATEST, dealing.DEALT]] = 0
    places: list[list[list[int]]] = [[] for _ in range(parts)]
    deal = load(dealing.deal, compiled=compiled)
    with spool.appearing(path, is_checked=True) as file:

        def flush(part: int) -> None:
            begin = file.size
            spool.write_block(file, room, part, codec)
            places[part].append([begin, file.size - begin, int(room.fill[part])])
            room.fill[part] = 0

        for batch in batches:
            words[dealing.NEXT] = 0
            deal(batch, batch.size, words, room)
            while words[dealing.FULL] >= 0:
                flush(int(words[dealing.FULL]))
                deal(batch, batch.size, words, room)
        for part in np.flatnonzero(room.fill).tolist():
            flush(part)
        digest = file.digest
    assert spool.is_whole(path, digest)
    reader = spool.BlockReader(compiled=compiled)
    return [
        [batch.copy() for batch in reader.batches([spool.BlockSource(path, 0, own)])] if own else [] for own in places
    ]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("codec", range(len(spool.CODECS)))
@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize("pause_bits", [31, 45])
def test_segments_come_back(codec: int, compiled: bool, is_wide: bool, pause_bits: int, tmp_path: Path) -> None:
    batches = [segments(300, is_wide=is_wide and n != 1, seed=n, pause_bits=pause_bits) for n in range(3)]
    for before, after in pairwise(batches):
        after["time"] += before["time"][-1] - 10**18
        after["frame"] += before["frame"][-1] - (3 << 40)
    found = dealt_and_read(batches, tmp_path / "segments", 3, 64, codec, compiled=compiled)

    together = np.concatenate([np.asarray(batch) for part in found for batch in part])
    together = together[np.argsort(together["frame"])]
    whole = np.concatenate([np.asarray(batch) for batch in batches])
    for name in COLUMNS:
        assert together[name].tolist() == whole[name].tolist(), name
    assert [len(part) for part in found] == [1, 1, 1]


def test_blocks_are_gathered_up_to_a_batch(tmp_path: Path) -> None:
    batches = [segments(1 << 14, is_wide=False, seed=n) for n in range(3)]
    (found,) = dealt_and_read(batches, tmp_path / "segments", 1, 1 << 12, 0, compiled=True)

    assert [batch.size for batch in found] == [MOST, 3 * (1 << 14) - MOST]


def test_pauses_of_hours_do_not_end_a_block() -> None:
    """An archive of a quiet network would be dealt in blocks of a few segments, which are slow to write and to read."""
    batch, words = segments(300, is_wide=False, pause_bits=45), np.zeros(dealing.DEALT + 1, np.int64)
    room = dealing.room_for(1, 300)
    load(dealing.deal, compiled=False)(batch, batch.size, words, room)

    assert (words[dealing.FULL], words[dealing.NEXT], room.fill[0]) == (dealing.NOTHING, 300, 300)


@pytest.mark.parametrize("change", ["cut", "spoilt", "gone"])
def test_damage_is_seen(change: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    with spool.appearing(path, is_checked=True) as file:
        file.write(b"a" * 100)
    if change == "cut":
        path.write_bytes(b"a" * 99)
    elif change == "spoilt":
        path.write_bytes(b"a" * 50 + b"b" + b"a" * 49)
    else:
        path.unlink()

    assert not spool.is_whole(path, file.digest)


def test_a_temporary_file_has_its_size_for_a_digest(tmp_path: Path) -> None:
    with spool.appearing(tmp_path / "rows") as file:
        file.write(b"abc")

    assert file.digest == "3"
    assert spool.is_whole(tmp_path / "rows", "3")
    assert not spool.is_whole(tmp_path / "rows", "4")


@pytest.mark.parametrize("compiled", [True, False])
def test_rows_are_sorted_by_their_connection(compiled: bool) -> None:
    rows = np.zeros(500, [("other", "i8"), ("connection_id", "i8")])
    rows["connection_id"] = np.random.default_rng(2).integers(1, 40, rows.size)
    order, ends = np.zeros(rows.size, np.int64), np.zeros(41, np.int64)
    load(dealing.order_by_connection, compiled=compiled)(rows["connection_id"], ends, order)

    assert order.tolist() == np.argsort(rows["connection_id"], kind="stable").tolist()
