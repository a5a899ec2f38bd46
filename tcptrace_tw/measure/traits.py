"""To whom a row of ``connections`` matters: one byte for each row, found in one pass while the row is in the cache."""

from __future__ import annotations

from typing import Any

from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.kernels.wide_records import Rows
from tcptrace_tw.schema.observed import OPTIONS
from tcptrace_tw.schema.words import (
    CLOSE_HALF_CLOSED,
    CLOSE_OPEN,
    CLOSE_REFUSED,
    CLOSE_UNANSWERED,
    OPENED_HANDSHAKE,
    OPENED_MIDSTREAM,
)

ORDINARY = 1
"""An answered handshake, segments of both endpoints, and an end."""

SILENT = 2
"""Both endpoints were silent for a while."""

LEFT_OPEN = 4
"""Both endpoints sent, and nobody ended it."""

MIDSTREAM = 8
"""It began before the capture did."""

TOLD_APART = 16
"""Its first SYN is no chance repetition of another one: it has timestamps, or nobody could see them."""


@kernel
def note_traits(rows: Rows, traits: Any) -> None:
    """Fill ``traits`` for rows of ``connections``."""
    for i in range(rows.size):
        traits[i] = traits_of(record_of(rows, i))


@kernel
def traits_of(r: Any) -> int:
    """The byte of one row."""
    opened, close = r.opened, r.close
    both_sent = r.orig_segments > 0 and r.resp_segments > 0
    is_open = close in (CLOSE_OPEN, CLOSE_HALF_CLOSED)
    has_end = close != CLOSE_OPEN and close != CLOSE_REFUSED and close != CLOSE_UNANSWERED
    found = 0
    if opened == OPENED_MIDSTREAM:
        found |= MIDSTREAM
    if opened == OPENED_HANDSHAKE:
        has_syns = r.orig_syn_frame >= 0 and r.resp_syn_frame >= 0
        if both_sent and has_end and has_syns and r.established_time >= 0:
            found |= ORDINARY
        if r.orig_syn_has_ts != 0 or (r.observed & OPTIONS) == 0:
            found |= TOLD_APART
    if r.survived_ns >= 0 or r.silence_ns >= 0:
        found |= SILENT
    if is_open and both_sent:
        found |= LEFT_OPEN
    return found
