"""Moves that many situations share."""

import time

from tests.lab.segment import ACK, FIN, RST, SYN

CLIENT_PORT, SERVER_PORT = 40000, 5000


def pure_ack(port=CLIENT_PORT):
    """Matches ACKs without anything else from a source port."""
    return lambda s: s.sport == port and s.flags == ACK and not s.payload


def with_flags(flags, port):
    """Matches segments that carry the flags, from a source port."""
    return lambda s: s.sport == port and s.has(flags)


def fin_from(port):
    """Matches FINs from a source port."""
    return with_flags(FIN, port)


def syn_from(port):
    """Matches SYNs without ACK from a source port."""
    return lambda s: s.sport == port and s.flags & (SYN | ACK | RST) == SYN


def close_in_turn(first, second, gap_s=0.1):
    """The ordinary close: `first` closes, `second` notices and closes."""
    first.close()
    time.sleep(gap_s)
    second.settimeout(5)
    while second.recv(4096):
        pass
    second.close()
    time.sleep(0.1)


def one_port(lab, host=None):
    """Leave the client a single automatic port, so that reuse is certain."""
    lab.set(host or lab.client, ip_local_port_range=f"{CLIENT_PORT} {CLIENT_PORT}")
