"""What comes after a silence: an end of it, an answer, or a FIN that crosses the data which broke it."""

from __future__ import annotations

from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.schema.segments import Seg
from tcptrace_tw.tcp.facts.anomalies import anomaly_of
from tcptrace_tw.tcp.facts.silence import is_crossing_fin, note_crossing, note_silence
from tcptrace_tw.tcp.store.access import anomaly_at, tcb_at
from tcptrace_tw.tcp.store.records import NOW, KernelState


@kernel
def after_silence(st: KernelState, c: int, side: int, seg: Seg, last: int) -> None:
    """A segment that may break a silence, answer what broke one, or have crossed that; ``last`` as in note_silence."""
    snd = tcb_at(st, 2 * c + side)
    rcv = tcb_at(st, 2 * c + 1 - side)
    if is_crossing_fin(snd, rcv, seg, st.counters[NOW]):
        note_crossing(anomaly_at(st, anomaly_of(st, c, 1 - side)), snd, rcv, st.counters[NOW])
    note_silence(st, c, side, seg, last)
