"""Signals: files are let go at once and leave nothing; a pipe is read to its end, and then there is a report."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import tcptrace_tw as tw
from tcptrace_tw import pipeline
from tcptrace_tw.cli import interrupts
from tcptrace_tw.cli.interrupts import NOTE
from tcptrace_tw.position import Position
from tests import capture_bytes as cb
from tests.bench.workloads import generate
from tests.scenario.play import library_or_skip

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"
HEADER = 24
COMMANDS = (("report", "--json"), ("check", "--format", "json"), ("analyze", "-o", "out"))

LIMIT_S = 60
"""For a machine with much else to do; on an idle one each step takes less than half a second."""

WRITER = """
import os, signal, sys, time
data = open(sys.argv[1], "rb").read()
first, what = int(sys.argv[2]), sys.argv[3]
interrupts = []
signal.signal(signal.SIGINT, signal.SIG_IGN if what == "ignores" else lambda *_: interrupts.append(1))
signal.signal(signal.SIGHUP, lambda *_: sys.exit())  # says that it is ready
os.write(1, data[:first])
while not interrupts:
    time.sleep(0.01)
os.write(1, data[first:])
"""
"""Like tcpdump: writes what there is, and at SIGINT the rest."""


def until(is_so: Callable[[], Any]) -> None:
    """Wait for it; fails where it does not come."""
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def handles_signals(process: subprocess.Popen[bytes], number: int = signal.SIGHUP) -> bool:
    """Whether a process has said what it does at a signal; Python itself says so of SIGINT."""
    if not Path("/proc/self/status").exists():
        time.sleep(2)
        return True
    caught = re.search(r"SigCgt:\t(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return bool(caught and int(caught[1], 16) >> (number - 1) & 1)


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tcptrace_tw", *map(str, arguments)]
    environment = {**os.environ, "TCPTRACE_TW_KERNELS": "interpreted", "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment, **options}
    return subprocess.Popen(command, **options)


def end(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """The status, stdout and stderr."""
    with process:
        out, errors = process.communicate(timeout=LIMIT_S)
    return process.returncode, out or b"", errors or b""


@contextlib.contextmanager
def piped(
    first: int, what: str, arguments: Sequence[object], **options: Any
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], None]]]:
    """``writer | tcptrace-tw arguments``, all of ``first`` bytes read; yields the command, and Ctrl-C for both."""
    read, write = os.pipe()
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(CAPTURE), str(first), what], stdout=write, process_group=0
    )
    os.close(write)
    if first:
        until(lambda: waiting_bytes(read) == first)
    command = start(*arguments, stdin=read, process_group=writer.pid, **options)
    try:
        until(lambda: handles_signals(writer) and handles_signals(command) and not waiting_bytes(read))
        os.close(read)
        yield command, lambda: os.killpg(writer.pid, signal.SIGINT)
    finally:
        for process in (writer, command):
            process.kill()
            process.wait()


def waiting_bytes(pipe: int) -> int:
    """How much was written into a pipe and is not yet read."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("first", [0, HEADER, 1000])
def test_ctrl_c_ends_the_writer_and_the_command_reports_what_came(tmp_path, arguments, first):
    """Also where the writer was silent until then."""
    command, *others = arguments
    with piped(first, "flushes", [command, "-", *others], cwd=tmp_path) as (process, press_ctrl_c):
        press_ctrl_c()
        status, out, _ = end(process)

    assert status == 0
    if command == "analyze":
        assert tw.load(tmp_path / "out").table("connections").num_rows == 2
    else:
        _, whole, _ = end(start(command, CAPTURE, *others, cwd=tmp_path))
        assert len(json.loads(out)["findings"]) == len(json.loads(whole)["findings"]) > 0


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: words[0])
def test_a_second_ctrl_c_stops_at_once_though_the_writer_goes_on(tmp_path, arguments):
    command, *others = arguments
    with piped(1000, "ignores", [command, "-", *others], cwd=tmp_path) as (process, press_ctrl_c):
        press_ctrl_c()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        press_ctrl_c()

        assert end(process) == (130, b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_capture_that_ends_after_its_header_has_no_frame(tmp_path):
    (tmp_path / "empty.pcap").write_bytes(cb.pcap([]))
    read, write = os.pipe()
    process = start("report", "-", stdin=read)
    os.write(write, (tmp_path / "empty.pcap").read_bytes())
    until(lambda: handles_signals(process) and not waiting_bytes(read))
    process.send_signal(signal.SIGINT)
    os.close(write)
    status, out, errors = end(process)
    os.close(read)

    assert (status, b"Capture  stdin" in out) == (0, True)
    assert (
        errors
        == b"tcptrace-tw: stdin: contains no frame; was the capture stopped early, or is its filter too narrow?\n"
    )


def test_an_interrupt_counts_for_the_pipe_though_the_pipe_ends_first(tmp_path, monkeypatch):
    """The thread that takes it may come late; the next one is the second."""
    ends = []
    monkeypatch.setattr(interrupts, "end_at_once", ends.append)
    os.mkfifo(tmp_path / "live")
    mine = interrupts.Interrupts()
    with mine.reading([str(tmp_path / "live")], quiet=True):
        mine.note(signal.SIGINT)
    mine.arrive(signal.SIGINT)
    assert ends == []

    mine.note(signal.SIGINT)
    mine.arrive(signal.SIGINT)
    assert ends == [130]


def test_an_interrupt_after_the_pipe_has_ended_stops_at_once(tmp_path, monkeypatch):
    ends = []
    monkeypatch.setattr(interrupts, "end_at_once", ends.append)
    os.mkfifo(tmp_path / "live")
    mine = interrupts.Interrupts()
    with mine.reading([str(tmp_path / "live")], quiet=True):
        pass
    mine.note(signal.SIGINT)
    mine.arrive(signal.SIGINT)

    assert ends == [130]


def test_a_named_pipe_is_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "live")
    process = start("report", "live", "--json", cwd=tmp_path)
    with (tmp_path / "live").open("wb") as pipe:
        pipe.write(CAPTURE.read_bytes()[:1000])
        pipe.flush()
        until(lambda: handles_signals(process) and not waiting_bytes(pipe.fileno()))
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        pipe.write(CAPTURE.read_bytes()[1000:])
    status, out, errors = end(process)

    assert (status, errors) == (0, b"")
    assert json.loads(out)["capture"]["frames"] == 31


def test_a_page_of_a_named_pipe_has_no_ladders_and_does_not_wait_for_them(tmp_path):
    """What came through a pipe cannot be read again."""
    os.mkfifo(tmp_path / "live")
    process = start("report", "live", "--html", "page.html", "-q", cwd=tmp_path)
    (tmp_path / "live").write_bytes(CAPTURE.read_bytes())

    assert end(process) == (0, b"", b"")
    assert "LA001" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_other_signals_stop_at_once_though_a_pipe_is_read(tmp_path, number):
    with piped(1000, "ignores", ["analyze", "-", "-o", "out"], cwd=tmp_path) as (process, _):
        process.send_signal(number)

        assert end(process) == (128 + number, b"", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """A capture that takes several seconds with interpreted kernels."""
    written = generate("short-100k", tmp_path_factory.mktemp("long"), 0.05, say=lambda text: None)
    return Path(written.path)


@pytest.mark.parametrize("is_stdin", [False, True])
@pytest.mark.parametrize("when", ["importing", "reading"])
def test_a_file_is_let_go_at_the_first_ctrl_c(tmp_path, long, is_stdin, when):
    """Also where it is stdin."""
    with long.open("rb") as file:
        named = {"stdin": file} if is_stdin else {}
        process = start("analyze", "-" if is_stdin else long, "-o", "out", cwd=tmp_path, **named)
        until(lambda: handles_signals(process))
        if when == "reading":
            until(lambda: list(tmp_path.glob(".out.*.partial/*.parquet")))
        process.send_signal(signal.SIGINT)

        assert end(process) == (130, b"", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("delay_s", [0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_ctrl_c_at_any_moment_is_quiet(long, delay_s):
    process = start("report", long)
    until(lambda: handles_signals(process))
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)

    assert end(process) == (130, b"", b"")


def test_an_interrupt_that_is_ignored_stays_ignored():
    """A shell starts commands in the background so."""
    process = start("report", CAPTURE, "--json", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    until(lambda: handles_signals(process))
    process.send_signal(signal.SIGINT)

    assert end(process)[0] == 0


@contextlib.contextmanager
def terminal(columns: int = 80) -> Iterator[tuple[int, Callable[[], str]]]:
    """A terminal for stderr, and what was written to it."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    os.set_blocking(master, False)
    text = bytearray()

    def seen() -> str:
        with contextlib.suppress(OSError):
            text.extend(os.read(master, 1 << 16))
        return text.decode()

    yield slave, seen
    os.close(master)
    os.close(slave)


TERMINAL = {"TERM": "xterm-256color", "TCPTRACE_TW_KERNELS": "interpreted", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("columns", [80, 140])
def test_a_terminal_shows_what_a_pipe_has_brought_and_that_it_is_read_to_its_end(columns):
    with terminal(columns) as (slave, seen):
        options = {"stderr": slave, "env": {**os.environ, **TERMINAL, "COLUMNS": str(columns)}}
        with piped(1200, "flushes", ["report", "-", "--json"], **options) as (process, press_ctrl_c):
            until(lambda: "reading: " in seen())
            drawn = seen().count("reading: ")
            until(lambda: seen().count("reading: ") >= drawn + 2)  # though no more data comes
            assert NOTE not in seen()
            press_ctrl_c()
            status, out, _ = end(process)
        text = seen()

    assert status == 0
    assert json.loads(out)["capture"]["frames"] == 31
    assert text.count(f"{NOTE}\r\n") == 1
    assert len(NOTE) < 80
    assert re.search(r"reading: \d+ segments, \d+ connections, \d+ in TIME-WAIT, 1\.2 kB", text)
    assert text.rindex("\x1b[2K") > text.rindex("reading: ")


@pytest.mark.parametrize("option", ["--quiet", "--no-progress"])
def test_a_terminal_shows_nothing_that_is_not_wanted(option):
    with terminal() as (slave, seen):
        options = {"stderr": slave, "env": {**os.environ, **TERMINAL}}
        with piped(1200, "flushes", ["report", "-", "--json", option], **options) as (process, press_ctrl_c):
            time.sleep(1)
            press_ctrl_c()
            assert end(process)[0] == 0
        text = seen()

    assert text == ("" if option == "--quiet" else f"\r\x1b[K{NOTE}\r\n")


def test_the_cursor_comes_back_when_a_drawing_is_interrupted():
    with terminal() as (slave, seen):
        options = {"stderr": slave, "env": {**os.environ, **TERMINAL}}
        with piped(1200, "ignores", ["report", "-"], **options) as (process, press_ctrl_c):
            until(lambda: "reading: " in seen())
            press_ctrl_c()
            until(lambda: NOTE in seen())
            press_ctrl_c()
            assert end(process)[0] == 130
        text = seen()

    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.rindex("\x1b[?25h") > text.rindex("reading: ")


@pytest.mark.parametrize("compiled", [False, True])
def test_what_a_pipe_has_delivered_is_counted_while_it_pauses(tmp_path, monkeypatch, compiled):
    """No batch has to be full; nothing more comes before the counts are right."""
    monkeypatch.setenv("TCPTRACE_TW_KERNELS", library_or_skip() if compiled else "interpreted")
    os.mkfifo(tmp_path / "live")
    data = CAPTURE.read_bytes()
    first, second = Position(1200, None, 14, 1, 1), Position(len(data), None, 31, 2, 1)
    counted = []

    def write(position: Callable[[], Position]) -> None:
        with (tmp_path / "live").open("wb", buffering=0) as pipe:
            for piece, expected in ((data[:1200], first), (data[1200:], second)):
                pipe.write(piece)
                until(lambda expected=expected: position() == expected)
                counted.append(expected)

    def watch(position: Callable[[], Position]) -> None:
        threading.Thread(target=write, args=[position]).start()

    summary = pipeline.analyze([str(tmp_path / "live")], pipeline.Settings(), [], watch)

    assert counted == [first, second]
    assert summary.capture.tcp_segments == 31


UNFINISHED = {
    "folder": "from tcptrace_tw.report.tables.folder import Folder\nkept = Folder('out')\n(kept.path / 'x').touch()",
    "deep folder": "from tcptrace_tw.report.tables.folder import Folder\nkept = Folder('a/b/out')\n"
    "(kept.path / 'x').touch()",
    "output": "from tcptrace_tw.report.checks.outputs import Output, Outputs\n"
    "kept = Outputs([Output('json', 'x.json')])",
    "export": "from tcptrace_tw.atomic import AtomicFile\nkept = AtomicFile('x.pcap')\nkept.write(b'x')",
}


@pytest.mark.parametrize("what", UNFINISHED)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_unfinished_is_left(tmp_path, what, number):
    """Whatever the main thread does in the meantime."""
    code = (
        "import os, signal, sys, time\nfrom tcptrace_tw.cli import interrupts\ninterrupts.install()\n"
        f"{UNFINISHED[what]}\nassert list(os.scandir('.'))\n"
        f"os.kill(os.getpid(), {int(number)})\nwhile True: pass"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=LIMIT_S, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_being_replaced_is_not_lost(tmp_path):
    """While its files are moved some are in neither place: the end of the process waits for the last of them."""
    code = (
        "import os, signal, time\nfrom tcptrace_tw.cli import interrupts\n"
        "from tcptrace_tw.report.tables import folder\n"
        "interrupts.install()\nreplace = os.replace\n"
        "def slow(old, new):\n    replace(old, new)\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(0.1)\n"
        "kept = folder.Folder('out')\n(kept.path / 'manifest.json').touch()\nos.replace = slow\nkept.commit()\n"
        "while True: pass"
    )
    assert start("analyze", CAPTURE, "-o", "out", "-q", cwd=tmp_path).wait(LIMIT_S) == 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, timeout=LIMIT_S, check=False
    )

    assert (done.returncode, done.stderr) == (130, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]


def test_a_command_that_fails_does_not_wait_for_its_threads():
    """And what it has printed is not lost."""
    code = (
        "import sys, threading, time\nfrom tcptrace_tw.cli.process import leaving\n"
        "with leaving():\n    threading.Thread(target=time.sleep, args=[600]).start()\n"
        "    print('said')\n    sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=LIMIT_S, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (3, b"said\n", b"")
