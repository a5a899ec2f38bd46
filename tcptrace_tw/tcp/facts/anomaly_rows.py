"""The rows of what is rare about endpoints (see ``anomalies``), with what only the end of an incarnation shows."""

from __future__ import annotations

import numpy as np

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import MASK, seq_diff
from tcptrace_tw.protocol.states import CLOSE_WAIT, CLOSING, LAST_ACK
from tcptrace_tw.tcp.facts.anomalies import LONG_HALF_CLOSED_NS, anomaly_of, lose_unseen
from tcptrace_tw.tcp.facts.observed import observed
from tcptrace_tw.tcp.facts.rows import set_peers
from tcptrace_tw.tcp.facts.silence import finish_silence, is_unanswered
from tcptrace_tw.tcp.store.access import anomaly_at, conn_at, out_anomaly_at, reset_at, tcb_at
from tcptrace_tw.tcp.store.freelists import copy_anomaly
from tcptrace_tw.tcp.store.records import (
    ANOMALIES_FREE,
    FIN_ACKED,
    FIN_SENT,
    HAS_RST,
    NOW,
    OUT_ANOMALIES,
    SAW_PLAIN,
    START,
)

STUCK_FINS = 4
"""A FIN repeated so often, and nothing came back (docs/semantics.md: observation)."""


@kernel
def write_anomalies(st, c):  # type: ignore[no-untyped-def]
    """Write what is odd about the endpoints of incarnation ``c`` and give the records back."""
    conn = conn_at(st, c)
    for side in range(2):
        k = 2 * c + side
        if is_left_open(st, c, k) or is_stuck(st, k):
            anomaly_of_the_end(st, c, k)
        elif is_unanswered(tcb_at(st, k), tcb_at(st, k ^ 1)):
            anomaly_of(st, c, side)
    s = np.int64(conn.anomaly)
    while s >= 0:
        row = anomaly_at(st, s)
        finish_anomaly(st, c, row)
        n = st.counters[OUT_ANOMALIES]
        st.counters[OUT_ANOMALIES] = n + 1
        copy_anomaly(out_anomaly_at(st, n), row)
        following = np.int64(row.next)
        row.next = st.counters[ANOMALIES_FREE]
        st.counters[ANOMALIES_FREE] = s
        s = following
    conn.anomaly = -1


@kernel
def half_closed_ns(st, c):  # type: ignore[no-untyped-def]
    """How long ago the first FIN was sent; 0 where that is not known, as in a capture of 50 days and more."""
    first = np.int64(conn_at(st, c).fin_ms)
    if first == 0 or first == MASK:
        return 0
    return st.counters[NOW] - st.counters[START] - (first - 1) * 1_000_000


@kernel
def is_left_open(st, c, k):  # type: ignore[no-untyped-def]
    """Endpoint ``k`` has closed a minute ago and more, and its peer has acknowledged that and is still in CLOSE-WAIT.

    Not where a RST shows that nobody is there any more, or text of the peer waits in vain for its ACK.
    """
    peer = tcb_at(st, k ^ 1)
    closed = np.int64(tcb_at(st, k).bits) & (FIN_SENT | FIN_ACKED) == FIN_SENT | FIN_ACKED
    if not closed or np.int64(peer.state) != CLOSE_WAIT:
        return False
    if np.int64(conn_at(st, c).bits) & HAS_RST or seq_diff(np.int64(peer.snd_nxt), np.int64(peer.snd_una)) > 0:
        return False
    return half_closed_ns(st, c) >= LONG_HALF_CLOSED_NS


@kernel
def is_stuck(st, k):  # type: ignore[no-untyped-def]
    """Endpoint ``k`` repeats its FIN in LAST-ACK, and nothing comes back."""
    t = tcb_at(st, k)
    if np.int64(t.fin_repeats) < STUCK_FINS or np.int64(t.bits) & FIN_ACKED:
        return False
    if np.int64(t.state) != LAST_ACK and np.int64(t.state) != CLOSING:
        return False
    peer = tcb_at(st, k ^ 1)
    return np.int64(peer.last_frame) < np.int64(t.fin_frame) and np.int64(peer.segments) > 0


@kernel
def anomaly_of_the_end(st, c, k):  # type: ignore[no-untyped-def]
    """Write down a half-close or a LAST-ACK that never ended."""
    row = anomaly_at(st, anomaly_of(st, c, k & 1))
    if is_stuck(st, k):
        row.is_stuck = 1
    if is_left_open(st, c, k):
        row.half_closed_ns = half_closed_ns(st, c)
        peer = tcb_at(st, k ^ 1)
        sent = np.int64(peer.payload_time) - st.counters[START] if np.int64(peer.payload_time) >= 0 else np.int64(-1)
        row.is_left_open = 1 if sent // 1_000_000 < np.int64(conn_at(st, c).fin_ms) else 0


@kernel
def finish_anomaly(st, c, row):  # type: ignore[no-untyped-def]
    """What every row of the table has."""
    conn = conn_at(st, c)
    side = np.int64(row.endpoint)
    t = tcb_at(st, 2 * c + side)
    peer = tcb_at(st, 2 * c + 1 - side)
    if np.int64(row.is_unseen_open):
        lose_unseen(st, row)
    row.connection_id = conn.id
    set_peers(st, row, 2 * c + side)
    row.time = conn.first_time
    row.end_time = max(np.int64(t.last_time), np.int64(peer.last_time))
    row.lasted_ns = np.int64(row.end_time) - np.int64(row.time)
    row.syn_frame = t.syn_frame
    row.syn_retries = t.syn_repeats
    if np.int64(conn.established_time) < 0:
        row.handshake_ns = -1
    elif np.int64(conn.bits) & SAW_PLAIN or np.int64(row.handshake_ns) < 0:
        row.handshake_ns = np.int64(conn.established_time) - np.int64(conn.first_time)
    row.fin_frame = t.fin_frame
    row.peer_fin_frame = peer.fin_frame
    row.last_frame = t.last_frame
    row.fin_repeats = t.fin_repeats
    finish_silence(row, t, peer)
    row.rst_frame = first_rst(st, conn, side)
    row.observed = observed(st, c)


@kernel
def first_rst(st, conn, side):  # type: ignore[no-untyped-def]
    """The first RST of endpoint ``side``, or -1."""
    frame = np.int64(-1)
    s = np.int64(conn.reset)
    while s >= 0:
        row = reset_at(st, s)
        if np.int64(row.endpoint) == side:
            frame = np.int64(row.frame)
        s = np.int64(row.next)
    return frame
