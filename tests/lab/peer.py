"""A hand-made TCP endpoint: it says what the situation tells it, right or wrong.

It lives in the router on an address of client or server; segments for its port
are diverted to it before they reach that host's kernel, which therefore never
answers with a RST of its own. It acknowledges nothing by itself.
"""

import queue
import time

from tests.lab.segment import ACK, FIN, MASK, RST, SYN, Segment


class Peer:
    """One end of one tuple, with its own sequence numbers and timestamp clock."""

    def __init__(self, lab, local, remote, isn, tsval=None):
        self.relay, self.local, self.remote = lab.relay, local, remote
        self.snd_nxt, self.rcv_nxt = isn, 0
        self.tsval, self.started, self.tsecr = tsval, time.monotonic(), 0
        self.inbox = queue.Queue()
        ends = (*remote, *local)
        self.rule = lab.relay.divert(lambda s: (s.src, s.sport, s.dst, s.dport) == ends, self._receive)

    def _receive(self, segment):
        if segment.tsval is not None:
            self.tsecr = segment.tsval
        self.inbox.put(segment)

    def clock(self):
        """The endpoint's TSval now (1 kHz), or None without timestamps."""
        if self.tsval is None:
            return None
        return (self.tsval + int((time.monotonic() - self.started) * 1000)) & MASK

    def send(self, flags, payload=b"", what=None, **changes):
        """Send a segment at SND.NXT; `changes` overrides any field, and SND.NXT moves unless `seq` is given."""
        fields = {
            "seq": self.snd_nxt,
            "ack": self.rcv_nxt if flags & ACK else 0,
            "tsval": self.clock(),
            "tsecr": self.tsecr if flags & ACK else 0,
        }
        if flags & SYN:
            fields |= {"mss": 1460, "sack_ok": True, "wscale": 7}
        if flags & RST:
            fields |= {"tsval": None, "window": 0}
        fields |= changes
        segment = Segment(
            *[self.local[0], self.remote[0], self.local[1], self.remote[1]], flags=flags, payload=payload, **fields
        )
        self.relay.send(segment, what=what)
        if "seq" not in changes:
            self.snd_nxt = segment.end
        return segment

    def expect(self, match=lambda segment: True, seconds=5.0):
        """The next matching segment; RCV.NXT follows what is in order."""
        deadline = time.monotonic() + seconds
        while True:
            segment = self.inbox.get(timeout=max(0.001, deadline - time.monotonic()))
            if segment.flags & SYN or segment.seq == self.rcv_nxt:
                self.rcv_nxt = segment.end
            if match(segment):
                return segment

    def accept(self):
        """Passive open: wait for the SYN, answer, wait for the ACK."""
        syn = self.expect(lambda s: s.has(SYN))
        self.send(SYN | ACK)
        self.expect(lambda s: s.has(ACK) and s.ack == self.snd_nxt)
        return syn

    def connect(self):
        """Active open: SYN, wait for the SYN+ACK, ACK."""
        self.send(SYN)
        answer = self.expect(lambda s: s.has(SYN | ACK))
        self.send(ACK)
        return answer

    def close_passively(self):
        """Answer the other side's FIN with ACK and FIN; returns the FIN sent."""
        self.expect(lambda s: s.has(FIN))
        self.send(ACK)
        time.sleep(0.05)
        return self.send(FIN | ACK)

    def leave(self):
        """Stop diverting: the host's kernel sees the segments again."""
        self.relay.forget(self.rule)
