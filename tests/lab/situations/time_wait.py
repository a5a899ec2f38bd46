"""What reaches a TIME-WAIT that stands: resets, old clocks, low sequence numbers; and one that cannot stand."""

import socket

from tests.lab.peer import Peer
from tests.lab.segment import ACK, FIN, RST, SYN
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, close_in_turn, forge_from, pure_ack


def _resets(lab):
    """A client in TIME-WAIT meets a RST above RCV.NXT, one with a stale TSval, an exact one, and the FIN again."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    lab.sleep(0.3)
    close_in_turn(client, server)
    fin = lab.relay.last(lambda s: s.sport == SERVER_PORT and s.has(FIN))
    forge_from(lab, lab.server, lab.client, RST, offset=5)
    lab.sleep(0.4)
    forge_from(lab, lab.server, lab.client, RST, tsval=fin.tsval - 200, tsecr=fin.tsecr)
    lab.sleep(0.4)
    forge_from(lab, lab.server, lab.client, RST)
    lab.sleep(0.4)
    lab.relay.send(fin.replace(tsval=fin.tsval + 1500))
    lab.sleep(0.4)


@situation("tw-assassination")
def tw_assassination(lab):
    """tcp_rfc1337=0: a RST 5 above RCV.NXT and one with a stale TSval leave TIME-WAIT alone, the exact RST kills it;
    the FIN sent again is answered by RST.
    """
    _resets(lab)


@situation("tw-rfc1337", prepare=lambda lab: lab.set(lab.client, tcp_rfc1337=1))
def tw_rfc1337(lab):
    """tcp_rfc1337=1: no RST ends TIME-WAIT, not even the exact one; the FIN sent again is answered by ACK."""
    _resets(lab)


@situation("tw-buckets-overflow", prepare=lambda lab: lab.set(lab.client, tcp_max_tw_buckets=0))
def tw_buckets_overflow(lab):
    """tcp_max_tw_buckets=0: the active closer goes to CLOSED without TIME-WAIT. After shutdown() the last ACK is sent
    and lost, and the FIN sent again is answered by RST; after close() even FIN-WAIT-2 ends at once and the first FIN
    gets the RST.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.shutdown(socket.SHUT_WR)
    lab.sleep(0.1)
    lab.relay.drop(pure_ack())
    server.close()
    lab.sleep(0.8)
    client, server = lab.connect(source=CLIENT_PORT + 1)
    lab.exchange(client, server)
    close_in_turn(client, server)
    lab.sleep(0.2)


def server_in_time_wait(lab):
    """An ordinary connection that the server closed first; returns the client's last segment."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    lab.sleep(0.3)
    close_in_turn(server, client)
    lab.sleep(0.3)
    return lab.relay.last(lambda s: s.sport == CLIENT_PORT)


def another_client(lab, isn, tsval=None):
    """A hand-made host that sends from the client's address and port, as behind the same NAT."""
    local, remote = (lab.client.address, CLIENT_PORT), (lab.server.address, SERVER_PORT)
    return Peer(lab, local, remote, isn=isn & 0xFFFFFFFF, tsval=None if tsval is None else tsval & 0xFFFFFFFF)


def accept_and_close(lab, peer):
    """The hand-made client's connection runs its course; the server closes first."""
    peer.expect(lambda s: s.has(SYN | ACK))
    peer.send(ACK)
    server, _ = lab.listener(lab.server, SERVER_PORT).accept()
    peer.send(ACK, b"ping")
    server.recv(100)
    lab.sleep(0.1)
    server.close()
    peer.close_passively()
    lab.sleep(0.2)
    peer.leave()


@situation("syn-into-tw-challenged", capture="server", is_wire_checked=False)
def syn_into_tw_challenged(lab):
    """Two hosts behind one translated tuple: the second one's SYN has a lower TSval than the server's TIME-WAIT
    remembers: ACK with the old numbers, RST, SYN again, accepted.
    """
    last = server_in_time_wait(lab)
    peer = another_client(lab, last.seq + 1_000_000, last.tsval - 500_000)
    syn = peer.send(SYN)
    answer = peer.expect(lambda s: s.flags == ACK)
    peer.send(RST, seq=answer.ack)
    lab.sleep(0.012)
    peer.send(SYN, seq=syn.seq)
    accept_and_close(lab, peer)


@situation(
    "syn-into-tw-isn-below",
    capture="server",
    is_wire_checked=False,
    prepare=lambda lab: lab.set(lab.server, tcp_timestamps=0),
)
def syn_into_tw_isn_below(lab):
    """Without timestamps a SYN whose ISN is not above RCV.NXT meets the server's TIME-WAIT: ACK with the old numbers
    and no restart; after a RST the same SYN is accepted.
    """
    last = server_in_time_wait(lab)
    peer = another_client(lab, last.end - 50_000)
    syn = peer.send(SYN)
    answer = peer.expect(lambda s: s.flags == ACK)
    lab.sleep(1.0)
    peer.send(SYN, seq=syn.seq)
    peer.expect(lambda s: s.flags == ACK)
    peer.send(RST, seq=answer.ack)
    lab.sleep(0.012)
    peer.send(SYN, seq=syn.seq)
    accept_and_close(lab, peer)


def _stray(lab, offset, payload, later):
    """An old segment in the server's name, with a TSval that is not stale."""
    fin = lab.relay.last(lambda s: s.sport == SERVER_PORT and s.has(FIN))
    forge_from(
        lab, lab.server, lab.client, ACK, offset=offset, payload=payload, tsval=fin.tsval + later, tsecr=fin.tsecr
    )


@situation("tw-stray-segments")
def tw_stray_segments(lab):
    """Old data, a bare ACK in sequence and one above it reach the client's TIME-WAIT, whose answers are lost: all
    restart it, the bare ACK in sequence is not answered.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close_in_turn(client, server)
    lab.relay.drop(pure_ack(), count=-1)
    for offset, payload, later in ((-5, b"pong", 700), (0, b"", 1400), (100, b"", 2100)):
        lab.sleep(0.6)
        _stray(lab, offset, payload, later)
    lab.sleep(0.3)


@situation("tw-assassination-by-old-data")
def tw_assassination_by_old_data(lab):
    """RFC 1337's figure: old data reaches the client's TIME-WAIT, its answer finds no socket at the server, and the
    RST that comes back kills TIME-WAIT.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close_in_turn(client, server)
    lab.sleep(0.5)
    _stray(lab, -5, b"pong", 600)
    lab.sleep(0.3)
