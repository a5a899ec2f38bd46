"""Segments from the past: what the timestamps reject and what nothing rejects."""

from tests.lab.segment import ACK, FIN, PSH
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, close_in_turn


def latest(lab, port=CLIENT_PORT):
    """The last segment that a port sent; what is forged is made from it."""
    return lab.relay.last(lambda s: s.sport == port)


@situation("paws-established", capture="server")
def paws_established(lab):
    """Forged data, ACK and FIN at RCV.NXT with a TSval 400 ms old reach an established server: PAWS drops each and
    answers with an ACK; real data goes on."""
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
