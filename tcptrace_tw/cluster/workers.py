"""Processes of this machine that do tasks: an ``Executor`` whose workers end with the process that started them.

A worker reads tasks from its stdin and writes results to its stdout. Where its stdin ends, whatever ended the other
side, it ends at once, in the middle of a task too. So an interrupt leaves no process behind, and one that was killed
costs its task only: another worker takes its place.
"""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from typing import IO, Any

from tcptrace_tw.cluster.processes import Process, forked, may_fork, started
from tcptrace_tw.unfinished import uninterrupted

HEAD_BYTES = 8

NEW_OBJECTS = 200_000
"""Objects that are made before the collector runs: more than imports make, and nearly all of those stay."""


def send(stream: IO[bytes], value: Any) -> None:
    """Write a value, after its size."""
    data = pickle.dumps(value)
    stream.write(len(data).to_bytes(HEAD_BYTES, "little") + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next value; ``EOFError`` where the stream ends."""
    head = stream.read(HEAD_BYTES)
    data = stream.read(int.from_bytes(head, "little")) if len(head) == HEAD_BYTES else b""
    if len(head) < HEAD_BYTES or len(data) < int.from_bytes(head, "little"):
        raise EOFError
    return pickle.loads(data)


class Workers(Executor):
    """``size`` processes; a task goes to the first that is free."""

    def __init__(self, size: int, *, may_be_copies: bool = True) -> None:
        """``may_be_copies``: whether they may be copies of this process, where that is possible."""
        self._waiting: deque[tuple[Future[Any], tuple[Any, ...]]] = deque()
        self._changed = threading.Condition()
        self._is_over = False
        self._processes: list[Process | None] = [None] * size
        if may_be_copies and may_fork():
            self._processes[:] = [forked(work) for _ in range(size)]
        self._threads = [threading.Thread(target=self._serve, args=[n], daemon=True) for n in range(size)]
        for thread in self._threads:
            thread.start()

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that live."""
        return [process.pid for process in self._processes if process is not None and process.poll() is None]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have ``fn(*args, **kwargs)`` done."""
        future: Future[Any] = Future()
        with self._changed:
            if self._is_over:
                raise RuntimeError("the workers have been sent home")
            self._waiting.append((future, (fn, args, kwargs)))
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the workers end: at once where ``cancel_futures`` says so, else when nothing is left to do."""
        with self._changed:
            self._is_over = True
            while cancel_futures and self._waiting:
                self._waiting.popleft()[0].cancel()
            self._changed.notify_all()
        if cancel_futures:
            self._kill()
        if wait:
            for thread in self._threads:
                thread.join()

    def end_at_once(self) -> None:
        """As the process ends in the middle: when this returns, no worker writes any more."""
        for process in self._kill():
            process.wait()

    def _kill(self) -> list[Process]:
        processes = [process for process in self._processes if process is not None]
        for process in processes:
            process.kill()
        return processes

    def _serve(self, number: int) -> None:
        """Hand one task after the other to one process."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_over)
                if not self._waiting:
                    break
                future, task = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                self._do(number, future, task)
        self._end(number)

    def _do(self, number: int, future: Future[Any], task: tuple[Any, ...]) -> None:
        process = self._processes[number]
        if process is None:
            with uninterrupted():
                process = self._processes[number] = started()
        try:
            send(process.stdin, task)
            is_done, result = receive(process.stdout)
        except (OSError, EOFError):
            with uninterrupted():  # where this process ends, that is no news
                self._end(number)
            future.set_exception(BrokenExecutor(f"a worker ended with status {process.returncode}"))
            return
        if is_done:
            future.set_result(result)
        else:
            future.set_exception(result)

    def _end(self, number: int) -> None:
        process, self._processes[number] = self._processes[number], None
        if process is not None:
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    stream.close()
            process.wait()


def work() -> None:
    """Do tasks until there are none; what they print goes to stderr."""
    gc.set_threshold(NEW_OBJECTS)
    source, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    tasks: deque[Any] = deque()
    changed = threading.Semaphore(0)

    def listen() -> None:
        try:
            while True:
                tasks.append(receive(source))
                changed.release()
        except BaseException:
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        changed.acquire()
        function, args, kwargs = tasks.popleft()
        try:
            outcome = True, function(*args, **kwargs)
        except Exception as error:
            outcome = False, error
        try:
            send(results, outcome)
        except OSError:  # nobody waits for it any more
            os._exit(0)
