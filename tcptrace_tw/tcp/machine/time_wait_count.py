"""How many endpoints are in TIME-WAIT now: counted when someone wants to know, so that no segment pays for it."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import entry, kernel
from tcptrace_tw.protocol.states import TIME_WAIT
from tcptrace_tw.tcp.store.access import STATE_KIND, conn_at, span_at, tcb_at, time_wait_since, word_at
from tcptrace_tw.tcp.store.archive import BLOCK, HEAD, LENGTH, due_of, open_spans
from tcptrace_tw.tcp.store.records import ARCHIVE_NEXT, ARCHIVE_OLDEST, CONNS_USED, NOW, REMEMBER, TWO_MSL, KernelState


@entry(STATE_KIND)
def count_waiting(st: KernelState) -> int:
    """Endpoints whose TIME-WAIT span is open and whose 2MSL has not passed."""
    return count_unpacked(st) + count_archived(st)


@kernel
def count_unpacked(st: KernelState) -> int:
    """Those whose records are at hand."""
    count = 0
    for c in range(st.counters[CONNS_USED]):
        if conn_at(st, c).id > 0:
            for k in range(2 * c, 2 * c + 2):
                tcb = tcb_at(st, k)
                if tcb.state == TIME_WAIT and tcb.span >= 0:
                    is_open = span_at(st, tcb.span).end < 0
                    if is_open and st.counters[NOW] < time_wait_since(st, k) + st.params[TWO_MSL]:
                        count += 1
    return count


@kernel
def count_archived(st: KernelState) -> int:
    """Those that are archived: 2MSL counts from the last segment, which is nearly always what began it."""
    counters = st.counters
    count = 0
    at = counters[ARCHIVE_OLDEST]
    while at >= 0 and at != counters[ARCHIVE_NEXT]:
        mark = word_at(st, at)
        if mark == 0:
            at = word_at(st, at - at % BLOCK) + HEAD
            continue
        if mark > 0 and counters[NOW] < due_of(st, at) - st.params[REMEMBER] + st.params[TWO_MSL]:
            count += open_spans(mark)
        at += abs(mark) & LENGTH
    return count
