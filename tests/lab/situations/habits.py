"""What applications do again and again: aborts as a habit, probes, sockets never closed, full queues."""

import socket
import threading

from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, abort, close_in_turn, fin_from


@situation("linger0-habit")
def linger0_habit(lab):
    """The server ends each of six connections with SO_LINGER {1, 0}."""
    for i in range(6):
        client, server = lab.connect(source=CLIENT_PORT + i)
        lab.exchange(client, server)
        abort(server)
        lab.sleep(0.05)


@situation("health-checks")
def health_checks(lab):
    """A prober connects and resets at once, five times a second apart; nothing is ever sent."""
    for i in range(5):
        client, _ = lab.connect(source=CLIENT_PORT + i)
        abort(client)
        lab.sleep(1)


@situation("close-wait-leak")
def close_wait_leak(lab):
    """Twelve clients close and the server never does: CLOSE-WAIT for more than a minute; the clients' FIN-WAIT-2 time
    out; another connection goes on.
    """
    other = lab.connect(5001, CLIENT_PORT + 100)
    for i in range(12):
        pair = lab.connect(source=CLIENT_PORT + i)
        lab.exchange(*pair)
        pair[0].close()
    lab.sleep(63)
    lab.exchange(*other)


@situation("accept-queue-overflow")
def accept_queue_overflow(lab):
    """The server does not accept: its queue takes four connections, the ACKs of two more handshakes are dropped and
    their SYN+ACKs repeated until it accepts.
    """
    listener = lab.server.listen(SERVER_PORT, backlog=3)
    clients = [lab.client.tcp() for _ in range(6)]
    for i, client in enumerate(clients):
        client.bind((lab.client.address, CLIENT_PORT + i))
        client.setblocking(False)
        client.connect_ex((lab.server.address, SERVER_PORT))
        lab.sleep(0.1 if i < 3 else 0)  # the last three meet a queue with one free place
    lab.sleep(1.5)
    listener.settimeout(6)
    accepted = [listener.accept()[0] for _ in clients]
    for client in clients:
        client.close()
    lab.sleep(0.1)
    for server in accepted:
        server.close()
    lab.sleep(0.3)


@situation("last-ack-stuck", capture="server")
def last_ack_stuck(lab):
    """The client's host vanishes after its FIN: the server repeats its own FIN for 8 s and nothing answers."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.close()
    lab.sleep(0.1)
    lab.relay.drop(lambda s: True, count=-1)
    server.close()
    lab.sleep(8)


@situation("simultaneous-close-fin-lost")
def simultaneous_close_fin_lost(lab):
    """Both close at once and the client's FIN is lost: it goes through CLOSING, the server through FIN-WAIT-2, and both
    end in TIME-WAIT.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    lab.relay.drop(fin_from(CLIENT_PORT))
    client.close()
    server.close()
    lab.sleep(0.8)


LOOPBACK = "127.198.18.1"  # an address that nobody else on the machine uses


@situation(
    "loopback-reuse", interface="lo", is_wire_checked=False, prepare=lambda lab: lab.client.addresses.add(LOOPBACK)
)
def loopback_reuse(lab):
    """Over loopback the default tcp_tw_reuse=2 lets the client take over its own TIME-WAIT after a second, with an
    automatic port.
    """
    lab.set(lab.client, ip_local_port_range=f"{CLIENT_PORT} {CLIENT_PORT}")
    listener = lab.client.tcp()
    listener.bind((LOOPBACK, SERVER_PORT))
    listener.listen()
    for _ in range(2):
        client = lab.client.tcp()
        client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: connect() chooses the port
        client.bind((LOOPBACK, 0))
        client.connect((LOOPBACK, SERVER_PORT))
        server, _ = listener.accept()
        lab.client.sockets.append(server)
        lab.exchange(client, server)
        close_in_turn(client, server)
        lab.sleep(1.2)


def _many_bytes(lab, client, server, size=40_000):
    """Send more than one offloaded segment holds; returns when all is read."""
    reader = threading.Thread(target=_read, args=(server, size))
    reader.start()
    client.sendall(b"z" * size)
    reader.join()


def _read(made, size):
    while size:
        size -= len(made.recv(65536))


@situation("offload", has_relay=False, prepare=lambda lab: lab.topology.set_offloads())
def offload(lab):
    """Offloads are on, as on ordinary hosts: the capture at the client shows segments larger than the MTU and checksums
    that are not filled in yet.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _many_bytes(lab, client, server)
    close_in_turn(client, server)


@situation(
    "offload-receiver",
    has_relay=False,
    snaplen=96,
    is_wire_checked=False,
    capture="server",
    prepare=lambda lab: lab.topology.set_offloads(),
)
def offload_receiver(lab):
    """The same on the server, with a snap length of 96: merged segments, their payload cut off in the capture."""
    client, server = lab.connect(source=CLIENT_PORT)
    _many_bytes(lab, client, server)
    close_in_turn(client, server)


OUTER_PORTS = "45000-45003"


def _few_outer_ports(lab):
    """Source NAT onto four ports whose entries are forgotten one second after the close."""
    outer = lab.topology.gateways["rs"]
    lab.client.addresses.add(outer)
    lab.topology.router.nft(
        "add table ip lab",
        "add chain ip lab out { type nat hook postrouting priority 100; }",
        f"add rule ip lab out oifname rs ip protocol tcp snat to {outer}:{OUTER_PORTS} random",
    )
    for name in ("time_wait", "close", "last_ack", "close_wait", "fin_wait"):
        lab.topology.router.sysctl(f"net.netfilter.nf_conntrack_tcp_timeout_{name}", 1)


@situation("nat-few-ports", has_relay=False, capture="server", is_wire_checked=False, prepare=_few_outer_ports)
def nat_few_ports(lab):
    """A source NAT maps connections of one host to four outer ports in turn, faster than the server's TIME-WAITs end:
    each inner port has its own TSval clock, so about half of the SYNs are stale and are challenged first.
    """
    for i in range(16):
        client, server = lab.connect(source=CLIENT_PORT + i)
        lab.exchange(client, server)
        close_in_turn(server, client, gap_s=0.01)
        lab.sleep(0.3)
