"""HTTP servers and clients as two language runtimes make them: Go and Node.js."""

import contextlib

from tests.lab.situations import situation
from tests.lab.situations.servers import REQUEST, ask, dial, read_to_the_end
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT
from tests.lab.software import PROGRAMS


def _go(lab):
    """Serve with Go's net/http."""
    lab.program = lab.software.go("idle")
    lab.software.start(lab.server, lab.program, "serve", f"{lab.server.address}:{SERVER_PORT}", port=SERVER_PORT)


def _go_client(lab, what):
    lab.software.run(lab.client, lab.program, what, f"{lab.server.address}:{SERVER_PORT}")


def _node(lab):
    """Serve with Node's http module."""
    words = ("node", str(PROGRAMS / "idle.js"), "serve", lab.server.address, str(SERVER_PORT))
    lab.software.start(lab.server, *words, port=SERVER_PORT)


def _node_client(lab, what):
    lab.software.run(lab.client, "node", str(PROGRAMS / "idle.js"), what, lab.server.address, str(SERVER_PORT))


def _idle_out(lab, seconds):
    """Three clients ask once and wait: the server closes; the clients close when they notice."""
    clients = [dial(lab, CLIENT_PORT + i) for i in range(3)]
    for client in clients:
        ask(client, REQUEST)
    lab.sleep(seconds)
    for client in clients:
        read_to_the_end(client)
    lab.sleep(0.2)


@situation("go-idle", prepare=_go, needs=("go",))
def go_idle(lab):
    """A Go client asks three times over one connection and closes it after IdleConnTimeout (1 s); three others wait
    until the Go server's IdleTimeout (2 s) closes theirs.
    """
    _go_client(lab, "ask")
    _idle_out(lab, 2.5)


BODY = 20_000
POST = b"POST /unread HTTP/1.1\r\nHost: lab\r\nContent-Length: 1000000\r\n\r\n" + b"x" * BODY


def _push(lab, port=SERVER_PORT):
    """Two clients send the begin of a long body, read what comes, and send a little more half a second later."""
    for i in range(2):
        client = dial(lab, CLIENT_PORT + i, port)
        with contextlib.suppress(OSError):
            client.sendall(POST)
            lab.note(f"{len(client.recv(4096))} bytes came back")
            lab.sleep(0.7)
            client.sendall(b"x" * 1000)
        lab.sleep(0.3)
        client.close()
        lab.sleep(0.2)


@situation("go-unread-body", prepare=_go, needs=("go",))
def go_unread_body(lab):
    """A Go server answers two POSTs with a body of 1 MB without reading it: it sends FIN, and half a second later it
    closes with data unread.
    """
    _push(lab)


@situation("node-idle", prepare=_node, needs=("node",))
def node_idle(lab):
    """A Node.js client asks three times through an agent with keepAlive and destroys it; three others wait until
    keepAliveTimeout (2 s) closes theirs.
    """
    _node_client(lab, "ask")
    _idle_out(lab, 3.5)


@situation("node-unread-body", prepare=_node, needs=("node",))
def node_unread_body(lab):
    """A Node.js server destroys sockets from which it never read (pauseOnConnect), 0.2 s after the clients have sent
    20 kB.
    """
    _push(lab, SERVER_PORT + 1)
