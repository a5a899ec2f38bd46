"""Where the records of the tcp room lie: one way to reach them, interpreted and compiled.

A kernel of this room takes the whole state as one argument. Interpreted it is a bundle of arrays. Compiled it is one
record that holds the small tables and the addresses of the pools, so that a step is called with a pointer; as a
bundle of arrays every call would hand over 150 words, which cost ten times what the steps themselves do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcptrace_tw.kernels.bounds import IS_CHECKED as IS_CHECKED
from tcptrace_tw.kernels.bounds import within
from tcptrace_tw.kernels.intrinsics import number_at, prefetch, record_at, set_number
from tcptrace_tw.kernels.kinds import Record
from tcptrace_tw.kernels.marks import intrinsic, kernel
from tcptrace_tw.keyed_hash import SEED_WORDS
from tcptrace_tw.protocol.profiles import SYN_TABLE_SHAPE
from tcptrace_tw.protocol.states import next_state_table
from tcptrace_tw.schema.columns import ANOMALIES, CONNECTIONS, RESETS, REUSES, STALE_SEGMENTS, TIME_WAIT, TRANSITIONS
from tcptrace_tw.schema.segments import SHARDS, TUPLE
from tcptrace_tw.tcp.store.records import (
    ANOMALY,
    CONNECTION,
    PARAMETERS,
    PENDING_CAUSE,
    REGISTERS,
    RESET,
    REUSE,
    SEEN,
    SHARD_WORDS,
    SPAN,
    STALE,
    TCB,
    KernelState,
)

POOLS: dict[str, np.dtype[Any]] = {
    "conns": CONNECTION,
    "tcbs": TCB,
    "causes": PENDING_CAUSE,
    "spans": SPAN,
    "reuses": REUSE,
    "stales": STALE,
    "resets": RESET,
    "anomalies": ANOMALY,
    "tuples": TUPLE,
    "key": TUPLE,
    "seen": SEEN,
    "out_connections": CONNECTIONS.dtype,
    "out_transitions": TRANSITIONS.dtype,
    "out_time_wait": TIME_WAIT.dtype,
    "out_reuses": REUSES.dtype,
    "out_stale": STALE_SEGMENTS.dtype,
    "out_resets": RESETS.dtype,
    "out_anomalies": ANOMALIES.dtype,
}


OUT = ("out_connections", "out_transitions", "out_time_wait", "out_reuses", "out_stale", "out_resets", "out_anomalies")

ADDRESSES = (*POOLS, "newest", "released", "archive", "place_words", "place_marks")


STATE = np.dtype(
    [
        *((f"{name}_at", "i8") for name in ADDRESSES),
        ("counters", "i8", REGISTERS),
        ("params", "i8", PARAMETERS),
        ("shards", "i8", SHARDS * SHARD_WORDS),
        ("next_state", "u1", next_state_table().shape),
        ("syn_table", "u1", SYN_TABLE_SHAPE),
        ("seed", "i8", SEED_WORDS),
        *((f"{name}_room", "i8") for name in ADDRESSES if IS_CHECKED),
    ]
)
"""The record that stands for the state in compiled kernels."""

STATE_KIND = Record(STATE)


def note_rooms(kernel_state: Any, arrays: dict[str, Any]) -> None:
    """Write down how many elements each array has; only where compiled kernels check their indices."""
    for name in ADDRESSES:
        kernel_state[f"{name}_room"] = arrays[name].size


def _item(st: Any, name: str, index: Any) -> Any:
    """Element ``index`` of an array of the state: interpreted kernels always check."""
    array = getattr(st, name)
    return array[within(name, index, array.size)]


@intrinsic(prefetch((("newest", 4, (0,)),)))
def prefetch_newest(st: Any, slot: Any) -> None:
    """Soon ``newest_incarnation(st, slot)`` will be asked for."""


_LINES = tuple(range(0, TCB.itemsize, 64))


@intrinsic(
    prefetch(
        (
            ("conns", CONNECTION.itemsize, (0, 64, 128)),
            ("tcbs", 2 * TCB.itemsize, (*_LINES, *(TCB.itemsize + line for line in _LINES))),
        )
    )
)
def prefetch_incarnation(st: Any, c: Any) -> None:
    """Soon everything about incarnation ``c`` will be asked for."""


@intrinsic(prefetch((("spans", SPAN.itemsize, (0, 64)),)))
def prefetch_span(st: Any, at: Any) -> None:
    """Soon ``span_at(st, s)`` will be asked for."""


@intrinsic(prefetch((("archive", 2, tuple(range(0, 320, 64))),)))
def prefetch_archived(st: Any, at: Any) -> None:
    """Soon the archived record at unit ``at`` will be read."""


@intrinsic(prefetch((("tuples", TUPLE.itemsize, (0, TUPLE.itemsize - 1)), ("newest", 4, (0,)))))
def prefetch_tuple(st: Any, slot: Any) -> None:
    """Soon ``tuple_at(st, slot)`` and ``newest_incarnation(st, slot)`` will be asked for."""


@intrinsic(record_at("conns", POOLS["conns"]))
def conn_at(st: Any, c: Any) -> Any:
    """Incarnation ``c``."""
    return _item(st, "conns", c)


@intrinsic(record_at("tcbs", POOLS["tcbs"]))
def tcb_at(st: Any, k: Any) -> Any:
    """Endpoint ``k``."""
    return _item(st, "tcbs", k)


@intrinsic(record_at("causes", POOLS["causes"]))
def cause_at(st: Any, k: Any) -> Any:
    """The causes of endpoint ``k``'s waiting receipts."""
    return _item(st, "causes", k)


@intrinsic(record_at("spans", POOLS["spans"]))
def span_at(st: Any, at: Any) -> Any:
    """A TIME-WAIT span."""
    return _item(st, "spans", at)


@intrinsic(record_at("reuses", POOLS["reuses"]))
def reuse_at(st: Any, r: Any) -> Any:
    """The facts of a reuse."""
    return _item(st, "reuses", r)


@intrinsic(record_at("stales", POOLS["stales"]))
def stale_at(st: Any, at: Any) -> Any:
    """The facts of a stale segment."""
    return _item(st, "stales", at)


@intrinsic(record_at("resets", POOLS["resets"]))
def reset_at(st: Any, at: Any) -> Any:
    """The facts of a RST."""
    return _item(st, "resets", at)


@intrinsic(record_at("anomalies", POOLS["anomalies"]))
def anomaly_at(st: Any, at: Any) -> Any:
    """What is rare about an endpoint."""
    return _item(st, "anomalies", at)


@intrinsic(record_at("seen", POOLS["seen"]))
def seen_at(st: Any, place: Any) -> Any:
    """One of the segments that were seen last of those whose fingerprint belongs here."""
    return _item(st, "seen", place)


@intrinsic(prefetch((("seen", SEEN.itemsize, (0,)),)))
def prefetch_seen(st: Any, place: Any) -> None:
    """Soon ``seen_at(st, place)`` will be asked for."""


@intrinsic(record_at("tuples", POOLS["tuples"]))
def tuple_at(st: Any, slot: Any) -> Any:
    """The key of a tuple."""
    return _item(st, "tuples", slot)


@intrinsic(record_at("key", POOLS["key"]))
def key_at(st: Any, n: Any) -> Any:
    """Room for the key of an archived attempt, which has no slot; ``n`` is 0."""
    return _item(st, "key", n)


@intrinsic(record_at("out_connections", POOLS["out_connections"]))
def out_connection_at(st: Any, n: Any) -> Any:
    """A row on its way out."""
    return _item(st, "out_connections", n)


@intrinsic(record_at("out_transitions", POOLS["out_transitions"]))
def out_transition_at(st: Any, n: Any) -> Any:
    """A row on its way out."""
    return _item(st, "out_transitions", n)


@intrinsic(record_at("out_time_wait", POOLS["out_time_wait"]))
def out_time_wait_at(st: Any, n: Any) -> Any:
    """A row on its way out."""
    return _item(st, "out_time_wait", n)


@intrinsic(record_at("out_reuses", POOLS["out_reuses"]))
def out_reuse_at(st: Any, n: Any) -> Any:
    """A row on its way out."""
    return _item(st, "out_reuses", n)


@intrinsic(record_at("out_stale", POOLS["out_stale"]))
def out_stale_at(st: Any, n: Any) -> Any:
    """A row on its way out."""
    return _item(st, "out_stale", n)


@intrinsic(record_at("out_resets", POOLS["out_resets"]))
def out_reset_at(st: Any, n: Any) -> Any:
    """A row on its way out."""
    return _item(st, "out_resets", n)


@intrinsic(record_at("out_anomalies", POOLS["out_anomalies"]))
def out_anomaly_at(st: Any, n: Any) -> Any:
    """A row on its way out."""
    return _item(st, "out_anomalies", n)


@intrinsic(number_at("newest", 32, 4))
def newest_incarnation(st: Any, slot: Any) -> int:
    """The newest incarnation of a tuple, -1 for none, or less where it lies under an archived record."""
    return int(_item(st, "newest", slot))


@intrinsic(set_number("newest", 32, 4))
def set_newest_incarnation(st: Any, slot: Any, c: Any) -> None:
    """Make ``c`` the newest incarnation of a tuple."""
    st.newest[within("newest", slot, st.newest.size)] = c


@intrinsic(set_number("released", 32, 4))
def set_released(st: Any, n: Any, slot: Any) -> None:
    """Note a slot that nothing lives in any more."""
    st.released[within("released", n, st.released.size)] = slot


@intrinsic(number_at("archive", 64, 2))
def word_at(st: Any, at: Any) -> int:
    """The 64-bit number that begins at unit ``at`` of the archive."""
    within("archive", at, st.archive.size, 4)
    return int.from_bytes(st.archive[at : at + 4].astype("<u2").tobytes(), "little", signed=True)


@intrinsic(set_number("archive", 64, 2))
def set_word(st: Any, at: Any, value: Any) -> None:
    """Write the 64-bit number that begins at unit ``at`` of the archive."""
    within("archive", at, st.archive.size, 4)
    for i in range(4):
        st.archive[at + i] = (int(value) >> (16 * i)) & 0xFFFF


@intrinsic(set_number("archive", 16, 2))
def set_unit(st: Any, at: Any, value: Any) -> None:
    """Write unit ``at`` of the archive."""
    st.archive[within("archive", at, st.archive.size)] = value


@intrinsic(number_at("place_words", 32, 4))
def place_word_at(st: Any, place: Any) -> int:
    """The word of the archive at which the attempt of a place begins."""
    return int(_item(st, "place_words", place))


@intrinsic(set_number("place_words", 32, 4))
def set_place_word(st: Any, place: Any, word: Any) -> None:
    """Write where the attempt of a place begins."""
    st.place_words[within("place_words", place, st.place_words.size)] = word


@intrinsic(number_at("place_marks", 8, 1))
def place_mark_at(st: Any, place: Any) -> int:
    """The mark of a place of the index of attempts; only its lowest 8 bits count."""
    return int(_item(st, "place_marks", place))


@intrinsic(set_number("place_marks", 8, 1))
def set_place_mark(st: Any, place: Any, mark: Any) -> None:
    """Write the mark of a place."""
    st.place_marks[within("place_marks", place, st.place_marks.size)] = mark


@kernel
def time_wait_since(st: KernelState, k: int) -> int:
    """When 2MSL of endpoint ``k`` in TIME-WAIT began last."""
    span = span_at(st, tcb_at(st, k).span)
    return max(span.start, span.restart)
