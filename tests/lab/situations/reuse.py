"""A tuple used again inside 2MSL: by the holder of TIME-WAIT, or by its peer."""

import errno
import socket

from tests.lab.peer import Peer
from tests.lab.segment import ACK, FIN
from tests.lab.situations import situation
from tests.lab.situations.closing import EXPIRY_S
from tests.lab.situations.last_ack import quick_reuse
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, close_in_turn, one_port


@situation("tw-reuse-client", prepare=quick_reuse)
def tw_reuse_client(lab):
    """With tcp_tw_reuse=1 and a single port connect() fails locally 0.4 s into its own TIME-WAIT, and takes the tuple
    over after 1.3 s.
    """
    client, server = lab.connect()
    lab.exchange(client, server)
    close_in_turn(client, server)
    lab.sleep(0.3)
    try:
        lab.client.tcp().connect((lab.server.address, 5000))
    except OSError as error:
        lab.note(f"connect() 0.4 s into TIME-WAIT: {error.strerror}; nothing on the wire")
    lab.sleep(0.9)
    client, server = lab.connect()
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("server-tw-new-syn")
def server_tw_new_syn(lab):
    """The server closed first and holds TIME-WAIT; the client connects again from the same port and the SYN replaces
    the entry.
    """
    for _ in range(2):
        client, server = lab.connect(source=CLIENT_PORT)
        lab.exchange(client, server)
        close_in_turn(server, client)
        lab.sleep(0.4)


@situation("bound-port-reuse", prepare=lambda lab: lab.set(lab.client, tcp_tw_reuse=0))
def bound_port_reuse(lab):
    """A source port bound before connect() ignores tcp_tw_reuse=0 and the delay: the client takes over its own
    TIME-WAIT after 0.25 s.
    """
    for _ in range(2):
        client, server = lab.connect(source=CLIENT_PORT)
        lab.exchange(client, server)
        close_in_turn(client, server)
        lab.sleep(0.15)


@situation("port-range-of-one", prepare=one_port)
def port_range_of_one(lab):
    """ip_local_port_range of one port and nothing else changed: while TIME-WAIT holds the port every further
    connect() fails and nothing of it is on the wire; another connection goes on.
    """
    client, server = lab.connect()
    lab.exchange(client, server)
    close_in_turn(client, server)
    other = lab.connect(5001, CLIENT_PORT + 1)
    for _ in range(3):
        lab.sleep(1)
        try:
            lab.client.tcp().connect((lab.server.address, SERVER_PORT))
        except OSError as error:
            lab.note(f"connect() failed: {error.strerror}")
        lab.exchange(*other)


def _short_delay(lab):
    quick_reuse(lab)
    lab.set(lab.client, tcp_tw_reuse_delay=200)


@situation("tw-reuse-short-delay", prepare=_short_delay)
def tw_reuse_short_delay(lab):
    """With tcp_tw_reuse_delay=200 the automatic port is taken over 0.3 s after the holder entered TIME-WAIT."""
    for _ in range(2):
        client, server = lab.connect()
        lab.exchange(client, server)
        close_in_turn(client, server)
        lab.sleep(0.2)


@situation("bound-port-no-timestamps", prepare=lambda lab: lab.set(lab.client, tcp_timestamps=0))
def bound_port_no_timestamps(lab):
    """Without timestamps a bound source port does not help: connect() over the own TIME-WAIT fails and nothing is on
    the wire; another connection goes on.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close_in_turn(client, server)
    again = lab.client.tcp()
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    again.bind((lab.client.address, CLIENT_PORT))
    error = again.connect_ex((lab.server.address, SERVER_PORT))
    lab.note(f"connect() ended with {errno.errorcode.get(error, error)}")
    lab.exchange(*lab.connect(source=CLIENT_PORT + 1))


@situation("reuse-after-expiry")
def reuse_after_expiry(lab):
    """The client's TIME-WAIT expires, and a second later the same tuple is used again: nothing is left of the old
    incarnation.
    """
    for seconds in (EXPIRY_S, 0):
        client, server = lab.connect(source=CLIENT_PORT)
        lab.exchange(client, server)
        close_in_turn(client, server)
        lab.sleep(seconds)


@situation("reuse-by-other-stack", capture="server", is_wire_checked=False)
def reuse_by_other_stack(lab):
    """A hand-made client without timestamps closes first and comes back on the same tuple after 2 s with an unrelated,
    lower ISN: its own TIME-WAIT was not respected, and the server, in CLOSED, accepts.
    """
    local, remote = (lab.client.address, CLIENT_PORT), (lab.server.address, SERVER_PORT)
    listener = lab.listener(lab.server, SERVER_PORT)
    for isn in (2_000_000_000, 1_900_000_000):
        peer = Peer(lab, local, remote, isn)
        peer.connect()
        server, _ = listener.accept()
        peer.send(ACK, b"ping")
        server.recv(100)
        peer.expect(lambda s: s.has(ACK))
        peer.send(FIN | ACK)
        lab.sleep(0.1)
        server.close()
        peer.expect(lambda s: s.has(FIN))
        peer.send(ACK)
        peer.leave()
        lab.sleep(2)


@situation("server-tw-reopened-often", capture="server")
def server_tw_reopened_often(lab):
    """The same client port five times, the server always closes first: five incarnations of one tuple, four TIME-WAITs
    replaced by the next SYN.
    """
    for _ in range(5):
        client, server = lab.connect(source=CLIENT_PORT)
        lab.exchange(client, server)
        close_in_turn(server, client, gap_s=0)


@situation("holders-change")
def holders_change(lab):
    """The same tuple four times, closed by client and server in turn: TIME-WAIT changes sides, and each next SYN finds
    it at home or abroad.
    """
    for i in range(4):
        pair = lab.connect(source=CLIENT_PORT)
        lab.exchange(*pair)
        close_in_turn(pair[i % 2], pair[1 - i % 2])
        lab.sleep(0.1)
