"""Records of what is rare (reuses, stale segments, resets): taken from a pool, chained to their incarnation.

``copy_reuse`` and its siblings are made from the table declarations, so a new column needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tcptrace_tw.jit import kernel
from tcptrace_tw.spec.columns import RESETS, REUSES, STALE_SEGMENTS, Table


def _copier(table: Table) -> Callable[[Any, Any], None]:
    """A kernel that copies the fields of ``table`` from one record to another; numba needs them spelt out."""
    name = f"copy_{table.name}"
    lines = [f"def {name}(to, source):", *(f"    to.{field} = source.{field}" for field in table.dtype.names or ())]
    scope: dict[str, Any] = {}
    exec(compile("\n".join(lines), __file__, "exec"), scope)  # noqa: S102 - the names are our own declarations
    function = scope[name]
    function.__module__ = __name__
    return kernel(function)


copy_reuse = _copier(REUSES)
copy_stale = _copier(STALE_SEGMENTS)
copy_reset = _copier(RESETS)


@kernel
def take(pool, regs, used, free):  # type: ignore[no-untyped-def]
    """The place of a record that nobody uses; the caller has made sure that there is one."""
    place = regs[free]
    if place >= 0:
        regs[free] = np.int64(pool[place].next)
    else:
        place = regs[used]
        regs[used] = place + 1
    return place
