"""Timestamp clocks behind one address, and SYNs that a server ignores for their timestamps (semantics: 5.6 and 5.7).

Compared is only what one client address sends to one server address: Linux gives other destinations other offsets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.measure.keys import Keys
from tcptrace_tw.spec.columns import CLOCKS, Table
from tcptrace_tw.spec.words import CLOSE_UNANSWERED

MOST_KEYS = 1 << 12
MOST_SAMPLES = 48
"""So many SYNs of each pair are looked at, answered and ignored ones apart."""

RATES_HZ = (1000, 100, 250, 10, 1)
MEMORY_NS = 60_000_000_000
"""How long tcp_tw_recycle remembered a timestamp (TCP_PAWS_MSL)."""

SLACK_MS = 1500
"""Offsets that differ by less may be of one clock."""

MEMBERS = 3
"""So many ports make a clock; single SYNs with offsets of their own are randomised ones."""

Ints = NDArray[np.int64]


class Sample(NamedTuple):
    """A SYN with timestamps. ``ignored``: it was sent again and nothing ever answered it."""

    time: int
    tsval: int
    port: int
    frame: int
    connection_id: int
    ignored: bool


class Clocks:
    """Fed with rows of ``connections``; gives one row of ``clocks`` for each pair with something to say."""

    def __init__(self) -> None:
        self._keys = Keys(MOST_KEYS)
        self._samples: list[tuple[list[Sample], list[Sample]]] = []
        self._taken = np.zeros((2, MOST_KEYS), np.int64)

    def see(self, table: str, rows: Any) -> None:
        """Take finished rows."""
        if table != "connections":
            return
        r = rows[(rows.orig_syn_has_ts != 0) & ((rows.resp_syn_frame >= 0) | is_ignored(rows))]
        if not r.size:
            return
        key = self._keys.number(r.orig_ip_hi, r.orig_ip_lo, r.resp_ip_hi, r.resp_ip_lo)
        while len(self._samples) < len(self._keys):
            self._samples.append(([], []))
        ignored = is_ignored(r)
        open_key = (key >= 0) & (self._taken[ignored.astype(np.int64), key] < MOST_SAMPLES)
        if not open_key.any():
            return
        columns = [r[name][open_key] for name in _TAKEN]
        key, ignored = key[open_key], ignored[open_key]
        for number, places in _groups(key, np.argsort(key, kind="stable")):
            for which in (0, 1):
                kept = self._samples[number][which]
                some = places[ignored[places] == bool(which)][: MOST_SAMPLES - len(kept)]
                if some.size:
                    kept += _samples(columns, some, bool(which))
                    self._taken[which, number] = len(kept)

    def close(self) -> Iterator[tuple[Table, NDArray[Any]]]:
        """All rows, at the end of the capture."""
        rows = np.zeros(len(self._samples), CLOCKS.dtype)
        for index, name in enumerate(("ip_hi", "ip_lo", "peer_ip_hi", "peer_ip_lo")):
            rows[name] = self._keys.column(index)
        for row, (answered, ignored) in zip(rows, self._samples, strict=True):
            describe(row, sorted(answered), sorted(ignored))
        rows = rows[(rows["clocks"] > 0) | (rows["ignored_stale"] > 0)]
        if rows.size:
            yield CLOCKS, rows


def is_ignored(r: Any) -> NDArray[np.bool_]:
    """A SYN that was sent again in vain, on a tuple that nothing was remembered of."""
    ignored: NDArray[np.bool_] = (r.close == CLOSE_UNANSWERED) & (r.syn_retries > 0) & (r.incarnation == 1)
    return ignored


def _groups(key: Ints, order: Ints) -> Iterator[tuple[int, Ints]]:
    sorted_key = key[order]
    first = np.flatnonzero(np.concatenate(([True], sorted_key[1:] != sorted_key[:-1])))
    for begin, end in zip(first.tolist(), [*first[1:].tolist(), key.size], strict=True):
        if sorted_key[begin] >= 0:
            yield int(sorted_key[begin]), order[begin:end]


_TAKEN = ("first_time", "orig_syn_tsval", "orig_port", "orig_syn_frame", "connection_id")


def _samples(columns: list[NDArray[Any]], places: Ints, ignored: bool) -> list[Sample]:
    values = zip(*(column[places].tolist() for column in columns), strict=True)
    return [Sample._make((*some, ignored)) for some in values]


def describe(row: Any, answered: list[Sample], ignored: list[Sample]) -> None:
    """Fill one row: how many clocks, and whether ignored SYNs are told from answered ones by their timestamps."""
    every = sorted([*answered, *ignored])
    row["time"], row["end_time"] = every[0].time, every[-1].time
    row["connection_id"] = every[0].connection_id
    row["syn_frame"] = every[0].frame
    row["syns"] = len(every)
    row["clocks"], row["rate_hz"], row["offset_ms"] = clocks(every)
    row["answered"] = len(answered)
    row["ignored"] = len(ignored)
    row["first_ignored_frame"] = ignored[0].frame if ignored else -1
    row["last_ignored_frame"] = ignored[-1].frame if ignored else -1
    if ignored:
        row["connection_id"] = ignored[0].connection_id
    row["ignored_stale"] = sum(is_stale(one, answered) for one in ignored)
    # Only beside ignored SYNs does it matter, and every pair of SYNs is looked at.
    row["answered_stale"] = sum(is_stale(one, answered) for one in answered) if ignored else 0


def is_stale(one: Sample, answered: list[Sample]) -> bool:
    """Whether a SYN answered in the minute before carried a later timestamp, by more than a tick."""
    return any(
        other.time < one.time <= other.time + MEMORY_NS and _behind(other.tsval, one.tsval) > 1 for other in answered
    )


def _behind(tsval: Any, earlier: Any) -> Any:
    return ((tsval - earlier + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def clocks(samples: list[Sample]) -> tuple[int, int, int]:
    """How many clocks the SYNs come from, at which rate, and how far apart (ms); 0 where they do not cluster."""
    best = (0, 0, 0)
    for rate in RATES_HZ:
        found = clusters(samples, rate)
        if found is None:
            continue
        if len(found) == 1:
            return 1, rate, 0
        if best[0] == 0 or len(found) < best[0]:
            best = (len(found), rate, int(max(found) - min(found)))
        if best[0] == 1:
            break
    return best


def clusters(samples: list[Sample], rate: int) -> list[int] | None:
    """The offsets (ms) of the clocks at this rate; None unless every clock is seen on several ports."""
    time = np.array([one.time for one in samples], np.int64)
    tsval = np.array([one.tsval for one in samples], np.int64)
    port = np.array([one.port for one in samples], np.int64)
    offset = _behind(tsval, tsval[0]) * 1000 // rate - (time - time[0]) // 1_000_000
    order = np.argsort(offset, kind="stable")
    offset = offset[order]
    group = np.concatenate(([0], np.cumsum(np.diff(offset) > SLACK_MS)))
    ports = np.unique(group << 16 | port[order])
    if np.bincount(ports >> 16).min() < MEMBERS:
        return None
    offsets: list[int] = offset[np.flatnonzero(np.diff(group, prepend=-1))].tolist()
    return offsets
