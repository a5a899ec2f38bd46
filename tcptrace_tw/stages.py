"""A bounded pipeline of threads: each stage makes items while the next one uses those before. And work in a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Generic, TypeVar

Item = TypeVar("Item")

DEPTH = 1
"""How many items wait at the most; besides them one is being made, and one is in the hands of the reader."""

BUFFERS = DEPTH + 2
"""The number of items that exist at a time: the stage that makes them can reuse the memory of an older one."""

PATIENCE_S = 1.0


def read_ahead(items: Generator[Item]) -> Generator[Item]:
    """The same items, made by another thread; what is raised there is raised here, in its turn."""
    with closing(_Stage(items)) as stage:
        yield from stage


def with_ticks(items: Generator[Item], every_s: float) -> Generator[Item | None]:
    """The same, and None whenever no item has come for ``every_s`` seconds, so that the caller can do other work."""
    with closing(_Stage(items)) as stage:
        while not stage.is_over:
            yield stage.take(every_s)


class _Stage(Generic[Item]):
    """What passes between the two threads."""

    def __init__(self, items: Generator[Item]) -> None:
        self._items = items
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._is_ended = self._is_unwanted = self.is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._make, name="read ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while True:
            item = self.take()
            if item is None:
                break
            yield item

    def take(self, patience_s: float | None = None) -> Item | None:
        """The next item; None at the end, or where none comes within ``patience_s`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_ended, patience_s)
            if self._waiting:
                item = self._waiting.popleft()
                self._changed.notify()
                return item
            if not self._is_ended:
                return None
        self.is_over = True
        self._raise_error()
        return None

    def _raise_error(self) -> None:
        """Raise what ended the other thread, if anything did."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame: a circle would keep whatever the frames of the source hold

    def close(self) -> None:
        """No more items are wanted: the other thread leaves its source, unless that is a pipe that stays silent."""
        with self._changed:
            self._is_unwanted = True
            self._changed.notify()
        self._thread.join(PATIENCE_S)

    def _make(self) -> None:
        try:
            with closing(self._items) as items:
                for item in items:
                    with self._changed:
                        self._changed.wait_for(lambda: len(self._waiting) < DEPTH or self._is_unwanted)
                        if self._is_unwanted:
                            break
                        self._waiting.append(item)
                        self._changed.notify()
        except BaseException as error:  # of whatever kind, it belongs to the thread that asked
            self._error = error
        finally:
            with self._changed:
                self._is_ended = True
                self._changed.notify()


class Background:
    """Work that goes on in another thread; ``join`` waits for it, and raises what it raised."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._do, args=[work], daemon=True)
        self._thread.start()

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()
        if self._error is not None:
            raise self._error
