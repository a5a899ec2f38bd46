"""A day of traffic as one capture: sessions of two connections each, the second of which reuses the port too soon."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import capture_bytes as build

DAY_NS = 86_400 * 10**9
START_NS = 1_700_000_000 * 10**9
SYN, FIN, ACK = 2, 1, 16
STEPS = ((0, 0, SYN), (1, 0, SYN | ACK), (0, 1, ACK), (0, 1, FIN | ACK), (1, 1, FIN | ACK), (0, 2, ACK))
"""Side, how many sequence numbers it has used, and flags; the client closes first and is in TIME-WAIT."""

HOSTS = ("10.0.0.1", "10.0.0.2")
STEP_NS, GAP_NS = 200_000, 5 * 10**9
RECORD = np.dtype([("s", "<u4"), ("us", "<u4"), ("caplen", "<u4"), ("len", "<u4"), ("frame", "u1", 54)])


def write(path: Path, sessions: int, *, ports: int = 20_000, span_ns: int = DAY_NS) -> int:
    """Write the capture; returns how many frames it has. Each session is one RU002."""
    found = records(sessions, ports=ports, span_ns=span_ns)
    path.write_bytes(file_of(found))
    return found.size


def file_of(found: NDArray[Any]) -> bytes:
    """Records as a pcap file."""
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + found.tobytes()


def records(sessions: int, *, ports: int = 20_000, span_ns: int = DAY_NS, clients: int = 1) -> NDArray[Any]:
    """The records in the order of their times. The sessions are those of so many clients with one server."""
    begin = np.arange(sessions, dtype=np.int64) * (span_ns // sessions)
    port = 40_000 + np.arange(sessions) % ports
    steps = len(STEPS)
    client_of = np.arange(sessions) % clients
    found = np.zeros((sessions, 2, steps), RECORD)
    times = np.zeros((sessions, 2, steps), np.int64)
    for life in range(2):
        for n, (side, used, flags) in enumerate(STEPS):
            times[:, life, n] = START_NS + begin + life * GAP_NS + n * STEP_NS
            client, server = 1_000 + life * 900_000, 5_000 + life * 700_000
            seq, ack = (client, server) if side == 0 else (server, client)
            acked = 0 if flags == SYN else ack + (1 if n < 4 else 2)
            ports_of = {"sport": 80 if side else 0, "dport": 0 if side else 80}
            segment = build.tcp(seq=seq + used, ack=acked, flags=flags, **ports_of)
            packet = build.ipv4(segment, src=HOSTS[side], dst=HOSTS[1 - side], ip_id=n + 9 * life)
            frame = build.ethernet(packet)
            found["frame"][:, life, n] = np.frombuffer(frame, np.uint8)
            _put(found["frame"][:, life, n, 36 if side else 34 :], port)
            _put(found["frame"][:, life, n, 31 if side else 27 :], client_of)
    found["caplen"] = found["len"] = 54
    found["s"], found["us"] = times // 10**9, times % 10**9 // 1000
    return found.ravel()[np.argsort(times.ravel(), kind="stable")]


def _put(place: NDArray[Any], numbers: NDArray[np.int64]) -> None:
    """Two bytes of each frame."""
    place[:, 0], place[:, 1] = numbers >> 8, numbers & 0xFF
