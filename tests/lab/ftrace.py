"""The second witness: a tracefs instance with the kernel's printed trace events.

Its state changes must be the same as those of the kernel record, and it alone
says why resets were sent and what was retransmitted.
"""

import os
import pathlib
import re
import subprocess
import time

TRACEFS = pathlib.Path("/sys/kernel/tracing")
EVENTS = (
    "sock/inet_sock_set_state",
    "tcp/tcp_send_reset",
    "tcp/tcp_receive_reset",
    "tcp/tcp_retransmit_skb",
    "tcp/tcp_retransmit_synack",
)
RFC_NAMES = {
    "TCP_FIN_WAIT1": "FIN-WAIT-1",
    "TCP_FIN_WAIT2": "FIN-WAIT-2",
    "TCP_CLOSE": "CLOSED",
    "TCP_SYN_RECV": "SYN-RECEIVED",
    "TCP_NEW_SYN_RECV": "SYN-RECEIVED",
}
LINE = re.compile(r"\s(\d+\.\d{6}): (\w+): (.*)$")
FIELD = re.compile(r"(\w+)=(\S+)")


class Ftrace:
    """One trace instance, from construction to `stop`."""

    def __init__(self, addresses, kilobytes=8192):
        if not (TRACEFS / "instances").exists():
            subprocess.run(["mount", "-t", "tracefs", "nodev", str(TRACEFS)], check=True)
        self.addresses = addresses
        self.path = TRACEFS / "instances" / f"lab-{os.getpid()}"
        self.path.mkdir()
        self._write("buffer_size_kb", kilobytes)
        self._write("trace_clock", "mono")
        for event in EVENTS:
            self._write(f"events/{event}/enable", 1)

    def _write(self, name, value):
        (self.path / name).write_text(str(value))

    def stop(self, clock):
        """Returns (events, lost): what happened at our addresses, and how many events were lost."""
        self._write("tracing_on", 0)
        text = (self.path / "trace").read_text()
        lost = sum(self._lost(stats.read_text()) for stats in self.path.glob("per_cpu/cpu*/stats"))
        self.remove()
        offset_s = clock.offsets[0] / 1e9
        rows = (LINE.search(line) for line in text.splitlines() if not line.startswith("#"))
        events = [(float(row[1]) + offset_s, row[2], dict(FIELD.findall(row[3]))) for row in rows if row]
        return [event for event in events if self._is_ours(event[2])], lost

    def remove(self):
        """Delete the instance; the kernel may need a moment to let it go."""
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.05)

    def _lost(self, stats):
        return sum(int(n) for n in re.findall(r"(?:overrun|dropped events): (\d+)", stats))

    def _is_ours(self, fields):
        peer = fields.get("dest", fields.get("daddrv6", "")).removeprefix("::ffff:")
        return any(peer == a or peer.startswith((a + ":", f"[{a}]:")) for a in self.addresses)


def state_changes(events):
    """Number of state changes between two addresses; listeners have no peer."""
    return sum(name == "inet_sock_set_state" for _, name, _ in events)


def told(events):
    """Resets and retransmissions in the words of the truth file."""
    rows = []
    for when, name, fields in events:
        if name == "inet_sock_set_state":
            continue
        row = {"time": round(when, 6), "what": name}
        if "src" in fields:
            row |= {"local": fields["src"], "peer": fields["dest"]}
        else:
            v6 = fields["family"] == "AF_INET6"
            local, peer = (fields["saddrv6"], fields["daddrv6"]) if v6 else (fields["saddr"], fields["daddr"])
            row |= {"local": _join(local, fields["sport"]), "peer": _join(peer, fields["dport"])}
        if "state" in fields:
            row["state"] = RFC_NAMES.get(fields["state"], fields["state"].removeprefix("TCP_").replace("_", "-"))
        if "reason" in fields:
            row["reason"] = fields["reason"]
        rows.append(row)
    return rows


def _join(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
