"""Traffic that is not about closing: retries, loss, reordering, closed windows, IPv6."""

import errno
import itertools
import socket

from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, close_in_turn, syn_from


def _nth(*wanted):
    """Matches the nth data segments of the client, counted among those that earlier rules left alone."""
    counter = itertools.count(1)
    return lambda s: s.sport == CLIENT_PORT and len(s.payload) == 100 and next(counter) in wanted


@situation("retransmit-reorder")
def retransmit_reorder(lab):
    """150 short segments, of which the wire loses some, delivers some late and some twice; an ordinary close follows,
    and nothing is wrong with the connection.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lab.relay.drop(_nth(20, 61, 62, 110), count=4)
    lab.relay.delay(_nth(10, 35, 36, 80, 95), 0.02, count=5)
    lab.relay.duplicate(_nth(15, 50, 120), 0.015, count=3)
    for i in range(150):
        client.sendall(b"%04d" % i * 25)
        lab.sleep(0.004)
    left = 150 * 100
    while left:
        left -= len(server.recv(65536))
    server.sendall(b"all read")
    client.recv(100)
    close_in_turn(client, server)


@situation("window-probe")
def window_probe(lab):
    """The server does not read: its small window closes and the client probes it for 2 s; then the server reads and the
    rest flows.
    """
    lab.listener(lab.server, SERVER_PORT).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    client, server = lab.connect(source=CLIENT_PORT)
    client.setblocking(False)
    sent = client.send(b"x" * 12_000)
    lab.sleep(2)
    client.settimeout(5)
    while sent:
        sent -= len(server.recv(65536))
    server.sendall(b"all read")
    client.recv(100)
    close_in_turn(client, server)


@situation("syn-retries", prepare=lambda lab: lab.set(lab.client, tcp_syn_retries=3))
def syn_retries(lab):
    """No SYN is ever answered: the client repeats it (tcp_syn_retries=3 after four linear timeouts) and gives up."""
    lab.relay.drop(syn_from(CLIENT_PORT), count=-1)
    client = lab.client.tcp()
    client.settimeout(60)
    client.bind((lab.client.address, CLIENT_PORT))
    error = client.connect_ex((lab.server.address, SERVER_PORT))
    lab.note(f"connect() ended with {errno.errorcode.get(error, error)}")


@situation("syn-lost")
def syn_lost(lab):
    """The first SYN is lost and the second one, a second later, opens the connection: retransmission, not reuse."""
    lab.relay.drop(syn_from(CLIENT_PORT))
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("ipv6", filter="tcp or ip6 proto 6")
def ipv6(lab):
    """IPv6: an ordinary close by the client, then the client takes over its own TIME-WAIT from a bound port."""
    for _ in range(2):
        client, server = lab.connect(source=CLIENT_PORT, family=socket.AF_INET6)
        lab.exchange(client, server)
        close_in_turn(client, server)
        lab.sleep(0.15)


@situation("traffic-both-ways")
def traffic_both_ways(lab):
    """Both sides send 80 short segments at once; every 7th is lost, every 11th comes twice, every 13th comes late."""
    client, server = lab.connect(source=CLIENT_PORT)
    for made in (client, server):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lab.relay.drop(_every(7), count=20)
    lab.relay.duplicate(_every(11), 0.005, count=12)
    lab.relay.delay(_every(13), 0.015, count=10)
    for i in range(80):
        for made in (client, server):
            made.sendall(b"%03d" % i * 20)
        lab.sleep(0.004)
    for made in (client, server):
        left = 80 * 60
        while left:
            left -= len(made.recv(65536))
    close_in_turn(server, client)


def _every(n):
    """Matches every nth data segment, both ways, counted among those that earlier rules left alone."""
    counter = itertools.count(1)
    return lambda s: len(s.payload) == 60 and next(counter) % n == 0


def _fast_open(lab):
    """Data in the SYN without asking for a cookie first, at both ends."""
    lab.set(lab.client, tcp_fastopen=5)
    lab.set(lab.server, tcp_fastopen=0x202)


@situation("fast-open-data", prepare=_fast_open)
def fast_open_data(lab):
    """TCP Fast Open: the SYN carries data, and the server accepts the connection before the handshake is over."""
    listener = lab.listener(lab.server, SERVER_PORT)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 8)
    client = lab.client.tcp()
    client.bind((lab.client.address, CLIENT_PORT))
    client.sendto(b"early", socket.MSG_FASTOPEN, (lab.server.address, SERVER_PORT))
    server, _ = listener.accept()
    server.settimeout(5)
    lab.server.sockets.append(server)
    lab.note(f"the server read {server.recv(100)!r}")
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("fin-with-data")
def fin_with_data(lab):
    """The client's FIN rides on its last data segment, and so does the server's."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.send(b"last words", socket.MSG_MORE)
    client.shutdown(socket.SHUT_WR)
    lab.sleep(0.1)
    server.recv(100)
    server.send(b"goodbye", socket.MSG_MORE)
    server.close()
    lab.sleep(0.2)
    client.recv(100)
    client.close()
    lab.sleep(0.2)
