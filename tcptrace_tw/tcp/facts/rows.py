"""What is left of an incarnation when it is let go: its row, and the rows that waited for what followed."""

from __future__ import annotations

from typing import Any

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.states import CLOSED, ESTABLISHED, FIN_WAIT_1, SYN_RECEIVED, SYN_SENT
from tcptrace_tw.schema.observed import BOTH_DIRECTIONS, OPENING
from tcptrace_tw.schema.words import (
    BOTH,
    CLOSE_ABORT,
    CLOSE_HALF_CLOSED,
    CLOSE_NORMAL,
    CLOSE_OPEN,
    CLOSE_REFUSED,
    CLOSE_SIMULTANEOUS,
    CLOSE_UNANSWERED,
    NONE,
    OPENED_MIDSTREAM,
    ORIG,
    RESP,
    UNKNOWN_CLOSER,
)
from tcptrace_tw.tcp.facts.observed import observed
from tcptrace_tw.tcp.facts.silence import write_silence
from tcptrace_tw.tcp.store.access import (
    conn_at,
    out_connection_at,
    out_reset_at,
    out_reuse_at,
    out_stale_at,
    out_time_wait_at,
    reset_at,
    reuse_at,
    span_at,
    stale_at,
    tcb_at,
    tuple_at,
)
from tcptrace_tw.tcp.store.freelists import copy_reset, copy_reuse, copy_stale
from tcptrace_tw.tcp.store.records import (
    ABORTED,
    ENTERED_FIN_WAIT_1,
    FIN_SENT,
    HAS_RST,
    OUT_CONNECTIONS,
    OUT_RESETS,
    OUT_REUSES,
    OUT_STALE,
    OUT_TIME_WAIT,
    REFUSED,
    RESETS_FREE,
    REUSES_FREE,
    SPANS_FREE,
    STALES_FREE,
    TS_OK,
    TS_ON_SYN,
    TWO_MSL,
    Conn,
    KernelState,
    Row,
    Tcb,
)


@kernel
def set_peers(st: KernelState, row: Row, k: int) -> None:
    """Write the addresses of endpoint ``k`` and its peer into a row."""
    conn = conn_at(st, k >> 1)
    key = tuple_at(st, conn.slot)
    if (k & 1) == conn.orig_is_b:
        row.ip_hi = key.a_hi
        row.ip_lo = key.a_lo
        row.port = key.a_port
        row.peer_ip_hi = key.b_hi
        row.peer_ip_lo = key.b_lo
        row.peer_port = key.b_port
    else:
        row.ip_hi = key.b_hi
        row.ip_lo = key.b_lo
        row.port = key.b_port
        row.peer_ip_hi = key.a_hi
        row.peer_ip_lo = key.a_lo
        row.peer_port = key.a_port


@kernel
def active_closer(conn: Conn, orig: Tcb, resp: Tcb) -> int:
    """Who entered FIN-WAIT-1 (RFC 9293 3.6)."""
    first = orig.bits & ENTERED_FIN_WAIT_1
    second = resp.bits & ENTERED_FIN_WAIT_1
    if first and second:
        return BOTH
    if first:
        return ORIG if is_closer_known(conn, resp) else UNKNOWN_CLOSER
    if second:
        return RESP if is_closer_known(conn, orig) else UNKNOWN_CLOSER
    return NONE


@kernel
def is_closer_known(conn: Conn, peer: Tcb) -> bool:
    """Whether ``peer`` cannot have sent its FIN before another one was captured: all of it would have been captured.

    Of a connection that was captured from its middle on, text or a FIN of the peer shows that it had not closed before.
    """
    if peer.segments == 0:
        return False
    if conn.opened != OPENED_MIDSTREAM:
        return True
    return peer.payload_bytes > 0 or peer.bits & FIN_SENT != 0


@kernel
def how_it_closed(conn: Conn, orig: Tcb, resp: Tcb) -> int:
    """The word for the end of an incarnation."""
    flags = conn.bits
    fins = (1 if orig.bits & FIN_SENT else 0) + (1 if resp.bits & FIN_SENT else 0)
    if flags & REFUSED:
        return CLOSE_REFUSED
    if fins == 2:
        if active_closer(conn, orig, resp) == BOTH:
            return CLOSE_SIMULTANEOUS
        if flags & ABORTED and conn.rst_frame >= 0:
            return CLOSE_ABORT
        return CLOSE_NORMAL
    if flags & ABORTED or (flags & HAS_RST and orig.state == CLOSED and resp.state == CLOSED):
        return CLOSE_ABORT
    if fins == 1:
        return CLOSE_HALF_CLOSED
    if resp.segments == 0 and conn.opened != OPENED_MIDSTREAM and orig.state in (SYN_SENT, CLOSED):
        return CLOSE_UNANSWERED
    return CLOSE_OPEN


@kernel
def write_connection(st: KernelState, c: int, key: Any) -> None:
    """Write the row of incarnation ``c``, whose 4-tuple is ``key``."""
    n = st.counters[OUT_CONNECTIONS]
    st.counters[OUT_CONNECTIONS] = n + 1
    row = out_connection_at(st, n)
    conn = conn_at(st, c)
    orig = tcb_at(st, 2 * c)
    resp = tcb_at(st, 2 * c + 1)
    set_ends(row, conn, key)
    row.connection_id = conn.id
    row.tuple_id = conn.tuple_id
    row.incarnation = conn.incarnation
    row.opened = conn.opened
    row.first_time = conn.first_time
    row.first_frame = conn.first_frame
    row.established_time = conn.established_time
    row.old_syn_frame = conn.old_syn_frame
    row.rst_frame = conn.rst_frame
    row.completeness = conn.completeness
    row.history_lo = conn.history_lo
    row.history_hi = conn.history_hi
    row.ts_ok = 1 if conn.bits & TS_OK else 0
    row.duplicate_frames = conn.duplicates
    last = orig if orig.last_time > resp.last_time else resp
    if orig.last_time == resp.last_time and orig.last_frame > resp.last_frame:
        last = orig
    row.last_time = last.last_time
    row.last_frame = last.last_frame
    set_sides(row, orig, resp)
    set_close(row, conn, orig, resp)
    write_silence(row, orig, resp)
    row.observed = observed(st, c)


@kernel
def set_ends(row: Row, conn: Conn, key: Any) -> None:
    """Write the addresses of orig and resp."""
    row.scope = key.scope
    if conn.orig_is_b == 0:
        row.orig_ip_hi = key.a_hi
        row.orig_ip_lo = key.a_lo
        row.orig_port = key.a_port
        row.resp_ip_hi = key.b_hi
        row.resp_ip_lo = key.b_lo
        row.resp_port = key.b_port
    else:
        row.orig_ip_hi = key.b_hi
        row.orig_ip_lo = key.b_lo
        row.orig_port = key.b_port
        row.resp_ip_hi = key.a_hi
        row.resp_ip_lo = key.a_lo
        row.resp_port = key.a_port


@kernel
def set_sides(row: Row, orig: Tcb, resp: Tcb) -> None:
    """Write what was counted and noted of each side."""
    row.orig_segments = orig.segments
    row.resp_segments = resp.segments
    row.orig_payload_bytes = orig.payload_bytes
    row.resp_payload_bytes = resp.payload_bytes
    row.orig_retransmits = orig.retransmits
    row.resp_retransmits = resp.retransmits
    row.orig_stale_segments = orig.stale_segments
    row.resp_stale_segments = resp.stale_segments
    row.orig_state = orig.state
    row.resp_state = resp.state
    row.orig_syn_frame = orig.syn_frame
    row.resp_syn_frame = resp.syn_frame
    row.orig_fin_frame = orig.fin_frame
    row.resp_fin_frame = resp.fin_frame
    row.syn_retries = orig.syn_repeats
    row.synack_retries = resp.syn_repeats
    seen = orig.syn_frame >= 0 and orig.bits & TS_ON_SYN != 0
    row.orig_syn_has_ts = 1 if seen else 0
    row.orig_syn_tsval = orig.first_tsval


@kernel
def set_close(row: Row, conn: Conn, orig: Tcb, resp: Tcb) -> None:
    """Write who closed, how it ended, and what became of the passive closer's FIN."""
    row.active_closer = active_closer(conn, orig, resp)
    row.close = how_it_closed(conn, orig, resp)
    passive = orig if row.active_closer == RESP else resp
    row.fin_repeat_frame = -1 if row.active_closer == UNKNOWN_CLOSER else passive.fin_repeat_frame
    row.fin_acked_frame = passive.fin_acked_frame
    row.fin_repeats = passive.fin_repeats


@kernel
def write_span(st: KernelState, k: int) -> None:
    """Write the TIME-WAIT span of endpoint ``k`` and give its record back."""
    tcb = tcb_at(st, k)
    at = tcb.span
    if at < 0:
        return
    n = st.counters[OUT_TIME_WAIT]
    st.counters[OUT_TIME_WAIT] = n + 1
    row = out_time_wait_at(st, n)
    span = span_at(st, at)
    row.connection_id = conn_at(st, k >> 1).id
    row.holder = k & 1
    set_peers(st, row, k)
    row.start = span.start
    row.start_frame = span.start_frame
    row.start_basis = span.start_basis
    row.fin_frame = span.fin_frame
    row.end = span.end
    row.end_frame = span.end_frame
    row.end_reason = span.end_reason
    row.restarts = span.restarts
    row.restart = span.restart
    row.restart_frame = span.restart_frame
    row.fin_repeats = span.fin_repeats
    row.stale_syns = span.stale_syns
    row.first_stale_syn_frame = span.first_stale_syn_frame
    row.two_msl_ns = st.params[TWO_MSL]
    row.shown_ns = span.shown_ns
    row.is_syn_pending = span.is_syn_pending
    row.answered_frame = span.answered_frame
    row.observed = observed(st, k >> 1)
    span_at(st, at).next = st.counters[SPANS_FREE]
    st.counters[SPANS_FREE] = at
    tcb.span = -1


@kernel
def write_facts(st: KernelState, c: int) -> None:
    """Write the reuse, the stale segments and the resets of incarnation ``c`` and give their records back."""
    conn = conn_at(st, c)
    counters = st.counters
    seen = observed(st, c)
    reuse = conn.reuse
    if reuse >= 0:
        reuse_at(st, reuse).observed = reuse_at(st, reuse).observed & (seen | BOTH_DIRECTIONS | OPENING)
        copy_reuse(out_reuse_at(st, counters[OUT_REUSES]), reuse_at(st, reuse))
        counters[OUT_REUSES] += 1
        reuse_at(st, reuse).next = counters[REUSES_FREE]
        counters[REUSES_FREE] = reuse
        conn.reuse = -1
    at = conn.stale
    while at >= 0:
        stale_at(st, at).observed = seen
        if stale_at(st, at).is_doubtful == 0:
            copy_stale(out_stale_at(st, counters[OUT_STALE]), stale_at(st, at))
            counters[OUT_STALE] += 1
        following = stale_at(st, at).next
        stale_at(st, at).next = counters[STALES_FREE]
        counters[STALES_FREE] = at
        at = following
    conn.stale = -1
    at = conn.reset
    while at >= 0:
        reset_at(st, at).observed = seen
        copy_reset(out_reset_at(st, counters[OUT_RESETS]), reset_at(st, at))
        counters[OUT_RESETS] += 1
        following = reset_at(st, at).next
        reset_at(st, at).next = counters[RESETS_FREE]
        counters[RESETS_FREE] = at
        at = following
    conn.reset = -1


@kernel
def note_established(conn: Conn, orig: Tcb, resp: Tcb, time: int) -> None:
    """Remember when both ends were ESTABLISHED, or beyond, for the first time."""
    if conn.established_time < 0:
        if (orig.state >= ESTABLISHED and resp.state >= ESTABLISHED) or (
            orig.state == FIN_WAIT_1 and resp.state == SYN_RECEIVED
        ):
            conn.established_time = time
