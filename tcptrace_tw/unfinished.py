"""What must be undone when the process ends in the middle: files that are not complete, a cursor that is hidden.

An interrupt ends the process without running ``finally`` clauses: the thread that has to run them may be busy for
seconds in a compiler. So whoever writes a file registers how to remove it, and any thread can do that.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

Undo = Callable[[], None]

_lock = threading.RLock()
_undos: list[Undo] = []


@contextlib.contextmanager
def unfinished(undo: Undo) -> Iterator[None]:
    """Within this block ``undo`` is called when the process ends early; it runs in another thread.

    Enter the block before there is anything to undo, and leave it when the work is complete or undone.
    """
    with _lock:
        _undos.append(undo)
    try:
        yield
    finally:
        with _lock:
            _undos.remove(undo)


def undo_all() -> None:
    """Undo all unfinished work, the latest first. From then on every other thread waits where its block ends."""
    _lock.acquire()
    for undo in reversed(_undos):
        with contextlib.suppress(OSError):
            undo()
