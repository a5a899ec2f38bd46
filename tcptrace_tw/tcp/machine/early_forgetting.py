"""Forgetting before its time: what is least useful goes first, where memory has a bound.

Without the bound nothing is forgotten here. With it, an unanswered SYN goes first, the oldest of them; then whatever
has been archived longest, which is what has been silent longest. Where too many are not archived, they are archived
sooner. What is forgotten leaves its rows as if the capture ended for it now.
"""

from __future__ import annotations

from tcptrace_tw.kernels.kinds import INTEGER
from tcptrace_tw.kernels.marks import entry, kernel
from tcptrace_tw.tcp.machine.retirement import archive, retire, retire_attempt
from tcptrace_tw.tcp.store.access import STATE_KIND
from tcptrace_tw.tcp.store.archive import can_be_archived, oldest_archived, unpack
from tcptrace_tw.tcp.store.attempts import oldest_attempt
from tcptrace_tw.tcp.store.queues import dequeue
from tcptrace_tw.tcp.store.records import (
    BLOCKS_FREE,
    CONNS_LIVE,
    FORGOTTEN_ATTEMPTS,
    FORGOTTEN_CONNECTIONS,
    LINGERING_HEAD,
    NOW,
    QUEUE_HEAD,
    REMEMBER,
    KernelState,
)
from tcptrace_tw.tcp.store.reservations import segments_with_room


@entry(STATE_KIND, INTEGER, INTEGER)
def forget_early(st: KernelState, blocks: int, live: int) -> bool:
    """Forget until ``blocks`` blocks of the archive are free, and archive until at most ``live`` incarnations are not.

    Returns whether rows have to leave first; then it is to be called again.
    """
    counters = st.counters
    is_left = True
    while counters[BLOCKS_FREE] < blocks and is_left:
        if segments_with_room(counters) <= 0:
            return True
        is_left = forget_archived(st)
    is_left = True
    while counters[CONNS_LIVE] > live and is_left:
        if segments_with_room(counters) <= 0:
            return True
        is_left = let_one_go(st)
    return False


@kernel
def forget_archived(st: KernelState) -> bool:
    """Forget the oldest attempt, or, where there is none, what was archived longest ago; returns whether one was."""
    at = oldest_attempt(st)
    if at >= 0:
        retire_attempt(st, at)
        st.counters[FORGOTTEN_ATTEMPTS] += 1
        oldest_attempt(st)  # lets go of the block that it was the last of
        return True
    at = oldest_archived(st)
    if at < 0:
        return False
    retire(st, unpack(st, at))
    oldest_archived(st)
    st.counters[FORGOTTEN_CONNECTIONS] += 1
    return True


@kernel
def let_one_go(st: KernelState) -> bool:
    """Archive the first of those that cool, or else of those that idle; forget it where it cannot be archived.

    Returns whether there was one.
    """
    counters = st.counters
    c = counters[LINGERING_HEAD]
    if c < 0:
        c = counters[QUEUE_HEAD]
    if c < 0:
        return False
    if can_be_archived(st, c):
        dequeue(st, c)
        archive(st, c, counters[NOW] + st.params[REMEMBER])
    else:
        retire(st, c)
        counters[FORGOTTEN_CONNECTIONS] += 1
    return True
