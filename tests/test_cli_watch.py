"""``watch`` as a user runs it: a pipe that goes on, an interface, interrupts, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tcptrace_tw.cli.app import app
from tcptrace_tw.cli.tcpdump import filter_of
from tcptrace_tw.cli.watch import seconds
from tcptrace_tw.errors import UsageError

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"
COMMAND = [sys.executable, "-m", "tcptrace_tw", "watch"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
LIMIT_S = 60

NAMESPACES = pytest.mark.skipif(
    os.geteuid() != 0
    or any(shutil.which(tool) is None for tool in ("ip", "tcpdump"))
    or subprocess.run(["ip", "netns", "add", "tw-probe"], capture_output=True, check=False).returncode != 0
    or subprocess.run(["ip", "netns", "del", "tw-probe"], capture_output=True, check=False).returncode != 0,
    reason="needs root, ip, tcpdump and network namespaces",
)


def start(*arguments: str, before: tuple[str, ...] = (), **options) -> subprocess.Popen:
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    environment = {**ENVIRONMENT, **options.pop("variables", {})}
    return subprocess.Popen([*before, *COMMAND, *arguments], env=environment, **options)


def run(*arguments: str, data: bytes = b"", **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=data,
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
        timeout=LIMIT_S,
        **options,
    )


class Lines:
    """What a process prints, each line with the time at which it came."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.found: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.found.append((time.time(), line.decode()))

    def first(self, words: str) -> tuple[float, str]:
        """The first line with these words; waits for it."""
        deadline = time.time() + LIMIT_S
        while time.time() < deadline:
            for when, line in list(self.found):
                if words in line:
                    return when, line
            assert self.process.poll() is None or self._thread.is_alive(), self.process.stderr.read().decode()
            time.sleep(0.01)
        raise AssertionError(f"{words} does not come: {self.found}")

    def end(self) -> tuple[int, list[str]]:
        """The exit code and all lines."""
        code = self.process.wait(LIMIT_S)
        self._thread.join(LIMIT_S)
        return code, [line for _, line in self.found]


def test_a_capture_on_stdin_is_told_to_its_end():
    done = run("-", data=CAPTURE.read_bytes())
    lines = done.stdout.decode().splitlines()

    assert (done.returncode, done.stderr) == (0, b"")
    assert sum("LA001 warning: SYN from 198.18.10.10:40000 challenged in LAST-ACK" in line for line in lines) == 1
    assert any(re.match(r"04:45:26\.\d{3} status: .* unanswered, \d in TIME-WAIT: 198", line) for line in lines)
    assert lines[-1] == "the input ended; 31 segments, 2 connections, 2 findings: notice 1, warning 1"


def test_json_is_one_object_a_line():
    done = run("-", "--json", data=CAPTURE.read_bytes())
    records = [json.loads(line) for line in done.stdout.splitlines()]

    assert {each["type"] for each in records} == {"finding", "status", "end"}
    assert [each["rule"] for each in records if each["type"] == "finding"] == ["LA004", "LA001"]
    assert records[-1] == {"type": "end", "reason": "the input ended", "findings": {"notice": 1, "warning": 1},
                           "segments": 31, "connections": 2, "dropped": 0}  # fmt: skip


def test_a_finding_comes_within_a_second_while_the_pipe_is_silent():
    """Nothing follows the last frame, and nobody closes the pipe: the best of three, for a machine that is busy."""
    waits = []
    for _ in range(3):
        process = start("-", "--json")
        lines = Lines(process)
        process.stdin.write(CAPTURE.read_bytes()[:40])
        process.stdin.flush()
        time.sleep(2)  # it has started, and waits
        process.stdin.write(CAPTURE.read_bytes()[40:])
        process.stdin.flush()
        written = time.time()
        waits.append(lines.first('"LA001"')[0] - written)
        process.stdin.close()
        assert lines.end()[0] == 0
        if waits[-1] < 1:
            break

    assert min(waits) < 1


def test_until_finding_ends_at_once_with_the_code_of_findings():
    process = start("-", "--until-finding", "warning")
    lines = Lines(process)
    process.stdin.write(CAPTURE.read_bytes())
    process.stdin.flush()
    code, said = lines.end()

    assert code == 1
    assert said[-1].startswith("a finding reached the threshold; 31 segments")
    done = run("-", "--until-finding", "error", data=CAPTURE.read_bytes())
    assert done.returncode == 0
    done = run("-", "--until-finding", "info", "--json", data=CAPTURE.read_bytes())  # also what is not shown else
    assert done.returncode == 1


def test_for_ends_a_silent_pipe():
    process = start("-", "--for", "1s")
    lines = Lines(process)
    code, said = lines.end()

    assert (code, said) == (0, ["the time is up; no segments, no connections, no findings\n"])
    process.stdin.close()


def test_the_first_interrupt_reads_to_the_end_and_the_second_aborts():
    for seconds_of, code_wanted in (((1,), 0), ((1, 2), 130)):
        process = start("-", "--json")
        lines = Lines(process)
        process.stdin.write(CAPTURE.read_bytes()[:1500])
        process.stdin.flush()
        lines.first('"status"')
        for _ in seconds_of:
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        if code_wanted == 0:
            process.stdin.write(CAPTURE.read_bytes()[1500:])
        process.stdin.close()
        code, said = lines.end()
        assert code == code_wanted
        assert ('"segments": 31' in said[-1]) == (code_wanted == 0)


def test_whoever_reads_no_more_ends_it():
    process = start("-", "--json", stdout=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write(CAPTURE.read_bytes())
    process.stdin.close()

    assert process.wait(LIMIT_S) == 141
    assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "watch: give either - for stdin"),
        (("-", "-i", "lo"), 2, "watch: give either - for stdin"),
        (("-", "--for", "soon"), 2, "--for soon: is not a valid time; write it like 60s, 5m, 1h or 2d"),
        (("-", "--every", "0"), 2, "--every 0: is not a valid time"),
        (("-", "--until-finding", "warnin"), 2, "--until-finding warnin: did you mean warning?"),
        (("-", "--findings", "bad"), 2, "--findings bad: "),
        (("-", "--time-format", "rel"), 2, "--time-format rel: "),
        (("no.pcap",), 3, "no.pcap: there is no such file"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, code, said):
    done = CliRunner().invoke(app, ["watch", *arguments])

    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith(f"tcptrace-tw: {said}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("data", "said"), [(b"", b"is empty"), (b"text\n", b"a text file, not a capture")])
def test_what_is_no_capture_is_one_line(data, said):
    done = run("-", data=data)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, b"", 1)
    assert said in done.stderr


def test_a_terminal_on_stdin_is_no_capture():
    own, other = pty.openpty()
    process = start("-", stdin=other)
    assert process.wait(LIMIT_S) == 2
    assert b"stdin is a terminal" in process.stderr.read()
    os.close(own)
    os.close(other)


def test_on_a_terminal_the_status_is_rewritten_in_place():
    own, other = pty.openpty()
    process = start("-", stdout=other, variables={"TERM": "xterm", "NO_COLOR": "1"})
    os.close(other)
    process.stdin.write(CAPTURE.read_bytes())
    process.stdin.flush()
    shown = b""
    statuses: list[bytes] = []
    with contextlib.suppress(OSError):  # in the end the other side is closed
        while piece := os.read(own, 4096):
            shown += piece
            statuses = re.findall(rb"\r\x1b\[K(04:45:\d\d [^\r\n]*TIME-WAIT[^\r\n]*)", shown)
            if len(statuses) >= 3:
                process.stdin.close()
    process.wait(LIMIT_S)
    os.close(own)

    assert len(statuses) >= 3
    assert all(len(status) < 80 and status.endswith(b"0 %") for status in statuses)
    assert b"\r\x1b[Kthe input ended; 31 segments" in shown


def test_times_are_read():
    assert [seconds(text, "--for") for text in ("60", "60s", "1.5m", "2h", "1d")] == [60, 60, 90, 7200, 86400]
    with pytest.raises(UsageError):
        seconds("-5s", "--for")


FAKE = f"""#!{sys.executable}
import os, signal, sys, time
ended = []
dropped = [0]
def say(*_):
    dropped[0] += 7
    figures = f"9 packets captured, 9 packets received by filter, {{dropped[0]}} packets dropped by kernel"
    os.write(2, f"tcpdump: {{figures}}\\n".encode())
signal.signal(signal.SIGUSR1, say)
signal.signal(signal.SIGINT, lambda *_: ended.append(1))
os.write(2, b"tcpdump: listening on eth7, link-type EN10MB (Ethernet), snapshot length 128 bytes\\n")
open(os.environ["ARGUMENTS"], "w").write(" ".join(sys.argv[1:]))
data = open({str(CAPTURE)!r}, "rb").read()
os.write(1, data[:1200])
while not ended and "--gone" not in os.environ["ARGUMENTS"]:
    time.sleep(0.02)
os.write(1, data[1200:])
os.write(2, b"tcpdump: pcap_loop: The interface disappeared\\n" if "--gone" in os.environ["ARGUMENTS"] else b"")
os.write(2, b"31 packets captured\\n31 packets received by filter\\n99 packets dropped by kernel\\n")
"""


@pytest.fixture
def fake(tmp_path):
    """A tcpdump of our own, which is asked for its figures often."""
    path = tmp_path / "tcpdump"
    path.write_text(FAKE)
    path.chmod(0o755)
    variables = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "ARGUMENTS": str(tmp_path / "arguments")}
    code = "import tcptrace_tw.cli.tcpdump as t; t.ASKS_S = 0.3; from tcptrace_tw.cli import main; main()"

    def started(*arguments: str, gone: str = "") -> subprocess.Popen:
        variables["ARGUMENTS"] += gone
        return subprocess.Popen(
            [sys.executable, "-c", code, "watch", *arguments], env={**ENVIRONMENT, **variables},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return started


def test_tcpdump_is_started_and_its_drops_are_told(fake, tmp_path):
    """While it goes on, each time they are more, and at the end; an interrupt comes to it through the watch."""
    process = fake("-i", "eth7", "--json", "--read-filter", "port 5000")
    lines = Lines(process)
    first, second = (json.loads(lines.first(f'"packets": {count}')[1]) for count in (7, 14))
    process.send_signal(signal.SIGINT)
    code, said = lines.end()
    records = [json.loads(line) for line in said]

    assert (tmp_path / "arguments").read_text() == (
        "-i eth7 -n -U --immediate-mode -s 128 -B 16384 -w - (tcp and (port 5000)) or icmp or icmp6"
    )
    assert (code, process.stderr.read()) == (0, b"")
    assert first["type"] == second["type"] == "dropped"
    assert [each["packets"] for each in records if each["type"] == "dropped"][-1] == 99
    assert (records[-1]["segments"], records[-1]["dropped"]) == (31, 99)


def test_why_tcpdump_ended_by_itself_is_told(fake):
    process = fake("-i", "eth7", gone="--gone")
    code, said = Lines(process).end()

    assert (code, said[-1][:45]) == (0, "the input ended; 31 segments, 2 connections, ")
    assert process.stderr.read() == b"tcptrace-tw: tcpdump: pcap_loop: The interface disappeared\n"


def test_time_that_is_up_ends_tcpdump(fake):
    process = fake("-i", "eth7", "--for", "1s")
    code, said = Lines(process).end()

    assert code == 0
    assert said[-1].startswith("the time is up; ")


def test_the_second_interrupt_ends_tcpdump_too(fake, tmp_path):
    process = fake("-i", "eth7", "--json")
    lines = Lines(process)
    lines.first('"packets": 7')
    (child,) = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(tmp_path / "tcpdump").encode() in _content(path)
    ]
    os.kill(child, signal.SIGSTOP)  # it does not end
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)

    assert process.wait(LIMIT_S) == 130
    deadline = time.time() + LIMIT_S
    while b"tcpdump" in _content(Path(f"/proc/{child}/cmdline")):
        assert time.time() < deadline
        time.sleep(0.05)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(
    any(os.path.exists(path) for path in ("/usr/sbin/tcpdump", "/sbin/tcpdump")), reason="it is found without PATH"
)
def test_without_tcpdump_it_says_so():
    process = start("-i", "lo", variables={"PATH": "/nowhere"})
    assert process.wait(LIMIT_S) == 3
    assert b"there is no tcpdump; install it, or pipe a capture into" in process.stderr.read()


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_an_interface_that_is_not_there():
    done = run("-i", "nosuch0")

    assert done.returncode == 3
    assert re.search(rb"watch -i nosuch0: (there is no such interface|no right to capture)", done.stderr)


@pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(tool) is None for tool in ("tcpdump", "setpriv")), reason="needs root"
)
def test_without_the_right_to_capture_it_says_what_to_do():
    before = ("setpriv", "--reuid=65534", "--clear-groups")
    process = start("-i", "lo", before=before)
    code = process.wait(LIMIT_S)
    said = process.stderr.read().decode()
    if "No module named" in said or "Permission denied" in said:
        pytest.skip("nobody may not run this Python")

    assert code == 3
    assert "watch -i lo: no right to capture; run it as root, or give tcpdump the right: setcap" in said


def test_the_filter_of_tcpdump_lets_icmp_pass():
    assert filter_of("") == "tcp or icmp or icmp6"
    assert filter_of("host 10.0.0.1 or port 80") == "(tcp and (host 10.0.0.1 or port 80)) or icmp or icmp6"


TALK = """
import socket, threading, time
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", 5000))
server.listen()
def serve():
    while True:
        connection, _ = server.accept()
        while connection.recv(100):
            pass
        connection.close()
threading.Thread(target=serve, daemon=True).start()
def talk():
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("127.0.0.1", 40000))
    client.connect(("127.0.0.1", 5000))
    client.send(b"x")
    client.shutdown(socket.SHUT_WR)
    client.recv(1)
    client.close()
talk()
time.sleep(0.3)
talk()
print(time.time())
"""
"""The client closes first, and takes its port again: its kernel keeps no TIME-WAIT (tcp_max_tw_buckets = 0)."""


@pytest.fixture
def namespace():
    name = f"tw-{os.getpid()}"
    inside = ("ip", "netns", "exec", name)
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
    subprocess.run([*inside, "sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=0"], check=True)
    yield inside
    subprocess.run(["ip", "netns", "del", name], check=True)


@NAMESPACES
@pytest.mark.parametrize("way", ["interface", "pipe"])
def test_a_reuse_inside_2msl_is_told_within_a_second_of_its_last_frame(namespace, way):
    """Real traffic, a real tcpdump, and then silence: the best of three."""
    waits = []
    for _ in range(3):
        if way == "interface":
            tcpdump, process = None, start("-i", "lo", "--json", before=namespace)
        else:
            command = [*namespace, "tcpdump", "-i", "lo", "-U", "--immediate-mode", "-w", "-", "tcp"]
            tcpdump = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            process = start("-", "--json", stdin=tcpdump.stdout)
        lines = Lines(process)
        time.sleep(2)
        done = subprocess.run([*namespace, sys.executable, "-c", TALK], capture_output=True, text=True, check=True)
        waits.append(lines.first('"RU002"')[0] - float(done.stdout))
        (process if tcpdump is None else tcpdump).send_signal(signal.SIGINT)
        code, said = lines.end()
        assert code == 0
        assert json.loads(said[-1])["connections"] == 2
        if waits[-1] < 1:
            break

    assert min(waits) < 1
