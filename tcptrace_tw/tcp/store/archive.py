"""The archive: an incarnation that is closed or idle is kept packed, and its records serve the next one.

Archived records are written one after the other into blocks, in the order in which they are archived. That is nearly
the order in which they are forgotten: the oldest are read in the order of memory, and a block is free as soon as its
last record is forgotten. A segment of an archived incarnation restores it without loss. So the records of the live
incarnations stay few, and fit the CPU cache.
"""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.tcp.store.access import (
    cause_at,
    conn_at,
    newest_incarnation,
    prefetch_archived,
    prefetch_tuple,
    set_newest_incarnation,
    set_word,
    span_at,
    tcb_at,
    word_at,
)
from tcptrace_tw.tcp.store.delta_codec import (
    MOST_UNITS,
    pack_cause,
    pack_connection,
    pack_span,
    pack_tcb,
    unpack_cause,
    unpack_connection,
    unpack_span,
    unpack_tcb,
)
from tcptrace_tw.tcp.store.freelists import free_incarnation, new_incarnation, new_span
from tcptrace_tw.tcp.store.records import (
    ARCHIVE_FREE,
    ARCHIVE_FROM,
    ARCHIVE_NEXT,
    ARCHIVE_OLDEST,
    ARCHIVE_ROOM,
    ARCHIVE_USED,
    ARCHIVED,
    BLOCKS_FREE,
    CONNS_LIVE,
    NEVER,
    NEXT_DUE,
    SPANS_FREE,
    WANT_TRANSITIONS,
    KernelState,
)
from tcptrace_tw.tcp.store.reservations import BLOCK as BLOCK

HEAD = 20
"""Units of the head of a block: the block that follows, and four words for whoever fills it."""

INCARNATION, ATTEMPT = range(2)
"""Two chains of blocks: archived records of all kinds, and attempts (see ``attempts``)."""

HEADER = 8
"""An archived record begins with two words: its mark (0: end of the block; negative: restored), and when it is due."""

WORD = 4
NOTHING = -1

MOST_EACH = HEADER + MOST_UNITS
"""Units of an archived record at the most."""

# A mark holds the length in units, which endpoints have a span, how many of the spans are open, and the slot.
LENGTH, SPANS, SPANS_AT, OPEN_AT, SLOT_AT = 0xFFFF, 3, 16, 18, 20


@kernel
def is_archived(head: int) -> bool:
    """Whether the head of a tuple is an archived record."""
    return head < NOTHING


@kernel
def can_be_archived(st: KernelState, c: int) -> bool:
    """Whether incarnation ``c`` is the only one of its tuple, and there is room for its archived record."""
    conn = conn_at(st, c)
    return can_place(st, INCARNATION, MOST_EACH) and conn.previous < 0 and newest_incarnation(st, conn.slot) == c


@kernel
def should_be_archived(st: KernelState, c: int) -> bool:
    """The same, where enough incarnations live for their room to matter (``ARCHIVE_FROM``)."""
    return st.counters[CONNS_LIVE] >= st.params[ARCHIVE_FROM] and can_be_archived(st, c)


@kernel
def put_into_archive(st: KernelState, c: int, due: int) -> None:
    """Pack incarnation ``c``, which is in no queue, until ``due``, and give its records back."""
    counters = st.counters
    at = place_for(st, INCARNATION, MOST_EACH)
    conn = conn_at(st, c)
    orig, resp = tcb_at(st, 2 * c), tcb_at(st, 2 * c + 1)
    spans = (1 if orig.span >= 0 else 0) | (2 if resp.span >= 0 else 0)
    are_open = 0
    end = pack_connection(st, conn, conn, conn, 0, 0, at + HEADER)
    for side in range(2):
        tcb, peer = tcb_at(st, 2 * c + side), tcb_at(st, 2 * c + 1 - side)
        pending = tcb.pending
        end = pack_tcb(st, tcb, peer, conn, side, pending, end)
        span = tcb.span
        if span >= 0:
            end = pack_span(st, span_at(st, span), orig, conn, 0, 0, end)
            are_open += 1 if span_at(st, span).end < 0 else 0
            span_at(st, span).next = counters[SPANS_FREE]
            counters[SPANS_FREE] = span
        if counters[WANT_TRANSITIONS]:
            end = pack_cause(st, cause_at(st, 2 * c + side), orig, conn, 0, pending, end)
    end = (end + WORD - 1) // WORD * WORD
    set_word(st, at, end - at | spans << SPANS_AT | are_open << OPEN_AT | conn.slot << SLOT_AT)
    set_word(st, at + WORD, due)
    set_word(st, end, 0)
    counters[ARCHIVE_NEXT] = end
    counters[NEXT_DUE] = min(counters[NEXT_DUE], due)
    set_newest_incarnation(st, conn.slot, -2 - at // WORD)
    free_incarnation(st, c)
    counters[CONNS_LIVE] -= 1
    counters[ARCHIVED] += 1


@kernel
def open_spans(mark: int) -> int:
    """How many endpoints of an archived record were in TIME-WAIT when it was archived."""
    return mark >> OPEN_AT & 3


@kernel
def restore(st: KernelState, slot: int) -> int:
    """Restore the incarnation of a tuple whose newest one is archived; returns its place, in no queue."""
    return unpack(st, (-2 - newest_incarnation(st, slot)) * WORD)


@kernel
def unpack(st: KernelState, at: int) -> int:
    """Make records of the archived record at unit ``at``, which is one no more; they are in no queue."""
    counters = st.counters
    c = new_incarnation(st)
    conn = conn_at(st, c)
    conn.previous = NOTHING
    spans = word_at(st, at) >> SPANS_AT & SPANS
    end = unpack_connection(st, conn, conn, conn, 0, 0, at + HEADER)
    orig = tcb_at(st, 2 * c)
    for side in range(2):
        tcb, peer = tcb_at(st, 2 * c + side), tcb_at(st, 2 * c + 1 - side)
        end = unpack_tcb(st, tcb, peer, conn, side, 3, end)
        tcb.span = NOTHING
        if spans >> side & 1:
            span = new_span(st)
            tcb.span = span
            end = unpack_span(st, span_at(st, span), orig, conn, 0, 0, end)
        if counters[WANT_TRANSITIONS]:
            end = unpack_cause(st, cause_at(st, 2 * c + side), orig, conn, 0, 3, end)
    set_word(st, at, -word_at(st, at))
    set_newest_incarnation(st, conn.slot, c)
    counters[CONNS_LIVE] += 1
    counters[ARCHIVED] -= 1
    return c


@kernel
def has_room(at: int, units: int) -> bool:
    """Whether ``units`` and the end of the block fit in at unit ``at``."""
    return at >= 0 and at % BLOCK + units + WORD < BLOCK


@kernel
def can_place(st: KernelState, chain: int, units: int) -> bool:
    """Whether there is room for ``units`` at the end of a chain, or in one more block."""
    counters = st.counters
    return (
        counters[ARCHIVE_FREE] >= 0
        or counters[ARCHIVE_USED] + BLOCK <= counters[ARCHIVE_ROOM]
        or has_room(counters[ARCHIVE_NEXT + chain], units)
    )


@kernel
def place_for(st: KernelState, chain: int, units: int) -> int:
    """The unit at which ``units`` fit in at the end of a chain. The caller has asked ``can_place``."""
    counters = st.counters
    at = counters[ARCHIVE_NEXT + chain]
    if has_room(at, units):
        return at
    block = counters[ARCHIVE_FREE]
    if block >= 0:
        counters[ARCHIVE_FREE] = word_at(st, block)
        counters[BLOCKS_FREE] -= 1
    else:
        block = counters[ARCHIVE_USED]
        counters[ARCHIVE_USED] += BLOCK
    set_word(st, block, NOTHING)
    if at >= 0:
        set_word(st, at - at % BLOCK, block)
    else:
        counters[ARCHIVE_OLDEST + chain] = block + HEAD
    set_word(st, block + HEAD, 0)
    counters[ARCHIVE_NEXT + chain] = block + HEAD
    return block + HEAD


@kernel
def oldest(st: KernelState, chain: int) -> int:
    """The unit of the oldest of a chain, or -1; lets go of blocks that it has left."""
    counters = st.counters
    at = counters[ARCHIVE_OLDEST + chain]
    while at >= 0 and at != counters[ARCHIVE_NEXT + chain]:
        mark = word_at(st, at)
        if mark > 0:
            counters[ARCHIVE_OLDEST + chain] = at
            return at
        if mark < 0:
            at += -mark & LENGTH
        else:
            block = at - at % BLOCK
            at = word_at(st, block) + HEAD
            set_word(st, block, counters[ARCHIVE_FREE])
            counters[ARCHIVE_FREE] = block
            counters[BLOCKS_FREE] += 1
    counters[ARCHIVE_OLDEST + chain] = at
    return NOTHING


@kernel
def oldest_archived(st: KernelState) -> int:
    """The unit of the oldest archived record, or -1; asks for what the next one needs."""
    at = oldest(st, INCARNATION)
    if at >= 0:
        following = at + (word_at(st, at) & LENGTH)
        if word_at(st, following) > 0:
            prefetch_tuple(st, word_at(st, following) >> SLOT_AT)
            prefetch_archived(st, following)
    return at


@kernel
def due_of(st: KernelState, at: int) -> int:
    """When the time of the archived record at unit ``at`` comes; never, where there is none."""
    return word_at(st, at + WORD) if at >= 0 else NEVER
