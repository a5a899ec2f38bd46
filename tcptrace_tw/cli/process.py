"""How the process of one command is set up: it starts, reads what it was given, and ends."""

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_NEW_OBJECTS = 200_000
"""Objects that are made before the collector runs: more than imports make, and nearly all of those stay."""


@contextmanager
def short_lived() -> Iterator[None]:
    """For the time of one command: what a service must do to live long would take a third of a small report.

    What is left at the end goes with the process: nobody searches it for garbage.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads, which wait for work by spinning
    thresholds = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.freeze()


@contextmanager
def leaving() -> Iterator[None]:
    """End the process with the command, though threads of it still work.

    A failed command does not wait for its threads. A compiled kernel that runs while the interpreter takes its memory
    away crashes: so with threads left, the process ends first.
    """
    before = set(threading.enumerate())
    try:
        yield
    except BaseException as error:
        if set(threading.enumerate()) - before:
            _leave(error)
        raise


def _leave(error: BaseException) -> NoReturn:
    code = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1 if code else 0)
