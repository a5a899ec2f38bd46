"""Ends without a proper close: aborts, refusals, and resets that meet a closing side."""

import socket
import struct
import time

from tests.lab.segment import RST
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, abort, close_in_turn, fin_from, forge_from, with_flags


@situation("linger0-abort")
def linger0_abort(lab):
    """The client closes with SO_LINGER {1, 0}: RST instead of FIN and no TIME-WAIT; it connects again on the same
    tuple 0.3 s later.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    abort(client)
    lab.sleep(0.3)
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("close-unread-data")
def close_unread_data(lab):
    """The server closes with five bytes unread: RST, although it never set SO_LINGER."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.sendall(b"hello")
    lab.sleep(0.2)
    server.close()
    lab.sleep(0.3)


@situation("data-after-close")
def data_after_close(lab):
    """The client closes both ways; the server sends data into its FIN-WAIT-2 and gets a RST."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.close()
    lab.sleep(0.2)
    server.sendall(b"too late")
    lab.sleep(0.3)


@situation("refused")
def refused(lab):
    """Nobody listens on the port: each SYN is answered by RST."""
    for port in (CLIENT_PORT, CLIENT_PORT + 1):
        client = lab.client.tcp()
        client.bind((lab.client.address, port))
        error = client.connect_ex((lab.server.address, SERVER_PORT))
        lab.note(f"connect() from port {port} ended with errno {error} ({'ECONNREFUSED' if error == 111 else '?'})")
        lab.sleep(0.1)


@situation("rst-in-each-closing-state")
def rst_in_each_closing_state(lab):
    """A RST exactly at RCV.NXT reaches the client in ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2 (socket and timewait entry),
    CLOSING, CLOSE-WAIT and LAST-ACK, each on a connection of its own.
    """
    recipes = (_established, _fin_wait_1, _fin_wait_2, _fin_wait_2_entry, _closing, _close_wait, _last_ack)
    for i, recipe in enumerate(recipes):
        port = CLIENT_PORT + i
        client, server = lab.connect(source=port)
        lab.exchange(client, server)
        recipe(lab, client, server, port)
        lab.sleep(0.1)
        forge_from(lab, lab.server, lab.client, RST, port)
        abort(server)


def _established(lab, client, server, port):
    pass


def _fin_wait_1(lab, client, server, port):
    lab.relay.drop(fin_from(port), count=-1)
    client.close()


def _fin_wait_2(lab, client, server, port):
    client.shutdown(socket.SHUT_WR)


def _fin_wait_2_entry(lab, client, server, port):
    client.close()


def _closing(lab, client, server, port):
    lab.relay.drop(fin_from(port), count=-1)
    client.close()
    server.shutdown(socket.SHUT_WR)


def _close_wait(lab, client, server, port):
    server.shutdown(socket.SHUT_WR)


def _last_ack(lab, client, server, port):
    lab.relay.drop(fin_from(port), count=-1)
    server.shutdown(socket.SHUT_WR)
    lab.sleep(0.1)
    client.close()


@situation("linger-timeout")
def linger_timeout(lab):
    """SO_LINGER with 2 s while the wire loses all data: close() returns after 2 s with the data unacknowledged; the
    orphan sends no RST but goes on retransmitting until the wire heals 2 s later.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 2))
    lost = lab.relay.drop(lambda s: s.sport == CLIENT_PORT, count=-1)
    client.sendall(b"never acknowledged in time")
    seconds = _timed(client.close)
    lab.note(f"close() returned after {seconds:.2f} s")
    lab.sleep(2)
    lab.relay.forget(lost)
    lab.sleep(4)
    server.recv(4096)
    server.close()
    lab.sleep(0.3)


def _timed(call):
    start = time.monotonic()
    call()
    return time.monotonic() - start


@situation("keepalive")
def keepalive(lab):
    """Keep-alive probes every second, answered; the probes repeat the byte before SND.NXT and are no old
    duplicates.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    _keepalive(client)
    lab.sleep(4.5)
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("keepalive-dead-peer")
def keepalive_dead_peer(lab):
    """The wire goes dead under an idle connection: three keep-alive probes are not answered, then the client aborts
    with RST.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    _keepalive(client)
    lab.sleep(2.5)
    lab.relay.drop(lambda s: s.dport == CLIENT_PORT, count=-1)
    lab.sleep(5)


def _keepalive(made):
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


@situation("rst-no-socket")
def rst_no_socket(lab):
    """The server's socket is gone and its RST is lost: half-open; the client's next data finds nobody and gets a bare
    RST.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    lab.relay.drop(with_flags(RST, SERVER_PORT))
    abort(server)
    lab.sleep(0.5)
    client.sendall(b"anybody there?")
    lab.sleep(0.3)


@situation("user-timeout")
def user_timeout(lab):
    """The wire is dead for 3 s and the client gives up after TCP_USER_TIMEOUT of 1.5 s without a RST; when the wire
    heals, the server's data gets a bare RST.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1500)
    lost = lab.relay.drop(lambda s: True, count=-1)
    client.sendall(b"lost")
    lab.sleep(3)
    lab.relay.forget(lost)
    server.sendall(b"hello?")
    lab.sleep(0.5)
