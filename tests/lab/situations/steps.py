"""Moves that many situations share."""

import socket
import struct
import time

from tests.lab.segment import ACK, FIN, MASK, RST, SYN, Segment

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


TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
REPAIR_ON, REPAIR_OFF_SILENTLY, SEND_QUEUE = 1, -1, 2


def choose_isn(made, isn):
    """Give a socket that is not yet connected its initial sequence number.

    connect() draws a number only when none is set; repair mode can set one.
    """
    made.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_ON)
    made.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    made.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("I", isn & MASK))
    made.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_SILENTLY)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # repair mode has taken it away


def abort(made):
    """Close with SO_LINGER {1, 0}: RST instead of FIN."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.close()


def forge_from(lab, sender, receiver, flags, port=CLIENT_PORT, server_port=SERVER_PORT, offset=0, **changes):
    """Send `receiver` a segment in its peer's name, exactly at RCV.NXT plus `offset`."""
    own, other = (port, server_port) if receiver is lab.client else (server_port, port)
    latest = lab.relay.last(
        lambda s: s.src == receiver.address and (s.sport, s.dport) == (own, other) and not s.has(RST)
    )
    segment = Segment(
        src=sender.address,
        dst=receiver.address,
        sport=other,
        dport=own,
        seq=(latest.ack + offset) & MASK,
        ack=latest.end if flags & ACK else 0,
        flags=flags,
        window=0 if flags & RST else 64,
        **changes,
    )
    lab.relay.send(segment)
    lab.sleep(0.1)
    return segment
