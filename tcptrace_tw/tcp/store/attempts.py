"""Attempts: incarnations of which only one SYN was captured, archived in a few words.

Scans and floods leave millions of them, and each is remembered for as long as its SYN may be answered. All that is
known of one follows from its SYN, so the SYN is what is kept, with the 4-tuple, whose slot goes back to the flow table.
``attempt_index`` finds the attempt when its 4-tuple is seen again.

Whether an incarnation is such an attempt is not argued but tried: it is written down, restored beside itself and
compared field by field. What differs goes to the ordinary archive (see ``archived record``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tcptrace_tw.kernels.marks import kernel, lazy_kernel
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.tcp.store.access import conn_at, set_newest_incarnation, set_word, tcb_at, tuple_at, word_at
from tcptrace_tw.tcp.store.archive import ATTEMPT, can_place, oldest, place_for
from tcptrace_tw.tcp.store.attempt_index import can_enter, enter, find, leave
from tcptrace_tw.tcp.store.attempt_record import (
    IPV4_UNITS,
    OTHER_UNITS,
    fits,
    is_ipv4,
    read_attempt,
    read_key,
    time_of,
    write_attempt,
)
from tcptrace_tw.tcp.store.delta_codec import CONNECTION_FIELDS, TCB_FIELDS, Field
from tcptrace_tw.tcp.store.freelists import free_incarnation, new_incarnation, release_slot
from tcptrace_tw.tcp.store.records import (
    ATTEMPTS,
    ATTEMPTS_NEXT,
    CONNS_LIVE,
    NEVER,
    NEXT_DUE,
    REMEMBER_AT_LEAST,
    KernelState,
)


@kernel
def may_be_attempt(st: KernelState, c: int) -> bool:
    """Whether incarnation ``c`` has seen one segment, a SYN: so it looks from what is read anyway."""
    orig, resp = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    flags = orig.last_flags
    return (
        orig.segments == 1
        and resp.segments == 0
        and flags & (SYN | ACK | RST | FIN) == SYN
        and conn_at(st, c).incarnation == 1
        and orig.span < 0
        and resp.span < 0
    )


@kernel
def archive_attempt(st: KernelState, c: int) -> bool:
    """Archive incarnation ``c``, which is in no queue, if it is an attempt; returns whether it was."""
    if not may_be_attempt(st, c):
        return False
    counters = st.counters
    conn = conn_at(st, c)
    key = tuple_at(st, conn.slot)
    units = IPV4_UNITS if is_ipv4(key) else OTHER_UNITS
    if not can_enter(counters) or not can_place(st, ATTEMPT, units):
        return False
    at = place_for(st, ATTEMPT, units)
    if not fits(st, c, at):
        return False
    write_attempt(st, c, at, units)
    if not is_restored_same(st, c, at):
        set_word(st, at, 0)
        return False
    set_word(st, at + units, 0)
    counters[ATTEMPTS_NEXT] = at + units
    counters[ATTEMPTS] += 1
    counters[NEXT_DUE] = min(counters[NEXT_DUE], conn.first_time + st.params[REMEMBER_AT_LEAST])
    enter(st, key, at)
    set_newest_incarnation(st, conn.slot, -1)
    release_slot(st, conn.slot)
    free_incarnation(st, c)
    counters[CONNS_LIVE] -= 1
    return True


@kernel
def restore_attempt(st: KernelState, slot: int) -> None:
    """Restore the attempt of the 4-tuple in ``slot``, of which nothing lives, if there is one; it is in no queue."""
    at = find(st, tuple_at(st, slot))
    if at < 0:
        return
    c = new_incarnation(st)
    read_attempt(st, at, c, slot)
    drop_attempt(st, at)
    set_newest_incarnation(st, slot, c)
    st.counters[CONNS_LIVE] += 1


@kernel
def drop_attempt(st: KernelState, at: int) -> None:
    """Take the attempt at unit ``at`` out of the index and the archive."""
    leave(st, read_key(st, at), at)
    set_word(st, at, -word_at(st, at))
    st.counters[ATTEMPTS] -= 1


@kernel
def oldest_attempt(st: KernelState) -> int:
    """The unit of the attempt that was archived first, or -1."""
    return oldest(st, ATTEMPT) if st.counters[ATTEMPTS] else -1


@kernel
def due_of_attempt(st: KernelState) -> int:
    """When the time of the oldest attempt comes; never, where there is none."""
    at = oldest_attempt(st)
    return time_of(st, at) + st.params[REMEMBER_AT_LEAST] if at >= 0 else NEVER


@kernel
def is_restored_same(st: KernelState, c: int, at: int) -> int:
    """Whether the attempt at unit ``at`` holds all that is known of incarnation ``c``."""
    other = new_incarnation(st)
    read_attempt(st, at, other, conn_at(st, c).slot)
    same = (
        same_connection(conn_at(st, c), conn_at(st, other), 0)
        and same_tcb(tcb_at(st, 2 * c), tcb_at(st, 2 * other), 0)
        and same_tcb(tcb_at(st, 2 * c + 1), tcb_at(st, 2 * other + 1), 0)
    )
    free_incarnation(st, other)
    return same


def _same(name: str, found: list[Field]) -> Callable[..., Any]:
    """A kernel that compares all numbers of two records that the archive keeps."""
    lines = [f"def {name}(record, other, pending):", "    return ("]
    for n, field in enumerate(found):
        same = f"{field.place} == {field.place.replace('record', 'other')}"
        lines.append(f"        {'and ' if n else ''}{same}")
    scope: dict[str, Any] = {"np": np}
    exec(compile("\n".join([*lines, "    )"]), __file__, "exec"), scope)
    scope[name].__module__ = __name__
    return scope[name]


def _whole(found: list[Field]) -> list[Field]:
    """Without the receipts that wait for their proof: an attempt has none, and their room holds what it held before."""
    return [field for field in found if "[" not in field.place]


same_connection = lazy_kernel(partial(_same, "same_connection", _whole(CONNECTION_FIELDS)))
same_tcb = lazy_kernel(partial(_same, "same_tcb", _whole(TCB_FIELDS)))
