"""Copies that the network makes of SYN, SYN+ACK and FIN, and where they arrive."""

from tests.lab.segment import ACK, SYN
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, close_in_turn, fin_from, syn_from, with_flags


def _one_life(lab, closes_first="client", gap_s=0.0):
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    lab.sleep(gap_s)
    lab.exchange(client, server)
    close_in_turn(*((client, server) if closes_first == "client" else (server, client)))


@situation("syn-doubled", capture="server")
def syn_doubled(lab):
    """A copy of the SYN arrives half a second later in ESTABLISHED: challenge ACK, and the connection goes on."""
    lab.relay.duplicate(syn_from(CLIENT_PORT), 0.5)
    _one_life(lab, gap_s=0.8)


@situation("syn-ack-doubled")
def syn_ack_doubled(lab):
    """A copy of the SYN+ACK arrives half a second later in ESTABLISHED: challenge ACK, and the connection goes on."""
    lab.relay.duplicate(with_flags(SYN | ACK, SERVER_PORT), 0.5)
    _one_life(lab, gap_s=0.8)


@situation("old-syn-into-server-tw", capture="server")
def old_syn_into_server_tw(lab):
    """The server closes first, and a copy of the connection's own SYN wanders into its TIME-WAIT: too old to open
    anything, it is answered by an ACK, which finds no socket at the client, whose RST ends TIME-WAIT.
    """
    lab.relay.duplicate(syn_from(CLIENT_PORT), 1.5)
    _one_life(lab, closes_first="server")
    lab.sleep(1.6)


@situation("old-syn-into-listen", capture="server")
def old_syn_into_listen(lab):
    """RFC 9293 figure 9: after the close a copy of the SYN reaches the listener; its SYN+ACK meets the client's
    TIME-WAIT, whose ACK is answered by a RST that ends TIME-WAIT.
    """
    lab.relay.duplicate(syn_from(CLIENT_PORT), 1.5)
    _one_life(lab)
    lab.sleep(2.6)


@situation("fin-doubled")
def fin_doubled(lab):
    """The wire delivers the server's FIN twice, 0.3 s apart: TIME-WAIT begins anew and acknowledges it once more, the
    server has no socket any more, and its RST ends TIME-WAIT.
    """
    lab.relay.one_way_s = 0.02  # time for the record to see the restart
    lab.relay.duplicate(fin_from(SERVER_PORT), 0.3)
    _one_life(lab)
    lab.sleep(0.6)


@situation("data-doubled-after-close")
def data_doubled_after_close(lab):
    """Copies of a data segment of each side arrive after the close: the client's TIME-WAIT drops one for its timestamp
    and begins anew, the server has no socket for the other.
    """
    for port, after_s in ((CLIENT_PORT, 1.2), (SERVER_PORT, 0.8)):
        lab.relay.duplicate(lambda s, port=port: s.sport == port and s.payload, after_s)
    lab.relay.one_way_s = 0.01
    _one_life(lab)
    lab.sleep(1.4)
