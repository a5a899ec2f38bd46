"""Receipts that wait for their proof (see ``transitions``)."""

from __future__ import annotations

import numpy as np

PENDING = 3
"""How many receipts of one endpoint may wait for their proof."""

PENDING_CAUSE = np.dtype(
    [
        ("time", "i8", PENDING),
        ("frame", "i8", PENDING),
        ("tsval", "i8", PENDING),
        ("reset_id", "i8"),
        ("time_wait_id", "i8"),
        ("close_id", "i8"),
        ("timeout_id", "i8"),
    ]
)
"""What the transitions table wants to know of waiting receipts; only kept where somebody wants that table."""
