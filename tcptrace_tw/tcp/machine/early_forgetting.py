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
from tcptrace_tw.tcp.store.archive import can_be_buried, oldest_buried, unpack
from tcptrace_tw.tcp.store.attempts import oldest_attempt
from tcptrace_tw.tcp.store.queues import dequeue
from tcptrace_tw.tcp.store.records import (
    BLOCKS_FREE,
    CONNS_LIVE,
    COOLING_HEAD,
    FORGOTTEN_ATTEMPTS,
    FORGOTTEN_CONNECTIONS,
    NOW,
    QUEUE_HEAD,
    REMEMBER,
)
from tcptrace_tw.tcp.store.reservations import segments_with_room


@entry(STATE_KIND, INTEGER, INTEGER)
def forget_early(st, blocks, live):  # type: ignore[no-untyped-def]
    """Forget until ``blocks`` blocks of the archive are free, and archive until at most ``live`` incarnations are not.

    Returns whether rows have to leave first; then it is to be called again.
    """
    regs = st.regs
    is_left = True
    while regs[BLOCKS_FREE] < blocks and is_left:
        if segments_with_room(regs) <= 0:
            return True
        is_left = forget_archived(st)
    is_left = True
    while regs[CONNS_LIVE] > live and is_left:
        if segments_with_room(regs) <= 0:
            return True
        is_left = let_one_go(st)
    return False


@kernel
def forget_archived(st):  # type: ignore[no-untyped-def]
    """Forget the oldest attempt, or, where there is none, what was archived longest ago; returns whether one was."""
    at = oldest_attempt(st)
    if at >= 0:
        retire_attempt(st, at)
        st.regs[FORGOTTEN_ATTEMPTS] += 1
        oldest_attempt(st)  # lets go of the block that it was the last of
        return True
    at = oldest_buried(st)
    if at < 0:
        return False
    retire(st, unpack(st, at))
    oldest_buried(st)
    st.regs[FORGOTTEN_CONNECTIONS] += 1
    return True


@kernel
def let_one_go(st):  # type: ignore[no-untyped-def]
    """Archive the first of those that cool, or else of those that idle; forget it where it cannot be archived.

    Returns whether there was one.
    """
    regs = st.regs
    c = regs[COOLING_HEAD]
    if c < 0:
        c = regs[QUEUE_HEAD]
    if c < 0:
        return False
    if can_be_buried(st, c):
        dequeue(st, c)
        archive(st, c, regs[NOW] + st.params[REMEMBER])
    else:
        retire(st, c)
        regs[FORGOTTEN_CONNECTIONS] += 1
    return True
