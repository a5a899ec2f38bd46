"""What is refused, by a host, a firewall or an application that has had enough."""

import contextlib
import socket

from tests.lab.peer import Peer
from tests.lab.segment import ACK, MASK, SYN
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, abort


@situation("refused-storm")
def refused_storm(lab):
    """Forty connections to a port on which nobody listens, from four source ports: nothing but SYN and RST."""
    for i in range(40):
        made = lab.client.tcp()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((lab.client.address, CLIENT_PORT + i % 4))
        with contextlib.suppress(ConnectionRefusedError):
            made.connect((lab.server.address, 5999))
        made.close()


@situation(
    "firewall-rejects",
    filter="tcp or ip6 proto 6",
    prepare=lambda lab: lab.set(lab.server, tcp_orphan_retries=2),
)
def firewall_rejects(lab):
    """In mid-connection the server's firewall begins to reject with RST what comes in: the client is gone at once, the
    server's socket knows nothing, closes a moment later and is given up (tcp_orphan_retries=2).
    """
    client, server = lab.connect(source=CLIENT_PORT, family=socket.AF_INET6)
    lab.exchange(client, server)
    lab.server.nft(
        "add table inet wall",
        "add chain inet wall in { type filter hook input priority 0 ; }",
        "add rule inet wall in tcp dport 5000 reject with tcp reset",
    )
    client.sendall(b"hello")
    lab.sleep(0.3)
    server.close()
    lab.sleep(3)


@situation("syn-ack-with-old-echo")
def syn_ack_with_old_echo(lab):
    """A hand-made server echoes a TSval in its SYN+ACK that is older than the SYN: Linux answers with RST, stays in
    SYN-SENT and repeats the SYN; the next SYN+ACK is right.
    """
    peer = Peer(lab, (lab.server.address, 7000), (lab.client.address, CLIENT_PORT), isn=5_000_000, tsval=900_000)
    client = lab.client.tcp()
    client.bind((lab.client.address, CLIENT_PORT))
    client.setblocking(False)
    client.connect_ex((lab.server.address, 7000))
    syn = peer.expect(lambda s: s.has(SYN))
    peer.send(SYN | ACK, seq=5_000_000, tsecr=(syn.tsval - 500_000) & MASK)
    lab.sleep(0.2)
    peer.expect(lambda s: s.has(SYN))
    peer.send(SYN | ACK)
    peer.expect(lambda s: s.has(ACK) and s.ack == peer.snd_nxt)
    client.settimeout(5)
    client.send(b"x")
    peer.expect(lambda s: s.payload)
    peer.send(ACK)
    client.close()
    peer.close_passively()
    lab.sleep(0.3)


@situation("download-aborted")
def download_aborted(lab):
    """The client closes in the middle of a download: RST for the unread data, and one more RST, all alike, for each
    segment that was on its way.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    client.sendall(b"GET /big")
    server.recv(100)
    server.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            server.send(b"z" * 65536)
    client.recv(1000)
    client.close()
    lab.sleep(0.3)


@situation("zero-window-abort")
def zero_window_abort(lab):
    """The server does not read until its window is closed, and then closes: RST."""
    client, server = lab.connect(source=CLIENT_PORT)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            client.send(b"x" * 10_000)
    lab.sleep(2)
    server.close()
    lab.sleep(0.3)


def no_scaling(lab):
    """Switch window scaling off at both ends."""
    for host in (lab.client, lab.server):
        lab.set(host, tcp_window_scaling=0)


@situation("read-then-abort", prepare=no_scaling)
def read_then_abort(lab):
    """Without window scaling: the server reads 100 bytes and aborts with SO_LINGER {1, 0}; its window still lacks them
    all.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.sendall(b"x" * 100)
    lab.sleep(0.3)
    server.recv(1000)
    lab.sleep(0.1)
    abort(server)
    lab.sleep(0.2)


@situation("linger2-negative")
def linger2_negative(lab):
    """TCP_LINGER2 below zero: the closed socket does not wait in FIN-WAIT-2; the ACK of its FIN is answered by RST."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, -1)
    client.close()
    lab.sleep(0.3)
    server.close()
    lab.sleep(0.3)


@situation("idle-connections-closed")
def idle_connections_closed(lab):
    """The server closes six idle keep-alive connections; every other client sends one more request into it and gets a
    RST.
    """
    pairs = [lab.connect(source=CLIENT_PORT + i) for i in range(6)]
    for pair in pairs:
        lab.exchange(*pair, b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")
    lab.sleep(0.5)
    for _, server in pairs:
        server.close()
    lab.sleep(0.2)
    for i, (client, _) in enumerate(pairs):
        if i % 2:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        lab.sleep(0.05)
        with contextlib.suppress(ConnectionResetError):
            client.recv(100)
        client.close()
    lab.sleep(0.2)


@situation("retries-exhausted", prepare=lambda lab: lab.set(lab.client, tcp_retries2=3))
def retries_exhausted(lab):
    """The wire loses what the client sends until it gives up (tcp_retries2=3), without a RST; the server's later FIN
    finds nobody.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    dead = lab.relay.drop(lambda s: s.sport == CLIENT_PORT, -1)
    client.sendall(b"lost")
    lab.sleep(5)
    lab.relay.forget(dead)
    server.close()
    lab.sleep(0.5)


@situation("both-fins-lost")
def both_fins_lost(lab):
    """Both close at once and both FINs are lost the first time."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    for port in (CLIENT_PORT, SERVER_PORT):
        lab.relay.drop(lambda s, port=port: s.sport == port and s.flags & 1)
    client.close()
    server.close()
    lab.sleep(1.5)
