"""A sender's timestamp clock that goes back in its own new data (RFC 7323 5.4)."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.protocol.seq import seq_diff
from tcptrace_tw.schema.columns import HAS_TS, MALFORMED, TRUNCATED
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.tcp.facts.anomalies import BACK_MS, CALM_NS, CALM_TICKS, HOUR_MS, LONGEST_MS, NS, STEP_MS, anomaly_of
from tcptrace_tw.tcp.store.access import anomaly_at, conn_at, stale_at, tcb_at
from tcptrace_tw.tcp.store.records import FORWARD_FRAME, FORWARD_STEP, NOW, PAWS_IDLE_S, KernelState

STAYS = 3
"""So many segments in a row below make it the clock, not a segment that was overtaken."""


@kernel
def look_at_clock(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """The timestamps of a connection that has negotiated them: missing, gone back, leapt ahead, or long silent."""
    conn = conn_at(st, c)
    tcb = tcb_at(st, 2 * c + side)
    options = seg.options
    if options & HAS_TS == 0:
        if options & (TRUNCATED | MALFORMED) == 0:
            note_without_ts(st, c, side, seg)
        return
    step = seq_diff(seg.tsval, tcb.last_tsval)
    silent = st.counters[NOW] - tcb.last_time
    if (0 <= step <= CALM_TICKS and silent <= CALM_NS) or tcb.last_frame < 0:
        return
    if silent >= st.params[PAWS_IDLE_S] * NS:
        row = anomaly_at(st, anomaly_of(st, c, side))
        if silent > row.idle_ns:
            row.idle_ns = silent
            row.idle_frame = seg.frame
    base_ms = (tcb.last_time - conn.first_time) // 1_000_000
    if base_ms > LONGEST_MS:
        return
    base_ticks = seq_diff(tcb.last_tsval, tcb.first_tsval)
    if step < 0:
        is_new = seg.payload_len > 0 and seg.seq == tcb.snd_nxt
        back_ms = -step * base_ms // base_ticks if base_ticks > 0 and base_ms > 0 else -step
        if is_new and back_ms >= BACK_MS:
            note_clock_back(st, c, side, seg, -step, tcb.last_tsval)
    elif base_ms >= 500 and base_ticks > 0 and not has_sent_without_ts(st, c, side):
        silent_ms = min(silent // 1_000_000, LONGEST_MS)
        ahead_ms = (step - base_ticks * silent_ms // base_ms) * base_ms // base_ticks
        if ahead_ms > STEP_MS and ahead_ms > silent_ms:
            row = anomaly_at(st, anomaly_of(st, c, side))
            if row.ts_step_frame < 0:
                row.ts_step_frame = seg.frame
                row.ts_step_ms = ahead_ms
        elif silent_ms > HOUR_MS and -ahead_ms * 10 > silent_ms * 9 and silent >= st.counters[FORWARD_STEP]:
            is_first = silent > st.counters[FORWARD_STEP] or seg.frame < st.counters[FORWARD_FRAME]
            st.counters[FORWARD_FRAME] = seg.frame if is_first else st.counters[FORWARD_FRAME]
            st.counters[FORWARD_STEP] = silent


@kernel
def note_without_ts(st: KernelState, c: int, side: int, seg: Seg) -> None:
    """A segment without the timestamps that both SYNs had carried; macOS sends its keep-alive probes so."""
    row = anomaly_at(st, anomaly_of(st, c, side))
    below = seq_diff(seg.seq, tcb_at(st, 2 * c + side).snd_nxt)
    if below == -1 and seg.payload_len <= 1:
        row.probes_without_ts += 1
        return
    row.ts_missing += 1
    if row.ts_missing_frame < 0:
        row.ts_missing_frame = seg.frame


@kernel
def has_sent_without_ts(st: KernelState, c: int, side: int) -> bool:
    """Whether the endpoint's last TSval may be older than its last segment: nothing tells the rate of its clock."""
    at = conn_at(st, c).anomaly
    while at >= 0:
        row = anomaly_at(st, at)
        if row.endpoint == side:
            return row.ts_missing > 0 or row.probes_without_ts > 0
        at = row.next
    return False


@kernel
def note_clock_back(st: KernelState, c: int, side: int, seg: Seg, ticks: int, top: int) -> None:
    """The sender's clock goes back; whether it stays there, the following segments tell."""
    row = anomaly_at(st, anomaly_of(st, c, side))
    if row.is_ts_back or row.ts_back_segments >= STAYS:
        return
    row.is_ts_back = 1
    row.ts_top = top
    row.ts_back_time = st.counters[NOW]
    row.ts_back_frame = seg.frame
    row.ts_back_ticks = ticks
    row.ts_back_segments = 1


@kernel
def mark_broken_clocks(st: KernelState, c: int) -> None:
    """Tell the stale segments of incarnation ``c`` whose sender's own clock has gone back."""
    at = conn_at(st, c).anomaly
    while at >= 0:
        row = anomaly_at(st, at)
        at = row.next
        if row.ts_back_segments >= STAYS:
            at = conn_at(st, c).stale
            while at >= 0:
                segment = stale_at(st, at)
                at = segment.next
                if segment.endpoint == row.endpoint:
                    segment.is_clock_broken = 1
