"""Where the attempts are: an index of 5 bytes a place, from the hash of a 4-tuple to the unit of its attempt.

Open addressing. A place has a mark, 8 bits of the hash, so that an attempt is rarely looked at in vain, and the word of
the archive at which the attempt begins. A place that was left keeps a mark of its own until the index is built again.
"""

from __future__ import annotations

from typing import Any

from tcptrace_tw.kernels.marks import entry, inlined, kernel
from tcptrace_tw.keyed_hash import hashed, total_of_tuple
from tcptrace_tw.tcp.store.access import (
    STATE_KIND,
    place_mark_at,
    place_word_at,
    set_place_mark,
    set_place_word,
    word_at,
)
from tcptrace_tw.tcp.store.archive import BLOCK, HEAD, LENGTH, WORD
from tcptrace_tw.tcp.store.attempt_record import read_key
from tcptrace_tw.tcp.store.records import ATTEMPTS_NEXT, ATTEMPTS_OLDEST, PLACES, PLACES_TAKEN, KernelState
from tcptrace_tw.tcp.store.reservations import FULL_EIGHTHS

EMPTY, LEFT = 0, 1
"""Marks of a place that was never taken, and of one that was left; marks of hashes begin above them."""

MARKS = 254


@inlined
def hash_of_key(st: KernelState, key: Any) -> int:
    """The hash of a 4-tuple, as the flow table has it."""
    ports = key.a_port << 16 | key.b_port
    total = total_of_tuple(
        st.seed, key.a_lo, key.b_lo, ports, key.a_hi, key.b_hi,
        key.scope,
    )  # fmt: skip
    return hashed(st.seed, total)


@inlined
def mark_of(h: int) -> int:
    """The mark of a hash: from its upper bits, since the place is made of the lower ones."""
    return LEFT + 1 + (h >> 23) % MARKS


@kernel
def can_enter(counters: Any) -> bool:
    """Whether there is room for one attempt more."""
    return counters[PLACES_TAKEN] * 8 < counters[PLACES] * FULL_EIGHTHS


@kernel
def enter(st: KernelState, key: Any, at: int) -> None:
    """Enter the attempt at unit ``at``, whose 4-tuple ``key`` has no other. The caller has asked ``can_enter``."""
    h = hash_of_key(st, key)
    mask = st.counters[PLACES] - 1
    place = h & mask
    while place_mark_at(st, place) & 0xFF > LEFT:
        place = (place + 1) & mask
    if place_mark_at(st, place) & 0xFF == EMPTY:
        st.counters[PLACES_TAKEN] += 1
    set_place_mark(st, place, mark_of(h))
    set_place_word(st, place, at // WORD)


@kernel
def find(st: KernelState, key: Any) -> int:
    """The unit of the attempt of 4-tuple ``key``, or -1."""
    h = hash_of_key(st, key)
    mark = mark_of(h)
    mask = st.counters[PLACES] - 1
    place = h & mask
    while place_mark_at(st, place) & 0xFF != EMPTY:
        if place_mark_at(st, place) & 0xFF == mark:
            at = place_word_at(st, place) * WORD
            if is_same_key(read_key(st, at), key):
                return at
        place = (place + 1) & mask
    return -1


@kernel
def is_same_key(one: Any, other: Any) -> bool:
    """Whether two keys are of one 4-tuple."""
    return (
        one.a_lo == other.a_lo
        and one.b_lo == other.b_lo
        and one.a_port == other.a_port
        and one.b_port == other.b_port
        and one.a_hi == other.a_hi
        and one.b_hi == other.b_hi
        and one.scope == other.scope
    )


@kernel
def leave(st: KernelState, key: Any, at: int) -> None:
    """Take the attempt at unit ``at``, which is of 4-tuple ``key``, out of the index."""
    mask = st.counters[PLACES] - 1
    place = hash_of_key(st, key) & mask
    while place_mark_at(st, place) & 0xFF == LEFT or place_word_at(st, place) * WORD != at:
        place = (place + 1) & mask
    set_place_mark(st, place, LEFT)


@entry(STATE_KIND)
def index_attempts(st: KernelState) -> int:
    """Enter every attempt of the archive into an index whose places are empty."""
    counters = st.counters
    counters[PLACES_TAKEN] = 0
    at = counters[ATTEMPTS_OLDEST]
    while at >= 0 and at != counters[ATTEMPTS_NEXT]:
        mark = word_at(st, at)
        if mark == 0:
            at = word_at(st, at - at % BLOCK) + HEAD
            continue
        if mark > 0:
            enter(st, read_key(st, at), at)
        at += abs(mark) & LENGTH
    return counters[PLACES_TAKEN]
