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
from tests.lab.timewait_poll import TimewaitWatch

POLL_S = 0.004
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
NUMBERS = {name: number for number, name in STATES.items()}


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
    is_certain: bool = True
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

    def __init__(self, hosts):
        self.hosts = {host.inum: host for host in hosts}
        self.addresses = {address for host in hosts for address in host.addresses}
        self.clock = Clock()
        _symbols()  # slow, and must not hold up the polling later
        self.records = []
        self.events, self.full = [], False
        self.watch = TimewaitWatch(hosts)
        self.substate_at = btf.kernel().offset("inet_timewait_sock", "tw_substate")
        self.ring = bpf.RingBuffer()
        self.links = programs.attach_all(self.ring, list(self.hosts))
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while self.running:
            self._collect()
            self._look()
            time.sleep(POLL_S)

    def _collect(self):
        self.full |= self.ring.is_nearly_full()
        for record in self.ring.drain():
            self.records.append(record)
            if record[8] not in TIMEWAIT_KINDS:
                continue
            event = self._event(record)
            key = event.host, event.local, event.peer
            if event.kind == programs.TW_START:
                is_new = "inet_twsk_hashdance_schedule" in event.callers
                self.watch.announce(key, NUMBERS[event.new], is_new, event.time)
            elif event.kind == programs.TW_EXPIRE:
                self.watch.forget(key)

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
        host = next(h.name for h in self.hosts.values() if segment.dst in h.addresses)
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

    def _look(self, even_many=False):
        for change in self.watch.look(even_many):
            host, local, peer = change.key
            event = Event(change.time, POLLED, host, 0, local, peer, STATES[change.old], STATES[change.new])
            event.since, event.is_certain = change.since, change.is_certain
            self.events.append(event)

    def stop(self):
        """End the recording."""
        self.running = False
        self.thread.join()
        self._collect()
        self._look(even_many=True)
        self.clock.close()
        programs.detach(self.links)
        self.ring.close()
        self.watch.close()
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
