"""How long TIME-WAIT really lasts on a host: what its answers showed counts more than the profile."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcptrace_tw.schema.words import BOTH, NONE

MOST = 64
"""The most hosts with a longer TIME-WAIT than the profile's that are remembered."""


class LongerTwoMsl:
    """Fed with rows of ``time_wait``; corrects ``two_msl_ns`` in rows of ``reuses`` that come later."""

    def __init__(self) -> None:
        self._shown: dict[tuple[int, int], int] = {}

    def see(self, spans: Any) -> None:
        """Take finished rows of ``time_wait``."""
        for row in spans[spans.shown_ns > spans.two_msl_ns]:
            host = int(row.ip_hi), int(row.ip_lo)
            if host in self._shown or len(self._shown) < MOST:
                self._shown[host] = max(self._shown.get(host, 0), int(row.shown_ns))

    def correct(self, reuses: Any) -> None:
        """Where the host in TIME-WAIT is known to wait longer, it does so here, too."""
        has_holder = (reuses.holder != NONE) & (reuses.holder != BOTH)
        for (hi, lo), shown in self._shown.items():
            of_sender = (reuses.is_by_holder != 0) & (reuses.ip_hi == hi) & (reuses.ip_lo == lo)
            of_peer = (reuses.is_by_holder == 0) & (reuses.peer_ip_hi == hi) & (reuses.peer_ip_lo == lo)
            longer = has_holder & (of_sender | of_peer) & (reuses.two_msl_ns < shown)
            reuses.two_msl_ns[longer] = np.int64(shown)
