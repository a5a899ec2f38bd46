"""What is reserved for one segment is never less than what a search and crafted captures make it cause."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from tcptrace_tw import one_pass, pipeline
from tcptrace_tw.kernels.arrays import allocated_by
from tcptrace_tw.schema.columns import ACK, FIN, SYN
from tcptrace_tw.tcp import tracker
from tcptrace_tw.tcp.store import records as s
from tcptrace_tw.tcp.store.reservations import RESERVATIONS, Reservation, segments_with_room
from tests import capture_bytes as cb
from tests.fuzz.ground import ALLOCATORS
from tests.fuzz.maxima import END, REGISTERS, SEGMENT, TAKEN, Maxima, measured
from tests.scenario import play_pcap

MS = 1_000_000
T0 = 1_700_000_000 * 1000 * MS


def segment(client: int, flags: int, *, from_server: bool = False, seq: int = 1, ack: int = 1) -> bytes:
    client_ip, server_ip = f"10.1.{client >> 8}.{client & 255}", "192.0.2.1"
    ports = {"sport": 80, "dport": 4000} if from_server else {"sport": 4000, "dport": 80}
    src, dst = (server_ip, client_ip) if from_server else (client_ip, server_ip)
    return cb.ethernet(cb.ipv4(cb.tcp(seq=seq, ack=ack, flags=flags, **ports), src=src, dst=dst))


def crowd(seed: int, count: int) -> bytes:
    """Unanswered SYNs, simultaneous closes and idle connections; then, when all are due at once, each again."""
    rng = random.Random(seed)
    frames: list[cb.Record] = []
    time = T0
    kinds = [rng.choice("saic") for _ in range(count)]
    for client, kind in enumerate(kinds):
        time += 10_000
        if kind == "s":
            frames.append(cb.Record(segment(client, SYN, ack=0), time))
        elif kind == "i":
            frames.append(cb.Record(segment(client, ACK), time))
        else:
            for is_server, (flags, seq, ack) in zip(
                (False, True, False, True),
                ((FIN | ACK, 1, 1), (FIN | ACK, 1, 1), (ACK, 2, 2), (ACK, 2, 2)),
                strict=True,
            ):
                frames.append(cb.Record(segment(client, flags, from_server=is_server, seq=seq, ack=ack), time))
    for pause in (300, 2000, 200_000):
        time += pause * MS
        for client in rng.sample(range(count), count // 2):
            time += 1000
            again = segment(client, rng.choice([SYN, ACK]), seq=rng.getrandbits(32), ack=rng.getrandbits(32))
            frames.append(cb.Record(again, time))
    return cb.pcap(frames, nano=True)


def exceeded(found: Maxima) -> list[str]:
    """Where more was caused than is reserved.

    Records that were taken count also where some had been given back before; of incarnations there are too many of
    these: what is archived is first restored beside itself.
    """
    return [
        f"{reservation.array}: {found.most[what, name]} by {what}, {reservation.most} reserved"
        for reservation in RESERVATIONS
        for name, register in (*REGISTERS.items(), *TAKEN.items())
        for what in (SEGMENT, END)
        if register == reservation.used and name != "CONNS_TAKEN" and found.most.get((what, name), 0) > reservation.most
    ]


def test_a_search_finds_nothing_above_the_table() -> None:
    """Random conversations, segment by segment: no register grows by more than is reserved for it."""
    found = measured(range(300 if "TCPTRACE_TW_EVERYTHING" in os.environ else 100))

    assert found.segments > 2000
    assert exceeded(found) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_that_is_due_at_once_stays_within_the_table(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Incarnations that idle, archived ones and attempts end with one segment: nearly as many as are reserved for."""
    for name, value in (("ARCHIVE_FROM", 40), ("LINGER_NS", 100 * MS), ("IDLE_AFTER_NS", 1000 * MS)):
        monkeypatch.setattr(tracker, name, value)
    monkeypatch.setattr(tracker, "REMEMBER_NS", tracker.REMEMBER_AT_LEAST_NS)  # so that all are due at once
    found = Maxima()
    with found._watching():
        play_pcap(crowd(seed, 300), compiled=False)

    assert exceeded(found) == []
    assert found.most[SEGMENT, "OUT_CONNECTIONS"] > 6


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_rooms_of_exactly_the_promised_size_are_enough(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array ends where its reservation ends, and interpreted kernels check each index."""
    monkeypatch.setattr(tracker, "ARCHIVE_FROM", 5)
    monkeypatch.setattr(one_pass, "BATCH_SIZE", batch)
    capture = crowd(9, 200)
    plain = play_pcap(capture)
    with allocated_by(ALLOCATORS["exact"]()):
        got = play_pcap(capture, compiled=False)

    assert len(got.connections) == len(plain.connections) > 200


def test_every_array_that_grows_is_in_the_table() -> None:
    """Whatever register counts what is written has a row; the archive asks for each place that it takes."""
    used = {name: value for name, value in vars(s).items() if name.endswith("_USED") or name.startswith("OUT_")}
    counted = {value for name, value in used.items() if isinstance(value, int) and not name.endswith("_ROOM")}

    assert {r.used for r in RESERVATIONS} == (counted | {s.RELEASED}) - {s.ARCHIVE_USED}
    assert len({r.room for r in RESERVATIONS}) == len(RESERVATIONS)


@pytest.mark.parametrize("reservation", RESERVATIONS, ids=lambda r: r.array)
def test_the_scarcest_room_decides(reservation: Reservation) -> None:
    """How many segments there is room for follows from the array that has least."""
    counters = np.zeros(s.REGISTERS, np.int64)
    for each in RESERVATIONS:
        counters[each.room] = 100 * each.most
    counters[reservation.used] = counters[reservation.room] - 3 * reservation.most + 1

    assert segments_with_room(counters) == 2


def test_a_folder_of_tiny_captures_is_read_whole(tmp_path: Path) -> None:
    """Files of a ring bring batches of few segments; what waits from one to the next stays within its room."""
    capture = crowd(4, 400)
    header, frames = capture[:24], []
    at = 24
    while at < len(capture):
        size = int.from_bytes(capture[at + 8 : at + 12], "little")
        frames.append(capture[at : at + 16 + size])
        at += 16 + size
    for n in range(0, len(frames), 50):
        (tmp_path / f"{n:05}.pcap").write_bytes(header + b"".join(frames[n : n + 50]))
    summary = pipeline.analyze([str(tmp_path)], pipeline.Settings(), [])

    assert summary.connections >= 400
