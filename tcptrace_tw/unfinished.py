"""What must be undone when the process ends in the middle: files that are not complete, a cursor that is hidden.

An interrupt ends the process without running ``finally`` clauses: the thread that has to run them may be busy for
seconds in a compiler. So whoever writes a file registers how to remove it, and any thread can do that.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

Undo = Callable[[], object]

LISTENER = "signals"
"""The name of the thread that waits for signals."""

_lock = threading.RLock()
_undos: list[Undo] = []


def begin(undo: Undo) -> None:
    """From now on ``undo`` is called when the process ends early, by whatever thread; call this before the work."""
    with _lock:
        _undos.append(undo)


def complete(undo: Undo) -> None:
    """There is nothing to undo any more."""
    with _lock:
        _undos.remove(undo)


@contextlib.contextmanager
def unfinished(undo: Undo) -> Iterator[None]:
    """Within this block there is something to undo."""
    begin(undo)
    try:
        yield
    finally:
        complete(undo)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """An end of the process waits for this block: for steps that cannot be undone halfway and take little time."""
    with _lock:
        yield


def undo_all() -> None:
    """Undo all unfinished work, the latest first. From then on every other thread waits where it begins or ends work.

    An error is not shown: nothing more can be done about it.
    """
    _lock.acquire()
    for undo in reversed(_undos):
        with contextlib.suppress(OSError):
            undo()
