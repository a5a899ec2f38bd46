"""With what a command does its work: this process, several of this machine, or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tcptrace_tw.errors import UsageError

if TYPE_CHECKING:
    from tcptrace_tw.cluster.run import Means
    from tcptrace_tw.schema.columns import Table


@contextmanager
def means_of(jobs: int, cluster: str = "", spool: str = "", *, keep_spool: bool = False) -> Iterator[Means | None]:
    """What the options say; None where one process does it all."""
    if keep_spool and not spool:
        raise UsageError("--keep-spool: the spool is a temporary folder; name one with --spool DIR")
    if cluster and not spool:
        raise UsageError("--cluster: workers need a folder that all of them see; name one with --spool DIR")
    if cluster and jobs > 1:
        raise UsageError("--cluster: the cluster says how many workers there are; leave --jobs out")
    if not cluster and jobs == 1 and not spool:
        yield None
        return
    from tcptrace_tw.cluster.run import Means

    if not cluster:
        yield Means(jobs=jobs, spool=spool, keep_spool=keep_spool)
        return
    from tcptrace_tw.cluster.dask_cluster import connected

    with connected(cluster) as (executor, workers):
        yield Means(executor=executor, workers=workers, spool=spool, keep_spool=keep_spool)


def of_this_machine(jobs: int) -> Means | None:
    """``jobs`` processes of this machine; None for one, which needs no help."""
    if jobs == 1:
        return None
    from tcptrace_tw.cluster.run import Means

    return Means(jobs=jobs)


def own_tables(means: Means | None) -> tuple[Table, ...]:
    """The tables that a command writes itself; the others are written by the processes that do the work."""
    from tcptrace_tw.schema.columns import TABLES

    if means is None:
        return TABLES
    from tcptrace_tw.cluster.finish import LEFT_TO_PARTS

    return tuple(table for table in TABLES if table.name not in LEFT_TO_PARTS)
