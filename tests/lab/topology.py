"""Three network namespaces in a row: client, router, server.

The router's kernel forwards nothing; the relay of the lab does. Each host has
one address per family, a default route into the router and a permanent
neighbour, so that nothing but TCP crosses the wire.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess

CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946
OFFLOADS = {"rx checksum": 0x15, "tx checksum": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}
CLIENT_NET, SERVER_NET = "198.18", "198.19"  # RFC 2544, for test beds

_libc = ctypes.CDLL(None, use_errno=True)


def run(*words, check=True):
    """Run a tool quietly; its words are shown only when it fails."""
    done = subprocess.run(words, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """A network namespace with a name."""

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "del", name, check=False)  # left behind by a run that was killed
        run("ip", "netns", "add", name)
        self.inum = os.stat(f"/run/netns/{name}").st_ino

    @contextlib.contextmanager
    def inside(self):
        """Move the calling thread into the namespace; sockets made there stay there."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def ip(self, *words):
        """`ip` inside the namespace."""
        return run("ip", "-n", self.name, *words)

    def sysctl(self, name, value):
        """Set one sysctl, `net.ipv4.tcp_tw_reuse` style."""
        with self.inside(), open("/proc/sys/" + name.replace(".", "/"), "w") as file:
            file.write(str(value))

    def read(self, path):
        """A file as seen from the namespace, such as /proc/net/snmp."""
        with self.inside(), open(path.replace("/proc/net/", "/proc/thread-self/net/")) as file:
            return file.read()

    def nft(self, *rules):
        """Add nftables rules inside the namespace."""
        for rule in rules:
            run("ip", "netns", "exec", self.name, "nft", rule)

    def remove(self):
        """Delete the namespace; the interfaces go with it."""
        run("ip", "netns", "del", self.name, check=False)


class Host(Namespace):
    """A namespace with a TCP stack under observation."""

    def __init__(self, name, device, address, address6):
        super().__init__(name)
        self.device, self.address, self.address6 = device, address, address6
        self.addresses = {address, address6}  # those whose connections are recorded
        self.sockets, self.listeners = [], {}

    def tcp(self, family=socket.AF_INET):
        """A TCP socket of this host, closed at the end of the situation."""
        with self.inside():
            made = socket.socket(family, socket.SOCK_STREAM)
        # the upstream default; a system's own choice may pace segments
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        made.settimeout(10)
        self.sockets.append(made)
        return made

    def listen(self, port, family=socket.AF_INET, backlog=128):
        """A listening socket."""
        listener = self.tcp(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.own(family), port))
        listener.listen(backlog)
        return listener

    def own(self, family):
        """The host's address of a family."""
        return self.address6 if family == socket.AF_INET6 else self.address

    def close(self):
        """Abort what the situation left open; a socket that lingers would show up in the next recording."""
        run("ip", "netns", "exec", self.name, "ss", "-K", "-t", "-a", check=False)
        for made in self.sockets:
            made.close()


class Topology:
    """The three namespaces of one situation; `index` makes its addresses its own."""

    def __init__(self, name, index):
        tag = f"lab-{name}"
        self.gateways = {}
        self.client = Host(f"{tag}-client", "c0", f"{CLIENT_NET}.{index}.10", f"2001:db8:{index:x}:1::10")
        self.server = Host(f"{tag}-server", "s0", f"{SERVER_NET}.{index}.20", f"2001:db8:{index:x}:2::20")
        self.router = Namespace(f"{tag}-router")
        self.hosts = (self.client, self.server)
        self.macs = {}
        for host, side in ((self.client, "rc"), (self.server, "rs")):
            self._connect(host, side)

    def _connect(self, host, side):
        host.ip("link", "add", host.device, "type", "veth", "peer", "name", side, "netns", self.router.name)
        with host.inside():
            for name in ("accept_dad=0", "router_solicitations=0", "accept_ra=0", "addr_gen_mode=1"):
                key, value = name.split("=")
                with open(f"/proc/sys/net/ipv6/conf/{host.device}/{key}", "w") as file:
                    file.write(value)
            switch_offloads(host.device, on=False)
        with self.router.inside():
            switch_offloads(side, on=False)
        host.ip("link", "set", "lo", "up")
        host.ip("link", "set", host.device, "up")
        self.router.ip("link", "set", side, "up")
        host.ip("addr", "add", host.address + "/24", "dev", host.device)
        host.ip("-6", "addr", "add", host.address6 + "/64", "dev", host.device, "nodad")
        self.macs[side] = _mac(self.router, side)
        self.macs[host.device] = _mac(host, host.device)
        self._route(host, side)

    def _route(self, host, side):
        gateway = self.gateways[side] = host.address.rpartition(".")[0] + ".1"
        gateway6 = host.address6.rpartition("::")[0] + "::1"
        for family, address in (("-4", gateway), ("-6", gateway6)):
            host.ip(family, "neigh", "add", address, "lladdr", self.macs[side], "dev", host.device, "nud", "permanent")
            host.ip(family, "route", "add", "default", "via", address, "dev", host.device)

    def forward_in_kernel(self):
        """Let the router's kernel forward (IPv4) instead of a relay: for offloads and NAT."""
        self.router.sysctl("net.ipv4.ip_forward", 1)
        for host, side in zip(self.hosts, ("rc", "rs"), strict=True):
            self.router.ip("addr", "add", self.gateways[side] + "/24", "dev", side)
            self.router.ip(
                "neigh", "add", host.address, "lladdr", self.macs[host.device], "dev", side, "nud", "permanent"
            )

    def set_offloads(self):
        """Switch all offloads on, as they are on ordinary hosts."""
        for namespace, device in ((self.client, "c0"), (self.server, "s0"), (self.router, "rc"), (self.router, "rs")):
            with namespace.inside():
                switch_offloads(device, on=True)

    def remove(self):
        """Close all sockets and delete the namespaces."""
        for host in self.hosts:
            host.close()
        for namespace in (*self.hosts, self.router):
            namespace.remove()


def _mac(namespace, device):
    words = namespace.ip("link", "show", device).split()
    return words[words.index("link/ether") + 1]


def switch_offloads(device, on):
    """Switch segmentation, coalescing and checksum offloads of a device."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in OFFLOADS.values():
            value = ctypes.create_string_buffer(struct.pack("II", command, on), 8)
            request = struct.pack("16sQ16x", device.encode(), ctypes.addressof(value))
            with contextlib.suppress(OSError):
                fcntl.ioctl(control, SIOCETHTOOL, request)
