"""Asking the kernel for single timewait entries (sock_diag over netlink).

The timer wheel moves a 60 s timer only when its slot changes, so a restart
soon after a start leaves no timer event. The entry itself tells: its remaining
time has grown, or its substate has changed.
"""

import dataclasses
import ipaddress
import socket
import struct
import time

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
NLM_F_REQUEST = 1
TIMER_TIME_WAIT = 3

FULL_MS = 60_000
ROUNDING_S = 0.012  # of a remaining time told in jiffies
MANY = 16  # more entries than this are not watched one by one
PATIENCE = 10  # looks that may miss an entry which is only about to enter the table


@dataclasses.dataclass
class Entry:
    """What was last seen of a timewait entry."""

    state: int
    left_ms: int
    asked: float
    answered: float
    misses: int = 0


@dataclasses.dataclass
class Change:
    """An entry changed its substate or its timer was started again, after `since`."""

    key: tuple  # host name, local, peer
    old: int
    new: int
    since: float
    time: float
    is_certain: bool


class TimewaitWatch:
    """Watches the entries that timer events announce."""

    def __init__(self, hosts):
        self.polls = {host.name: TimewaitPoll(host) for host in hosts}
        self.entries = {}

    def announce(self, key, state, is_new, when):
        """A timer was started: by a new entry, or by one that is watched already."""
        if is_new or key not in self.entries:
            self.entries[key] = Entry(state, FULL_MS, when, when)
        self.entries[key].misses = 0

    def forget(self, key):
        """The timer has expired."""
        self.entries.pop(key, None)

    def look(self, even_many=False):
        """Ask for every watched entry; returns the changes since the last look."""
        if len(self.entries) > MANY and not even_many:
            return []
        changes = [self._look_at(key, entry) for key, entry in list(self.entries.items())]
        return [change for change in changes if change is not None]

    def _look_at(self, key, entry):
        host, local, peer = key
        asked = time.time()
        found = self.polls[host].ask(local, peer)
        answered = time.time()
        if found is None:
            entry.misses += 1
            if entry.misses > PATIENCE:
                del self.entries[key]
            return None
        state, left_ms = found
        self.entries[key] = Entry(state, left_ms, asked, answered)
        # remaining time can only grow when the timer was started again; that it stands still may be a late jiffy
        is_certain = state != entry.state or left_ms > entry.left_ms
        is_later = asked + left_ms / 1000 > entry.answered + entry.left_ms / 1000 + ROUNDING_S
        change = Change(key, entry.state, state, entry.asked, answered, is_certain)
        return change if is_certain or is_later else None

    def close(self):
        """Give the sockets back."""
        for poll in self.polls.values():
            poll.close()


class TimewaitPoll:
    """One netlink socket in one namespace."""

    def __init__(self, namespace):
        with namespace.inside():
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
        self.socket.bind((0, 0))
        self.socket.settimeout(1)

    def ask(self, local, peer):
        """(state number, remaining ms) of the timewait entry of a tuple, or None."""
        self.socket.send(_request(local, peer))
        answer = self.socket.recv(8192)
        if int.from_bytes(answer[4:6], "little") != SOCK_DIAG_BY_FAMILY:
            return None
        _, state, timer, _ = struct.unpack_from("BBBB", answer, 16)
        (expires,) = struct.unpack_from("<I", answer, 16 + 4 + 48)
        return (state, expires) if timer == TIMER_TIME_WAIT else None

    def close(self):
        """Give the socket back."""
        self.socket.close()


def _request(local, peer):
    (local_ip, local_port), (peer_ip, peer_port) = local, peer
    family = socket.AF_INET6 if ":" in local_ip else socket.AF_INET
    # struct inet_diag_sockid: the own end first, any interface, any cookie
    ids = struct.pack("!HH16s16sI", local_port, peer_port, _packed(local_ip), _packed(peer_ip), 0) + b"\xff" * 8
    body = struct.pack("<BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + ids
    return struct.pack("<IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + body


def _packed(address):
    return ipaddress.ip_address(address).packed.ljust(16, b"\0")
