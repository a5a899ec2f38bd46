"""Conversations that go wrong in every way that a tap can show: what the kernels are fuzzed with.

Two ends keep their numbers and clocks. A life is a list of steps (a handshake, text, a close). The lives of several
tuples are mixed; between the steps time passes. Segments get lost, come twice, come late, or carry wrong numbers.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests import capture_bytes as cb
from tests.fuzz.seeds import tunnelled

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MASK = 0xFFFFFFFF
START_NS = 1_700_000_000 * 10**9
US, MS, S = 10**3, 10**6, 10**9
DAY = 86_400 * S

EDGES = (0, 1, 0x7FFFFFF0, 0x80000000, MASK - 70_000, MASK - 3000, MASK - 1, MASK)
"""Where sequence numbers and timestamps like to begin: shortly before they wrap, or change their sign."""


class Habits(NamedTuple):
    """What is random about a capture."""

    tuples: int
    segments: int
    two_msl_ns: int
    pauses: float
    """How often a step waits for long."""
    loss: float
    copies: float
    backward: float
    wild: float
    tunnels: float
    has_ts: float
    bursts: float
    is_crowd: bool
    """Many tuples are remembered at once, and forgotten at once."""


def habits(random: Random, two_msl_ns: int) -> Habits:
    """Some."""
    pick = random.choice
    is_crowd = random.random() < 0.25
    return Habits(
        tuples=pick((8, 12, 20, 40)) if is_crowd else pick((1, 1, 2, 3, 5, 12, 40)),
        segments=pick((4, 8, 12, 16, 20, 30, 50, 100)) if random.random() < 0.995 else 1200,
        two_msl_ns=two_msl_ns,
        pauses=pick((0.0, 0.05, 0.2, 0.5)),
        loss=pick((0.0, 0.0, 0.05, 0.3)),
        copies=pick((0.0, 0.02, 0.2)),
        backward=pick((0.0, 0.0, 0.05)),
        wild=pick((0.0, 0.05, 0.3)),
        tunnels=pick((0.0, 0.0, 0.0, 0.3)),
        has_ts=pick((0.0, 0.5, 1.0)),
        bursts=pick((0.0, 0.0, 0.0, 0.02)),
        is_crowd=is_crowd,
    )


class End:
    """One end of a tuple: its next number, its clock, and what it has seen of the other."""

    def __init__(self, random: Random) -> None:
        self.nxt = self.number(random)
        self.ts = random.choice(EDGES) if random.random() < 0.4 else random.getrandbits(32)
        self.peer_nxt = 0
        self.peer_ts = 0
        self.ip_id = random.getrandbits(16)

    @staticmethod
    def number(random: Random) -> int:
        return random.choice(EDGES) if random.random() < 0.4 else random.getrandbits(32)


class Sent(NamedTuple):
    """A segment as it was sent, so that it can be sent again."""

    side: int
    flags: int
    seq: int
    ack: int
    length: int
    ts: tuple[int, int] | None
    window: int
    ip_id: int


class Tuple:
    """A 4-tuple, its ends, and what it has still to do."""

    def __init__(self, capture: Capture, number: int) -> None:
        random = capture.random
        self._capture = capture
        self._random = random
        self.is_ipv6 = random.random() < 0.1
        self.hosts = random.choice(((1, 2), (2, 1), (3, 2), (1, 1)))
        self.ports = random.choice(((40000 + number, 80), (1024 + number, 40000), (20 + number, 21)))
        self.has_ts = random.random() < capture.habits.has_ts
        self.ends = (End(random), End(random))
        self.steps: deque[Callable[[], None]] = deque()
        self.past: deque[Sent] = deque(maxlen=60)

    def send(self, side: int, flags: int, length: int = 0, **other: int) -> None:
        """Send what comes next, or with ``other`` numbers what does not."""
        own, peer = self.ends[side], self.ends[1 - side]
        moves = not other
        ts = None
        if self.has_ts and not (flags & RST and self._random.random() < 0.8):
            own.ts = (own.ts + self._random.choice((0, 1, 1, 10, 1000))) & MASK
            ts = other.get("ts", own.ts) & MASK, own.peer_ts
        window = self._random.choice((500, 500, 500, 65535, 0, 1))
        own.ip_id = (own.ip_id + 1) & 0xFFFF
        seq = other.get("seq", own.nxt) & MASK
        ack = other.get("ack", own.peer_nxt) & MASK if flags & ACK or self._random.random() < 0.05 else 0
        sent = Sent(side, flags, seq, ack, length, ts, window, own.ip_id)
        if moves and not (flags & RST):
            own.nxt = (own.nxt + length + bool(flags & SYN) + bool(flags & FIN)) & MASK
        is_lost = self._random.random() < self._capture.habits.loss
        if not is_lost or self._random.random() < 0.5:
            peer.peer_nxt = own.nxt if moves else peer.peer_nxt
            peer.peer_ts = ts[0] if ts else peer.peer_ts
        self.past.append(sent)
        if not is_lost:
            self._capture.take(self, sent)

    def again(self, far: bool = False) -> None:
        """Send an old segment once more: one of the last, or one of an earlier life."""
        if not self.past:
            return
        sent = self._random.choice(self.past if far else tuple(self.past)[-4:])
        if self._random.random() < 0.5:
            sent = sent._replace(ip_id=self._random.getrandbits(16))
        if sent.ts and self._random.random() < 0.3:
            sent = sent._replace(ts=(self.ends[sent.side].ts, sent.ts[1]))
        self._capture.take(self, sent)

    def frame(self, sent: Sent) -> bytes:
        """The segment on the wire."""
        random = self._random
        options = b"\x01\x01\x08\x0a" + struct.pack(">II", *sent.ts) if sent.ts else b""
        if sent.flags & SYN:
            options += b"\x02\x04" + struct.pack(">H", random.choice((1460, 1460, 536, 0, 65535)))
            options += b"\x03\x03" + bytes([random.choice((0, 7, 14, 15, 255))]) if random.random() < 0.6 else b""
        segment = cb.tcp(
            bytes(min(sent.length, 200)), sport=self.ports[sent.side], dport=self.ports[1 - sent.side], seq=sent.seq,
            ack=sent.ack, flags=sent.flags, window=sent.window, options=options,
        )  # fmt: skip
        length = len(segment) - min(sent.length, 200) + sent.length
        src, dst = self.hosts if sent.side == 0 else self.hosts[::-1]
        if self.is_ipv6:
            hosts = {"src": b"\xfd" + bytes(14) + bytes([src]), "dst": b"\xfd" + bytes(14) + bytes([dst])}
            return cb.ethernet(cb.ipv6(segment, length=length & 0xFFFF, **hosts), 0x86DD)
        ip = cb.ipv4(
            segment, src=f"10.0.0.{src}", dst=f"10.0.0.{dst}", ip_id=sent.ip_id, length=min(length + 20, 65535)
        )
        if random.random() < self._capture.habits.tunnels:
            return tunnelled(ip, random.randrange(9))
        return cb.ethernet(ip)


class Capture:
    """The frames of some tuples, in the order of the tap."""

    def __init__(self, random: Random, habits: Habits) -> None:
        self.random, self.habits = random, habits
        self.now_ns = START_NS
        self.frames: list[cb.Record] = []
        self._tuples = [Tuple(self, number) for number in range(habits.tuples)]

    def run(self) -> list[cb.Record]:
        """Let the tuples live until there are enough frames."""
        if self.habits.is_crowd:
            self._crowd()
        steps = 0
        while len(self.frames) < self.habits.segments and steps < 4 * self.habits.segments:
            each = self.random.choice(self._tuples)
            if not each.steps:
                each.steps.extend(life(each, self))
            self.pass_time()
            each.steps.popleft()()
            steps += 1
        return self.frames

    def _crowd(self) -> None:
        """Waves of short lives. Between them one tuple talks: meanwhile the others are archived and forgotten."""
        pick, two_msl = self.random.choice, self.habits.two_msl_ns
        for _ in range(pick((1, 2, 3))):
            kind = pick((only_syns, only_syns, refused, both_close, both_close, whole))
            for each in self.random.sample(self._tuples[1:], pick((2, len(self._tuples) // 2, len(self._tuples) - 1))):
                for act in kind(each, self.random):
                    self.now_ns += US
                    act()
            self.now_ns += pick((0, MS, 110 * MS, 110 * MS, S + MS, two_msl))
            for _ in range(pick((0, 1, 5, 20, 40))):
                self.now_ns += pick((US, MS, 30 * MS))
                self._tuples[0].send(self.random.randrange(2), ACK | PSH, 1)
        self.now_ns += pick((0, 110 * MS, two_msl, 2 * two_msl, 2 * two_msl)) + pick((0, MS, 100 * MS, S, 3 * S))
        for each in self.random.sample(self._tuples, pick((0, 1, 1, 2, 5))):
            pick((each.again, lambda each=each: each.send(0, SYN)))()  # type: ignore[misc]

    def take(self, each: Tuple, sent: Sent) -> None:
        """The tap sees a segment, now and then twice."""
        frame = each.frame(sent)
        self.frames.append(cb.Record(frame, self.now_ns, len(frame) + max(0, sent.length - 200)))
        if self.random.random() < self.habits.copies:
            late = self.random.choice((0, 1 * US, 300 * US, 21 * MS))
            self.frames.append(cb.Record(frame, self.now_ns + late, len(frame) + max(0, sent.length - 200)))

    def pass_time(self) -> None:
        """A moment, or as long as something is remembered, or a little less or more."""
        pick, two_msl = self.random.choice, self.habits.two_msl_ns
        step = pick((0, 1, US, 50 * US, MS, MS, 5 * MS, 20 * MS))
        if self.random.random() < self.habits.pauses:
            around = pick((100 * MS, S, 3 * S, two_msl // 2, two_msl, two_msl, 2 * two_msl, 2 * two_msl, 3600 * S))
            step = max(0, around + pick((-MS, -1, 0, 1, MS, 100 * MS)))
            step = step if self.random.random() < 0.98 else pick((25 * DAY, 60 * DAY))
        elif self.random.random() < self.habits.backward:
            step = -pick((1, US, MS, 30 * MS, S))
        self.now_ns += step
        if step > S:
            for each in self._tuples:
                for end in each.ends:
                    end.ts = (end.ts + step // MS) & MASK


def life(each: Tuple, capture: Capture) -> list[Callable[[], None]]:
    """What a tuple does next."""
    random = capture.random
    if random.random() < capture.habits.bursts:
        return burst(each, random)
    if random.random() < capture.habits.wild:
        return [lambda: wild(each, random)] * random.randrange(1, 6)
    kinds = (whole, whole, whole, middle, only_syns, refused, reuse, reuse, old, old, odd_reset, challenged)
    return random.choice(kinds)(each, random)


Steps = list[Callable[[], None]]


def whole(each: Tuple, random: Random) -> Steps:
    """A connection from its SYN to its end."""
    renew(each, random)
    send, at = each.send, random.randrange(2)
    steps: Steps = [lambda: send(at, SYN)]
    if random.random() < 0.2:
        steps += [each.again]
    if random.random() < 0.1:
        steps += [lambda: send(1 - at, SYN), lambda: send(at, SYN | ACK, seq=each.ends[at].nxt - 1)]
    steps += [lambda: send(1 - at, SYN | ACK), lambda: send(at, ACK)]
    return steps + text(each, random) + close(each, random)


def middle(each: Tuple, random: Random) -> Steps:
    """A connection whose begin was not captured."""
    return text(each, random) + close(each, random)


def text(each: Tuple, random: Random) -> Steps:
    """Some text and ACKs, keep-alives, what was not captured, what is sent again."""
    steps: Steps = []
    for _ in range(random.randrange(4)):
        side, kind = random.randrange(2), random.random()
        if kind < 0.7:
            length = random.choice((1, 100, 1460, 3000, 40_000))
            steps += [lambda side=side, length=length: each.send(side, ACK | PSH, length)]  # type: ignore[misc]
            steps += [lambda side=side: each.send(1 - side, ACK)]  # type: ignore[misc]
        elif kind < 0.8:
            steps += [lambda side=side: each.send(side, ACK, seq=each.ends[side].nxt - 1)]  # type: ignore[misc]
        elif kind < 0.9:
            steps += [lambda side=side: skip(each, side, random)]  # type: ignore[misc]
        else:
            steps += [each.again]
    return steps


def skip(each: Tuple, side: int, random: Random) -> None:
    """Text that was not captured, and its ACK."""
    end = each.ends[side]
    end.nxt = (end.nxt + random.choice((1, 1000, 70_000, 1 << 24))) & MASK
    each.ends[1 - side].peer_nxt = end.nxt
    each.send(1 - side, ACK)


def close(each: Tuple, random: Random) -> Steps:
    """One of the ways to end."""
    send, x = each.send, random.randrange(2)
    y = 1 - x
    kind = random.random()
    if kind < 0.3:
        steps: Steps = [lambda: send(x, FIN | ACK), lambda: send(y, ACK), lambda: send(y, FIN | ACK)]
        steps += [lambda: send(x, ACK)]
    elif kind < 0.45:
        steps = [lambda: send(x, FIN | ACK), lambda: send(y, FIN | ACK), lambda: send(x, ACK)]
    elif kind < 0.65:
        steps = [lambda: crossing(each)]
    elif kind < 0.75:
        steps = [lambda: send(x, FIN | ACK, 5), lambda: send(y, ACK | PSH, 100), lambda: send(x, RST)]
    elif kind < 0.9:
        steps = [lambda: send(x, RST | (ACK if random.random() < 0.5 else 0))]
    else:
        steps = [lambda: send(x, FIN | ACK)] + [each.again] * random.randrange(6)
    return steps + [each.again] * random.choice((0, 0, 1, 3))


def crossing(each: Tuple) -> None:
    """Both close at once: neither FIN acknowledges the other."""
    before = [end.peer_nxt for end in each.ends]
    for side in (0, 1):
        each.ends[side].peer_nxt = before[side]
        each.send(side, FIN | ACK)
    for side in (0, 1):
        each.ends[side].peer_nxt = each.ends[1 - side].nxt
        each.send(side, ACK)


def both_close(each: Tuple, random: Random) -> Steps:
    """A connection from mid-stream whose ends close at once: both are in TIME-WAIT."""
    return [lambda: crossing(each)]


def renew(each: Tuple, random: Random) -> None:
    """New initial numbers, some of them with a relation to the old ones."""
    for end in each.ends:
        kind = random.random()
        if kind < 0.5:
            end.nxt = (end.nxt + random.choice((0, 1, 65_537, 65_537, 100_000, -1, -70_000, 1 << 30))) & MASK
        else:
            end.nxt = End.number(random)
        if random.random() < 0.2:
            end.ts = (end.ts + random.choice((-1, -1000, -(10**8), 1 << 31))) & MASK


def only_syns(each: Tuple, random: Random) -> Steps:
    """A SYN that gets no answer, and is repeated."""
    renew(each, random)
    side = random.randrange(2)
    return [lambda: each.send(side, SYN)] + [each.again] * random.randrange(4)


def refused(each: Tuple, random: Random) -> Steps:
    """A SYN, and RST."""
    renew(each, random)
    side = random.randrange(2)
    return [lambda: each.send(side, SYN), lambda: each.send(1 - side, RST | ACK)]


def reuse(each: Tuple, random: Random) -> Steps:
    """The tuple is taken once more: challenged, refused, answered; now and then with a SYN that has an ACK."""
    renew(each, random)
    send, at = each.send, random.randrange(2)
    old = each.ends[1 - at].nxt
    steps: Steps = [lambda: send(at, SYN)]
    if random.random() < 0.5:
        steps += [lambda: send(1 - at, ACK, seq=old - 1, ack=random.getrandbits(32)), lambda: send(at, RST), each.again]
    if random.random() < 0.5:
        steps += [lambda: send(1 - at, SYN | ACK), lambda: send(at, ACK)]
    if random.random() < 0.3:
        steps += [lambda: each.again(far=True)] * 3
    return steps + (close(each, random) if random.random() < 0.5 else [])


def old(each: Tuple, random: Random) -> Steps:
    """Segments of an earlier time come once more."""
    return [lambda: each.again(far=True)] * random.randrange(1, 5)


def odd_reset(each: Tuple, random: Random) -> Steps:
    """A RST whose number is right, nearly right, or far away; and what the other end does then."""
    side = random.randrange(2)
    off = random.choice((0, 1, -1, 500, -500, 100_000, 1 << 31))
    steps: Steps = [lambda: each.send(side, RST, seq=each.ends[side].nxt + off)] * random.choice((1, 1, 2, 5))
    return steps + [lambda: each.send(1 - side, ACK), lambda: each.send(side, ACK | PSH, 10)][: random.randrange(3)]


def challenged(each: Tuple, random: Random) -> Steps:
    """A SYN or an old timestamp in the middle of a connection, and the ACK that answers it."""
    side = random.randrange(2)
    back = random.choice((1, 10, 10_000, 1 << 31))
    bad: tuple[Callable[[], None], ...] = (
        lambda: each.send(side, SYN, seq=random.getrandbits(32)),
        lambda: each.send(side, ACK | PSH, 10, ts=each.ends[side].ts - back),
        lambda: each.send(side, ACK | PSH, 10, ack=each.ends[side].peer_nxt + back),
        lambda: each.send(side, ACK | PSH, 10, seq=each.ends[side].nxt - back),
    )
    return [random.choice(bad), lambda: each.send(1 - side, ACK)] * random.choice((1, 1, 3))


def burst(each: Tuple, random: Random) -> Steps:
    """One thing, very often: until no more rows of it are kept."""
    one = random.choice((odd_reset, challenged, old, only_syns))(each, random)
    return one * random.choice((20, 100, 300))


def wild(each: Tuple, random: Random) -> None:
    """Any flags, any numbers."""
    side, end = random.randrange(2), each.ends[random.randrange(2)]
    near = random.choice((0, 1, -1, 70_000, -70_000, 1 << 30, 1 << 31))
    other = {
        "seq": random.choice((end.nxt + near, random.getrandbits(32), random.choice(EDGES))),
        "ack": random.choice((end.peer_nxt + near, random.getrandbits(32), random.choice(EDGES))),
        "ts": random.choice((end.ts + near, random.getrandbits(32))),
    }
    each.send(side, random.getrandbits(6), random.choice((0, 0, 1, 1460)), **other)
