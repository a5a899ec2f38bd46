"""The tracker once more, as plainly as it can be said: one class per endpoint, one method per check of RFC 9293 3.10.7.

It reads a whole list of segments and keeps everything it saw. It shares no code with ``tcptrace_tw.tcp``; where
the two disagree, one of them has misread the RFC. The stack is Linux: TIME-WAIT lasts 60 s, a three-segment
close passes through FIN-WAIT-2.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TWO_MSL_NS = 60 * 10**9
COPY_NS = 20 * 10**6
OPEN_STATES = ("ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT")


class Segment(NamedTuple):
    """One segment as the tap saw it; ``src`` and ``dst`` only need to be comparable."""

    frame: int
    time_ns: int
    src: Hashable
    dst: Hashable
    seq: int
    ack: int
    flags: int
    payload_len: int = 0
    ts: tuple[int, int] | None = None
    window: int = 0
    ip_id: int = 0
    scope: int = 0

    @property
    def end(self) -> int:
        """SEG.SEQ + SEG.LEN."""
        return add(self.seq, self.payload_len + bool(self.flags & SYN) + bool(self.flags & FIN))

    @property
    def is_syn(self) -> bool:
        """A SYN without ACK."""
        return self.flags & (SYN | ACK | RST) == SYN


class Change(NamedTuple):
    """One state change; ``frame`` is None for a timer."""

    frame: int | None
    old: str | None
    new: str


@dataclass
class Span:
    """One TIME-WAIT span."""

    holder: str
    frame: int
    basis: str
    since_ns: int
    restarts: int = 0
    end_reason: str | None = None
    end_frame: int | None = None


@dataclass
class Reuse:
    """A SYN that met an earlier incarnation."""

    syn_frame: int
    previous: Incarnation
    answer: str = "none"


def add(number: int, step: int) -> int:
    """Modulo 2**32."""
    return (number + step) % 2**32


def after(left: int, right: int) -> int:
    """How far ``left`` lies ahead of ``right``, signed (RFC 9293 3.4)."""
    return (left - right + 2**31) % 2**32 - 2**31


@dataclass(eq=False)
class Endpoint:
    """One side of one incarnation."""

    role: str
    key: Hashable
    state: str | None = None
    changes: list[Change] = field(default_factory=list)
    iss: int | None = None
    snd_nxt: int | None = None
    fin: int | None = None
    fin_frame: int | None = None
    last_ack: int | None = None
    rcv_nxt: int | None = None
    queue: list[tuple[int, int]] = field(default_factory=list)
    ts_recent: int | None = None
    certain: int = 0
    """How many of ``changes`` cannot be taken back."""
    half_rtt_ns: int | None = None
    assumed_ns: int = 0
    """When the ACK of our FIN crossed the tap."""
    established_ns: int = 0
    """When the ACK of our SYN+ACK crossed the tap."""
    was_active: bool = False
    has_denied_fin: bool = False
    """Its ACKs show that no copy of the peer's FIN has arrived yet."""

    def move(self, frame: int | None, state: str, *, certain: bool = False) -> None:
        """Enter a state."""
        self.changes.append(Change(frame, self.state, state))
        self.state = state
        self.was_active |= state == "FIN-WAIT-1"
        if certain:
            self.certain = len(self.changes)

    def back_to(self, state: str) -> None:
        """Take back assumed changes until the endpoint is in ``state`` again."""
        while self.changes and self.state != state:
            change = self.changes.pop()
            self.state = change.old
            self.was_active &= change.new != "FIN-WAIT-1"
        self.certain = min(self.certain, len(self.changes))


class Incarnation:
    """One life of a tuple."""

    def __init__(self, tracker: Tracker, first: Segment, orig: Hashable, resp: Hashable) -> None:
        self.tracker = tracker
        self.orig = Endpoint("orig", orig)
        self.resp = Endpoint("resp", resp)
        self.opened = "handshake"
        self.first = first
        self.spans: list[Span] = []
        self.syn_acked: int | None = None
        self.last_syn = first.frame
        self.crossed: list[tuple[int, Endpoint, int]] = []
        """Segments whose ACK is awaited: END, receiver, time."""
        self.segments: list[Segment] = []

    # -- which numbers belong here -------------------------------------------------------------------

    def ends(self, x: Segment) -> tuple[Endpoint, Endpoint]:
        """Sender and receiver."""
        return (self.orig, self.resp) if x.src == self.orig.key else (self.resp, self.orig)

    def fits(self, x: Segment) -> bool:
        """Whether the numbers of a segment belong to this incarnation."""
        s, r = self.ends(x)
        if x.flags & ACK and r.iss is not None and r.snd_nxt is not None:
            if not (after(x.ack, r.iss) >= 0 and after(x.ack, r.snd_nxt) <= 0):
                return False
            if after(x.ack, r.iss) == 0 and not x.flags & RST:
                return False
        if x.flags & RST and x.flags & ACK and r.state == "SYN-SENT":
            return True
        if s.snd_nxt is None:
            return bool(x.flags & ACK) or x.is_syn
        low = s.iss if s.iss is not None else add(s.snd_nxt, -(1 << 20))
        return after(x.seq, low) >= 0 and after(x.seq, s.snd_nxt) <= 1 << 20

    def has_ended(self) -> bool:
        """Whether a new SYN opens a new incarnation at once (CLOSED, TIME-WAIT, LAST-ACK, refused, reset)."""
        return self.orig.state not in OPEN_STATES or self.resp.state not in OPEN_STATES

    # -- a segment passes ------------------------------------------------------------------------------

    def arrive(self, x: Segment) -> None:
        """First what the sender did, then what the receiver does with it."""
        self.segments.append(x)
        if self.orig.key == self.resp.key:
            self._arrive_at_itself(x)
            return
        s, r = self.ends(x)
        self._begin(s, r, x)
        self._sent(s, r, x)
        self._received(r, s, x)

    def _begin(self, s: Endpoint, r: Endpoint, x: Segment) -> None:
        if self.orig.state is None and self.resp.state is None and not x.flags & SYN:
            self.opened = "midstream"
            if not x.flags & RST:
                s.move(x.frame, "ESTABLISHED", certain=True)
                r.move(x.frame, "ESTABLISHED")
        if self.opened == "midstream":
            if s.snd_nxt is None:
                s.snd_nxt = x.seq
                if r.rcv_nxt is None:
                    r.rcv_nxt = x.seq
            if r.snd_nxt is None and x.flags & ACK:
                r.snd_nxt = x.ack
                s.rcv_nxt = x.ack

    def _arrive_at_itself(self, x: Segment) -> None:
        """One socket sends the segment and receives it: its SYNs cross, and so do its FINs."""
        s = self.orig
        self.opened = "simultaneous"
        if x.flags & RST:
            s.move(x.frame, "CLOSED", certain=True)
        elif x.flags & SYN:
            if s.state is None:
                s.iss, s.snd_nxt, s.state = x.seq, x.end, "CLOSED"
                s.move(x.frame, "SYN-SENT", certain=True)
            if x.flags & ACK and s.state == "SYN-SENT":
                s.move(x.frame, "SYN-RECEIVED", certain=True)
        else:
            self._text_at_itself(s, x)
        self.resp.state, self.resp.was_active = s.state, s.was_active

    def _text_at_itself(self, s: Endpoint, x: Segment) -> None:
        if s.state == "SYN-RECEIVED" and s.iss is not None and after(x.ack, s.iss) > 0:
            s.move(x.frame, "ESTABLISHED", certain=True)
        s.snd_nxt = x.end
        if x.flags & FIN and s.fin is None:
            s.fin, s.fin_frame = add(x.end, -1), x.frame
            s.move(x.frame, "FIN-WAIT-1", certain=True)
        if s.fin is not None and after(x.ack, s.fin) > 0 and s.state == "FIN-WAIT-1":
            s.move(s.fin_frame, "CLOSING", certain=True)
            s.move(x.frame, "TIME-WAIT", certain=True)
            self.spans.append(Span("orig", x.frame, "ack", x.time_ns))

    # -- the sender ------------------------------------------------------------------------------------

    def _sent(self, s: Endpoint, r: Endpoint, x: Segment) -> None:
        if x.flags & ACK and not x.flags & RST:
            self._sent_ack(s, r, x)
            if self._denies_fin(s, r, x):
                self._deny_fin(s, x)
        if x.flags & RST:
            if s.state not in (None, "CLOSED", "LISTEN"):
                if s.state == "TIME-WAIT":
                    self._end_span(s, x.frame, "unknown")
                s.move(x.frame, "CLOSED", certain=True)
            return
        if x.flags & SYN:
            self._sent_syn(s, r, x)
        if x.flags & FIN:
            self._sent_fin(s, r, x)
        if s.snd_nxt is None or after(x.end, s.snd_nxt) > 0:
            s.snd_nxt = x.end
            self.crossed.append((x.end, r, x.time_ns))
        if x.ts and x.flags & ACK:
            s.ts_recent = x.ts[1] if s.ts_recent is None or after(x.ts[1], s.ts_recent) > 0 else s.ts_recent

    def _sent_syn(self, s: Endpoint, r: Endpoint, x: Segment) -> None:
        if s.iss is None:
            s.iss = x.seq
        if not x.flags & ACK:
            self.last_syn = x.frame
            if s.state == "ESTABLISHED" and s.last_ack is None:  # it has not received the SYN+ACK after all
                s.back_to("SYN-SENT")
            if s.state is None:
                s.state = "CLOSED"
                s.move(x.frame, "SYN-SENT", certain=True)
                if r.state in ("SYN-SENT", "SYN-RECEIVED") and r.iss is not None:
                    # The peer's SYN is still under way to us: we would not have sent a bare SYN after it.
                    self.opened = "simultaneous"
                    s.move(x.frame, "SYN-RECEIVED")
                    s.rcv_nxt = r.snd_nxt
        elif s.state is None:
            s.state = "LISTEN"
            s.move(x.frame, "SYN-RECEIVED", certain=True)
            s.rcv_nxt = r.snd_nxt if r.snd_nxt is not None else x.ack
            self.syn_acked = x.ack
            if r.state is None:  # its SYN was not captured
                r.iss = add(x.ack, -1)
                r.snd_nxt = x.ack
                r.state = "CLOSED"
                r.move(x.frame, "SYN-SENT")
        elif s.state == "SYN-SENT":
            self.opened = "simultaneous"
            s.move(x.frame, "SYN-RECEIVED", certain=True)
        elif self._is_handshake_refuted(s, x):
            s.back_to("SYN-RECEIVED")

    def _is_handshake_refuted(self, s: Endpoint, x: Segment) -> bool:
        """The SYN+ACK again, later than a crossing explains: the ACK of it was never received."""
        is_late = s.established_ns and x.time_ns - s.established_ns > (s.half_rtt_ns or 0)
        return bool(is_late and s.state in ("ESTABLISHED", "CLOSE-WAIT") and self._is_open_guess(s, "SYN-RECEIVED"))

    def _sent_ack(self, s: Endpoint, r: Endpoint, x: Segment) -> None:
        """An ACK on the wire proves what its sender has received."""
        for end, receiver, time_ns in self.crossed[:]:
            if receiver is s and after(x.ack, end) >= 0:
                gap = x.time_ns - time_ns
                s.half_rtt_ns = gap if s.half_rtt_ns is None else min(gap, s.half_rtt_ns)
                self.crossed.remove((end, receiver, time_ns))
        if s.state == "SYN-SENT" and not x.flags & SYN:  # the SYN+ACK was not captured
            if r.state is None:
                r.state = "LISTEN"
                r.move(x.frame, "SYN-RECEIVED")
                r.iss, r.snd_nxt, r.rcv_nxt = add(x.ack, -1), x.ack, s.snd_nxt
            s.rcv_nxt = x.ack
            s.move(x.frame, "ESTABLISHED")
        if s.last_ack is None or after(x.ack, s.last_ack) > 0:
            s.last_ack = x.ack
        if s.rcv_nxt is not None and after(x.ack, s.rcv_nxt) > 0 and not x.flags & SYN:
            s.rcv_nxt = x.ack
            self._fill(s, r, x)
        for span in self.spans:
            is_ours = span.holder == s.role and span.basis == "fin" and span.end_reason is None
            if is_ours and r.fin is not None and after(x.ack, r.fin) > 0:
                span.frame, span.basis, span.since_ns = x.frame, "ack", x.time_ns

    def _denies_fin(self, s: Endpoint, r: Endpoint, x: Segment) -> bool:
        """The peer repeated its FIN, and long after the last copy new segments of ``s`` do not acknowledge it."""
        of_peer = [y for y in self.segments if y.src == r.key]
        copies = [y for y in of_peer if y.flags & FIN]
        if len(copies) < 2 or r.fin is None or x.flags & (SYN | FIN) or after(x.ack, r.fin) > 0 or x.seq != s.snd_nxt:
            return False
        return x.time_ns - of_peer[-1].time_ns > 4 * (s.half_rtt_ns or 200 * 10**6) + 50 * 10**6

    def _deny_fin(self, s: Endpoint, x: Segment) -> None:
        before = {"CLOSE-WAIT": "ESTABLISHED", "CLOSING": "FIN-WAIT-1", "TIME-WAIT": "FIN-WAIT-2"}
        if s.state not in before or not self._is_open_guess(s, before[s.state]):
            return
        s.back_to(before[s.state])
        self.spans = [span for span in self.spans if span.holder != s.role or span.end_reason]
        s.rcv_nxt, s.queue, s.has_denied_fin = x.ack, [], True

    def _sent_fin(self, s: Endpoint, r: Endpoint, x: Segment) -> None:
        is_repeat = s.fin is not None
        s.fin = add(x.end, -1)
        s.fin_frame = x.frame
        if is_repeat:
            self._repeated_fin(s, x)
            return
        if s.state == "CLOSE-WAIT" and r.fin is not None and after(x.ack, r.fin) <= 0:
            # We had not received the peer's FIN when we sent ours: the two cross (RFC 9293 3.6, case 3).
            s.back_to("ESTABLISHED")
            s.move(x.frame, "FIN-WAIT-1", certain=True)
            s.move(r.fin_frame, "CLOSING")
            return
        following = {"ESTABLISHED": "FIN-WAIT-1", "SYN-RECEIVED": "FIN-WAIT-1", "CLOSE-WAIT": "LAST-ACK"}
        if s.state in following:
            s.move(x.frame, following[s.state], certain=True)

    def _repeated_fin(self, s: Endpoint, x: Segment) -> None:
        """A FIN again, later than a crossing explains: the ACK of it was never received."""
        reached = [change.new for change in s.changes]
        if s.assumed_ns and x.time_ns - s.assumed_ns > (s.half_rtt_ns or 0):
            for waiting in ("LAST-ACK", "CLOSING", "FIN-WAIT-1"):
                if waiting in reached and s.state != waiting and self._is_open_guess(s, waiting):
                    s.back_to(waiting)
                    self.spans = [span for span in self.spans if span.holder != s.role or span.end_reason]
                    s.assumed_ns = 0
                    break

    def _is_open_guess(self, s: Endpoint, waiting: str) -> bool:
        place = [change.new for change in s.changes].index(waiting) + 1
        return place >= s.certain and all(change.frame is not None for change in s.changes[place:])

    # -- the receiver (RFC 9293 3.10.7) ------------------------------------------------------------------

    def _received(self, r: Endpoint, s: Endpoint, x: Segment) -> None:
        if r.state == "TIME-WAIT":
            self._received_in_time_wait(r, s, x)
        elif r.state == "SYN-SENT":
            self._received_in_syn_sent(r, s, x)
        elif r.state not in (None, "CLOSED", "LISTEN"):
            self._received_in_order(r, s, x)

    def _received_in_syn_sent(self, r: Endpoint, s: Endpoint, x: Segment) -> None:
        assert r.iss is not None
        assert r.snd_nxt is not None
        acks_syn = bool(x.flags & ACK) and after(x.ack, r.iss) > 0 and after(x.ack, r.snd_nxt) <= 0
        if x.flags & ACK and not acks_syn:
            return
        if x.flags & RST:
            if acks_syn:
                r.move(x.frame, "CLOSED")
        elif x.flags & SYN:
            r.rcv_nxt = add(x.seq, 1 + x.payload_len)
            if acks_syn:
                r.move(x.frame, "ESTABLISHED")
            else:
                self.opened = "simultaneous"
                r.move(x.frame, "SYN-RECEIVED")

    def _received_in_order(self, r: Endpoint, s: Endpoint, x: Segment) -> None:
        if x.flags & RST:
            self._received_rst(r, x)
            return
        if x.flags & SYN and not (x.flags & ACK and r.state == "SYN-RECEIVED"):
            return
        if self._is_stale(r, x):
            return
        if x.flags & ACK:
            self._received_ack(r, s, x)
        if r.rcv_nxt is not None and not x.flags & SYN and after(x.end, r.rcv_nxt) > 0:
            r.queue.append((x.seq, add(x.seq, x.payload_len)))
        self._fill(r, s, x)

    def _is_stale(self, r: Endpoint, x: Segment) -> bool:
        """PAWS, with Linux's tolerance of one tick (RFC 7323 5.3)."""
        return bool(x.ts and r.ts_recent and after(x.ts[0], r.ts_recent) < -1)

    def _received_rst(self, r: Endpoint, x: Segment) -> None:
        """Second check: exactly RCV.NXT; after a FIN also one less, as macOS sends it."""
        distance = 0 if r.rcv_nxt is None else after(x.seq, r.rcv_nxt)
        if distance == 0 or (distance == -1 and r.state in ("CLOSE-WAIT", "LAST-ACK", "CLOSING")):
            is_passive = r.state == "SYN-RECEIVED" and r.role == "resp" and self.opened != "simultaneous"
            r.move(x.frame, "LISTEN" if is_passive else "CLOSED")

    def _received_ack(self, r: Endpoint, s: Endpoint, x: Segment) -> None:
        """Fifth check."""
        assert r.snd_nxt is not None
        if after(x.ack, r.snd_nxt) > 0:
            return
        if r.state == "SYN-RECEIVED" and r.iss is not None and after(x.ack, r.iss) > 0:
            r.move(x.frame, "ESTABLISHED")
            r.established_ns = x.time_ns
        if r.fin is not None and after(x.ack, r.fin) > 0:
            following = {"FIN-WAIT-1": "FIN-WAIT-2", "CLOSING": "TIME-WAIT", "LAST-ACK": "CLOSED"}
            if r.state in following:
                r.assumed_ns = x.time_ns
                was = r.state
                r.move(x.frame, following[r.state])
                if was == "CLOSING":
                    self.spans.append(Span(r.role, x.frame, "ack", x.time_ns))

    def _fill(self, r: Endpoint, s: Endpoint, x: Segment) -> None:
        """Seventh and eighth check: text in order, and a FIN once all text before it is there."""
        if r.rcv_nxt is None:
            return
        for _ in r.queue:
            for first, last in r.queue:
                if after(first, r.rcv_nxt) <= 0 < after(last, r.rcv_nxt):
                    r.rcv_nxt = last
        r.queue = [(first, last) for first, last in r.queue if after(last, r.rcv_nxt) > 0]
        if s.fin is None or after(r.rcv_nxt, s.fin) < 0:
            return
        if r.has_denied_fin and after(r.rcv_nxt, s.fin) == 0 and not x.flags & FIN:
            return
        r.has_denied_fin = False
        if after(r.rcv_nxt, s.fin) == 0:
            r.rcv_nxt = add(s.fin, 1)
        following = {"ESTABLISHED": "CLOSE-WAIT", "FIN-WAIT-1": "CLOSING", "FIN-WAIT-2": "TIME-WAIT"}
        if r.state in following:
            r.move(x.frame, following[r.state])
            if r.state == "TIME-WAIT":
                is_own = x.src == r.key
                self.spans.append(Span(r.role, x.frame, "ack" if is_own else "fin", x.time_ns))

    def _received_in_time_wait(self, r: Endpoint, s: Endpoint, x: Segment) -> None:
        """What Linux does with a segment in TIME-WAIT (tcp_timewait_state_process)."""
        assert r.rcv_nxt is not None
        is_stale = bool(x.ts and r.ts_recent and after(x.ts[0], r.ts_recent) < 0)
        if x.flags & RST:
            if x.seq == r.rcv_nxt and not is_stale:
                self._end_span(r, x.frame, "assassinated")
                r.move(x.frame, "CLOSED")
        elif x.is_syn:
            if is_stale:
                self._restart(r, x)
        elif x.flags & ACK:
            self._restart(r, x)

    # -- TIME-WAIT ---------------------------------------------------------------------------------------

    def _span(self, end: Endpoint) -> Span | None:
        return next((span for span in self.spans if span.holder == end.role and not span.end_reason), None)

    def _restart(self, r: Endpoint, x: Segment) -> None:
        span = self._span(r)
        if span and span.basis == "fin" and x.flags & FIN:
            span.frame, span.since_ns = x.frame, x.time_ns  # no ACK went between: the first FIN may not have arrived
        elif span:
            span.since_ns = x.time_ns
            span.restarts += 1

    def _end_span(self, end: Endpoint, frame: int | None, reason: str) -> None:
        span = self._span(end)
        if span:
            span.end_reason, span.end_frame = reason, frame

    def expire(self, now_ns: int) -> None:
        """2MSL runs out (RFC 9293 3.10.8)."""
        for end in (self.orig, self.resp):
            span = self._span(end)
            if end.state == "TIME-WAIT" and span and span.since_ns + TWO_MSL_NS <= now_ns:
                self._end_span(end, None, "expired")
                end.move(None, "CLOSED", certain=True)

    def supersede(self, end: Endpoint, frame: int, reason: str) -> None:
        """A new incarnation proves that this one is gone."""
        if end.state not in (None, "CLOSED", "LISTEN"):
            if end.state == "TIME-WAIT":
                self._end_span(end, frame, reason)
            end.move(frame, "CLOSED", certain=True)

    def _is_closer_known(self, peer: Endpoint) -> bool:
        """A FIN of the peer before this one would have been captured, or the peer sent more than ACKs after it."""
        sent = [x for x in self.segments if x.src == peer.key]
        return bool(sent) and (self.opened != "midstream" or any(x.payload_len or x.flags & FIN for x in sent))

    @property
    def active_closer(self) -> str:
        """Who entered FIN-WAIT-1."""
        both = self.orig.was_active, self.resp.was_active
        if sum(both) == 1 and not self._is_closer_known(self.resp if self.orig.was_active else self.orig):
            return "unknown"
        return {(True, True): "both", (True, False): "orig", (False, True): "resp"}.get(both, "none")


class Tracker:
    """All tuples of a capture."""

    def __init__(self) -> None:
        self.incarnations: list[Incarnation] = []
        self.reuses: list[Reuse] = []
        self._by_tuple: dict[Hashable, list[Incarnation]] = {}
        self._seen: dict[Segment, int] = {}

    def feed(self, segments: Iterable[Segment]) -> Tracker:
        """Read a whole capture, and close what its end leaves open."""
        now_ns = 0
        for x in segments:
            now_ns = max(now_ns, x.time_ns)
            for incarnation in self.incarnations:
                incarnation.expire(now_ns)
            if not self._is_copy(x):
                self._arrive(x)
        for incarnation in self.incarnations:
            incarnation.expire(now_ns)
            for span in incarnation.spans:
                span.end_reason = span.end_reason or "capture-end"
        return self

    def _is_copy(self, x: Segment) -> bool:
        """The same frame captured again (duplicated by the tap, not by the sender)."""
        key = x._replace(frame=0, time_ns=0)
        before = self._seen.get(key)
        self._seen[key] = x.time_ns
        return before is not None and x.ip_id != 0 and x.time_ns - before <= COPY_NS

    def _arrive(self, x: Segment) -> None:
        lives = self._by_tuple.setdefault((x.scope, frozenset((x.src, x.dst))), [])
        if x.is_syn and not (lives and x.flags & FIN):  # SYN with FIN is no connection attempt
            self._arrive_syn(lives, x)
            return
        if not lives or self._is_unannounced(lives, x):
            life = Incarnation(self, x, *((x.dst, x.src) if x.flags & SYN else (x.src, x.dst)))
            self._add(lives, life)
        life = next((life for life in lives[:-3:-1] if life.fits(x)), lives[-1])
        life.arrive(x)
        self._note_answer(lives, life, x)

    def _is_unannounced(self, lives: list[Incarnation], x: Segment) -> bool:
        """A SYN+ACK of an incarnation whose SYN was not captured."""
        if x.flags & (SYN | ACK) != SYN | ACK or x.src == x.dst:
            return False
        known = [life.ends(x)[1].iss for life in lives]
        return lives[-1].has_ended() and all(iss is None or add(iss, 1) != x.ack for iss in known)

    def _arrive_syn(self, lives: list[Incarnation], x: Segment) -> None:
        """Is it a new incarnation at all? (first match wins)"""
        if lives:
            life = lives[-1]
            s, r = life.ends(x)
            is_first_below = life.opened == "midstream" and life.first.src == x.src and life.first.seq == add(x.seq, 1)
            if s.iss == x.seq or (life.syn_acked == add(x.seq, 1) and s.role == "orig") or is_first_below:
                life.arrive(x)
                return
            if s.state is None and r.state == "SYN-SENT":  # simultaneous open
                life.arrive(x)
                return
        new = Incarnation(self, x, x.src, x.dst)
        if lives:
            old = lives[-1]
            self.reuses.append(Reuse(x.frame, old))
            s, r = old.ends(x)
            if s.state == "TIME-WAIT":
                old.supersede(s, x.frame, "reused-by-holder")
            elif r.state == "TIME-WAIT":
                old._received_in_time_wait(r, s, x)
        self._add(lives, new)
        new.arrive(x)

    def _add(self, lives: list[Incarnation], life: Incarnation) -> None:
        lives.append(life)
        self.incarnations.append(life)

    def _note_answer(self, lives: list[Incarnation], life: Incarnation, x: Segment) -> None:
        """What became of a SYN that met an earlier incarnation."""
        new = lives[-1]
        reuse = next((reuse for reuse in self.reuses if reuse.syn_frame == new.first.frame), None)
        if reuse is None or x.src != new.resp.key:
            return
        if x.flags & SYN and life is new:
            kind = "syn-ack"
            for end in reuse.previous.ends(x):
                reuse.previous.supersede(end, new.last_syn, "reopened-by-peer")
        else:
            kind = "rst" if x.flags & RST else "challenge-ack"
        if reuse.answer == "none":
            reuse.answer = kind


def segments(frames: Iterable[object], first: int = 1) -> list[Segment]:
    """The segments of scenario frames, numbered as in the file."""
    return [
        Segment(
            number, f.time_ns, f.src, f.dst, f.seq, f.ack, f.flags, f.payload_len, f.options.ts,  # type: ignore[attr-defined]
            f.window, f.ip_id, f.vlan or 0,  # type: ignore[attr-defined]
        )
        for number, f in enumerate(frames, start=first)
    ]  # fmt: skip


def track(frames: Iterable[object]) -> Tracker:
    """What the twin makes of scenario frames."""
    return Tracker().feed(segments(frames))
