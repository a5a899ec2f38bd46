"""A hand-made client that breaks rules, against a real server: what Linux answers to it."""

import socket

from tests.lab.peer import Peer
from tests.lab.segment import ACK, FIN, PSH, RST, SYN
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT
from tests.lab.situations.time_wait import accept_and_close, another_client, server_in_time_wait


def _stranger(lab, isn=500_000_000, tsval=1_000_000):
    """A hand-made client and the server's accepted socket, established."""
    peer = another_client(lab, isn, tsval)
    listener = lab.listener(lab.server, SERVER_PORT)
    peer.connect()
    server, _ = listener.accept()
    server.settimeout(5)
    lab.server.sockets.append(server)
    peer.send(PSH | ACK, b"ping")
    server.recv(100)
    peer.expect(lambda s: s.ack == peer.snd_nxt)
    lab.sleep(0.1)
    return peer, server


def _come_back(lab, peer, isn, tsval):
    """The client has forgotten the connection and opens a new one: SYN, challenge ACK, RST, SYN again."""
    peer.leave()
    again = another_client(lab, isn, tsval)
    syn = again.send(SYN)
    challenge = again.expect(lambda s: s.flags == ACK)
    again.send(RST, seq=challenge.ack)
    lab.sleep(0.012)
    again.send(SYN, seq=syn.seq)
    accept_and_close(lab, again)


@situation("syn-into-established", capture="server", is_wire_checked=False)
def syn_into_established(lab):
    """The client has rebooted and its SYN meets the server's ESTABLISHED: challenge ACK, RST, SYN again, accepted."""
    peer, _ = _stranger(lab)
    lab.sleep(0.3)
    _come_back(lab, peer, isn=900_000_000, tsval=5_000)


@situation("syn-into-close-wait", capture="server", is_wire_checked=False)
def syn_into_close_wait(lab):
    """The client has closed, the server has not; a new SYN meets its CLOSE-WAIT: challenge ACK, RST, SYN again."""
    peer, _ = _stranger(lab)
    peer.send(FIN | ACK)
    lab.sleep(0.3)
    _come_back(lab, peer, isn=900_000_000, tsval=2_000_000)


@situation("syn-into-fin-wait-2", capture="server", is_wire_checked=False)
def syn_into_fin_wait_2(lab):
    """The server's orphaned FIN-WAIT-2 meets a SYN in its window: a RST that acknowledges it, and the entry is gone;
    the next SYN is accepted.
    """
    peer, server = _stranger(lab)
    server.close()
    peer.expect(lambda s: s.has(FIN))
    peer.send(ACK)
    lab.sleep(0.2)
    peer.leave()
    again = another_client(lab, peer.snd_nxt + 1000, 2_000_000)
    syn = again.send(SYN)
    again.expect(lambda s: s.has(RST))
    lab.sleep(1.0)
    again.send(SYN, seq=syn.seq)
    accept_and_close(lab, again)


@situation("syn-into-tw-no-listener", capture="server", is_wire_checked=False)
def syn_into_tw_no_listener(lab):
    """A SYN that TIME-WAIT would accept, but nobody listens any more: Linux answers it with an ACK of the old numbers,
    and the client's RST ends TIME-WAIT.
    """
    last = server_in_time_wait(lab)
    lab.listener(lab.server, SERVER_PORT).close()
    peer = another_client(lab, last.end + 1_000_000, last.tsval + 5_000)
    syn = peer.send(SYN)
    answer = peer.expect()
    if answer.flags == ACK:
        peer.send(RST, seq=answer.ack)
        lab.sleep(0.5)
        peer.send(SYN, seq=syn.seq)
        peer.expect(lambda s: s.has(RST))
    lab.sleep(0.2)


@situation("syn-into-tw-newer-tsval-lower-isn", capture="server", is_wire_checked=False)
def syn_into_tw_newer_tsval_lower_isn(lab):
    """A SYN with an ISN below RCV.NXT but a newer TSval is accepted by the server's TIME-WAIT."""
    last = server_in_time_wait(lab)
    peer = another_client(lab, last.end - 50_000, last.tsval + 5_000)
    peer.send(SYN)
    accept_and_close(lab, peer)


@situation("tw-extended-by-stale-syns", capture="server", is_wire_checked=False)
def tw_extended_by_stale_syns(lab):
    """A client behind a firewall that eats the challenge ACKs repeats a SYN with an old TSval into the server's
    TIME-WAIT: each copy restarts it, none is accepted.
    """
    last = server_in_time_wait(lab)
    peer = another_client(lab, last.end + 1_000_000, last.tsval - 500_000)
    syn = peer.send(SYN)
    for seconds in (1, 2, 4):
        lab.sleep(seconds)
        peer.send(SYN, seq=syn.seq)
    lab.sleep(0.5)


@situation("rst-not-exact", capture="server", is_wire_checked=False)
def rst_not_exact(lab):
    """A RST in the window but 10 above RCV.NXT: challenge ACK, and the connection goes on."""
    peer, server = _stranger(lab)
    peer.send(RST, seq=peer.snd_nxt + 10)
    peer.expect(lambda s: s.flags == ACK)
    lab.sleep(0.3)
    peer.send(PSH | ACK, b"still here")
    server.recv(100)
    server.close()
    peer.close_passively()
    lab.sleep(0.3)


@situation("fin-then-rst-same-seq", capture="server", is_wire_checked=False)
def fin_then_rst_same_seq(lab):
    """A client that aborts as macOS does: FIN, then RST with the FIN's own sequence number; Linux takes it."""
    peer, _ = _stranger(lab)
    fin = peer.send(FIN | ACK)
    peer.send(RST, seq=fin.seq)
    lab.sleep(0.5)


@situation("data-without-timestamp", capture="server", is_wire_checked=False)
def data_without_timestamp(lab):
    """On a connection with timestamps one data segment comes without the option: Linux accepts it."""
    peer, server = _stranger(lab)
    peer.send(PSH | ACK, b"bare", tsval=None)
    lab.note(f"the application read {server.recv(100)!r}")
    peer.expect(lambda s: s.ack == peer.snd_nxt)
    peer.send(PSH | ACK, b"dressed")
    server.recv(100)
    server.close()
    peer.close_passively()
    lab.sleep(0.3)


@situation("rst-stale-tsval", capture="server", is_wire_checked=False)
def rst_stale_tsval(lab):
    """A RST exactly at RCV.NXT with a stale TSval: a RST is exempt from PAWS and the connection is gone."""
    peer, _ = _stranger(lab)
    lab.sleep(0.5)
    peer.send(RST, tsval=peer.clock() - 400, tsecr=0)
    lab.sleep(0.3)


@situation("syn-ack-repeated", capture="server", is_wire_checked=False)
def syn_ack_repeated(lab):
    """The client's ACK of the handshake never comes: the server repeats its SYN+ACK until a late RST ends it."""
    lab.listener(lab.server, SERVER_PORT)
    peer = Peer(lab, (lab.client.address, CLIENT_PORT), (lab.server.address, SERVER_PORT), isn=1_000, tsval=1_000)
    peer.send(SYN)
    for _ in range(3):
        peer.expect(lambda s: s.has(SYN | ACK), seconds=8)
    peer.send(RST)
    lab.sleep(0.5)


OLD_SERVER_PORT = 7000
HIGH_CLOCK = range(100_000_000, 2_000_000_000)  # far above the uptime, not yet half way round


def _connect_by_hand(lab, port):
    """A connect() in the background and the hand-made server that it reaches; returns both and the SYN."""
    isn = 600_000_000 + len(lab.client.sockets)
    peer = Peer(lab, (lab.server.address, OLD_SERVER_PORT), (lab.client.address, port), isn, tsval=10_000)
    client = lab.client.tcp()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind((lab.client.address, port))
    client.setblocking(False)
    client.connect_ex((lab.server.address, OLD_SERVER_PORT))
    return client, peer, peer.expect(lambda s: s.has(SYN))


def _find_high_clock(lab):
    """A source port whose tuple has a TSval clock far above the uptime; found before the recording starts."""
    for port in range(CLIENT_PORT, CLIENT_PORT + 64):
        client, peer, syn = _connect_by_hand(lab, port)
        client.close()
        peer.leave()
        if syn.tsval in HIGH_CLOCK:
            lab.high_port = port
            return
    raise RuntimeError("no source port has the clock that is wanted")


def _served_by_old_server(lab, port):
    """The hand-made server takes the connection and closes first; returns the last TSval it has seen."""
    client, peer, _ = _connect_by_hand(lab, port)
    peer.send(SYN | ACK)
    peer.expect(lambda s: s.flags == ACK)
    peer.send(FIN | ACK)
    client.settimeout(5)
    client.recv(1)
    client.close()
    fin = peer.expect(lambda s: s.has(FIN))
    peer.send(ACK)
    peer.leave()
    return fin.tsval


@situation("tw-recycle-old-server", prepare=_find_high_clock)
def tw_recycle_old_server(lab):
    """A hand-made server behaves as Linux up to 4.11 did with tcp_tw_recycle: it closes first and then ignores SYNs of
    the same address whose TSval is below the last it remembers. Two TSval clocks stand behind the client's address
    (tcp_timestamps 1 and 2): connections with the high one are served, those with the low one time out.
    """
    lab.note("the client's tcp_timestamps changes between 1 (source port reused) and 2 (a new source port each time)")
    for i in range(4):
        lab.client.sysctl("net.ipv4.tcp_timestamps", 1)
        remembered = _served_by_old_server(lab, lab.high_port)
        lab.sleep(0.1)
        lab.client.sysctl("net.ipv4.tcp_timestamps", 2)
        client, peer, syn = _connect_by_hand(lab, CLIENT_PORT + 1000 + i)
        assert syn.tsval < remembered
        lab.sleep(2.3)
        client.close()
        peer.leave()
