"""The workers of a dask.distributed cluster as an ``Executor``; the extra ``tcptrace-tw[cluster]`` brings it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from tcptrace_tw.errors import UsageError, printable

WAIT_S = 10


@contextmanager
def connected(address: str) -> Iterator[tuple[Executor, int]]:
    """An executor over the scheduler at ``address``, and how many tasks its workers do at once."""
    try:
        import distributed
    except ImportError:
        raise UsageError("--cluster: needs dask.distributed: pip install 'tcptrace-tw[cluster]'") from None
    _quiet()
    try:
        client = distributed.Client(address, timeout=WAIT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--cluster {address}: cannot be reached ({printable(str(error))})") from None
    try:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UsageError(f"--cluster {address}: has no worker; start one with dask worker {address}")
        yield client.get_executor(pure=False), threads
    finally:
        client.close(timeout=WAIT_S)


def is_lost(executor: Executor) -> bool:
    """Whether this is the executor of a client that has lost its scheduler: it would never do what it is given."""
    return getattr(getattr(executor, "_client", None), "status", "") == "closed"


def _quiet() -> None:
    """What goes wrong is said in one line by this program; the library would add tracebacks of its threads."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
