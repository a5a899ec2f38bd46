"""The rows of what is rare about endpoints (see ``anomalies``), with what only the end of an incarnation shows."""

from __future__ import annotations

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
    Conn,
    KernelState,
    Row,
)

STUCK_FINS = 4
"""A FIN repeated so often, and nothing came back (docs/semantics.md: observation)."""


@kernel
def write_anomalies(st: KernelState, c: int) -> None:
    """Write what is odd about the endpoints of incarnation ``c`` and give the records back."""
    conn = conn_at(st, c)
    for side in range(2):
        k = 2 * c + side
        if is_left_open(st, c, k) or is_stuck(st, k):
            anomaly_of_the_end(st, c, k)
        elif is_unanswered(tcb_at(st, k), tcb_at(st, k ^ 1)):
            anomaly_of(st, c, side)
    at = conn.anomaly
    while at >= 0:
        row = anomaly_at(st, at)
        finish_anomaly(st, c, row)
        n = st.counters[OUT_ANOMALIES]
        st.counters[OUT_ANOMALIES] = n + 1
        copy_anomaly(out_anomaly_at(st, n), row)
        following = row.next
        row.next = st.counters[ANOMALIES_FREE]
        st.counters[ANOMALIES_FREE] = at
        at = following
    conn.anomaly = -1


@kernel
def half_closed_ns(st: KernelState, c: int) -> int:
    """How long ago the first FIN was sent; 0 where that is not known, as in a capture of 50 days and more."""
    first = conn_at(st, c).fin_ms
    if first == 0 or first == MASK:
        return 0
    return st.counters[NOW] - st.counters[START] - (first - 1) * 1_000_000


@kernel
def is_left_open(st: KernelState, c: int, k: int) -> bool:
    """Endpoint ``k`` has closed a minute ago and more, and its peer has acknowledged that and is still in CLOSE-WAIT.

    Not where a RST shows that nobody is there any more, or text of the peer waits in vain for its ACK.
    """
    peer = tcb_at(st, k ^ 1)
    closed = tcb_at(st, k).bits & (FIN_SENT | FIN_ACKED) == FIN_SENT | FIN_ACKED
    if not closed or peer.state != CLOSE_WAIT:
        return False
    if conn_at(st, c).bits & HAS_RST or seq_diff(peer.snd_nxt, peer.snd_una) > 0:
        return False
    return half_closed_ns(st, c) >= LONG_HALF_CLOSED_NS


@kernel
def is_stuck(st: KernelState, k: int) -> bool:
    """Endpoint ``k`` repeats its FIN in LAST-ACK, and nothing comes back."""
    tcb = tcb_at(st, k)
    if tcb.fin_repeats < STUCK_FINS or tcb.bits & FIN_ACKED:
        return False
    if tcb.state != LAST_ACK and tcb.state != CLOSING:
        return False
    peer = tcb_at(st, k ^ 1)
    return peer.last_frame < tcb.fin_frame and peer.segments > 0


@kernel
def anomaly_of_the_end(st: KernelState, c: int, k: int) -> None:
    """Write down a half-close or a LAST-ACK that never ended."""
    row = anomaly_at(st, anomaly_of(st, c, k & 1))
    if is_stuck(st, k):
        row.is_stuck = 1
    if is_left_open(st, c, k):
        row.half_closed_ns = half_closed_ns(st, c)
        peer = tcb_at(st, k ^ 1)
        sent = peer.payload_time - st.counters[START] if peer.payload_time >= 0 else -1
        row.is_left_open = 1 if sent // 1_000_000 < conn_at(st, c).fin_ms else 0


@kernel
def finish_anomaly(st: KernelState, c: int, row: Row) -> None:
    """What every row of the table has."""
    conn = conn_at(st, c)
    side = row.endpoint
    tcb = tcb_at(st, 2 * c + side)
    peer = tcb_at(st, 2 * c + 1 - side)
    if row.is_unseen_open:
        lose_unseen(st, row)
    row.connection_id = conn.id
    set_peers(st, row, 2 * c + side)
    row.time = conn.first_time
    row.end_time = max(tcb.last_time, peer.last_time)
    row.lasted_ns = row.end_time - row.time
    row.syn_frame = tcb.syn_frame
    row.syn_retries = tcb.syn_repeats
    if conn.established_time < 0:
        row.handshake_ns = -1
    elif conn.bits & SAW_PLAIN or row.handshake_ns < 0:
        row.handshake_ns = conn.established_time - conn.first_time
    row.fin_frame = tcb.fin_frame
    row.peer_fin_frame = peer.fin_frame
    row.last_frame = tcb.last_frame
    row.fin_repeats = tcb.fin_repeats
    finish_silence(row, tcb, peer)
    row.rst_frame = first_rst(st, conn, side)
    row.observed = observed(st, c)


@kernel
def first_rst(st: KernelState, conn: Conn, side: int) -> int:
    """The first RST of endpoint ``side``, or -1."""
    frame = -1
    at = conn.reset
    while at >= 0:
        row = reset_at(st, at)
        if row.endpoint == side:
            frame = row.frame
        at = row.next
    return frame
