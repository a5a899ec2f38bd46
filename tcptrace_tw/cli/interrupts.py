"""What Ctrl-C and the other signals that end a process do: it ends at once, and no unfinished file is left.

A pipe is read to its end first. Ctrl-C in a terminal interrupts both of ``tcpdump -w - | tcptrace-tw report -``:
tcpdump writes what it still has and closes the pipe, and the report of that is what the user wants. A second Ctrl-C
ends the process at once here, too.

A thread of its own waits for signals. Python runs signal handlers in the main thread, and only between two of its
instructions: that may be seconds later when the main thread compiles a kernel. And an exception out of a handler can
come up anywhere, also where nothing can take it.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from tcptrace_tw.unfinished import LISTENER, undo_all

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

NOTE = "tcptrace-tw: reading the input to its end; press Ctrl-C again to stop at once"
_CLEAR_LINE = "\r\x1b[K"


class Interrupts:
    """Decides what an interrupt means: that depends on whether the command reads a pipe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._is_quiet = False
        self._is_reading_pipe: bool | None = None
        """None: the command line is not yet read."""
        self._came_to_pipe = False
        self._end_input: Callable[[], object] | None = None

    def note(self, number: int) -> None:
        """Run in the main thread at a signal, at the latest before it leaves ``reading``.

        tcpdump gets the same interrupt and may have closed the pipe before the thread that waits for signals runs.
        """
        if number == signal.SIGINT and self._is_reading_pipe:
            self._came_to_pipe = True

    def arrive(self, number: int) -> None:
        """Take one signal; runs in the thread that waits for them."""
        with self._lock:
            if number == signal.SIGINT:
                self._count += 1
                if self._count == 1 and self._may_read_on():
                    return
            end_at_once(128 + number)

    def _may_read_on(self) -> bool:
        if self._is_reading_pipe is None:
            return any(is_pipe(word) for word in sys.argv[1:])
        if self._is_reading_pipe:
            self._say()
            if self._end_input is not None:
                self._end_input()
        return self._is_reading_pipe or self._came_to_pipe

    def _say(self) -> None:
        with suppress(OSError):  # stderr may be closed
            if not self._is_quiet and os.isatty(2):
                os.write(2, f"{_CLEAR_LINE}{NOTE}\n".encode())

    @contextmanager
    def reading(
        self, captures: Sequence[str], *, quiet: bool, end_input: Callable[[], object] | None = None
    ) -> Iterator[None]:
        """Within this block the command reads the captures: the first interrupt lets a pipe come to its end.

        ``end_input`` tells the process that writes the pipe to end, where this one has started it.
        """
        with self._lock:
            self._is_quiet = quiet
            self._end_input = end_input
            self._is_reading_pipe = any(is_pipe(capture) for capture in captures)
            if self._count and not self._is_reading_pipe:
                end_at_once(128 + signal.SIGINT)
            if self._count:
                self._say()
                if end_input is not None:
                    end_input()
        try:
            yield
        finally:
            with self._lock:
                self._is_reading_pipe = False
                self._end_input = None


def is_pipe(capture: str) -> bool:
    """Whether a capture comes from another process, which may end it: ``-`` or a path that is a pipe or a socket."""
    try:
        mode = os.fstat(0).st_mode if capture == "-" else os.stat(capture).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


interrupts = Interrupts()
"""Those of this process."""


def end_at_once(code: int) -> None:
    """End the process from whatever thread; what is unfinished is removed, what is not yet printed is not printed.

    Threads that run compiled kernels would crash in an interpreter that is half gone, so the interpreter does not end.
    """
    try:
        undo_all()
    finally:
        os._exit(code)


def install() -> None:
    """From now on signals arrive here; those that the caller wants ignored, as ``nohup`` does, stay ignored."""
    heard, written = os.pipe()
    os.set_blocking(written, False)
    threading.Thread(target=_listen, args=[heard], name=LISTENER, daemon=True).start()
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _note)


def _listen(heard: int) -> None:
    while numbers := os.read(heard, 64):
        for number in numbers:
            if number in SIGNALS:
                interrupts.arrive(number)


def _note(number: int, frame: FrameType | None) -> None:
    interrupts.note(number)
