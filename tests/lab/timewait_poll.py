"""Asking the kernel for single timewait entries (sock_diag over netlink).

The timer wheel moves a 60 s timer only when its slot changes, so a restart
soon after a start leaves no timer event. The entry itself tells: its remaining
time has grown, or its substate has changed.
"""

import ipaddress
import socket
import struct

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
NLM_F_REQUEST = 1
TIMER_TIME_WAIT = 3


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
    # inet_diag looks a socket up from the point of view of an arriving segment
    ids = struct.pack("!HH16s16sI", local_port, peer_port, _packed(local_ip), _packed(peer_ip), 0) + b"\xff" * 8
    body = struct.pack("<BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + ids
    return struct.pack("<IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + body


def _packed(address):
    return ipaddress.ip_address(address).packed.ljust(16, b"\0")
