"""Unanswered SYNs: each is archived in a few words, and nothing of it is lost."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcptrace_tw.schema.columns import ACK, CWR, ECE, FIN, RST, SYN
from tcptrace_tw.tcp import tracker
from tcptrace_tw.tcp.store import attempt_record
from tcptrace_tw.tcp.store import records as s
from tests import capture_bytes as cb
from tests.scenario import play_pcap
from tests.test_archive import buried, said, tracked

MS = 1_000_000
T0 = 1_700_000_000 * 1000 * MS
SERVER = "192.0.2.1"


def options(rng: random.Random) -> bytes:
    """What SYNs of different stacks carry."""
    mss = b"\2\4" + struct.pack(">H", rng.choice([536, 1460, 8960]))
    wscale = b"\1\3\3" + bytes([rng.choice([0, 7, 14])])
    stamp = b"\4\2\x08\x0a" + struct.pack(">II", rng.getrandbits(32), 0)
    return rng.choice([b"", mss, mss + wscale, mss + stamp, mss + stamp + wscale])


def syn(rng: random.Random, client: int, *, flags: int = SYN, data: bytes = b"") -> bytes:
    """One SYN of a client, over IPv4, IPv6 or in a VLAN; mostly what stacks send, sometimes what only tools send."""
    segment = cb.tcp(
        data,
        sport=1024 + client % 60_000,
        dport=80,
        seq=rng.getrandbits(32),
        ack=rng.getrandbits(32) if flags & ACK else 0,
        flags=flags,
        window=rng.choice([0, 1024, 64240, 65535]),
        options=options(rng),
    )
    if client % 5 == 0:
        address = bytes(12) + struct.pack(">I", client)
        return cb.ethernet(cb.ipv6(segment, src=address, dst=address[::-1]), 0x86DD)
    source = f"10.{client >> 16}.{client >> 8 & 0xFF}.{client & 0xFF}"
    packet = cb.ipv4(segment, src=source, dst=SERVER, ip_id=rng.choice([0, 1, 54321]))
    return cb.ethernet(cb.vlan(packet, 7), 0x8100) if client % 7 == 0 else cb.ethernet(packet)


def frames(seed: int, clients: int) -> Iterator[cb.Record]:
    """SYNs of many clients; for some of them something follows, soon or when they are archived or forgotten."""
    rng = random.Random(seed)
    time, later = T0, []
    for client in range(clients):
        time += rng.choice([0, 1000, MS, 30 * MS])
        first = syn(
            rng,
            client,
            flags=rng.choice([SYN] * 8 + [SYN | ECE | CWR, SYN | FIN]),
            data=rng.choice([b""] * 9 + [b"fast open"]),
        )
        later.append((time, first))
        kind = rng.random()
        after = time + rng.choice([20 * MS, 900 * MS, 50_000 * MS, 130_000 * MS])
        if kind < 0.15:
            later.append((after, first))  # retransmitted, or a copy of the frame
        elif kind < 0.3:
            later.append((after, syn(rng, client)))
        elif kind < 0.4:
            later.append((after, syn(rng, client, flags=ACK)))
        elif kind < 0.45:
            later.append((after, syn(rng, client, flags=RST)))
    for when, frame in sorted(later, key=lambda each: each[0]):
        yield cb.Record(frame, when)


@pytest.mark.parametrize("seed", range(2))
def test_archived_attempts_lose_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SYNs of all kinds, some followed by others much later: the rows are those of a run that archives nothing."""
    capture = cb.pcap(list(frames(seed, 150)), nano=True)
    plain = said(play_pcap(capture, compiled=False))
    buried(monkeypatch, MS)

    assert said(play_pcap(capture, compiled=False)) == plain


def test_archived_attempts_lose_nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for machine code, with an index that has to be built several times."""
    capture = cb.pcap(list(frames(99, 3000)), nano=True)
    plain = said(play_pcap(capture))
    buried(monkeypatch, MS)
    monkeypatch.setattr(tracker, "LEAST_PLACES", 64)

    assert said(play_pcap(capture, compiled=True)) == plain


@pytest.mark.parametrize(("is_ipv6", "most"), [(False, 64), (True, 112)])
def test_an_attempt_takes_few_bytes(is_ipv6: bool, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood: each SYN takes at most 64 bytes (IPv6: 112), its place in the index included, and no slot."""
    monkeypatch.setattr(tracker, "ARCHIVE_FROM", 50)
    monkeypatch.setattr(tracker, "LINGER_NS", MS)
    rng = random.Random(1)
    sources = [n for n in range(28_000) if (n % 5 == 0) == is_ipv6 and (n % 7 or is_ipv6)][:1500]
    flood = [cb.Record(syn(rng, source), T0 + n * MS // 10) for n, source in enumerate(sources)]
    path = tmp_path / "flood.pcap"
    path.write_bytes(cb.pcap(flood, nano=True))
    hands = tracked(str(path))
    attempts = int(hands.counters[s.ATTEMPTS])

    assert attempts + int(hands.counters[s.CONNS_LIVE]) == hands.live == len(sources)
    assert attempts > len(sources) * 9 // 10
    units = attempt_record.OTHER_UNITS if is_ipv6 else attempt_record.IPV4_UNITS
    assert 2 * int(hands.counters[s.ARCHIVE_USED]) <= 2 * units * attempts + (1 << 16)
    assert 2 * units + 5 * 8 / tracker.FULL_EIGHTHS * 2 <= most
