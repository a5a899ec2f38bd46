"""Random conversations: two small TCP endpoints, a lossy wire between them, and a tap somewhere on the wire.

The endpoints know which states they passed through, so a generated capture comes with its truth. Every number
on the wire is one that such an endpoint would send; what is random is the application, the wire and the clocks.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random

from tests.scenario.notation import Frame, Options, Peer

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MODULUS = 1 << 32
MSS = 1000
START_NS = 1_700_000_000 * 10**9
MS = 10**6


def ahead(left: int, right: int) -> int:
    """How far ``left`` lies ahead of ``right``, signed, modulo 2**32."""
    return (left - right + (1 << 31)) % MODULUS - (1 << 31)


@dataclass(frozen=True)
class Plan:
    """What is random about one conversation; all times in ms."""

    closer: str = "client"
    """client, server, both, abort or nobody."""
    requests: int = 2
    lag: float = 20.0
    """How long the other side waits before it closes too."""
    is_combined: bool = False
    """Whether its FIN rides on its ACK: the three-segment close."""
    bytes_after_fin: int = 0
    delay: float = 5.0
    jitter: float = 0.0
    tap: float = 0.5
    """Where the tap stands: 0 at the client, 1 at the server."""
    loss_before_tap: float = 0.0
    loss_behind_tap: float = 0.0
    has_ts: bool = True
    tap_lag: float = 0.0
    """By how much the tap may write a frame down too late: the order of the capture is not that of the wire."""
    ack_delay: float = 0.0
    """How long an ACK of text waits for company (RFC 9293 3.8.6.3)."""
    keep_alive: float = 0.0
    """After how much silence a probe is sent (RFC 9293 3.8.4); 0 for none."""
    full_for: float = 0.0
    """How long the client's receive buffer is full in the middle of the conversation: zero window, and probes of it."""
    is_simultaneous_open: bool = False


def random_plan(random: Random, *, is_lossy: bool = True) -> Plan:
    """A plan of healthy traffic."""
    loss = random.choice((0.0, 0.0, 0.03, 0.1)) if is_lossy else 0.0
    closers = ("client", "client", "server", "server", "nobody")
    return Plan(
        closer=random.choice(closers if is_lossy else (*closers, "both")),
        requests=random.randrange(4),
        lag=random.choice((0.0, 20.0, 300.0, 5000.0)),
        is_combined=random.random() < 0.3,
        bytes_after_fin=random.choice((0, 0, 0, 2500)),
        delay=random.choice((0.2, 5.0, 40.0)),
        jitter=random.choice((0.0, 0.0, 2.0)) if is_lossy else 0.0,
        tap=random.choice((0.0, 0.02, 0.5, 0.98, 1.0)),
        loss_before_tap=loss,
        loss_behind_tap=loss * random.choice((0, 1)),
        has_ts=random.random() < 0.8,
    )


@dataclass
class Conversation:
    """Frames as the tap saw them, and the states that the endpoints really passed through."""

    frames: list[Frame]
    orig_history: list[str]
    resp_history: list[str]
    plan: Plan
    is_over: bool
    orig_times_ns: list[int] = field(default_factory=list)
    """When orig entered each state of its history but the first."""
    resp_times_ns: list[int] = field(default_factory=list)


class Wire:
    """Time and the path: events in order, segments with delay, loss and a look by the tap."""

    def __init__(self, random: Random, plan: Plan, start_ns: int) -> None:
        self.random, self.plan, self.now_ns = random, plan, start_ns
        self.frames: list[Frame] = []
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, delay_ms: float, what: Callable[[], None]) -> None:
        """Call ``what`` later."""
        heapq.heappush(self._events, (self.now_ns + int(delay_ms * MS), next(self._order), what))

    def run(self, until_ns: int) -> None:
        """Let everything happen that is due before ``until_ns``."""
        while self._events and self._events[0][0] <= until_ns:
            self.now_ns, _, what = heapq.heappop(self._events)
            what()
        self.now_ns = until_ns

    def carry(self, frame: Frame, share: float, deliver: Callable[[Frame], None]) -> None:
        """Take a segment to the tap, which stands at ``share`` of its way, and on to the other side."""
        plan, random = self.plan, self.random
        first = (plan.delay + random.random() * plan.jitter) * share
        second = (plan.delay + random.random() * plan.jitter) * (1 - share)
        if share > 0 and random.random() < plan.loss_before_tap:
            return
        is_lost = share < 1 and random.random() < plan.loss_behind_tap

        def pass_tap() -> None:
            lag = int(random.random() * plan.tap_lag * MS) if plan.tap_lag else 0
            self.frames.append(Frame(self.now_ns + lag, *_after_time(frame)))
            if not is_lost:
                self.at(second, lambda: deliver(frame))

        self.at(first, pass_tap)


def _after_time(frame: Frame) -> tuple[object, ...]:
    return tuple(getattr(frame, name) for name in frame.__dataclass_fields__ if name != "time_ns")


@dataclass(eq=False)
class Host:
    """One endpoint: the receiver of RFC 9293 3.10.7 and a sender that retransmits its oldest segment."""

    wire: Wire
    me: Peer
    peer: Peer
    share: float
    iss: int
    clock: int
    is_client: bool
    other: Host | None = None
    state: str = "CLOSED"
    history: list[str] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    snd_una: int = 0
    snd_nxt: int = 0
    rcv_nxt: int = 0
    ts_recent: int = 0
    last_ack: int | None = None
    unsent: int = 0
    is_closing: bool = False
    fin: int | None = None
    sent: list[tuple[int, int, int]] = field(default_factory=list)
    waiting: dict[int, tuple[int, bool]] = field(default_factory=dict)
    rto_ms: float = 200.0
    timer: int = 0
    ip_id: int = 0
    is_full: bool = False
    is_peer_full: bool = False
    is_ack_due: bool = False
    last_ns: int = 0
    on_established: Callable[[], None] = lambda: None
    on_fin: Callable[[], None] = lambda: None

    def become(self, state: str) -> None:
        """Enter a state."""
        self.history = self.history or [self.state]
        self.state = state
        self.history.append(state)
        self.times_ns.append(self.wire.now_ns)

    # -- sending -----------------------------------------------------------------------------------------

    def send(self, flags: int, seq: int, length: int = 0, echo: int | None = None) -> None:
        """Put one segment on the wire."""
        plan, is_syn = self.wire.plan, bool(flags & SYN)
        ts = None
        if plan.has_ts and not (flags & RST and not flags & ACK):
            value = (self.clock + (self.wire.now_ns - START_NS) // MS) % MODULUS
            ts = (value, echo if echo is not None else self.ts_recent if flags & ACK else 0)
        options = Options(ts=ts, mss=1460, sack_ok=True, wscale=7) if is_syn else Options(ts=ts)
        ack = self.rcv_nxt if flags & ACK else 0
        if flags & ACK:
            self.last_ack, self.is_ack_due = ack, False
        self.ip_id = self.ip_id % 65535 + 1
        window = 65535 if is_syn else 0 if self.is_full else 512
        frame = Frame(0, self.me, self.peer, flags, seq, length, ack, window, options, self.ip_id)
        assert self.other
        self.wire.carry(frame, self.share, self.other.receive)

    def emit(self, flags: int, length: int = 0) -> None:
        """Send new sequence numbers, and remember them until they are acknowledged."""
        seq = self.snd_nxt
        self.snd_nxt = (seq + length + bool(flags & SYN) + bool(flags & FIN)) % MODULUS
        self.sent.append((seq, flags, length))
        self.send(flags, seq, length)
        if len(self.sent) == 1:
            self.arm()

    def arm(self) -> None:
        """Start the retransmission timer anew (RFC 6298)."""
        self.timer += 1
        mine = self.timer
        self.wire.at(self.rto_ms, lambda: self.retransmit(mine))

    def retransmit(self, timer: int) -> None:
        """The timer ran out: the oldest segment again."""
        if timer == self.timer and self.sent and self.state != "CLOSED":
            seq, flags, length = self.sent[0]
            self.send(flags, seq, length)
            self.rto_ms = min(self.rto_ms * 2, 10_000)
            self.arm()

    def connect(self, echo: int = 0) -> None:
        """Active open."""
        self.snd_una = self.snd_nxt = self.iss
        self.become("SYN-SENT")
        self.sent.append((self.iss, SYN, 0))
        self.snd_nxt = (self.iss + 1) % MODULUS
        self.rto_ms = 1000.0
        self.send(SYN, self.iss, 0, echo)
        self.arm()

    def write(self, length: int) -> None:
        """The application writes."""
        self.unsent += length
        self.output()

    def close(self) -> None:
        """The application closes."""
        self.is_closing = True
        self.output()

    def abort(self) -> None:
        """The application closes with SO_LINGER zero."""
        if self.state not in ("CLOSED", "TIME-WAIT"):
            self.send(RST | ACK, self.snd_nxt)
            self.become("CLOSED")

    def output(self) -> None:
        """Send what may be sent: four segments in flight, and a FIN behind the last byte."""
        if self.state not in ("ESTABLISHED", "CLOSE-WAIT"):
            return
        while self.unsent and len(self.sent) < 4 and not self.is_peer_full:
            length = min(MSS, self.unsent)
            self.unsent -= length
            self.emit(PSH | ACK, length)
        if self.is_closing and not self.unsent and self.fin is None:
            self.fin = self.snd_nxt
            self.become("FIN-WAIT-1" if self.state == "ESTABLISHED" else "LAST-ACK")
            self.emit(FIN | ACK)

    # -- receiving -----------------------------------------------------------------------------------------

    def receive(self, x: Frame) -> None:
        """A segment arrives."""
        self.last_ns = self.wire.now_ns
        if self.state == "LISTEN":
            self.receive_in_listen(x)
        elif self.state == "SYN-SENT":
            self.receive_in_syn_sent(x)
        elif self.state != "CLOSED":
            self.receive_in_order(x)

    def receive_in_listen(self, x: Frame) -> None:
        """Passive open (RFC 9293 3.10.7.2)."""
        if x.flags & (SYN | ACK | RST) == SYN:
            self.rcv_nxt = (x.seq + 1) % MODULUS
            self.ts_recent = x.options.ts[0] if x.options.ts else 0
            self.snd_una = self.snd_nxt = self.iss
            self.become("SYN-RECEIVED")
            self.rto_ms = 1000.0
            self.emit(SYN | ACK)

    def receive_in_syn_sent(self, x: Frame) -> None:
        """The SYN+ACK (RFC 9293 3.10.7.3)."""
        if x.flags & (SYN | ACK) == SYN | ACK and x.ack == self.snd_nxt:
            self.rcv_nxt = (x.seq + 1) % MODULUS
            self.ts_recent = x.options.ts[0] if x.options.ts else 0
            self.acknowledge(x)
            self.become("ESTABLISHED")
            self.send(ACK, self.snd_nxt)
            self.on_established()
        elif x.flags & (SYN | ACK | RST) == SYN:  # simultaneous open
            self.rcv_nxt = (x.seq + 1) % MODULUS
            self.ts_recent = x.options.ts[0] if x.options.ts else 0
            self.become("SYN-RECEIVED")
            self.sent = [(self.iss, SYN | ACK, 0)]
            self.send(SYN | ACK, self.iss)

    def receive_in_order(self, x: Frame) -> None:
        """The checks of RFC 9293 3.10.7.4, in order."""
        if x.flags & RST:
            if x.seq == self.rcv_nxt:
                self.become("CLOSED")
            return
        end = (x.seq + x.seg_len) % MODULUS
        if x.flags & SYN or (x.seg_len and ahead(end, self.rcv_nxt) <= 0):
            self.send_ack_of_repeat(x)
            return
        if not x.seg_len and ahead(x.seq, self.rcv_nxt) == -1 and self.state != "SYN-RECEIVED":
            self.send(ACK, self.snd_nxt)  # a probe
        self.note_timestamp(x)
        was_full, self.is_peer_full = self.is_peer_full, x.window == 0
        if self.is_peer_full and not was_full:
            self.probe_window(300.0)
        self.acknowledge(x)
        if self.state == "CLOSED":
            return
        if was_full and not self.is_peer_full:
            self.output()
        if x.seg_len:
            self.waiting[x.seq] = (x.payload_len, bool(x.flags & FIN))
            self.take_text()

    def send_ack_of_repeat(self, x: Frame) -> None:
        """A SYN or an old segment again: answer, and take its ACK for what it is worth."""
        if self.state == "SYN-RECEIVED" and not x.flags & ACK:
            self.send(SYN | ACK, self.iss)
        elif self.state == "SYN-RECEIVED":
            self.acknowledge(x)
        else:
            self.send(ACK, self.snd_nxt)

    def note_timestamp(self, x: Frame) -> None:
        """TS.Recent (RFC 7323 4.3)."""
        if x.options.ts and ahead(x.seq, self.rcv_nxt if self.last_ack is None else self.last_ack) <= 0:
            self.ts_recent = x.options.ts[0]

    def acknowledge(self, x: Frame) -> None:
        """Fifth check: the ACK field."""
        if not x.flags & ACK or not 0 < ahead(x.ack, self.snd_una) <= ahead(self.snd_nxt, self.snd_una):
            return
        self.snd_una = x.ack
        self.sent = [each for each in self.sent if ahead(_end(each), x.ack) > 0]
        self.rto_ms = 200.0
        self.timer += 1
        if self.sent:
            self.arm()
        if self.state == "SYN-RECEIVED":
            self.become("ESTABLISHED")
            self.on_established()
        elif self.fin is not None and ahead(x.ack, self.fin) > 0:
            following = {"FIN-WAIT-1": "FIN-WAIT-2", "CLOSING": "TIME-WAIT", "LAST-ACK": "CLOSED"}
            if self.state in following:
                self.become(following[self.state])
        self.output()

    def take_text(self) -> None:
        """Seventh and eighth check: text in order, then FIN; and the ACK of both."""
        has_fin = False
        while self.rcv_nxt in self.waiting:
            length, has_fin = self.waiting.pop(self.rcv_nxt)
            self.rcv_nxt = (self.rcv_nxt + length + has_fin) % MODULUS
        if has_fin:
            following = {"ESTABLISHED": "CLOSE-WAIT", "FIN-WAIT-1": "CLOSING", "FIN-WAIT-2": "TIME-WAIT"}
            self.become(following[self.state])
            if self.state == "CLOSE-WAIT" and self.wire.plan.is_combined and not self.unsent:
                self.close()
                return
        if has_fin or not self.wire.plan.ack_delay or self.is_ack_due or self.waiting:
            self.send(ACK, self.snd_nxt)
        else:
            self.is_ack_due = True
            self.wire.at(self.wire.plan.ack_delay, self.send_due_ack)
        if has_fin:
            self.on_fin()

    # -- idle ----------------------------------------------------------------------------------------------

    def send_due_ack(self) -> None:
        """The delayed ACK has waited long enough."""
        if self.is_ack_due and self.state != "CLOSED":
            self.send(ACK, self.snd_nxt)

    def fill(self) -> None:
        """The application stops reading."""
        self.is_full = True

    def drain(self) -> None:
        """The application reads again; the window opens."""
        if self.is_full:
            self.is_full = False
            if self.state not in ("CLOSED", "TIME-WAIT"):
                self.send(ACK, self.snd_nxt)

    def probe_window(self, delay_ms: float) -> None:
        """Ask a peer with a zero window whether it has opened (RFC 9293 3.8.6.1), as Linux does: without text."""

        def probe() -> None:
            if self.is_peer_full and self.state in ("ESTABLISHED", "CLOSE-WAIT") and self.unsent:
                self.send(ACK, (self.snd_nxt - 1) % MODULUS)
                self.probe_window(delay_ms * 2)

        self.wire.at(delay_ms, probe)

    def keep_alive(self) -> None:
        """A probe after every silence (RFC 9293 3.8.4), as Linux sends it: one below SND.NXT, without text."""
        silence_ms = self.wire.plan.keep_alive
        if self.state in ("ESTABLISHED", "CLOSE-WAIT"):
            if not self.sent and self.wire.now_ns - self.last_ns >= silence_ms * MS:
                self.send(ACK, (self.snd_nxt - 1) % MODULUS)
            self.wire.at(silence_ms, self.keep_alive)


def _end(segment: tuple[int, int, int]) -> int:
    seq, flags, length = segment
    return (seq + length + bool(flags & SYN) + bool(flags & FIN)) % MODULUS


def converse(
    random: Random, plan: Plan, client: Peer, server: Peer, start_ns: int, before: tuple[Host, Host] | None = None
) -> tuple[Conversation, tuple[Host, Host]]:
    """One connection from its SYN until nothing moves any more, and the hosts as they are then.

    ``before`` are the hosts of the connection before on the same tuple; Linux chooses its numbers by theirs.
    """
    wire = Wire(random, plan, start_ns)
    clocks = (before[0].clock, before[1].clock) if before else (random.getrandbits(32), random.getrandbits(32))
    a = Host(wire, client, server, plan.tap, random.getrandbits(32), clocks[0], True)
    b = Host(wire, server, client, 1 - plan.tap, random.getrandbits(32), clocks[1], False)
    a.other, b.other = b, a
    b.state = "LISTEN"
    echo = 0
    if before:
        a.ip_id, b.ip_id = before[0].ip_id, before[1].ip_id
        a.iss = (before[0].snd_nxt + random.randrange(70_000, 1 << 24)) % MODULUS
        if before[0].state == "TIME-WAIT":
            a.iss, echo = (before[0].snd_nxt + 65537) % MODULUS, before[0].ts_recent
        if before[1].state == "TIME-WAIT":
            b.iss = (before[1].snd_nxt + 65537) % MODULUS
    _give_them_work(wire, plan, a, b)
    a.connect(echo)
    if plan.is_simultaneous_open:
        b.state = "CLOSED"
        wire.at(plan.delay * random.random() / 2, b.connect)
    wire.run(start_ns + 50_000 * MS)
    frames = sorted(wire.frames, key=lambda frame: frame.time_ns)
    is_over = not a.sent and not b.sent
    return Conversation(frames, a.history, b.history, plan, is_over, a.times_ns, b.times_ns), (a, b)


def _give_them_work(wire: Wire, plan: Plan, a: Host, b: Host) -> None:
    first, second = (b, a) if plan.closer == "server" else (a, b)

    def talk() -> None:
        for number in range(plan.requests):
            wire.at(30.0 * number, lambda: a.write(300))
            wire.at(30.0 * number + 10, lambda: b.write(3500))
        end = 30.0 * plan.requests + 1500 * bool(plan.requests)
        if plan.closer == "abort":
            wire.at(end, a.abort)
        elif plan.closer != "nobody":
            wire.at(end, first.close)
        if plan.closer == "both":
            wire.at(end, second.close)

    def follow() -> None:
        second.unsent += plan.bytes_after_fin
        second.output()
        wire.at(plan.lag, second.close)

    a.on_established = talk
    if plan.full_for:
        wire.at(35.0 + 2 * plan.delay, a.fill)
        wire.at(35.0 + 2 * plan.delay + plan.full_for, a.drain)
    if plan.keep_alive:
        wire.at(plan.keep_alive, a.keep_alive)
    if plan.closer in ("client", "server"):
        second.on_fin = follow


def healthy_conversation(
    seed: int, *, is_lossy: bool = True, port: int = 40000, start_ns: int = START_NS
) -> Conversation:
    """One healthy conversation."""
    random = Random(seed)
    plan = random_plan(random, is_lossy=is_lossy)
    return converse(random, plan, Peer("10.0.0.1", port), Peer("10.0.0.2", 80), start_ns)[0]


def conversations_on_one_tuple(seed: int, count: int, *, is_lossy: bool = False) -> list[Conversation]:
    """Connections that use one tuple one after the other, with pauses inside and outside of 2MSL."""
    random = Random(seed)
    client, server = Peer("10.0.0.1", 40000), Peer("10.0.0.2", 80)
    start_ns, before, talks = START_NS, None, []
    for _ in range(count):
        plan = random_plan(random, is_lossy=is_lossy)
        plan = replace(plan, closer=random.choice(("client", "server", "abort")), has_ts=True)
        talk, before = converse(random, plan, client, server, start_ns, before)
        talks.append(talk)
        pause = random.choice((1100, 5000, 70_000)) * MS
        start_ns = (talk.frames[-1].time_ns if talk.frames else start_ns) + pause
    return talks


def healthy_traffic(seed: int, count: int) -> list[Frame]:
    """Many healthy conversations in one capture, interleaved."""
    random = Random(seed)
    frames: list[Frame] = []
    for number in range(count):
        plan = replace(random_plan(random), requests=random.randrange(2))
        client = Peer(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", random.randrange(1024, 65536))
        server = Peer(f"192.168.1.{random.randrange(1, 30)}", random.choice((80, 443, 5432)))
        start_ns = START_NS + random.randrange(120_000) * MS
        frames += converse(random, plan, client, server, start_ns)[0].frames
    return sorted(frames, key=lambda frame: frame.time_ns)


def merged(talks: Iterable[Conversation]) -> list[Frame]:
    """The frames of several conversations in the order of time."""
    return sorted((frame for talk in talks for frame in talk.frames), key=lambda frame: frame.time_ns)
