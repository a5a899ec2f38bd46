"""Captures of known content for timing: connections after a script, interleaved as a busy host would see them.

A workload is a seed and a few numbers; the same numbers give the same file. Events are made block by block and
written as they become final, so that memory does not grow with the file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CLIENT, SERVER = 0, 1
START_NS = 1_700_000_000 * 10**9
SNAPLEN = 262144
BLOCK = 1 << 14
"""Connections that are made at once."""


class Step(NamedTuple):
    """One segment of a script: who sends it, how long after the one before (in round trips), and what."""

    side: int
    flags: int
    payload: int = 0
    after_rtt: float = 0.5
    after_ns: int = 0


class Script:
    """What every connection of a workload does; sequence numbers follow from the steps."""

    def __init__(self, *steps: Step) -> None:
        size = len(steps)
        self.side = np.array([s.side for s in steps])
        self.flags = np.array([s.flags for s in steps])
        self.payload = np.array([s.payload for s in steps])
        self.after_rtt = np.cumsum([s.after_rtt for s in steps])
        self.after_ns = np.cumsum([s.after_ns for s in steps])
        self.seq = np.zeros(size, np.int64)
        self.ack = np.zeros(size, np.int64)
        self.echo = np.full(size, -1)
        sent, last = [0, 0], [-1, -1]
        for k, step in enumerate(steps):
            self.seq[k], self.ack[k], self.echo[k] = sent[step.side], sent[1 - step.side], last[1 - step.side]
            sent[step.side] += step.payload + bool(step.flags & SYN) + bool(step.flags & FIN)
            last[step.side] = k

    def __len__(self) -> int:
        return len(self.side)


OPEN = (Step(CLIENT, SYN, after_rtt=0), Step(SERVER, SYN | ACK), Step(CLIENT, ACK))
EXCHANGE = (
    Step(CLIENT, PSH | ACK, 120, 0.01),
    Step(SERVER, ACK),
    Step(SERVER, PSH | ACK, 800, 0.1),
    Step(CLIENT, ACK),
)
CLOSE = (Step(CLIENT, FIN | ACK, 0, 0.1), Step(SERVER, ACK), Step(SERVER, FIN | ACK, 0, 0.05), Step(CLIENT, ACK))
SHORT = Script(*OPEN, *EXCHANGE, *CLOSE)
IDLE = Script(*OPEN, *EXCHANGE)
FLOOD = Script(Step(CLIENT, SYN, after_rtt=0))


def bulk_script(segments: int) -> Script:
    """A download: each segment of 1400 bytes is acknowledged."""
    pair = (Step(SERVER, ACK, 1400, 0, 400_000), Step(CLIENT, ACK, 0, 0, 100_000))
    return Script(*OPEN, *(pair * segments), *CLOSE)


@dataclass(frozen=True)
class Workload:
    """``connections`` lives of a script, ``rate`` begun per second, from ``clients`` addresses and ``ports`` ports."""

    name: str
    script: Script
    connections: int
    rate: float = 5_000.0
    rtt_ms: float = 20.0
    """Median round trip; they spread over two orders of magnitude."""
    clients: int = 200
    servers: int = 4
    ports: int = 28_000
    is_random: bool = False
    """Every connection from an address and port of its own making, as in a flood."""
    captured: int = 32
    """Payload bytes that are captured of a segment."""
    seed: int = 793

    @property
    def segments(self) -> int:
        """How many segments the capture has."""
        return self.connections * len(self.script)


def workloads(scale: float = 1.0) -> dict[str, Workload | tuple[Workload, ...]]:
    """The workloads by name; ``scale`` makes all of them smaller."""

    def n(count: int) -> int:
        return max(1, int(count * scale))

    download = bulk_script(n(1000))
    return {
        "short-100k": Workload("short-100k", SHORT, n(100_000)),
        "short-1m": Workload("short-1m", SHORT, n(1_000_000), clients=1000),
        "serial-1m": Workload("serial-1m", SHORT, n(1_000_000), rate=1_000, rtt_ms=0.2, clients=1000),
        "serial-3m": Workload("serial-3m", SHORT, n(3_000_000), rate=1_000, rtt_ms=0.2, clients=1000),
        "bulk": Workload("bulk", download, n(1_000), rate=500, captured=1400),
        "mixed": (
            Workload("mixed-short", SHORT, n(100_000), rate=5_000, captured=1400),
            Workload("mixed-bulk", download, n(100), rate=10, captured=1400, servers=1, clients=7, seed=9293),
        ),
        "reuse-storm": Workload("reuse-storm", SHORT, n(1_000_000), clients=1, servers=1),
        "syn-flood": Workload("syn-flood", FLOOD, n(10_000_000), rate=1_000_000, is_random=True),
        "long-tail": Workload("long-tail", IDLE, n(1_000_000), rate=20_000, is_random=True),
    }


class Events(NamedTuple):
    """Segments as columns of equal length."""

    time: NDArray[Any]
    src: NDArray[Any]
    dst: NDArray[Any]
    sport: NDArray[Any]
    dport: NDArray[Any]
    seq: NDArray[Any]
    ack: NDArray[Any]
    flags: NDArray[Any]
    payload: NDArray[Any]
    tsval: NDArray[Any]
    tsecr: NDArray[Any]
    captured: NDArray[Any]


def take(events: Events, which: Any) -> Events:
    """The rows of ``events`` that ``which`` selects."""
    return Events(*(column[which] for column in events))


def join(*parts: Events) -> Events:
    """Several batches of events as one."""
    return Events(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def blocks(workload: Workload) -> Iterator[tuple[int, Events]]:
    """Events of block after block of connections, each with a time that no later block comes before."""
    step = max(1, min(BLOCK, (1 << 22) // len(workload.script)))
    for first in range(0, workload.connections, step):
        count = min(step, workload.connections - first)
        yield _start(workload, first + count), _block(workload, first, count)


def _start(workload: Workload, connection: int) -> int:
    return START_NS + int(connection * 1e9 / workload.rate)


def _block(workload: Workload, first: int, count: int) -> Events:
    script, rng = workload.script, np.random.default_rng([workload.seed, first])
    number = np.arange(first, first + count)
    rtt = rng.lognormal(np.log(workload.rtt_ms * 1e6), 0.7, count).clip(workload.rtt_ms * 1e4, workload.rtt_ms * 15e6)
    start = START_NS + (number * (1e9 / workload.rate)).astype(np.int64)
    time = start[:, None] + (rtt[:, None] * script.after_rtt).astype(np.int64) + script.after_ns
    client, cport, server = _endpoints(workload, number, rng)
    is_client = script.side == CLIENT
    iss = rng.integers(0, 1 << 32, (count, 2))
    ts_base = rng.integers(0, 1 << 32, (count, 2))
    clock = (time - START_NS) // 1_000_000
    tsval = ts_base[:, script.side] + clock
    tsecr = np.where(script.echo >= 0, ts_base[:, 1 - script.side] + clock[:, script.echo], 0)
    ack = np.where(script.flags & ACK, iss[:, 1 - script.side] + script.ack, 0)
    columns = (
        time,
        np.where(is_client, client[:, None], server[:, None]),
        np.where(is_client, server[:, None], client[:, None]),
        np.where(is_client, cport[:, None], 443),
        np.where(is_client, 443, cport[:, None]),
        iss[:, script.side] + script.seq,
        ack,
        np.broadcast_to(script.flags, time.shape),
        np.broadcast_to(script.payload, time.shape),
        tsval,
        tsecr,
        np.broadcast_to(np.minimum(script.payload, workload.captured), time.shape),
    )
    return Events(*(column.ravel() for column in columns))


def _endpoints(
    workload: Workload, number: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    server = 0x0A010000 + 1 + number % workload.servers
    if workload.is_random:
        return rng.integers(0x0B000000, 0xDF000000, number.size), rng.integers(1024, 65536, number.size), server
    turn = number // workload.servers
    return 0x0A000000 + 1 + turn % workload.clients, 32768 + turn // workload.clients % workload.ports, server


def merged(parts: tuple[Workload, ...]) -> Iterator[Events]:
    """The events of all parts in the order of time."""
    sources = [blocks(part) for part in parts]
    final = [START_NS] * len(parts)
    waiting: Events | None = None
    while any(f < _FOREVER for f in final):
        slowest = min(range(len(parts)), key=final.__getitem__)
        final[slowest], events = next(sources[slowest], (_FOREVER, None))
        if events is not None:
            waiting = events if waiting is None else join(waiting, events)
        if waiting is None:
            continue
        is_final = waiting.time < min(final)
        ready = take(waiting, is_final)
        waiting = take(waiting, ~is_final)
        yield take(ready, np.argsort(ready.time, kind="stable"))


_FOREVER = 1 << 62

_ETHERNET = [("eth_dst", "S6"), ("eth_src", "S6"), ("eth_type", ">u2")]
_IP = [
    ("version", "u1"), ("tos", "u1"), ("ip_len", ">u2"), ("ip_id", ">u2"), ("fragment", ">u2"), ("ttl", "u1"),
    ("protocol", "u1"), ("ip_sum", ">u2"), ("src", ">u4"), ("dst", ">u4"),
]  # fmt: skip
_TCP = [
    ("sport", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("offset", "u1"), ("flags", "u1"),
    ("window", ">u2"), ("tcp_sum", ">u2"), ("urgent", ">u2"),
]  # fmt: skip
_RECORD = [("sec", "<u4"), ("usec", "<u4"), ("caplen", "<u4"), ("wirelen", "<u4")]
_SYN_OPTIONS = bytes.fromhex("020405b40402080a") + bytes(8) + bytes.fromhex("01030307")
_OPTIONS = bytes.fromhex("0101080a") + bytes(8)


def _layout(is_syn: bool, captured: int) -> tuple[np.dtype[Any], bytes, int]:
    """The record of a frame, its options, and where the timestamps are in them."""
    options, at = (_SYN_OPTIONS, 8) if is_syn else (_OPTIONS, 4)
    before, after = options[:at], options[at + 8 :]
    fields = [*_RECORD, *_ETHERNET, *_IP, *_TCP, ("before", "u1", len(before)), ("tsval", ">u4"), ("tsecr", ">u4")]
    if after:
        fields.append(("after", "u1", len(after)))
    if captured:
        fields.append(("payload", "u1", captured))
    return np.dtype(fields), options, at


class Writer:
    """Writes events as a pcap file and counts what it wrote."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pool = np.random.default_rng(1).integers(0, 256, 1 << 16, dtype=np.uint8)
        self.segments = 0
        self.bytes = 24
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN, 1))

    def write(self, events: Events) -> None:
        """Append events that are in the order of time."""
        step = 1 << 14
        for at in range(0, events.time.size, step):
            self._write(take(events, slice(at, at + step)))

    def _write(self, events: Events) -> None:
        is_syn = (events.flags & SYN) != 0
        sizes = np.where(is_syn, 16 + 74, 16 + 66) + events.captured
        ends = np.cumsum(sizes)
        out = np.empty(int(ends[-1]), np.uint8)
        kinds = events.captured * 2 + is_syn
        for kind in np.unique(kinds):
            rows = np.flatnonzero(kinds == kind)
            records = self._records(take(events, rows), bool(kind & 1), int(kind) // 2)
            raw = records.view(np.uint8).reshape(rows.size, -1)
            starts = (ends - sizes)[rows]
            out[starts[:, None] + np.arange(raw.shape[1])] = raw
        self._file.write(out.data)
        self.segments += events.time.size
        self.bytes += out.size

    def _records(self, events: Events, is_syn: bool, captured: int) -> NDArray[Any]:
        dtype, options, at = _layout(is_syn, captured)
        r = np.zeros(events.time.size, dtype)
        header = 20 + len(options)
        r["sec"], r["usec"] = events.time // 10**9, events.time % 10**9 // 1000
        r["caplen"] = 34 + header + captured
        r["wirelen"] = 34 + header + events.payload
        r["eth_dst"], r["eth_src"], r["eth_type"] = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02", 0x0800
        r["version"], r["fragment"], r["ttl"], r["protocol"] = 0x45, 0x4000, 64, 6
        r["ip_len"] = 20 + header + events.payload
        r["ip_id"] = (events.seq ^ events.time >> 10) & 0xFFFF
        r["src"], r["dst"], r["sport"], r["dport"] = events.src, events.dst, events.sport, events.dport
        r["seq"], r["ack"] = events.seq & 0xFFFFFFFF, events.ack & 0xFFFFFFFF
        r["offset"], r["flags"], r["window"] = header // 4 << 4, events.flags, 502
        r["tsval"], r["tsecr"] = events.tsval & 0xFFFFFFFF, events.tsecr & 0xFFFFFFFF
        r["tcp_sum"] = (events.seq * 31 + events.ack * 17 + events.tsval) & 0xFFFF
        r["before"] = np.frombuffer(options[:at], np.uint8)
        if is_syn:
            r["after"] = np.frombuffer(options[at + 8 :], np.uint8)
        if captured:
            r["payload"] = self._pool[(events.seq & 0x7FFF)[:, None] + np.arange(captured)]
        r["ip_sum"] = _ip_sum(r)
        return r


def _ip_sum(records: NDArray[Any]) -> NDArray[Any]:
    at = 16 + 14
    words = records.view(np.uint8).reshape(records.size, -1)[:, at : at + 20].astype(np.int64)
    total = (words[:, 0::2] * 256 + words[:, 1::2]).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


@dataclass(frozen=True)
class Written:
    """What a capture file holds."""

    path: str
    segments: int
    connections: int
    bytes: int


def generate(name: str, folder: Path, scale: float = 1.0, say: Callable[[str], None] = print) -> Written:
    """Write a workload into ``folder``, unless it is there already, and say what it holds."""
    chosen = workloads(scale)[name]
    parts = chosen if isinstance(chosen, tuple) else (chosen,)
    stem = name if scale == 1 else f"{name}-x{scale:g}"
    path, note = folder / f"{stem}.pcap", folder / f"{stem}.json"
    if note.exists():
        return Written(**json.loads(note.read_text()))
    say(f"writing {path}")
    with open(path, "wb") as file:
        writer = Writer(file)
        for events in merged(parts):
            if events.time.size:
                writer.write(events)
    written = Written(str(path), writer.segments, sum(p.connections for p in parts), writer.bytes)
    assert written.segments == sum(p.segments for p in parts)
    note.write_text(json.dumps(asdict(written)))
    return written
