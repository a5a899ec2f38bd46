"""Work that one thread does in order while the pass goes on: Arrow and the kernels let go of the interpreter."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Work = Callable[[], None]


class BackgroundWriter:
    """Does one piece of work after the other; at most ``most`` pieces wait, and ``do`` waits until one more may."""

    def __init__(self, most: int) -> None:
        self._waiting: queue.Queue[Work | None] = queue.Queue(most)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def do(self, work: Work) -> None:
        """Have it done; raises what an earlier piece of work has raised."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
            self._thread.start()
        self._check()
        self._waiting.put(work)

    def finish(self) -> None:
        """Wait until all is done; raises what went wrong."""
        self.stop()
        self._check()

    def stop(self) -> None:
        """Wait for the thread to end; after an error nothing more is done."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    work()
                except BaseException as error:
                    self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
