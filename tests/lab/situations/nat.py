"""What a router's conntrack and NAT do to connections: masquerading, forgotten entries, segments it calls INVALID."""

import socket

from tests.lab.segment import endpoint, parse_packet
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, close_in_turn
from tests.lab.topology import run


def _masquerade(lab):
    """Source NAT behind the router's address, with a random port for each connection."""
    lab.client.addresses.add(lab.topology.gateways["rs"])
    lab.topology.router.nft(
        "add table ip lab",
        "add chain ip lab out { type nat hook postrouting priority 100; }",
        "add rule ip lab out oifname rs masquerade random,fully-random",
    )


@situation("masquerade-random", has_relay=False, capture="server", is_wire_checked=False, prepare=_masquerade)
def masquerade_random(lab):
    """Eight connections behind MASQUERADE with random-fully, each from another outer port; both sides close in turn."""
    for i in range(8):
        client, server = lab.connect(source=CLIENT_PORT + i)
        lab.exchange(client, server)
        pair = (client, server) if i % 2 else (server, client)
        close_in_turn(*pair, gap_s=0.01)


@situation("masquerade-flushed", has_relay=False, capture="server", is_wire_checked=False, prepare=_masquerade)
def masquerade_flushed(lab):
    """The router forgets all its connections (`conntrack -F`) under MASQUERADE with random-fully: the next request of
    each of three clients leaves from another outer port, and the server's host resets it.
    """
    pairs = [lab.connect(source=CLIENT_PORT + i) for i in range(3)]
    for pair in pairs:
        lab.exchange(*pair)
    lab.sleep(0.5)
    run("ip", "netns", "exec", lab.topology.router.name, "conntrack", "-F")
    for client, _ in pairs:
        client.sendall(b"more")
        lab.sleep(0.3)


def _service(lab, is_liberal):
    """Destination NAT from a service address, as kube-proxy makes it; conntrack strict or liberal about windows."""
    lab.service = lab.server.address.replace("198.19", "10.96")
    lab.server.addresses.add(lab.service)
    lab.translations[endpoint(lab.service, 80)] = endpoint(lab.server.address, SERVER_PORT)
    lab.topology.router.nft(
        "add table ip lab",
        "add chain ip lab in { type nat hook prerouting priority -100; }",
        f"add rule ip lab in ip daddr {lab.service} tcp dport 80 dnat to {lab.server.address}:{SERVER_PORT}",
    )
    lab.topology.router.sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", is_liberal)


def out_of_window(lab):
    """Two connections through the service; a segment with the server's numbers, but far above the window, leaves the
    server's host, as it comes from a broken offload or a device that splices connections.
    """
    listener = lab.listener(lab.server, SERVER_PORT)
    for i in range(2):
        client = lab.client.tcp()
        client.bind((lab.client.address, CLIENT_PORT + i))
        tap = _tap(lab.server)
        client.connect((lab.service, 80))
        server, _ = listener.accept()
        lab.server.sockets.append(server)
        lab.exchange(client, server)
        _send_far_ahead(lab, _first_data(tap))
        lab.sleep(0.3)
        client.sendall(b"more")
        lab.sleep(0.3)


def _tap(host):
    with host.inside():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.bind((host.device, 0))
    made.settimeout(2)
    return made


def _first_data(tap):
    """The frame of the server's first answer."""
    while True:
        frame = tap.recv(65535)
        if frame.endswith(b"pong"):
            tap.close()
            return frame


FAR = 1 << 20


def _send_far_ahead(lab, frame):
    """Put a frame of the server on its wire once more, with a sequence number far above."""
    old = parse_packet(frame[14:])
    with lab.server.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as made:
        made.bind((lab.server.device, 0))
        made.send(frame[:14] + old.replace(seq=old.seq + FAR).packet())


OPTIONS = {"has_relay": False, "is_wire_checked": False}


@situation("invalid-strict", prepare=lambda lab: _service(lab, 0), **OPTIONS)
def invalid_strict(lab):
    """A segment above the window is INVALID to the router's conntrack (nf_conntrack_tcp_be_liberal=0): it reaches the
    client untranslated, with the server's own address, and the client's host answers with RST; seen at the client.
    """
    out_of_window(lab)


@situation("invalid-strict-seen-by-server", prepare=lambda lab: _service(lab, 0), capture="server", **OPTIONS)
def invalid_strict_seen_by_server(lab):
    """The same at the server: a RST of the client's host comes back, and ends the server's side of a connection that
    the client goes on with.
    """
    out_of_window(lab)


@situation("invalid-liberal", prepare=lambda lab: _service(lab, 1), **OPTIONS)
def invalid_liberal(lab):
    """The same segment with nf_conntrack_tcp_be_liberal=1: the router translates it, and the client answers with an
    ACK, as it must; the connection goes on.
    """
    out_of_window(lab)


def _flushed(lab):
    """A server speaks after the router has forgotten the connection through its service address."""
    listener = lab.listener(lab.server, SERVER_PORT)
    for i in range(2):
        client = lab.client.tcp()
        client.bind((lab.client.address, CLIENT_PORT + i))
        client.connect((lab.service, 80))
        server, _ = listener.accept()
        lab.server.sockets.append(server)
        lab.exchange(client, server)
        lab.sleep(1.2)
        run("ip", "netns", "exec", lab.topology.router.name, "conntrack", "-F")
        server.sendall(b"news")
        lab.sleep(0.3)


@situation("service-flushed", prepare=lambda lab: _service(lab, 0), **OPTIONS)
def service_flushed(lab):
    """The router forgets its connections (`conntrack -F`) under destination NAT: what the server sends next reaches the
    client from the server's own address, and the client's host answers with RST; seen at the client.
    """
    _flushed(lab)


@situation("service-flushed-seen-by-server", prepare=lambda lab: _service(lab, 0), capture="server", **OPTIONS)
def service_flushed_seen_by_server(lab):
    """The same at the server: after a second of silence its data get a RST, with the numbers that it expects."""
    _flushed(lab)
