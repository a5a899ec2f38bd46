"""Processes of this machine that read from stdin what to do: new ones, or copies of this process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Protocol

from tcptrace_tw.unfinished import LISTENER

STANDARD = (0, 1, 2)
"""File descriptors of stdin, stdout and stderr."""


class Process(Protocol):
    """What is common to ``subprocess.Popen`` and ``Forked``."""

    pid: int
    returncode: int | None
    stdin: IO[bytes]
    stdout: IO[bytes]

    def poll(self) -> int | None:
        """How it has ended, if it has."""

    def wait(self) -> int:
        """Wait until it has ended, and say how."""

    def kill(self) -> None:
        """End it at once."""


def started() -> Process:
    """A process of its own group: an interrupt of the terminal is the business of the one that started it.

    ``-P``: a folder of captures may hold a ``json.py``, which nobody wants to be imported.
    """
    command = [sys.executable, "-P", "-c", "from tcptrace_tw.cluster.workers import work; work()"]
    return subprocess.Popen(  # type: ignore[return-value] # both streams are there
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )


def may_fork() -> bool:
    """Whether a copy of this process could go on: no other thread of it may hold a lock, which nobody would release.

    The one that waits for signals holds none.
    """
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    return (
        sys.platform == "linux" and all(thread.name == LISTENER for thread in others) and all(map(_is_open, STANDARD))
    )


def _is_open(descriptor: int) -> bool:
    """Whether there is such a file; if not, the next file that is opened becomes it."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class Forked:
    """A copy of this process, which need not import anything again."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """How it has ended, if it has: as ``subprocess`` says it."""
        with self._lock:
            if self.returncode is None:
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:  # somebody else of this process has asked before
                    pid, status = self.pid, 0
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """Wait until it has ended, and say how."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        code = self.poll()
        assert code is not None
        return code

    def kill(self) -> None:
        """End it at once, unless it has ended: its number may be that of another one by then."""
        with self._lock:
            if self.returncode is None:
                os.kill(self.pid, signal.SIGKILL)


def forked(work: Callable[[], None]) -> Process:
    """A copy of this process that does ``work``, with pipes for its stdin and stdout and nothing else open."""
    source, tasks = os.pipe()
    results, sink = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: see ``may_fork``
        pid = os.fork()
    if not pid:
        _become(source, sink, work)
    os.close(source)
    os.close(sink)
    return Forked(pid, os.fdopen(tasks, "wb"), os.fdopen(results, "rb"))


def _become(source: int, sink: int, work: Callable[[], None]) -> None:
    """Be the worker: let go of what belongs to the other process, and never come back."""
    try:
        gc.freeze()  # a file that was dropped would close one of those that are opened here
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        os.dup2(source, 0)
        os.dup2(sink, 1)
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in STANDARD:
                with suppress(OSError):
                    os.close(int(name))
        work()
    finally:
        os._exit(1)
