"""The wire between client and server: a user-space relay that obeys rules.

It delays every frame by 2 ms and can drop, delay, duplicate, replay or forge
segments. It stands in for netem, which small kernels do not have, and unlike
netem it can pick the one segment that a situation is about.
"""

import dataclasses
import heapq
import itertools
import select
import socket
import threading
import time
from collections.abc import Callable

from tests.lab.segment import parse_packet

ETH_P_ALL = 3
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
TO_SERVER, TO_CLIENT = "to server", "to client"


@dataclasses.dataclass
class Rule:
    """What to do with the next `count` segments that match."""

    match: Callable
    action: str
    count: int = 1
    seconds: float = 0.0
    handler: Callable | None = None


class Relay:
    """Forwards between the two devices of the router, from a thread of its own."""

    def __init__(self, topology):
        with topology.router.inside():
            self.sockets = {TO_SERVER: _raw("rc"), TO_CLIENT: _raw("rs")}  # by where their input goes
        self.outputs = {TO_SERVER: self.sockets[TO_CLIENT], TO_CLIENT: self.sockets[TO_SERVER]}
        macs = topology.macs
        self.headers = {
            TO_SERVER: _bytes(macs["s0"]) + _bytes(macs["rs"]),
            TO_CLIENT: _bytes(macs["c0"]) + _bytes(macs["rc"]),
        }
        self.client_addresses = {topology.client.address, topology.client.address6}
        self.rules, self.log, self.seen = [], [], []
        self.queue, self.order = [], itertools.count()
        self.lock = threading.Lock()
        self.wake_read, self.wake_write = socket.socketpair()
        self.running = True
        self.keep_seen = True
        self.one_way_s = 0.002
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    # rules

    def drop(self, match, count=1):
        """Lose the next matching segments."""
        return self._add(Rule(match, "drop", count))

    def delay(self, match, seconds, count=1):
        """Let the next matching segments arrive late."""
        return self._add(Rule(match, "delay", count, seconds))

    def duplicate(self, match, seconds, count=1):
        """Deliver the next matching segments twice, the second copy later."""
        return self._add(Rule(match, "duplicate", count, seconds))

    def divert(self, match, handler):
        """Hand matching segments to a hand-made endpoint instead of forwarding them."""
        return self._add(Rule(match, "divert", -1, handler=handler))

    def forget(self, rule):
        """Take a rule away."""
        with self.lock:
            if rule in self.rules:
                self.rules.remove(rule)

    def _add(self, rule):
        with self.lock:
            self.rules.append(rule)
        return rule

    # segments of our own

    def send(self, segment, direction=None, after=0.0, what="forged"):
        """Put a segment on the wire that no stack has sent."""
        direction = direction or self.direction(segment)
        if what:
            self.log.append((time.time() + after, what, segment.words()))
        self._push(direction, segment.packet(), after)

    def direction(self, segment):
        """Where a segment has to go by its destination."""
        return TO_CLIENT if segment.dst in self.client_addresses else TO_SERVER

    def last(self, match, seconds=3.0):
        """The latest forwarded segment that matches; waits for one."""
        deadline = time.monotonic() + seconds
        while True:
            for segment in reversed(self.seen):
                if match(segment):
                    return segment
            if time.monotonic() > deadline:
                raise TimeoutError("no such segment crossed the relay")
            time.sleep(0.002)

    # the thread

    def _run(self):
        inputs = {made.fileno(): direction for direction, made in self.sockets.items()}
        poll = select.poll()
        for fd in (*inputs, self.wake_read.fileno()):
            poll.register(fd, select.POLLIN)
        while self.running:
            for fd, _ in poll.poll(self._wait_ms()):
                if fd in inputs:
                    self._receive(inputs[fd])
                else:
                    self.wake_read.recv(64)
            self._deliver()

    def _wait_ms(self):
        with self.lock:
            if not self.queue:
                return 100
            return max(0, int((self.queue[0][0] - time.monotonic()) * 1000))

    def _receive(self, direction):
        try:
            frames = [self.sockets[direction].recv(65535) for _ in range(1)]
        except BlockingIOError:
            return
        for frame in frames:
            packet = frame[14:]
            segment = parse_packet(packet) if frame[12:14] in (b"\x08\x00", b"\x86\xdd") else None
            if segment is not None:
                self._forward(direction, segment, packet)

    def _forward(self, direction, segment, packet):
        if self.keep_seen:
            self.seen.append(segment)
        rule = self._matching(segment)
        if rule is None:
            self._push(direction, packet, self.one_way_s)
            return
        if rule.action == "divert":
            rule.handler(segment)
            return
        self.log.append((time.time(), rule.action, segment.words()))
        if rule.action == "delay":
            self._push(direction, packet, rule.seconds)
        elif rule.action == "duplicate":
            self._push(direction, packet, self.one_way_s)
            self._push(direction, packet, self.one_way_s + rule.seconds)

    def _matching(self, segment):
        with self.lock:
            for rule in self.rules:
                if rule.match(segment):
                    rule.count -= 1
                    if rule.count == 0:
                        self.rules.remove(rule)
                    return rule
        return None

    def _push(self, direction, packet, seconds):
        with self.lock:
            heapq.heappush(self.queue, (time.monotonic() + seconds, next(self.order), direction, packet))
        if threading.current_thread() is not self.thread:
            self.wake_write.send(b"x")

    def _deliver(self):
        now = time.monotonic()
        while True:
            with self.lock:
                if not self.queue or self.queue[0][0] > now + 0.0005:
                    return
                _, _, direction, packet = heapq.heappop(self.queue)
            kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
            self.outputs[direction].send(self.headers[direction] + kind + packet)

    def dropped_frames(self):
        """Frames that the relay's own sockets lost; must be none."""
        return sum(int.from_bytes(made.getsockopt(SOL_PACKET, 6, 8)[4:8], "little") for made in self.sockets.values())

    def stop(self):
        """End the thread and close the devices."""
        self.running = False
        self.wake_write.send(b"x")
        self.thread.join()
        for made in (*self.sockets.values(), self.wake_read, self.wake_write):
            made.close()


class NoRelay:
    """Stands where the relay would when the router's kernel forwards."""

    log = ()

    def dropped_frames(self):
        return 0

    def stop(self):
        pass


def _raw(device):
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    made.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)  # SO_RCVBUFFORCE: bursts must not be lost here
    made.bind((device, 0))
    made.setblocking(False)
    return made


def _bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))
