"""The same ordinary life seen badly: cut frames, doubled frames, half of the frames, a late start."""

import socket

from tests.lab.situations import situation
from tests.lab.situations.closing import lose_last_ack
from tests.lab.situations.last_ack import come_back_into_last_ack, quick_reuse
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, abort, choose_isn, close_in_turn
from tests.lab.situations.traffic import retransmit_reorder


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


@situation("lost-last-ack-seen-by-server", capture="server")
def lost_last_ack_seen_by_server(lab):
    """The lost last ACK, captured at the server: only the FIN, its repetition and the second ACK are seen."""
    lose_last_ack(lab)


@situation("syn-into-last-ack-seen-by-server", capture="server", prepare=quick_reuse)
def syn_into_last_ack_seen_by_server(lab):
    """The SYN into LAST-ACK, captured at the server: repeated FINs without any answer, then the SYN and the detour."""
    come_back_into_last_ack(lab)


@situation("simultaneous-close-far", capture="server")
def simultaneous_close_far(lab):
    """The two sides are 30 ms apart and the server closes 20 ms after the client: the FINs still cross, though at the
    server's interface they are 10 ms apart.
    """
    lab.relay.one_way_s = 0.03
    client, server = lab.connect(source=CLIENT_PORT)
    lab.sleep(0.1)
    lab.exchange(client, server)
    client.close()
    lab.sleep(0.02)
    server.close()
    lab.sleep(0.5)


@situation("reordered-close", capture="server")
def reordered_close(lab):
    """The client's last data segment is overtaken by its FIN: the server queues the FIN and enters CLOSE-WAIT only when
    the hole is filled.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    lab.relay.delay(lambda s: s.sport == CLIENT_PORT and s.payload, 0.03)
    client.sendall(b"last words")
    close_in_turn(client, server, gap_s=0.3)
    lab.sleep(0.2)


@situation("late-data-from-server", capture="server")
def late_data_from_server(lab):
    """The server answers after the client's shutdown and its FIN rides on the data: FIN-WAIT-2, then TIME-WAIT."""
    client, server = lab.connect(source=CLIENT_PORT)
    client.sendall(b"ask")
    client.shutdown(socket.SHUT_WR)
    lab.sleep(0.2)
    server.recv(4096)
    server.send(b"answer with the last byte", socket.MSG_MORE)
    server.close()
    lab.sleep(0.3)
    lab.note(f"the client read {client.recv(100)!r}")


@situation("retransmit-reorder-seen-by-server", capture="server")
def retransmit_reorder_seen_by_server(lab):
    """Loss, reordering and doubled segments as the receiver gets them: PAWS and the sequence check do their work."""
    retransmit_reorder(lab)


@situation("mid-stream-abort", is_late=True, is_wire_checked=False)
def mid_stream_abort(lab):
    """The capture starts when four connections are long established: the server closes one with data unread and one
    with SO_LINGER {1, 0}, a keep-alive of the third is answered, and the fourth is closed in turn.
    """
    pairs = [lab.connect(source=CLIENT_PORT + i) for i in range(4)]
    for pair in pairs:
        lab.exchange(*pair)
    pairs[2][0].setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    pairs[2][0].setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    lab.start_capture()
    pairs[0][0].sendall(b"unread")
    lab.sleep(0.2)
    pairs[0][1].close()
    lab.sleep(0.2)
    lab.exchange(*pairs[1])
    abort(pairs[1][1])
    lab.sleep(1.2)
    close_in_turn(*pairs[3])


@situation("late-start-time-wait", is_late=True, is_wire_checked=False)
def late_start_time_wait(lab):
    """The capture starts after the server has closed a connection: the client's next connect from the same port, with
    timestamps switched off and an ISN below, meets a TIME-WAIT that the capture does not show.
    """
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    close_in_turn(server, client)
    lab.set(lab.client, tcp_timestamps=0)
    isn = lab.relay.last(lambda s: s.sport == CLIENT_PORT).seq - 0x40000000
    lab.start_capture()
    client = lab.client.tcp()
    choose_isn(client, isn)
    client.bind((lab.client.address, CLIENT_PORT))
    client.connect((lab.server.address, SERVER_PORT))
    server, _ = lab.listener(lab.server, SERVER_PORT).accept()
    lab.server.sockets.append(server)
    server.settimeout(5)
    lab.exchange(client, server)
    close_in_turn(client, server)


@situation("late-start-last-ack", is_late=True, is_wire_checked=False, prepare=quick_reuse)
def late_start_last_ack(lab):
    """The capture starts while the server waits in LAST-ACK for an ACK that was lost; the client connects again."""
    come_back_into_last_ack(lab, before_reuse=lab.start_capture)
