"""What stderr shows while captures are read: a bar for files, counts for a pipe; short work draws nothing."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from tcptrace_tw.unfinished import unfinished

if TYPE_CHECKING:
    from rich.console import Console

    from tcptrace_tw.position import Position

EVERY_S = 0.5
"""How often it is drawn; work that takes less time draws nothing."""

_AS_BEFORE = b"\r\x1b[K\x1b[?25h"
"""An empty line, and a cursor that can be seen."""


class Progress:
    """Given to the pipeline; draws in a thread of its own, also while no data comes, where it is enabled."""

    def __init__(self, enabled: bool, label: str = "reading") -> None:
        self.enabled = enabled
        self._label = label
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, position: Callable[[], Position]) -> None:
        """Draw how far the work is, from now on."""
        if self.enabled:
            self._thread = threading.Thread(target=self._draw, args=[position], name="progress", daemon=True)
            self._thread.start()

    def turn(self) -> None:
        """Draw a wheel that turns, from now on."""
        if self.enabled:
            self._thread = threading.Thread(target=self._draw_wheel, name="progress", daemon=True)
            self._thread.start()

    def _draw_wheel(self) -> None:
        if self._is_over.wait(EVERY_S):
            return
        from rich.console import Console

        console = Console(stderr=True)
        with unfinished(lambda: _restore(console)), console.status(self._label):
            self._is_over.wait()

    def _draw(self, position: Callable[[], Position]) -> None:
        if self._is_over.wait(EVERY_S):
            return
        from rich.console import Console

        console = Console(stderr=True)
        with unfinished(lambda: _restore(console)):
            is_bar = position().total is not None
            drawing: _Counts | _Bar = _Bar(console, self._label) if is_bar else _Counts(console, self._label)
            with drawing:
                while not self._is_over.is_set():
                    drawing.update(position())
                    self._is_over.wait(EVERY_S)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()


def _restore(console: Console) -> None:
    if console.is_terminal and not console.is_dumb_terminal:
        os.write(2, _AS_BEFORE)


@contextlib.contextmanager
def busy(label: str, *, enabled: bool) -> Iterator[None]:
    """Show that work goes on whose end is not known, as when tables are read; short work draws nothing."""
    with Progress(enabled, label) as progress:
        progress.turn()
        yield


class _Bar(contextlib.ExitStack):
    """How much of a file is read, how fast, and how long the rest will take."""

    def __init__(self, console: Console, label: str) -> None:
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        super().__init__()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = self.enter_context(Bar(*columns, console=console, transient=True, redirect_stdout=False))
        self._task = self._bar.add_task(label, total=None)

    def update(self, position: Position) -> None:
        self._bar.update(self._task, completed=position.bytes, total=position.total)


class _Counts(contextlib.ExitStack):
    """What a pipe has brought so far."""

    def __init__(self, console: Console, label: str) -> None:
        from rich.live import Live

        super().__init__()
        self._label = label
        self._live = self.enter_context(
            Live(console=console, transient=True, auto_refresh=False, redirect_stdout=False)
        )

    def update(self, position: Position) -> None:
        from rich.text import Text

        self._live.update(Text(counts(position, self._label), no_wrap=True, overflow="ellipsis"), refresh=True)


def counts(position: Position, label: str = "reading") -> str:
    """A line with what was read so far; it fits into 80 columns up to ten million segments.

    >>> from tcptrace_tw.position import Position
    >>> counts(Position(2_345_678, None, 21_000, 1_900, 240))
    'reading: 21,000 segments, 1,900 connections, 240 in TIME-WAIT, 2.3 MB'
    """
    from rich.filesize import decimal

    parts = [f"{position.segments:,} segments", f"{position.connections:,} connections"]
    if position.time_wait is not None:
        parts.append(f"{position.time_wait:,} in TIME-WAIT")
    return f"{label}: {', '.join(parts)}, {decimal(position.bytes)}"
