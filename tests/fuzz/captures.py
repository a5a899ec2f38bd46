"""Whole hostile captures, made from a number: first conversations, then what happens on the way, then files.

``case(number)`` is what ``commands`` runs; ``talk(random)`` gives the packets alone, for targets below the formats.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from tests import capture_bytes as cb
from tests.fuzz import mutate, seeds

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MS, S = 10**6, 10**9
EPOCH = 1_700_000_000 * S

EDGES_32 = (0, 1, 2, 0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFF0000, 0xFFFFFFFE, 0xFFFFFFFF)
EDGES_64 = (0, 1, 255, 1 << 31, 1 << 32, 1 << 53, (1 << 56) - 1, 1 << 56, (1 << 62) - 1, 1 << 62, (1 << 63) - 1,
            1 << 63, (1 << 64) - 2, (1 << 64) - 1)  # fmt: skip
GAPS = (0, 1, 1000, MS, 5 * MS, 19 * MS, 20 * MS, 21 * MS, 200 * MS, S - 1, S, S + 1, 3 * S, 30 * S, 59 * S, 60 * S,
        60 * S + 1, 120 * S, 121 * S, 240 * S, 3600 * S, 86_400 * S, 25 * 86_400 * S)  # fmt: skip
"""Timers of TCP and of the tool, and what is next to them."""


class Packet(NamedTuple):
    """An IP packet at the tap."""

    time_ns: int
    ip: bytes

    @property
    def is_ipv6(self) -> bool:
        return self.ip[0] >> 4 == 6


class Case(NamedTuple):
    """The files of a capture by name, in no order, and in words how they were made."""

    files: dict[str, bytes]
    made: str

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))


def case(number: int, run: int = 0) -> Case:
    """Case ``number`` of a run: always the same bytes."""
    random = Random(f"captures/{run}/{number}")
    packets = list(talk(random))
    clock = random.choices(CLOCKS, [12, 2, 1, 1, 1, 2, 2])[0]
    packets = [packet._replace(time_ns=time) for packet, time in zip(packets, clock(random, packets), strict=True)]
    form = random.choices(FORMS, [8, 10, 1, 1])[0]
    pieces = [packets] if random.random() < 0.8 else list(_ring(random, packets))
    files = {name: form(random, piece) for name, piece in zip(_names(random, len(pieces)), pieces, strict=True)}
    harm = _harm(random, files)
    return Case(files, f"{len(packets)} packets, {clock.__name__}, {len(files)} {form.__name__}, {harm}")


# Conversations.


class Pair:
    """Two endpoints of a 4-tuple and where their numbers stand."""

    def __init__(self, random: Random, hosts: Sequence[bytes]) -> None:
        self.hosts = random.choice(hosts), random.choice(hosts)
        if len(self.hosts[0]) != len(self.hosts[1]):
            self.hosts = self.hosts[0], self.hosts[0]
        self.ports = random.choice((40000, 1, 65535, random.getrandbits(16))), random.choice((80, 443, 0, 40000))
        self.has_timestamps = random.random() < 0.7
        self.clocks = [random.choice((*EDGES_32, random.getrandbits(32))) for _ in range(2)]
        self.next = [0, 0]
        self.begin(random)

    def begin(self, random: Random) -> None:
        """New initial numbers: mostly any, at times near those of the incarnation before."""
        for side in (0, 1):
            near = (self.next[side] + random.choice((-1, 0, 1, 65537, 1 << 31, -100_000))) & 0xFFFFFFFF
            self.next[side] = random.choice((random.getrandbits(32), random.getrandbits(32), *EDGES_32[-4:], near))

    def segment(self, random: Random, side: int, flags: int, length: int, twist: bool) -> bytes:
        """The next segment of a side as an IP packet; ``twist``: with numbers that do not fit."""
        seq, ack = self.next[side], self.next[1 - side] if flags & ACK else 0
        self.next[side] = (seq + length + bool(flags & SYN) + bool(flags & FIN)) & 0xFFFFFFFF
        if twist:
            seq, ack = (_twisted(random, number) for number in (seq, ack))
            flags ^= 1 << random.randrange(9)
        present = length if random.random() < 0.9 else random.randrange(length + 1)  # the rest: cut by the snap length
        options = self._options(random, side, flags, twist)
        segment = cb.tcp(
            bytes(min(present, 100)), sport=self.ports[side], dport=self.ports[1 - side], seq=seq, ack=ack,
            flags=flags, window=random.choice((0, 1, 500, 65535)), options=options,
        )  # fmt: skip
        return self._ip(random, side, segment, len(segment) - min(present, 100) + length)

    def _options(self, random: Random, side: int, flags: int, twist: bool) -> bytes:
        options = b""
        if flags & SYN:
            options += random.choice((b"", b"\2\4\5\xb4", b"\2\4\0\0")) + random.choice(
                (b"", b"\1\3\3\7", b"\1\3\3\xff")
            )
        if self.has_timestamps and not flags & RST:
            self.clocks[side] += random.choice((0, 1, 1, 10, 1000)) if not twist else random.choice(EDGES_32)
            own, other = (self.clocks[s] & 0xFFFFFFFF for s in (side, 1 - side))
            options += b"\1\1\x08\x0a" + struct.pack(">II", own, other)
        if random.random() < 0.04:
            blocks = random.randrange(1, 3)
            options += bytes((5, 2 + 8 * blocks)) + random.randbytes(8 * blocks)
        return (random.randbytes(random.randrange(40)) if random.random() < 0.02 else options)[:40]

    def _ip(self, random: Random, side: int, segment: bytes, length: int) -> bytes:
        src, dst = self.hosts[side], self.hosts[1 - side]
        ttl = random.choice((64, 64, 63, 255, 0))
        if len(src) == 16:
            return cb.ipv6(segment, src=src, dst=dst, length=min(length, 0xFFFF), ttl=ttl)
        ip_id = random.choice((0, 7, random.getrandbits(16)))
        names = (".".join(map(str, host)) for host in (src, dst))
        return cb.ipv4(segment, src=next(names), dst=next(names), length=min(length + 20, 0xFFFF), ip_id=ip_id, ttl=ttl)


def _twisted(random: Random, number: int) -> int:
    near = number + random.choice((-1, 1, -65536, 70_000, 1 << 30, 1 << 31))
    return random.choice((near, random.choice(EDGES_32), random.getrandbits(32))) & 0xFFFFFFFF


Step = tuple[int, int, int]
OPENING: tuple[Step, ...] = ((0, SYN, 0), (1, SYN | ACK, 0), (0, ACK, 0))
DATA: tuple[Step, ...] = ((0, PSH | ACK, 100), (1, ACK, 0), (1, PSH | ACK, 1460), (0, ACK, 0))
ENDINGS: tuple[tuple[Step, ...], ...] = (
    ((0, FIN | ACK, 0), (1, ACK, 0), (1, FIN | ACK, 0), (0, ACK, 0)),
    ((1, FIN | ACK, 0), (0, FIN | ACK, 0), (1, ACK, 0)),
    ((0, FIN | ACK, 0), (1, FIN | ACK, 0), (0, ACK, 0), (1, ACK, 0)),
    ((0, FIN | PSH | ACK, 9), (1, ACK, 0)),
    ((0, FIN | ACK, 0), (1, RST, 0), (1, RST, 0)),
    ((1, RST | ACK, 0),),
    (),
)


def script(random: Random) -> list[Step]:
    """The segments of one incarnation; any part may be absent, the roles may be turned, any segment comes twice."""
    steps = [*(OPENING if random.random() < 0.8 else ()), *DATA * random.choice((0, 0, 1, 3)), *random.choice(ENDINGS)]
    if random.random() < 0.15:
        steps = [(random.randrange(2), random.getrandbits(6), random.choice((0, 0, 1, 1460))) for _ in range(5)]
    if random.random() < 0.3:
        steps = [step for step in steps if random.random() < 0.8]
    turn = random.random() < 0.3
    return [(side ^ turn, flags, length) for side, flags, length in steps for _ in range(1 + (random.random() < 0.04))]


def talk(random: Random, size: int | None = None) -> Iterator[Packet]:
    """At least ``size`` packets in time order: some tuples with many incarnations, or many with one."""
    size = size or int(random.choice((1, 5, 30, 60, 120)) * random.uniform(1, 2)) * (
        12 if random.random() < 0.02 else 1
    )
    hosts = [random.randbytes(random.choice((4, 4, 16))) for _ in range(random.choice((1, 2, 2, 5, 300)))]
    pairs = [Pair(random, hosts) for _ in range(random.choice((1, 1, 2, 4, 20, size)))]
    twisted, repeated, slow = (random.choice((0, 0.02, 0.2)) for _ in range(3))
    packets: list[Packet] = []
    begin = EPOCH
    while len(packets) < size:
        pair, time = random.choice(pairs), begin
        pair.begin(random)
        for side, flags, length in script(random):
            time += random.choice(GAPS) if random.random() < slow else random.randrange(1, 100 * MS)
            packets.append(Packet(time, pair.segment(random, side, flags, length, random.random() < twisted)))
            if random.random() < repeated:
                packets.append(Packet(time + random.choice(GAPS[:14]), random.choice(packets[-5:]).ip))
        begin = time + random.choice(GAPS) if random.random() < 0.5 else begin + random.randrange(S)
    return iter(sorted(packets, key=lambda packet: packet.time_ns))


# Clocks: from the times of packets to what the capturing host wrote down, in ns since 1970; anything may come.


def plain_clock(random: Random, packets: Sequence[Packet]) -> list[int]:
    return [packet.time_ns for packet in packets]


def moved_clock(random: Random, packets: Sequence[Packet]) -> list[int]:
    edge = random.choice(
        (0, 1, -1, -S, 1 << 32, 1 << 62, 46 * 10**17, 1 << 63, 2**32 * S, 2**64, -(1 << 62), -(1 << 63))
    )
    start = edge + random.choice((0, 0, -1, 1, -S, S, -3600 * S))
    return [packet.time_ns - EPOCH + start for packet in packets]


def still_clock(random: Random, packets: Sequence[Packet]) -> list[int]:
    return [random.choice((0, EPOCH, -1))] * len(packets)


def backward_clock(random: Random, packets: Sequence[Packet]) -> list[int]:
    return [packet.time_ns for packet in reversed(packets)]


def random_clock(random: Random, packets: Sequence[Packet]) -> list[int]:
    return [random.getrandbits(random.choice((8, 33, 62, 63, 65))) for _ in packets]


def stepping_clock(random: Random, packets: Sequence[Packet]) -> list[int]:
    shift, times = 0, []
    for packet in packets:
        shift += random.choice((-1, 1)) * random.choice(GAPS) if random.random() < 0.05 else 0
        times.append(packet.time_ns + shift)
    return times


def broken_clock(random: Random, packets: Sequence[Packet]) -> list[int]:
    odd = [*EDGES_64, *(-edge for edge in EDGES_64[1:])]
    return [random.choice(odd) if random.random() < 0.1 else packet.time_ns for packet in packets]


CLOCKS = (plain_clock, moved_clock, still_clock, backward_clock, random_clock, stepping_clock, broken_clock)


# Files.


def _frame(random: Random, packet: Packet, tunnels: float) -> bytes:
    """An Ethernet frame; ``tunnels``: how likely it is packed once more."""
    if not packet.is_ipv6 and random.random() < tunnels:
        frame = seeds.tunnelled(packet.ip, random.randrange(9))
    else:
        frame = cb.ethernet(packet.ip, 0x86DD if packet.is_ipv6 else 0x0800)
    return frame[: random.randrange(len(frame) + 1)] if random.random() < 0.01 else frame


def _records(random: Random, packets: Sequence[Packet]) -> list[cb.Record]:
    """For formats whose seconds have 32 bits."""
    tunnels = random.choice((0, 0, 0.3))
    long = random.choice((None, None, 70_000, 0xFFFFFFFF))
    return [
        cb.Record(_frame(random, packet, tunnels), packet.time_ns % (S << 32), long if random.random() < 0.1 else None)
        for packet in packets
    ]


def pcap(random: Random, packets: Sequence[Packet]) -> bytes:
    snaplen = random.choice((65535, 262_144, 96, 0, 0xFFFFFFFF))
    records = _records(random, packets)
    if random.random() < 0.1:
        head = random.choice(list(seeds._HEADS.values()))
        records = [record._replace(frame=head + record.frame[14:]) for record in records]
    return cb.pcap(records, order=random.choice("<>"), nano=random.random() < 0.6, snaplen=snaplen)


def snoop(random: Random, packets: Sequence[Packet]) -> bytes:
    data = bytearray(cb.snoop(_records(random, packets)))
    if packets and random.random() < 0.3:  # the first record's count of frames lost so far
        struct.pack_into(">I", data, 28, random.choice(EDGES_32))
    return bytes(data)


def erf(random: Random, packets: Sequence[Packet]) -> bytes:
    return cb.erf(_records(random, packets), extensions=random.choice((0, 0, 1, 3)))


class Interface(NamedTuple):
    """How an interface of a pcapng section counts."""

    block: bytes
    ticks_per_s: int
    offset_s: int

    def ticks(self, time_ns: int) -> int:
        return (time_ns - self.offset_s * S) * self.ticks_per_s // S & 0xFFFFFFFFFFFFFFFF


def _interface(random: Random, order: str) -> Interface:
    """Mostly a sound one; its options may be many, come twice, have wrong lengths, or not end."""
    value = random.choice((6, 6, 9, 9, 3, 0, 10, 12, 18, 19, 38, 127, 0x80, 0x8A, 0xA0, 0xA1, 0xBF, 0xC0, 0xFF))
    offset_s = random.choice(
        (0, 0, 0, 0, 1, -1, -1_700_000_000, 4_600_000_000, 1 << 33, -(1 << 33), 1 << 62, -(1 << 63))
    )
    body = struct.pack(f"{order}HHI", random.choice((1, 1, 1, 1, 113, 0xFFFF)), 0, random.choice((0, 96, 0xFFFFFFFF)))
    options = [cb.option(9, bytes([value]), order), cb.option(14, struct.pack(f"{order}q", offset_s), order)]
    if random.random() < 0.2:
        options += [cb.option(random.choice((1, 2, 3, 8, 11, 9, 14)), random.randbytes(random.randrange(20)), order)
                    for _ in range(random.choice((1, 5, 300)))]  # fmt: skip
        random.shuffle(options)
    body += b"".join(options) + (cb.option(0, b"", order) if random.random() < 0.8 else b"")
    rate = 1 << (value & 0x7F) if value & 0x80 else 10 ** (value & 0x7F)
    return Interface(cb.block(1, body, order), rate, offset_s)


def _statistics(random: Random, which: int, order: str) -> bytes:
    body = struct.pack(f"{order}III", which, random.getrandbits(32), random.getrandbits(32))
    for code in random.sample((2, 3, 4, 5, 6, 7, 8), 4):
        body += cb.option(code, struct.pack(f"{order}Q", random.choice(EDGES_64)), order)
    return cb.block(5, body, order)


def pcapng(random: Random, packets: Sequence[Packet]) -> bytes:
    tunnels, most = random.choice((0, 0, 0.3)), random.choice((1, 1, 2, 4, 40))
    order, interfaces, out = "<", [Interface(b"", 1, 0)], []
    for number, packet in enumerate(packets):
        if number == 0 or random.random() < 0.01:
            order = random.choice("<>")
            interfaces = [_interface(random, order) for _ in range(most)]
            out += [cb.section(order), *(interface.block for interface in interfaces)]
        which = random.randrange(most)
        frame, ticks = _frame(random, packet, tunnels), interfaces[which].ticks(packet.time_ns)
        kind = random.random()
        if kind < 0.9:
            out.append(cb.packet(frame, ticks, which=which, order=order))
        elif kind < 0.94:
            out.append(cb.old_packet(frame, ticks, which=which, order=order))
        elif kind < 0.97:
            out.append(cb.simple_packet(frame, order=order))
        else:
            other = cb.block(random.choice((4, 9, 10, 0x0BAD)), random.randbytes(random.randrange(50)), order)
            out += [cb.packet(frame, ticks, which=which, order=order), other]
        if random.random() < 0.02:
            out.append(_statistics(random, random.choice((which, which, 0xFFFFFFFF)), order))
    return b"".join(out) if out else cb.section(order)


Form = Callable[[Random, Sequence[Packet]], bytes]
FORMS: tuple[Form, ...] = (pcap, pcapng, snoop, erf)


def _ring(random: Random, packets: Sequence[Packet]) -> Iterator[Sequence[Packet]]:
    """The packets in several files, most of them tiny; now and then out of order, or with an overlap."""
    size = max(1, len(packets) // random.choice((2, 3, 10, 40)))
    overlap = random.choice((0, 0, 1, size))
    for at in range(0, max(len(packets), 1), size):
        yield packets[at : at + size + overlap]


def _names(random: Random, count: int) -> list[str]:
    if count == 1:
        return ["case"]
    numbers = list(range(count))
    if random.random() < 0.3:
        random.shuffle(numbers)
    return [f"ring.pcap{number or ''}" for number in numbers]


def _harm(random: Random, files: dict[str, bytes]) -> str:
    """Damage some files, and pack some; returns in words what was done."""
    mutations, packed = 0, 0
    if random.random() < 0.3:
        name = random.choice(list(files))
        data, mutations = bytearray(files[name]), random.randrange(1, 4)
        for _ in range(mutations):
            random.choice(mutate.MUTATIONS)(random, data, [files[name] or b"\0"])
        files[name] = bytes(data)
    if random.random() < 0.1:
        for name in files:
            files[name], packed = mutate.pack(random, files[name]), packed + 1
    return f"{mutations} mutations, {packed} packed"
