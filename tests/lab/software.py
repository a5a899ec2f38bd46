"""System software in the namespaces of a situation: the servers and clients that people run.

Only a recording needs them; a situation names what it needs, and is left out
where that is not installed.
"""

import os
import pathlib
import shutil
import subprocess
import time

PROGRAMS = pathlib.Path(__file__).parent / "programs"
"""Small servers and clients in Go and JavaScript."""

LISTENING = "0A"


def missing(names):
    """Those of the programs that this machine does not have."""
    return [name for name in names if shutil.which(name) is None]


class Software:
    """Starts programs for a situation, and ends those that it started."""

    def __init__(self, lab):
        self.lab, self.running = lab, []
        lab.folder.chmod(0o755)  # a server that gives up root must find its files
        for host, side in zip(lab.topology.hosts, ("rc", "rs"), strict=True):  # the upstream default for them, too
            way = ("via", lab.topology.gateways[side], "dev", host.device)
            host.ip("route", "change", "default", *way, "congctl", "cubic")

    def file(self, name, text):
        """A file of the situation's own, such as a configuration; returns its path."""
        path = self.lab.folder / name
        path.write_text(text)
        return str(path)

    def start(self, host, *words, port=None, user=None):
        """Start a program inside a namespace; where it serves a port of that host, wait until it listens."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", host.name, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            user=user,
            cwd=self.lab.folder,
        )
        self.running.append(process)
        if port:
            _wait(lambda: _listens(host, port), f"{words[0]} does not listen on port {port}")
        return process

    def run(self, host, *words, seconds=30):
        """Let a program run to its end inside a namespace; returns what it printed."""
        done = subprocess.run(
            ["ip", "netns", "exec", host.name, *words],
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=self.lab.folder,
        )
        return done.stdout + done.stderr

    def go(self, name):
        """A program of `programs/`, compiled; returns its path."""
        made = self.lab.folder / name
        words = ["go", "build", "-o", str(made), str(PROGRAMS / f"{name}.go")]
        subprocess.run(words, check=True, env={**os.environ, "GO111MODULE": "off", "CGO_ENABLED": "0"})
        return str(made)

    def stop(self):
        """End what was started here."""
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(host, port):
    tables = (host.read(f"/proc/net/{name}").splitlines()[1:] for name in ("tcp", "tcp6"))
    rows = (line.split() for table in tables for line in table)
    return any(row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port for row in rows)


def _wait(is_done, complaint, seconds=20):
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(0.05)
