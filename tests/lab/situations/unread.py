"""Closing with data unread, at several window scales; keep-alive probes in vain; sockets that an operator kills."""

import socket

from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, abort
from tests.lab.topology import run

MSS = 1448


def receive_buffer(lab, most):
    """Give the server's sockets a largest receive buffer; the window scale follows from it."""
    lab.set(lab.server, tcp_rmem=f"4096 131072 {most}")


def close_unread(lab):
    """Three connections: a little unread, much unread, and all read before SO_LINGER {1, 0}."""
    for i, size in enumerate((1001, 30 * MSS, 30 * MSS)):
        client, server = lab.connect(source=CLIENT_PORT + i)
        lab.exchange(client, server)
        client.sendall(b"x" * size)
        lab.sleep(0.2)
        if i < 2:
            server.close()
        else:
            _read(server, size)
            lab.sleep(0.1)
            abort(server)
        lab.sleep(0.2)


def _read(made, size):
    while size:
        size -= len(made.recv(size))


def _unscaled(lab):
    for host in (lab.client, lab.server):
        lab.set(host, tcp_window_scaling=0)


@situation("unread-wscale-0", prepare=_unscaled)
def unread_wscale_0(lab):
    """Without window scaling the server closes with 1,001 bytes unread, then with 43,440, and once, by SO_LINGER
    {1, 0}, after it has read as many.
    """
    close_unread(lab)


@situation("unread-wscale-2")
def unread_wscale_2(lab):
    """Window scale 2: the server closes with 1,001 bytes unread, then with 43,440, and once, by SO_LINGER {1, 0}, after
    it has read as many.
    """
    lab.listener(lab.server, SERVER_PORT).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131072)
    close_unread(lab)


@situation("unread-wscale-7", prepare=lambda lab: receive_buffer(lab, 6291456))
def unread_wscale_7(lab):
    """Window scale 7, the default of Linux: the server closes with 1,001 bytes unread, then with 43,440, and once, by
    SO_LINGER {1, 0}, after it has read as many.
    """
    close_unread(lab)


@situation("unread-wscale-14", prepare=lambda lab: receive_buffer(lab, 1 << 30))
def unread_wscale_14(lab):
    """Window scale 14, of a very large tcp_rmem: the server closes with 1,001 bytes unread, then with 43,440, and once,
    by SO_LINGER {1, 0}, after it has read as many.
    """
    close_unread(lab)


def probed(lab, count):
    """An idle connection whose keep-alive probes, one a second, are lost until the client gives up."""
    client, server = lab.connect(source=CLIENT_PORT)
    lab.exchange(client, server)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
    lab.sleep(1.5)  # the first probe is answered
    lab.relay.drop(lambda s: s.dport == CLIENT_PORT, count=-1)
    lab.sleep(count + 2.5)


@situation("keepalive-2-probes")
def keepalive_2_probes(lab):
    """TCP_KEEPCNT 2: after one that was answered two keep-alive probes are lost, and the client gives up with a RST."""
    probed(lab, 2)


@situation("keepalive-9-probes")
def keepalive_9_probes(lab):
    """TCP_KEEPCNT 9, as by default: nine keep-alive probes are lost, and the client gives up with a RST."""
    probed(lab, 9)


@situation("ss-kill")
def ss_kill(lab):
    """An operator kills sockets with `ss -K`: an idle one of the client, one of the server, one with data unread."""
    pairs = [lab.connect(source=CLIENT_PORT + i) for i in range(3)]
    for pair in pairs:
        lab.exchange(*pair)
    lab.sleep(0.3)
    _kill(lab.client, "sport", CLIENT_PORT)
    lab.sleep(0.3)
    _kill(lab.server, "dport", CLIENT_PORT + 1)
    lab.sleep(0.3)
    pairs[2][0].sendall(b"unread")
    lab.sleep(0.2)
    _kill(lab.server, "dport", CLIENT_PORT + 2)
    lab.sleep(0.3)


def _kill(host, end, port):
    run("ip", "netns", "exec", host.name, "ss", "-K", "-t", end, "=", f":{port}")
