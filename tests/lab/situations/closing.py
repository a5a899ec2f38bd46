"""Ways to close: who sends the first FIN, and what becomes of the last ACK."""

import socket

from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, close_in_turn, pure_ack

EXPIRY_S = 63  # the kernel's 60 s and the coarseness of its timer wheel


@situation("active-close-client")
def active_close_client(lab):
    """The client closes first, in four segments; recorded until its TIME-WAIT has expired, with a frame of another
    connection after that."""
    _until_expiry(lab, lambda client, server: close_in_turn(client, server))


@situation("active-close-server")
def active_close_server(lab):
    """The server closes first, in four segments, and holds TIME-WAIT until it expires; a frame of another connection
    comes after that."""
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
    answers again and starts its timer anew."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.close()
    lab.sleep(0.1)
    lab.relay.drop(pure_ack())
    server.close()
    lab.sleep(1.0)
