"""Everything a kernel of the tcp room works on, as one argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import Pool
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.tcp.store import records as s
from tcptrace_tw.tcp.store.reservations import BLOCK, RESERVATIONS


class State(NamedTuple):
    """Everything a kernel of this room works on."""

    newest: NDArray[np.int32]
    conns: Any
    tcbs: Any
    causes: Any
    spans: Any
    reuses: Any
    stales: Any
    resets: Any
    anomalies: Any
    counters: NDArray[np.int64]
    params: NDArray[np.int64]
    shards: NDArray[np.int64]
    next_state: NDArray[np.uint8]
    syn_table: NDArray[np.uint8]
    released: NDArray[np.int32]
    archive: NDArray[np.uint16]
    seen: Any
    tuples: Any
    key: Any
    place_words: NDArray[np.int32]
    place_marks: NDArray[np.uint8]
    seed: Seed
    out_connections: Any
    out_transitions: Any
    out_time_wait: Any
    out_reuses: Any
    out_stale: Any
    out_resets: Any
    out_anomalies: Any


def pools(transitions: bool) -> dict[str, Pool]:
    """Memory for the records of each kind, small at first."""
    return {
        "conns": Pool(s.CONNECTION, 1 << 12),
        "tcbs": Pool(s.TCB, 1 << 13),
        "causes": Pool(s.PENDING_CAUSE, 1 << 13 if transitions else 1),
        "spans": Pool(s.SPAN, 1 << 12),
        "reuses": Pool(s.REUSE, 1 << 12),
        "stales": Pool(s.STALE, 1 << 10),
        "resets": Pool(s.RESET, 1 << 10),
        "anomalies": Pool(s.ANOMALY, 1 << 10),
        "archive": Pool(np.dtype(np.uint16), 2 * BLOCK),
        "released": Pool(np.dtype(np.int32), 1 << 12),
    }


def registers(outputs: Sequence[int], transitions: bool) -> NDArray[np.int64]:
    """What the kernels count and remember at the begin; ``outputs``: the registers that count rows, table by table."""
    counters = np.zeros(s.REGISTERS, np.int64)
    room_of = {reservation.used: reservation.room for reservation in RESERVATIONS}
    for register, room in zip(outputs, s.OUT_ROOM, strict=True):
        counters[room_of[register]] = room
    for register in (s.START, s.CONNS_FREE, s.SPANS_FREE, s.REUSES_FREE, s.STALES_FREE, s.RESETS_FREE, s.QUEUE_HEAD,
                     s.QUEUE_TAIL, s.LINGERING_HEAD, s.LINGERING_TAIL, s.ARCHIVE_FREE, s.ARCHIVE_OLDEST, s.ARCHIVE_NEXT,
                     s.ATTEMPTS_OLDEST, s.ATTEMPTS_NEXT, s.ANOMALIES_FREE, s.FORWARD_FRAME, s.FIRST_ACK,
                     s.MERGED_FRAME, s.SWAP_FRAME, s.UNSEEN_FRAME, s.DUPLICATE_FRAME):  # fmt: skip
        counters[register] = -1
    counters[s.NEXT_DUE] = s.NEVER
    for register in (s.NEXT_CONNECTION, s.NEXT_TUPLE):
        counters[register] = 1
    counters[s.WANT_TRANSITIONS] = transitions
    return counters
