"""Listeners that do not take a connection at once: full accept queues, deferred accepts, fast open."""

import contextlib
import errno
import socket

from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, close_in_turn

DEFER_ACCEPT = 9


def begin(lab, port):
    """A connect that is on its way, without waiting for it."""
    made = lab.client.tcp()
    made.bind((lab.client.address, port))
    made.setblocking(False)
    made.connect_ex((lab.server.address, SERVER_PORT))
    return made


def nearly_full(lab):
    """A listener that accepts nothing and has one place left in its queue of four."""
    listener = lab.server.listen(SERVER_PORT, backlog=3)
    clients = []
    for i in range(3):
        clients.append(begin(lab, CLIENT_PORT + i))
        lab.sleep(0.1)
    return listener, clients


def three_at_once(lab):
    """Three more clients connect at once, of which one gets the last place; all send a request and wait."""
    _, clients = nearly_full(lab)
    clients += [begin(lab, CLIENT_PORT + 3 + i) for i in range(3)]
    lab.sleep(0.05)
    for client in clients:
        with contextlib.suppress(ConnectionResetError):
            client.sendall(REQUEST)
    return clients


REQUEST = b"GET / HTTP/1.1\r\n\r\n"


def _told(lab, clients):
    """What each client reads."""
    for client in clients:
        try:
            lab.note(f"port {client.getsockname()[1]} reads {client.recv(100)!r}")
        except OSError as error:
            lab.note(f"port {client.getsockname()[1]}: {errno.errorcode[error.errno]}")


@situation("accept-queue-full", prepare=lambda lab: lab.set(lab.server, tcp_synack_retries=1))
def accept_queue_full(lab):
    """The accept queue of a listener that accepts nothing is full: two of six clients are given a SYN+ACK, believe that
    they are connected and send a request, which is dropped; the server forgets them (tcp_synack_retries=1), and answers
    their next retransmission by RST.
    """
    clients = three_at_once(lab)
    lab.sleep(8)
    _told(lab, clients)


@situation("accept-queue-full-cookies", prepare=lambda lab: lab.set(lab.server, tcp_syncookies=2))
def accept_queue_full_cookies(lab):
    """The same with SYN cookies (tcp_syncookies=2): the server keeps nothing of the two that do not fit, so their
    SYN+ACKs are not repeated; their requests are dropped without an answer, while four others are acknowledged.
    """
    clients = three_at_once(lab)
    lab.sleep(8)
    _told(lab, clients)


@situation("accept-queue-syns-dropped")
def accept_queue_syns_dropped(lab):
    """The accept queue is full before three more clients come: the kernel drops their SYNs without an answer, again and
    again, until the application accepts after 5 s.
    """
    listener, clients = nearly_full(lab)
    clients.append(begin(lab, CLIENT_PORT + 3))
    lab.sleep(0.1)
    clients += [begin(lab, CLIENT_PORT + 10 + i) for i in range(3)]
    lab.sleep(5)
    accepted = []
    listener.settimeout(4)
    with contextlib.suppress(TimeoutError):
        while len(accepted) < len(clients):
            accepted.append(listener.accept()[0])
    for client in clients:
        client.close()
    lab.sleep(0.1)
    for server in accepted:
        server.close()
    lab.sleep(0.3)


@situation("abort-on-overflow", prepare=lambda lab: lab.set(lab.server, tcp_abort_on_overflow=1))
def abort_on_overflow(lab):
    """tcp_abort_on_overflow=1 and a full accept queue: two of six clients get a RST as the answer to the last ACK of
    their handshake.
    """
    _told(lab, three_at_once(lab))
    lab.sleep(0.3)


@situation("defer-accept")
def defer_accept(lab):
    """TCP_DEFER_ACCEPT (2 s): the listener ignores bare ACKs and waits for data; two clients send theirs at once and
    after 5 s (the SYN+ACK has been repeated), the third never, and closes after 8 s.
    """
    listener = lab.listener(lab.server, SERVER_PORT)
    listener.setsockopt(socket.IPPROTO_TCP, DEFER_ACCEPT, 2)
    clients = [begin(lab, CLIENT_PORT + i) for i in range(3)]
    lab.sleep(0.1)
    for client, wait in zip(clients, (0, 5), strict=False):
        lab.sleep(wait)
        client.settimeout(5)
        client.sendall(REQUEST)
        server, _ = listener.accept()
        lab.exchange(client, server)
        close_in_turn(client, server)
    lab.sleep(3)
    clients[2].close()
    lab.sleep(1)


def _cookies(lab):
    lab.set(lab.client, tcp_fastopen=1)
    lab.set(lab.server, tcp_fastopen=2)


@situation("fast-open-cookie", prepare=_cookies)
def fast_open_cookie(lab):
    """TCP Fast Open as it is meant: the first connection asks for a cookie, the second and third send their request
    with the SYN; the fourth goes to a listener without fast open, which ignores the data of the SYN.
    """
    listener = lab.listener(lab.server, SERVER_PORT)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 8)
    for i in range(4):
        if i == 3:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 0)
        client = lab.client.tcp()
        client.bind((lab.client.address, CLIENT_PORT + i))
        client.settimeout(None)  # without a cookie the kernel sends the data after the handshake
        client.sendto(b"early", socket.MSG_FASTOPEN, (lab.server.address, SERVER_PORT))
        server, _ = listener.accept()
        server.settimeout(5)
        lab.server.sockets.append(server)
        lab.note(f"the server read {server.recv(100)!r}")
        lab.exchange(client, server)
        close_in_turn(client, server)
