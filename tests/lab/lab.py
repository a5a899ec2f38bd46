"""What a situation works with: hosts, wire, capture and record in one hand."""

import socket
import time

from tests.lab import counters
from tests.lab.capture import Capture
from tests.lab.ftrace import Ftrace
from tests.lab.kernel_record import KernelRecord
from tests.lab.relay import NoRelay, Relay
from tests.lab.software import Software
from tests.lab.topology import Topology


class Lab:
    """One situation being recorded. Situations use `client`, `server`, `relay` and the helpers below."""

    def __init__(self, situation, index, folder):
        self.situation, self.folder = situation, folder
        self.notes, self.settings = [], {}
        self.translations = {}  # what a NAT makes of an endpoint of a host: as the other side sees it, as it is
        self.topology = Topology(situation.name, index)
        self.client, self.server = self.topology.hosts
        if situation.has_relay:
            self.relay = Relay(self.topology)
            self.relay.keep_seen = not situation.is_bulk
        else:
            self.relay = NoRelay()
            self.topology.forward_in_kernel()
        self.software = Software(self) if situation.needs else None

    # helpers for situations

    def set(self, host, **sysctls):
        """Change net.ipv4 settings of a host and write them down."""
        for name, value in sysctls.items():
            host.sysctl("net.ipv4." + name, value)
            side = "client" if host is self.client else "server"
            self.settings.setdefault(side, {})[name] = value

    def note(self, text):
        """A sentence for the truth file."""
        self.notes.append(text)

    def connect(self, port=5000, source=None, host=None, family=socket.AF_INET):
        """A connected pair (client socket, server socket); `source` binds the port."""
        host = host or self.client
        other = self.server if host is self.client else self.client
        listener = self.listener(other, port, family)
        made = host.tcp(family)
        if source:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host.own(family), source))
        made.connect((other.own(family), port))
        accepted, _ = listener.accept()
        accepted.settimeout(10)
        other.sockets.append(accepted)
        time.sleep(0.01)  # the handshake's last segment is on its way
        return made, accepted

    def listener(self, host, port, family=socket.AF_INET):
        """The listener on a port, made on first use."""
        if (port, family) not in host.listeners:
            host.listeners[port, family] = host.listen(port, family)
        return host.listeners[port, family]

    def exchange(self, client, server, payload=b"ping", answer=b"pong"):
        """A request and its answer."""
        client.sendall(payload)
        server.recv(4096)
        server.sendall(answer)
        client.recv(4096)
        time.sleep(0.06)  # delayed ACKs settle

    def sleep(self, seconds):
        time.sleep(seconds)

    def start_capture(self):
        """Start tcpdump; situations that are captured late call it themselves."""
        situation, names = self.situation, {"client": self.client, "server": self.server}
        where = names.get(situation.capture, self.topology.router)
        self.capture = Capture(
            where,
            situation.interface or where.device,
            self.folder / "capture.pcap",
            situation.filter.format(client=self.client.address, server=self.server.address),
            situation.snaplen,
        )

    # running

    def record(self):
        """Capture and witness the situation; returns what they saw."""
        self.situation.prepare(self)
        self.before = {h.name: counters.read(h) for h in self.topology.hosts}
        self.kernel = KernelRecord(self.topology.hosts)
        self.ftrace = Ftrace(self.kernel.addresses, 65536 if self.situation.is_bulk else 8192)
        self.capture = None
        if not self.situation.is_late:
            self.start_capture()
        try:
            self.situation.play(self)
            time.sleep(0.05)
        finally:
            self.captured, self.dropped = self.capture.stop()
            self.kernel.stop()
            self.trace, self.lost = self.ftrace.stop(self.kernel.clock)
            self.after = {h.name: counters.read(h) for h in self.topology.hosts}

    def remove(self):
        """Take everything down."""
        if self.software:
            self.software.stop()
        self.relay.stop()
        self.topology.remove()
