"""The kernel's own record of what its TCP stacks did while the capture ran.

Collects the records of `kernel_programs` and polls the timewait entries they
announce; makes plain events with wall-clock times out of both. What the events
mean is said in `history`.
"""

import bisect
import dataclasses
import functools
import ipaddress
import struct
import threading
import time

from tests.lab import bpf, btf
from tests.lab import kernel_programs as programs
from tests.lab.segment import parse_packet
from tests.lab.timewait_poll import TimewaitPoll

POLL_S = 0.004
POLLED_ENTRIES = 16  # a storm of entries is not polled one by one
PATIENCE = 10  # polls that may miss an entry
TIMEWAIT_KINDS = (programs.TW_START, programs.TW_CANCEL, programs.TW_EXPIRE)
POLLED = 100  # kind of the events that come from polling

STATES = {
    1: "ESTABLISHED",
    2: "SYN-SENT",
    3: "SYN-RECEIVED",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    7: "CLOSED",
    8: "CLOSE-WAIT",
    9: "LAST-ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN-RECEIVED",
}


@dataclasses.dataclass
class Event:
    """One thing the kernel did; `pointer` tells the structure, `old` and `new` its states."""

    time: float
    kind: int
    host: str
    pointer: int
    local: tuple
    peer: tuple
    old: str | None = None
    new: str | None = None
    callers: tuple = ()
    since: float | None = None  # polled events: it happened after this time
    restarted: bool = False
    segment: object = None
    reason: int = 0


class Clock:
    """Monotonic kernel times as wall-clock times, from readings at both ends."""

    def __init__(self):
        self.offsets = [_offset_ns()]

    def close(self):
        self.offsets.append(_offset_ns())

    @property
    def drift_ns(self):
        return self.offsets[-1] - self.offsets[0]

    def wall(self, monotonic_ns):
        return (monotonic_ns + self.offsets[0]) / 1e9


def _offset_ns():
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the tightest of some readings."""
    readings = []
    for _ in range(32):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        readings.append((after - before, wall - (before + after) // 2))
    return min(readings)[1]


class KernelRecord:
    """Runs from construction to `stop`; then `events` is complete."""

    def __init__(self, hosts, poll=True):
        self.hosts = {host.inum: host for host in hosts}
        self.addresses = {a for host in hosts for a in (host.address, host.address6)}
        self.clock = Clock()
        _symbols()  # slow, and must not hold up the polling later
        self.records, self.longest_gap_s = [], 0.0
        self.events, self.alive, self.misses, self.full = [], {}, {}, False
        self.polls = {host.name: TimewaitPoll(host) for host in hosts} if poll else {}
        self.substate_at = btf.kernel().offset("inet_timewait_sock", "tw_substate")
        self.ring = bpf.RingBuffer()
        self.links = programs.attach_all(self.ring, list(self.hosts))
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        before = time.monotonic()
        while self.running:
            self._collect()
            self._poll()
            time.sleep(POLL_S)
            now = time.monotonic()
            self.longest_gap_s, before = max(self.longest_gap_s, now - before), now

    def _collect(self):
        self.full |= self.ring.is_nearly_full()
        for record in self.ring.drain():
            self.records.append(record)
            if record[8] not in TIMEWAIT_KINDS:
                continue
            event = self._event(record)
            key = event.host, event.local, event.peer
            if event.kind == programs.TW_START:
                if key not in self.alive or "inet_twsk_hashdance_schedule" in event.callers:
                    self.alive[key] = event.new, 60000, event.time
                self.misses[key] = 0
            elif event.kind == programs.TW_EXPIRE:
                self.alive.pop(key, None)

    def _event(self, record):
        time_ns, kind, *args = struct.unpack_from("<6Q", record)
        wall = self.clock.wall(time_ns)
        raw = record[programs.RAW_AT : programs.STACK_AT]
        if kind == programs.DROP:
            return self._drop(wall, raw, args[2], _names(record[programs.STACK_AT :]))
        host = self.hosts[struct.unpack_from("<I", record, programs.INUM_AT)[0]].name
        local, peer = _addresses(raw)
        if kind == programs.SET_STATE:
            if not local[1]:  # the port is given back before the state is shown
                local = local[0], int.from_bytes(record[programs.INUM_AT + 4 : programs.INUM_AT + 6])
            return Event(wall, kind, host, args[0], local, peer, STATES[args[1]], STATES[args[2]])
        callers = _names(record[programs.STACK_AT :])
        new = STATES[raw[self.substate_at]] if kind in TIMEWAIT_KINDS else None
        return Event(wall, kind, host, args[0], local, peer, new=new, callers=callers)

    def _drop(self, wall, raw, reason, callers):
        if not any(name in ("tcp_v4_rcv", "tcp_v6_rcv") for name in callers):
            return None  # the router's kernel also drops a copy of every frame
        try:
            segment = parse_packet(raw)
        except (IndexError, struct.error):
            return None
        if segment is None or segment.dst not in self.addresses or segment.src not in self.addresses:
            return None
        host = next(h.name for h in self.hosts.values() if segment.dst in (h.address, h.address6))
        return Event(
            wall,
            programs.DROP,
            host,
            0,
            (segment.dst, segment.dport),
            (segment.src, segment.sport),
            segment=segment,
            reason=reason,
        )

    def _poll(self):
        if len(self.alive) > POLLED_ENTRIES or not self.polls:
            return
        for key, (state, left, asked) in list(self.alive.items()):
            host, local, peer = key
            now = time.time()
            found = self.polls[host].ask(local, peer)
            if found is None:
                self._missed(key)
                continue
            new, new_left = STATES[found[0]], found[1]
            # remaining time can only grow when the timer was started again
            restarted = new_left > left or now + new_left / 1000 > asked + left / 1000 + 0.012
            if new != state or restarted:
                self.events.append(
                    Event(time.time(), POLLED, host, 0, local, peer, state, new, since=asked, restarted=restarted)
                )
            self.alive[key] = new, new_left, now

    def _missed(self, key):
        """Forget an entry that is gone; one announced a moment ago may not be in the table yet."""
        self.misses[key] += 1
        if self.misses[key] > PATIENCE:
            del self.alive[key]

    def stop(self):
        """End the recording."""
        self.running = False
        self.thread.join()
        self._collect()
        self.clock.close()
        programs.detach(self.links)
        self.ring.close()
        for poll in self.polls.values():
            poll.close()
        decoded = (self._event(record) for record in self.records)
        self.events += [event for event in decoded if event is not None]
        self.events.sort(key=lambda event: event.time)


def _addresses(common):
    """Local and peer (address, port) from the head of a socket of any size."""
    offsets = btf.kernel()

    def member(name, size):
        at = offsets.offset("sock_common", name)
        return common[at : at + size]

    dport = int.from_bytes(member("skc_dport", 2), "big")
    num = int.from_bytes(member("skc_num", 2), "little")
    v6 = int.from_bytes(member("skc_family", 2), "little") == 10
    names, size = (("skc_v6_rcv_saddr", "skc_v6_daddr"), 16) if v6 else (("skc_rcv_saddr", "skc_daddr"), 4)
    local, peer = (str(ipaddress.ip_address(member(name, size))) for name in names)
    return (local, num), (peer, dport)


@functools.cache
def _symbols():
    with open("/proc/kallsyms") as table:
        rows = sorted((int(line.split()[0], 16), line.split()[2]) for line in table)
    return [address for address, _ in rows], [name for _, name in rows]


def _names(stack):
    """Names of the functions on a kernel stack, innermost first."""
    addresses, names = _symbols()
    found = (address for (address,) in struct.iter_unpack("<Q", stack) if address)
    return tuple(names[bisect.bisect_right(addresses, address) - 1] for address in found)
