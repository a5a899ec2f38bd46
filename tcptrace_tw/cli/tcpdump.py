"""A tcpdump that this process starts: what it captures arrives on stdin, and what it says is understood."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading

from tcptrace_tw.errors import CaptureError
from tcptrace_tw.unfinished import begin

OPTIONS = ("-n", "-U", "--immediate-mode", "-s", "128", "-B", "16384", "-w", "-")
"""Each frame at once; enough of it for all TCP options over IPv6; room for bursts."""

SEGMENTS = "tcp or icmp or icmp6"
"""A router says by ICMP why a connect fails."""

ASKS_S = 5.0
"""Seconds between two questions how many packets were dropped."""

ENDS_S = 5.0
"""Seconds that it may take to end."""

_DROPPED = re.compile(r"(\d+) packets? dropped by (kernel|interface)")
_ORDINARY = re.compile(r"verbose output|listening on|data link type|dropped privs|\d+ packets? |$")
"""How the lines begin that it writes about every capture."""

_RIGHTS = "run it as root, or give tcpdump the right: setcap cap_net_raw,cap_net_admin=eip"


def filter_of(words: str) -> str:
    """The filter for tcpdump: the segments that the user wants, and all ICMP."""
    return f"(tcp and ({words})) or icmp or icmp6" if words else SEGMENTS


class Tcpdump:
    """Captures on an interface; from ``start`` on its output is this process's stdin."""

    def __init__(self, interface: str, words: str = "") -> None:
        self._interface = interface
        self._command = ["-i", interface, *OPTIONS, filter_of(words)]
        self._said: list[str] = []
        self._dropped: dict[str, int] = {}
        self._is_over = threading.Event()

    def start(self) -> None:
        """Start it; ``CaptureError`` where there is no tcpdump."""
        path = shutil.which("tcpdump") or next(filter(os.path.exists, ("/usr/sbin/tcpdump", "/sbin/tcpdump")), None)
        if path is None:
            raise CaptureError("watch -i: there is no tcpdump; install it, or pipe a capture into: tcptrace-tw watch -")
        self._path = path
        # In a session of its own: Ctrl-C comes to it through this process, once.
        self._process = subprocess.Popen(
            [path, *self._command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        begin(self._process.kill)
        assert self._process.stdout is not None
        os.dup2(self._process.stdout.fileno(), 0)
        self._process.stdout.close()
        self._listener = threading.Thread(target=self._listen, name="tcpdump", daemon=True)
        self._listener.start()
        threading.Thread(target=self._ask, name="tcpdump drops", daemon=True).start()

    def stop(self) -> None:
        """Tell it to write what it still has, and to end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Stop it, and wait for its last words."""
        self.stop()
        try:
            self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._is_over.set()
        self._listener.join(ENDS_S)

    def dropped(self) -> int:
        """How many packets the kernel or the interface has dropped, as far as it has said."""
        return sum(self._dropped.values())

    def messages(self) -> list[str]:
        """The lines of its stderr that it does not write about every capture, such as why it ended by itself."""
        return self._said

    def failure(self) -> CaptureError | None:
        """Why it could not capture; None where it could."""
        code = self._process.wait(ENDS_S)
        self._listener.join(ENDS_S)  # its last words may still be on their way
        if code == 0 and not self._said:
            return None
        said = " ".join(self._said)
        if "permi" in said.lower():
            return CaptureError(f"watch -i {self._interface}: no right to capture; {_RIGHTS} {self._path}")
        if "no such device" in said.lower():
            return CaptureError(f"watch -i {self._interface}: there is no such interface; tcpdump -D lists them")
        return CaptureError(f"watch -i {self._interface}: tcpdump says: {said or 'nothing'}")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode(errors="replace").strip().removeprefix("tcpdump: ")
            for count, who in _DROPPED.findall(text):
                self._dropped[who] = int(count)
            if not _ORDINARY.match(text):
                self._said.append(text)

    def _ask(self) -> None:
        """SIGUSR1 makes it say its figures."""
        while not self._is_over.wait(ASKS_S) and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGUSR1)
