"""How the process of one command is set up: it starts, reads what it was given, and ends."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 200_000
"""So many are made before the collector looks among them: more than imports make, nearly all of which stays."""


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
