"""tcpdump beside the situation, and the little that the lab reads back from its file."""

import re
import signal
import struct
import subprocess
import time

from tests.lab.segment import parse_packet

NANO_MAGIC = 0xA1B23C4D
LINK_HEADER = {1: 14, 276: 20}  # Ethernet, Linux cooked v2


class Capture:
    """One running tcpdump inside a namespace."""

    def __init__(self, namespace, device, path, filter="tcp", snaplen=0):
        self.device, self.path, self.filter, self.snaplen = device, path, filter, snaplen
        self.process = subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                namespace.name,
                "tcpdump",
                "-i",
                device,
                "-s",
                str(snaplen),
                "-n",
                "-Z",
                "root",
                "--immediate-mode",
                "--time-stamp-precision=nano",
                "-U",
                "-w",
                str(path),
                filter,
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.words = self._wait_until_listening()

    def _wait_until_listening(self):
        line = ""
        while "listening on" not in line:
            line = self.process.stderr.readline()
            if not line:
                raise RuntimeError(f"tcpdump on {self.device} did not start")
        return line.strip()

    def stop(self):
        """Let tcpdump drain, stop it; returns (captured, dropped)."""
        time.sleep(0.4)
        self.process.send_signal(signal.SIGINT)
        words = self.process.stderr.read()
        self.process.wait()
        captured = re.search(r"(\d+) packets? captured", words)
        dropped = re.findall(r"(\d+) packets? dropped", words)
        return int(captured[1]), sum(map(int, dropped))

    def about(self):
        """What the truth file says of the capture point."""
        return {"point": self.device, "filter": self.filter, "snaplen": self.snaplen or 262144}


def segments(path):
    """(time in seconds, Segment) of each complete TCP frame in a capture written by `Capture`."""
    data = path.read_bytes()
    magic, link = *struct.unpack_from("<I", data), *struct.unpack_from("<I", data, 20)
    if magic != NANO_MAGIC:
        raise ValueError(f"{path}: not a nanosecond capture of this machine")
    at, found = 24, []
    while at < len(data):
        seconds, nanos, captured, original = struct.unpack_from("<IIII", data, at)
        packet = data[at + 16 + LINK_HEADER[link] : at + 16 + captured]
        at += 16 + captured
        segment = parse_packet(packet) if captured == original else None
        if segment is not None:
            found.append((seconds + nanos / 1e9, segment))
    return found
