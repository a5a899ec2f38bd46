"""Thousands of short connections through few ports, one after the other."""

import threading

from tests.lab.situations import situation
from tests.lab.situations.steps import SERVER_PORT

CONNECTIONS = 1100
FIRST_PORT, PORTS = 41000, 60


def _few_ports(lab):
    lab.set(lab.client, ip_local_port_range=f"{FIRST_PORT} {FIRST_PORT + PORTS - 1}", tcp_tw_reuse=1)


def _serve(listener, closes_first):
    """Accept and close; without data, so that the capture stays small."""
    while True:
        try:
            made, _ = listener.accept()
        except OSError:
            return
        if not closes_first:
            made.recv(1)
        made.close()


def _storm(lab, server_closes_first):
    listener = lab.listener(lab.server, SERVER_PORT)
    listener.settimeout(5)
    server = threading.Thread(target=_serve, args=(listener, server_closes_first), daemon=True)
    server.start()
    failed = opened = 0
    while opened < CONNECTIONS:
        client = lab.client.tcp()
        lab.client.sockets.clear()
        try:
            client.connect((lab.server.address, SERVER_PORT))
            opened += 1
        except OSError:
            failed += 1
            lab.sleep(0.01)
        else:
            if server_closes_first:
                client.recv(1)
        client.close()
    server.join()
    lab.note(f"{opened} connections, {failed} connect() calls failed with EADDRNOTAVAIL and are not on the wire")


@situation("narrow-ports-client-closes", prepare=_few_ports, is_bulk=True)
def narrow_ports_client_closes(lab):
    """1100 connections through 60 local ports with tcp_tw_reuse=1; the client closes first, holds all the TIME-WAITs
    and lives on reusing them after one second.
    """
    _storm(lab, server_closes_first=False)


@situation("narrow-ports-server-closes", prepare=_few_ports, is_bulk=True)
def narrow_ports_server_closes(lab):
    """1100 connections through 60 local ports; the server closes first, holds the TIME-WAITs, and new SYNs replace
    them.
    """
    _storm(lab, server_closes_first=True)
