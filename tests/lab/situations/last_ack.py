"""A SYN that meets LAST-ACK: the last ACK was lost and the client comes back on the same tuple."""

import errno

from tests.lab.peer import Peer
from tests.lab.segment import ACK, FIN, RST, SYN
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, close_in_turn, one_port, pure_ack


def quick_reuse(lab):
    """tcp_tw_reuse and a single port: the next connect() takes the tuple in TIME-WAIT."""
    lab.set(lab.client, tcp_tw_reuse=1)
    one_port(lab)


@situation("syn-into-last-ack", prepare=quick_reuse)
def syn_into_last_ack(lab):
    """Every last ACK is lost until the client reconnects over its TIME-WAIT; the SYN meets the server's LAST-ACK:
    challenge ACK, RST, the same SYN again, established.
    """
    come_back_into_last_ack(lab)


def come_back_into_last_ack(lab, before_reuse=lambda: None):
    """Lose every last ACK, reconnect over the client's TIME-WAIT, close properly."""
    client, server = lab.connect()
    lab.exchange(client, server)
    client.close()
    lab.sleep(0.1)
    lost = lab.relay.drop(pure_ack(), count=-1)
    server.close()
    lab.sleep(1.3)
    lab.relay.forget(lost)
    before_reuse()
    client, server = lab.connect()
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("syn-into-last-ack-classic-rst", prepare=quick_reuse)
def syn_into_last_ack_classic_rst(lab):
    """A hand-made server in LAST-ACK, as an RFC 793 stack would, answers the reusing SYN with RST: connect() fails."""
    remote = lab.client.address, CLIENT_PORT
    peer = Peer(lab, (lab.server.address, 7000), remote, isn=0x11110000, tsval=3_000_000)
    client = lab.client.tcp()
    client.setblocking(False)
    client.connect_ex((lab.server.address, 7000))
    peer.accept()
    client.settimeout(5)
    client.sendall(b"ping")
    peer.expect(lambda s: s.payload)
    peer.send(ACK)
    client.close()
    fin = peer.close_passively()
    peer.expect(lambda s: s.ack == fin.end)
    lab.note("the hand-made server behaves as if the last ACK had been lost and repeats its FIN")
    lab.sleep(0.4)
    peer.send(FIN | ACK, seq=fin.seq)
    lab.sleep(0.9)
    again = lab.client.tcp()
    again.setblocking(False)
    again.connect_ex((lab.server.address, 7000))
    syn = peer.expect(lambda s: s.has(SYN))
    peer.send(RST | ACK, seq=0, ack=syn.end)
    lab.sleep(0.3)
    error = again.getsockopt(1, 4)
    lab.note(f"connect() ended with {errno.errorcode.get(error, error)}")
