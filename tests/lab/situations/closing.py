"""Ways to close: who sends the first FIN, and what becomes of the last ACK."""

import socket

from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, close_in_turn, fin_from, pure_ack

EXPIRY_S = 63  # the kernel's 60 s and the coarseness of its timer wheel


@situation("active-close-client")
def active_close_client(lab):
    """The client closes first, in four segments; recorded until its TIME-WAIT has expired, with a frame of another
    connection after that.
    """
    _until_expiry(lab, lambda client, server: close_in_turn(client, server))


@situation("active-close-server")
def active_close_server(lab):
    """The server closes first, in four segments, and holds TIME-WAIT until it expires; a frame of another connection
    comes after that.
    """
    _until_expiry(lab, lambda client, server: close_in_turn(server, client))


def _until_expiry(lab, close):
    other = lab.connect(5001, CLIENT_PORT + 1)
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close(client, server)
    lab.sleep(EXPIRY_S)
    lab.exchange(*other)


@situation("simultaneous-close")
def simultaneous_close(lab):
    """Both sides close within one way of the wire: the FINs cross, both go through CLOSING and both hold TIME-WAIT."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.close()
    server.close()
    lab.sleep(0.5)


@situation("lost-last-ack")
def lost_last_ack(lab):
    """The final ACK is lost behind the capture point; the server repeats its FIN into the client's TIME-WAIT, which
    answers again and starts its timer anew.
    """
    lose_last_ack(lab)


def lose_last_ack(lab):
    """A close whose last ACK the wire loses once."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.close()
    lab.sleep(0.1)
    lab.relay.drop(pure_ack())
    server.close()
    lab.sleep(1.0)


@situation("simultaneous-open")
def simultaneous_open(lab):
    """Both sides connect() to each other at once: the SYNs cross, both go through SYN-RECEIVED; an ordinary close
    follows.
    """
    client, server = lab.client.tcp(), lab.server.tcp()
    client.bind((lab.client.address, CLIENT_PORT))
    server.bind((lab.server.address, SERVER_PORT))
    for made in (client, server):
        made.setblocking(False)
    client.connect_ex((lab.server.address, SERVER_PORT))
    server.connect_ex((lab.client.address, CLIENT_PORT))
    lab.sleep(0.1)
    for made in (client, server):
        made.settimeout(5)
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("half-close")
def half_close(lab):
    """The client shuts down its sending side and goes on receiving for 1.5 s: FIN-WAIT-2 and CLOSE-WAIT with data from
    the passive side.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    client.sendall(b"ask")
    client.shutdown(socket.SHUT_WR)
    while server.recv(4096):
        pass
    for _ in range(3):
        lab.sleep(0.5)
        server.sendall(b"answer")
        client.recv(4096)
    server.close()
    lab.sleep(0.2)
    client.close()
    lab.sleep(0.2)


@situation("three-segment-close")
def three_segment_close(lab):
    """The server closes as soon as it sees the FIN: its FIN carries the ACK of the client's, and FIN-WAIT-1,
    FIN-WAIT-2, TIME-WAIT happen on one segment.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close_in_turn(client, server, gap_s=0)
    lab.sleep(0.3)


@situation("fin-wait-2-timeout", prepare=lambda lab: lab.set(lab.client, tcp_fin_timeout=3))
def fin_wait_2_timeout(lab):
    """With tcp_fin_timeout=3 the client's orphaned FIN-WAIT-2 is gone when the server closes 5 s later: the late FIN
    gets a RST, which meets LAST-ACK.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close_in_turn(client, server, gap_s=5)
    lab.sleep(0.3)


@situation("last-ack-tw-gone", prepare=lambda lab: lab.set(lab.server, tcp_orphan_retries=12))
def last_ack_tw_gone(lab):
    """The last ACK is lost and so are the repeated FINs until TIME-WAIT has expired; the next FIN, 110 s after the
    first, is answered by RST and the passive closer ends abnormally.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.close()
    lab.sleep(0.1)
    lab.relay.drop(pure_ack())
    server.close()
    lab.sleep(0.1)
    lost = lab.relay.drop(fin_from(SERVER_PORT), count=-1)
    lab.sleep(EXPIRY_S)
    lab.relay.forget(lost)
    lab.sleep(55)
