"""Servers that answer SYNs, and after that nothing: half of the conversation was not captured, or the program hangs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, OPENING

MOST = 1 << 14
"""So many connections are remembered."""

SILENT_NS = 1_000_000_000
"""An ACK is held back for half a second at most (RFC 1122 4.2.3.2)."""

MOST_REPEATS = 2
"""Data that are sent again more often are told as such (SI004)."""

SEEN = ACKS | BOTH_DIRECTIONS | OPENING

FACTS = np.dtype([(name, "i8") for name in ("ip_hi", "ip_lo", "port", "time", "connection_id", "frame")])


class SilentServices:
    """Fed with rows of ``connections``; fills in rows of ``services``."""

    def __init__(self) -> None:
        self._chunks: list[NDArray[Any]] = []
        self._count = 0

    def see(self, rows: Any) -> None:
        """Take finished rows of ``connections``."""
        silent = (rows.resp_segments == 1) & (rows.orig_payload_bytes > 0) & (rows.established_time >= 0)
        if not silent.any() or self._count >= MOST:
            return
        silent &= (rows.observed & SEEN == SEEN) & (rows.resp_syn_frame >= 0) & (rows.rst_frame < 0)
        silent &= (rows.resp_payload_bytes == 0) & (rows.orig_retransmits <= MOST_REPEATS)
        places = np.flatnonzero(silent)
        facts = np.zeros(places.size, FACTS)
        facts["ip_hi"], facts["ip_lo"] = rows.resp_ip_hi[places], rows.resp_ip_lo[places]
        facts["port"], facts["time"] = rows.resp_port[places], rows.established_time[places]
        facts["connection_id"], facts["frame"] = rows.connection_id[places], rows.resp_syn_frame[places]
        self._chunks.append(facts)
        self._count += facts.size

    def fill_in(self, services: Any, end_time: int) -> None:
        """Count them in their rows; the capture must have gone on for a while."""
        services["silent_connection_id"] = services["silent_frame"] = -1
        if not self._chunks:
            return
        facts = np.concatenate(self._chunks)
        facts = facts[end_time - facts["time"] >= SILENT_NS]
        facts.sort(order=("ip_hi", "ip_lo", "port", "connection_id"))
        keys, firsts, counts = np.unique(facts[["ip_hi", "ip_lo", "port"]], return_index=True, return_counts=True)
        for key, first, count in zip(keys, firsts.tolist(), counts.tolist(), strict=True):
            place = (services["ip_hi"] == key["ip_hi"]) & (services["ip_lo"] == key["ip_lo"])
            place &= services["port"] == key["port"]
            services["silent_after_handshake"][place] = count
            services["silent_connection_id"][place] = facts["connection_id"][first]
            services["silent_frame"][place] = facts["frame"][first]
            services["connection_id"][place & (services["connection_id"] < 0)] = facts["connection_id"][first]
