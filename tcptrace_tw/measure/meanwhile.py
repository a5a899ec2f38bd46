"""Whether a service answered others while a SYN that met an earlier connection waited in vain.

A SYN that a server refuses or ignores because of the earlier connection is the only one; where nobody is answered, the
earlier connection is not to blame. Such SYNs are rare: their rows wait for the end of the capture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import as_records
from tcptrace_tw.protocol.states import LAST_ACK, TIME_WAIT
from tcptrace_tw.schema.columns import REUSES
from tcptrace_tw.schema.words import (
    ANSWER_NONE,
    ANSWER_REFUSED,
    ANSWER_RST,
    CLOSE_REFUSED,
    CLOSE_UNANSWERED,
    NOBODY_ANSWERED,
    OTHERS_ANSWERED,
)

NEAR_NS = 5_000_000_000
"""Connects within this time before the SYN, or after its last retransmission, show how the service was then."""

MOST_HELD = 1 << 12
"""The most rows that wait; later ones are not looked at."""

MOST_RECENT = 1 << 13
"""The number of the last connections, of whatever service, that are remembered."""

MOST_KEPT = 1 << 16
"""The most connections of the services in question that are remembered."""

FACTS = np.dtype(
    [("connection_id", "i8"), ("ip_hi", "i8"), ("ip_lo", "i8"), ("port", "i8"), ("time", "i8"), ("is_answered", "?")]
)


class Meanwhile:
    """Fed with rows of ``connections``; holds back rows of ``reuses`` that it fills in at the end."""

    def __init__(self) -> None:
        self._recent: list[Any] = []
        """Rows as they came; what is needed of them is only looked for when somebody asks."""
        self._near: list[NDArray[Any]] = []
        self._held: list[NDArray[Any]] = []
        self._count = 0
        self._services: set[tuple[int, int, int]] = set()

    def see(self, rows: Any) -> None:
        """Take finished rows of ``connections``."""
        if self._services:
            self._keep(self._near, self._of_services(_facts(rows)))
        self._recent.append(rows)
        while sum(each.size for each in self._recent[1:]) >= MOST_RECENT:
            del self._recent[0]

    def hold(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Keep those rows of ``reuses`` that depend on it, and give back the others."""
        asks = _asks(as_records(rows))
        if not asks.any() or self._count + int(asks.sum()) > MOST_HELD:
            return rows
        self._held.append(rows[asks])
        self._count += int(asks.sum())
        known = len(self._services)
        self._services.update(_services(rows[asks], "peer_ip", "peer_port"))
        if len(self._services) > known:
            recent = np.concatenate([np.zeros(0, FACTS), *map(_facts, self._recent)])[-MOST_RECENT:]
            self._keep(self._near, self._of_services(recent))
        return rows[~asks]

    def release(self) -> NDArray[Any]:
        """The rows that were held back."""
        rows = np.concatenate([np.zeros(0, REUSES.dtype), *self._held])
        facts = np.concatenate(self._near) if self._near else np.zeros(0, FACTS)
        for row in rows:
            row["meanwhile"] = _answer(row, facts)
        self._held = []
        return rows

    def _of_services(self, facts: NDArray[Any]) -> NDArray[Any]:
        """Those of the services in question; most chunks have none."""
        if not self._services:
            return facts[:0]
        facts = facts[np.isin(facts["ip_lo"], [each[1] for each in self._services])]
        return facts[np.array([each in self._services for each in _services(facts, "ip", "port")], np.bool_)]

    @staticmethod
    def _keep(chunks: list[NDArray[Any]], facts: NDArray[Any]) -> None:
        if facts.size and sum(each.size for each in chunks) < MOST_KEPT:
            chunks.append(facts)


def _facts(rows: Any) -> NDArray[Any]:
    """Connects whose outcome is known: answered, or refused or ignored."""
    is_answered = rows.resp_syn_frame >= 0
    is_vain = (rows.close == CLOSE_REFUSED) | ((rows.close == CLOSE_UNANSWERED) & (rows.syn_retries > 0))
    known = np.flatnonzero((is_answered | is_vain) & (rows.orig_syn_frame >= 0))
    facts = np.zeros(known.size, FACTS)
    facts["connection_id"], facts["time"] = rows.connection_id[known], rows.first_time[known]
    facts["ip_hi"], facts["ip_lo"] = rows.resp_ip_hi[known], rows.resp_ip_lo[known]
    facts["port"], facts["is_answered"] = rows.resp_port[known], is_answered[known]
    return facts


def _asks(reuses: Any) -> NDArray[np.bool_]:
    """SYNs that may have come to nothing because of the earlier connection."""
    is_vain = (reuses.opened_frame < 0) & (reuses.previous_connection_id >= 0)
    is_reset = (reuses.answer == ANSWER_RST) | (reuses.answer == ANSWER_REFUSED)
    is_ignored = (reuses.answer == ANSWER_NONE) & (reuses.syn_retries > 0)
    is_waiting = (reuses.receiver_state == TIME_WAIT) | (reuses.receiver_state == LAST_ACK)
    likely = (reuses.is_last_ack_likely != 0) | (reuses.is_last_ack_lost != 0)
    asks: NDArray[np.bool_] = is_vain & ((is_reset & likely) | (is_ignored & (is_waiting | likely)))
    return asks


def _services(rows: NDArray[Any], ip: str, port: str) -> list[tuple[int, int, int]]:
    return list(zip(rows[f"{ip}_hi"].tolist(), rows[f"{ip}_lo"].tolist(), rows[port].tolist(), strict=True))


def _answer(row: Any, facts: NDArray[Any]) -> int:
    """What the connects after the SYN show, and where there are none those before it; 0 where there are neither."""
    is_near = (
        (facts["ip_hi"] == row["peer_ip_hi"])
        & (facts["ip_lo"] == row["peer_ip_lo"])
        & (facts["port"] == row["peer_port"])
    )
    is_near &= facts["connection_id"] != row["attempt_id"]
    begin, end = int(row["time"]), int(row["time"]) + max(int(row["waited_ns"]), 0)
    for first, last in ((begin, end + NEAR_NS), (begin - NEAR_NS, begin - 1)):
        found = facts["is_answered"][is_near & (facts["time"] >= first) & (facts["time"] <= last)]
        if found.size:
            return OTHERS_ANSWERED if found.any() else NOBODY_ANSWERED
    return 0
