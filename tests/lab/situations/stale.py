"""Segments from the past: what the timestamps reject and what nothing rejects."""

from tests.lab.peer import Peer
from tests.lab.segment import ACK, FIN, MASK, PSH, RST
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, abort, choose_isn, close_in_turn


def latest(lab, port=CLIENT_PORT):
    """The last segment that a port sent; what is forged is made from it."""
    return lab.relay.last(lambda s: s.sport == port)


@situation("paws-established", capture="server")
def paws_established(lab):
    """Forged data, ACK and FIN at RCV.NXT with a TSval 400 ms old reach an established server: PAWS drops each and
    answers with an ACK; real data goes on.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    lab.sleep(0.8)
    lab.exchange(client, server)
    old = latest(lab)
    stale = old.replace(seq=old.end, payload=b"", tsval=old.tsval - 400)
    for flags, payload in ((PSH | ACK, b"stale"), (ACK, b""), (FIN | ACK, b"")):
        lab.relay.send(stale.replace(flags=flags, payload=payload), what="forged with an old TSval")
        lab.sleep(0.6)
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("paws-stale-acks", capture="server")
def paws_stale_acks(lab):
    """Pure ACKs with an old TSval reach an established server: below RCV.NXT one is dropped without an answer, at
    RCV.NXT a duplicate 20 ms old is tolerated; then a RST below the window is ignored.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    lab.sleep(0.8)
    lab.exchange(client, server)
    old = latest(lab)
    at_rcv_nxt = old.replace(seq=old.end, payload=b"", flags=ACK)
    lab.relay.send(at_rcv_nxt.replace(seq=old.end - 4, tsval=old.tsval - 400), what="forged, stale, below RCV.NXT")
    lab.sleep(0.6)
    lab.relay.send(at_rcv_nxt.replace(tsval=old.tsval - 20), what="forged duplicate ACK, 20 ms old")
    lab.sleep(0.6)
    rst = at_rcv_nxt.replace(seq=old.end - 100, flags=RST, tsval=None, ack=0, window=0)
    lab.relay.send(rst, what="forged RST below the window")
    lab.sleep(0.3)
    lab.exchange(client, server)
    close_in_turn(client, server)


def no_timestamps(lab):
    """Switch timestamps off at both ends."""
    for host in (lab.client, lab.server):
        lab.set(host, tcp_timestamps=0)


@situation("old-duplicate-out-of-window", capture="server", prepare=no_timestamps)
def old_duplicate_out_of_window(lab):
    """Without timestamps: a copy of a data segment is delayed 1 s and arrives in the next incarnation of its tuple,
    below the window: dropped with a duplicate ACK.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.relay.duplicate(lambda s: s.sport == CLIENT_PORT and s.payload, 1.0)
    lab.exchange(client, server)
    close_in_turn(server, client)
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    lab.sleep(1.2)
    lab.exchange(client, server)
    close_in_turn(client, server)


def _connect_with_isn(lab, isn):
    """A connected pair whose client starts at a chosen sequence number."""
    client = lab.client.tcp()
    choose_isn(client, isn)
    client.bind((lab.client.address, CLIENT_PORT))
    listener = lab.listener(lab.server, SERVER_PORT)
    client.connect((lab.server.address, SERVER_PORT))
    server, _ = listener.accept()
    server.settimeout(5)
    lab.server.sockets.append(server)
    return client, server


OLD_ISN = 1_000_000_000
LEAD = 100  # bytes of the new incarnation before the old segment's sequence number


def _old_duplicate_at_rcv_nxt(lab):
    """A segment of an aborted incarnation comes 1 s late, exactly at RCV.NXT of the next; returns what was read."""
    client, server = _connect_with_isn(lab, OLD_ISN)
    lab.relay.delay(lambda s: s.sport == CLIENT_PORT and s.payload, 1.0)
    client.sendall(b"wandering")
    abort(server)
    lab.sleep(0.2)
    client, server = _connect_with_isn(lab, OLD_ISN - LEAD)
    lab.exchange(client, server, b"x" * LEAD, b"y" * LEAD)
    lab.sleep(1.2)
    server.setblocking(False)
    try:
        read = server.recv(100)
    except BlockingIOError:
        read = b""
    server.settimeout(5)
    lab.note(f"after the old segment the application read {read!r}")
    return client, server, read


def _predictable_isn(lab):
    """SYN cookies make the server's ISN follow the client's, so that it does not grow between incarnations."""
    no_timestamps(lab)
    lab.set(lab.server, tcp_syncookies=2)


@situation("old-duplicate-in-window", capture="server", prepare=_predictable_isn)
def old_duplicate_in_window(lab):
    """Without timestamps: a segment of an aborted incarnation arrives late and exactly at RCV.NXT of the next one. The
    ISNs of neither side are above the old ones (a chosen one, and a SYN cookie), so that its ACK fits too, and the
    stale bytes are delivered to the application.
    """
    client, _, read = _old_duplicate_at_rcv_nxt(lab)
    if read != b"wandering":
        raise RuntimeError("the old segment was not delivered; the SYN cookie has changed with the minute, try again")
    abort(client)
    lab.sleep(0.2)


@situation("old-duplicate-too-old-ack", capture="server", prepare=no_timestamps)
def old_duplicate_too_old_ack(lab):
    """Without timestamps, as old-duplicate-in-window, but the server's ISN has moved on: the old segment is in the
    window, its ACK is older than anything this connection sent, and it is dropped with a challenge ACK (RFC 5961 5.2).
    """
    client, server, _ = _old_duplicate_at_rcv_nxt(lab)
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("old-duplicate-paws", capture="server")
def old_duplicate_paws(lab):
    """With timestamps: the same late segment at RCV.NXT of the next incarnation has an older TSval: PAWS drops it and
    nothing stale is delivered.
    """
    client, server, _ = _old_duplicate_at_rcv_nxt(lab)
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("isn-wrap")
def isn_wrap(lab):
    """The client's ISN is 2^32 - 10: its sequence numbers wrap within the first data segment."""
    client, server = _connect_with_isn(lab, -10)
    for _ in range(3):
        lab.exchange(client, server, b"sixteen bytes...")
    close_in_turn(client, server)


@situation("fin-wrap")
def fin_wrap(lab):
    """The client's FIN has sequence number 2^32 - 1, so that SND.NXT is 0 in TIME-WAIT; it reconnects over it with ISN
    65537.
    """
    client, server = _connect_with_isn(lab, -1 - 5)
    lab.exchange(client, server)
    close_in_turn(client, server)
    lab.sleep(0.3)
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("tsval-wrap", capture="server", is_wire_checked=False)
def tsval_wrap(lab):
    """A hand-made client whose TSval passes 2^32 in the middle of the connection: newer, not stale; then one segment
    with a TSval from before the wrap, which PAWS drops.
    """
    local, remote = (lab.client.address, CLIENT_PORT), (lab.server.address, SERVER_PORT)
    listener = lab.listener(lab.server, SERVER_PORT)
    peer = Peer(lab, local, remote, isn=77_000_000, tsval=MASK - 700)
    peer.connect()
    server, _ = listener.accept()
    for _ in range(5):
        peer.send(PSH | ACK, b"data")
        server.recv(100)
        peer.expect(lambda s: s.ack == peer.snd_nxt)
        lab.sleep(0.25)
    peer.send(PSH | ACK, b"old!", seq=peer.snd_nxt, tsval=MASK - 300, what="stale across the wrap")
    peer.expect(lambda s: s.ack == peer.snd_nxt)
    lab.sleep(0.1)
    peer.send(PSH | ACK, b"new.")
    peer.expect(lambda s: s.ack == peer.snd_nxt)
    server.recv(100)
    server.close()
    peer.close_passively()
    lab.sleep(0.3)
