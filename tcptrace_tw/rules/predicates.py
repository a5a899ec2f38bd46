"""What rules of several modules ask of a row, and the numbers that they share; ``reset_signs.py`` has those on RSTs."""

import numpy as np

from tcptrace_tw.rules.rule import Mask, Rows

STALL_NS = 1_000_000_000
"""A delay that a user notices."""

SEVERAL = 3
"""The number of connects with two SYNs each that prove as much as one connect with three."""

SURE, ENOUGH = 3, 2
"""The number of SYNs of each kind that are needed (docs/semantics.md: clocks)."""


def is_inside(reuses: Rows) -> Mask:
    """Less than 2MSL since TIME-WAIT began or was restarted."""
    return reuses.gap_ns < reuses.two_msl_ns


def both_have_timestamps(reuses: Rows) -> Mask:
    """The SYN and the earlier connection carry timestamps."""
    return (reuses.has_ts != 0) & (reuses.previous_ts_ok != 0)


SYN_FRAMES = ("fin_frame", "time_wait_frame", "syn_frame", "answer_frame", "reset_frame", "retry_frame", "opened_frame")


def are_many_damaged(r: Rows) -> Mask:
    """Two or more, one in a hundred at least, some by their flags: the numbers of the others may be damaged as well."""
    many = (r.damaged_segments > 1) & (r.damaged_segments * 100 >= r.segments)
    return np.asarray(many & (r.impossible_flags > 0))
