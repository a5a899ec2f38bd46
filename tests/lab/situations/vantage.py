"""The same ordinary life seen badly: cut frames, doubled frames, half of the frames, a late start."""

from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, close_in_turn


def _three_lives(lab):
    """Three connections: closed by the client, by the server, and over the client's TIME-WAIT."""
    for port, closer in ((CLIENT_PORT, 0), (CLIENT_PORT + 1, 1), (CLIENT_PORT, 0)):
        pair = lab.connect(source=port)
        lab.exchange(*pair)
        close_in_turn(pair[closer], pair[1 - closer])


@situation("snaplen-68", snaplen=68, is_wire_checked=False)
def snaplen_68(lab):
    """Three ordinary connections captured with a snap length of 68 bytes: the SYNs' options are cut off."""
    _three_lives(lab)


@situation("any-interface", capture="router", interface="any", is_wire_checked=False)
def any_interface(lab):
    """Three ordinary connections captured on the router with `-i any`: every segment twice, once per interface."""
    _three_lives(lab)


@situation("one-direction", filter="tcp and src host {client}")
def one_direction(lab):
    """Three ordinary connections of which only the client's segments were captured."""
    _three_lives(lab)


@situation("control-only", filter="tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0")
def control_only(lab):
    """24 ordinary connections captured with a SYN/FIN/RST filter: no data, no last ACK of any close."""
    for i in range(24):
        client, server = lab.connect(source=CLIENT_PORT + i)
        lab.exchange(client, server)
        pair = (client, server) if i % 3 else (server, client)
        close_in_turn(*pair, gap_s=0.01)


@situation("mid-stream", is_late=True, is_wire_checked=False)
def mid_stream(lab):
    """The capture starts when both connections are long established; one is closed by each side."""
    pairs = [lab.connect(source=CLIENT_PORT + i) for i in range(2)]
    for pair in pairs:
        lab.exchange(*pair)
    lab.start_capture()
    for _ in range(3):
        for pair in pairs:
            lab.exchange(*pair)
    close_in_turn(*pairs[0])
    close_in_turn(*reversed(pairs[1]))


@situation("mid-close", is_late=True, is_wire_checked=False)
def mid_close(lab):
    """The capture starts between the two FINs of a close and sees only the end of it."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.close()
    lab.sleep(0.1)
    lab.start_capture()
    server.close()
    lab.sleep(0.3)
