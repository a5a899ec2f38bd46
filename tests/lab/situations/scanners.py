"""What speaks TCP past its own kernel: raw-socket scanners, whose kernel resets what comes back."""

import contextlib
import socket

from tests.lab.segment import ACK, SYN, Segment
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT


class RawClient:
    """Segments from a raw socket of the client's host; its kernel knows nothing of them and resets the answers."""

    def __init__(self, lab, port, server_port=SERVER_PORT, isn=1_000_000):
        self.lab, self.port, self.server_port, self.seq = lab, port, server_port, isn
        with lab.client.inside():
            self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(self, flags, ack=0, payload=b"", **options):
        """Send a segment at SND.NXT."""
        ends = (self.lab.client.address, self.lab.server.address, self.port, self.server_port)
        segment = Segment(*ends, self.seq, ack, flags, 1024, payload, **options)
        self.raw.sendto(segment.packet(), (self.lab.server.address, 0))
        self.seq = segment.end

    def close(self):
        """Give the raw socket back."""
        self.raw.close()


@situation("scanner-syn", is_wire_checked=False)
def scanner_syn(lab):
    """A SYN scan from a raw socket, as nmap and masscan do it, of three ports of which two are open: the scanner's own
    kernel answers each SYN+ACK with RST.
    """
    for port in (SERVER_PORT, SERVER_PORT + 1):
        lab.listener(lab.server, port)
    with contextlib.closing(RawClient(lab, CLIENT_PORT)) as raw:
        for i in range(3):
            raw.port, raw.server_port, raw.seq = CLIENT_PORT + i, SERVER_PORT + i, 1_000_000 * (i + 1)
            raw.send(SYN, mss=1460)
            lab.sleep(0.2)


@situation("scanner-handshake", is_wire_checked=False)
def scanner_handshake(lab):
    """A raw-socket client, as a scapy script is, completes the handshake and sends a request although its kernel has
    reset the SYN+ACK: the server's host resets what comes later.
    """
    lab.listener(lab.server, SERVER_PORT)
    for i in range(2):
        with contextlib.closing(RawClient(lab, CLIENT_PORT + i, isn=7_000_000 * (i + 1))) as raw:
            raw.send(SYN, mss=1460)
            answer = lab.relay.last(lambda s, i=i: s.dport == CLIENT_PORT + i and s.has(SYN | ACK))
            lab.sleep(0.05)
            raw.send(ACK, ack=answer.end)
            raw.send(ACK, ack=answer.end, payload=b"GET / HTTP/1.0\r\n\r\n")
            lab.sleep(0.3)
