"""The tcp room from outside: batches in, rows out, nothing kept of what is over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import Buffers, address_of, full, zeros
from tcptrace_tw.kernels.bounds import IS_CHECKED
from tcptrace_tw.kernels.marks import load_named
from tcptrace_tw.kernels.wide_records import Records
from tcptrace_tw.keyed_hash import Seed
from tcptrace_tw.protocol.profiles import Profile, syn_acceptance_table
from tcptrace_tw.protocol.states import next_state_table
from tcptrace_tw.schema.columns import (
    ANOMALIES,
    CONNECTIONS,
    RESETS,
    REUSES,
    STALE_SEGMENTS,
    TIME_WAIT,
    TRANSITIONS,
    Table,
)
from tcptrace_tw.schema.segments import MOST, TUPLE, Segments
from tcptrace_tw.tcp.store import access
from tcptrace_tw.tcp.store import records as s
from tcptrace_tw.tcp.store.reservations import BLOCK, FULL_EIGHTHS, RESERVATIONS
from tcptrace_tw.tcp.store.state import State, pools, registers

_OUT = (
    (CONNECTIONS, s.OUT_CONNECTIONS),
    (TRANSITIONS, s.OUT_TRANSITIONS),
    (TIME_WAIT, s.OUT_TIME_WAIT),
    (REUSES, s.OUT_REUSES),
    (STALE_SEGMENTS, s.OUT_STALE),
    (RESETS, s.OUT_RESETS),
    (ANOMALIES, s.OUT_ANOMALIES),
)

_NS = 1_000_000_000

LENDING = 8
"""Finished rows that fill an eighth of their buffer or more leave with the buffer; fewer are copied out of it."""

ARCHIVE_FROM = 4096
"""Above this many live incarnations, closed and idle ones are archived, so that the working set fits the CPU cache."""

LINGER_NS = 100_000_000
"""How long an incarnation that is over stays at hand after its last segment: a retransmission may be answered."""

EACH = 2
"""Records of each kind that an ordinary segment may bring about; where they are not enough, more are made."""

UNITS_EACH = 256
"""Room for archived records that a segment brings about; where it is not enough, burial waits for the next batch."""

MOST_UNITS_EVER = 1 << 33
"""The archive's places are written as 31 bits, in words of four units."""

BYTES_A_SLOT = TUPLE.itemsize + 4 + 16
"""A slot of the flow table: its key, its newest incarnation, and its places in the index."""

BYTES_AN_ATTEMPT = 64
"""A single SYN over IPv4 that is remembered; no more segments are taken at once than could fill the memory."""

LEAST_AT_ONCE = 1024

BYTES_A_LIVING = s.CONNECTION.itemsize + 2 * s.TCB.itemsize + BYTES_A_SLOT
"""An incarnation that is not archived."""

_SIZES = {
    "conns": s.CONNECTION.itemsize + 2 * s.TCB.itemsize,
    "spans": s.SPAN.itemsize,
    "reuses": s.REUSE.itemsize,
    "stales": s.STALE.itemsize,
    "resets": s.RESET.itemsize,
    "anomalies": s.ANOMALY.itemsize,
}
"""Bytes of a record of each pool that counts."""

LEAST_PLACES = 1 << 12
"""Places of the index of attempts at the least."""

REMEMBER_NS = 300 * _NS
"""How long an incarnation that is over is remembered: 2MSL of the slowest stacks (240 s), and a minute.

2MSL of the profile is only the least: the packets may show a longer one, and who waits for its peer in LAST-ACK or
SYN-SENT waits for minutes, whatever 2MSL is.
"""

REMEMBER_AT_LEAST_NS = 120 * _NS
"""The same where very many are remembered: longer than the gap between two retransmissions (RFC 1122 4.2.3.1: 60 s)."""

IDLE_AFTER_NS = 1_000_000_000
"""An incarnation that is silent for this long is idle: it is archived like a closed one, and restored when needed."""


class Tracker:
    """Rebuilds the state history of every endpoint. ``transitions``: whether anybody wants that table."""

    def __init__(
        self,
        profile: Profile,
        *,
        compiled: bool,
        transitions: bool,
        seed: Seed,
        keep_duplicates: bool = False,
        most_bytes: int | None = None,
        lends_rows: bool = False,
    ) -> None:
        """``seed``: of the hash by which archived attempts are found; rows do not depend on it.

        ``lends_rows``: rows are only looked at until the next ones are asked for, so none is copied.
        ``most_bytes``: how much may be remembered; what is least useful is forgotten where that is not enough.
        """
        self._most_bytes, self._lends_rows = most_bytes, lends_rows
        self._load_kernels(compiled)
        self._wants_transitions = transitions
        self.pools = pools(transitions)
        self.newest: NDArray[np.int32] = full(1 << 12, -1, np.int32)
        self._compiled = compiled
        self._kernel_state = zeros(1, access.STATE).view(np.recarray)
        kernel_state = self._kernel_state[0]
        self.counters: NDArray[np.int64] = kernel_state["counters"]
        self.counters[:] = registers([register for _, register in _OUT], transitions)
        self.params: NDArray[np.int64] = kernel_state["params"]
        self.params[:] = _parameters(profile, keep_duplicates)
        self.params[[s.ARCHIVE_FROM, s.LINGER, s.IDLE_AFTER]] = ARCHIVE_FROM, LINGER_NS, IDLE_AFTER_NS
        _fill_tables(kernel_state, profile, seed)
        self._make_buffers()
        self.set_places(zeros(0, np.int32), zeros(0, np.uint8))
        self._addresses = np.frombuffer(self._kernel_state, np.int64, len(access.ADDRESSES))
        self._newest_at = address_of(self.newest)

    def _make_buffers(self) -> None:
        """Memory that stays where it is: that of copies, of rows, and of a key."""
        self._seen = zeros(s.SEEN_PLACES, s.SEEN).view(np.recarray)
        self._buffers = [Buffers(table.dtype, size) for (table, _), size in zip(_OUT, s.OUT_ROOM, strict=True)]
        self._out = [buffers.take() for buffers in self._buffers]
        self._key = zeros(1, TUPLE).view(np.recarray)
        self._kept = {"seen": self._seen, "key": self._key, **dict(zip(access.OUT, self._out, strict=True))}
        self._fixed = {name: address_of(array) for name, array in self._kept.items()}

    def _load_kernels(self, compiled: bool) -> None:
        self._arrive = load_named("tcp.machine.batch.segments_arrive", compiled=compiled)
        self._finish = load_named("tcp.machine.end_of_capture.finish", compiled=compiled)
        self._settle = load_named("tcp.machine.retirement.settle_released", compiled=compiled)
        self._index_attempts = load_named("tcp.store.attempt_index.index_attempts", compiled=compiled)
        self._forget_early = load_named("tcp.machine.early_forgetting.forget_early", compiled=compiled)
        self._count_waiting = load_named("tcp.machine.time_wait_count.count_waiting", compiled=compiled)

    @property
    def live(self) -> int:
        """Incarnations that are remembered now."""
        return int(self.counters[s.CONNS_LIVE] + self.counters[s.ARCHIVED] + self.counters[s.ATTEMPTS])

    def arrive(
        self, batch: Segments, tuples: Any, *, wants_states: bool = False
    ) -> Iterator[tuple[Table, NDArray[Any]]]:
        """Move every endpoint by one batch whose slots are known; yields finished rows.

        ``wants_states``: whether to fill in what the segments belong to and which states they have led to.
        """
        size, most = batch.size, self._most_at_once()
        done = 0
        while done < size:
            end = min(size, done + most)
            self._reserve(end - done, tuples.size)
            self._make_places(end - done, tuples)
            yield from self._keep_within(end - done, tuples)
            state = self._state(tuples)
            done = self._arrive(batch, done, end, state, wants_states)
            del state
            if done < size:
                yield from self.drain()
        if self._is_half_full():
            yield from self.drain()

    def _most_at_once(self) -> int:
        """How many segments come between two looks at the memory."""
        return MOST if self._most_bytes is None else max(LEAST_AT_ONCE, self._most_bytes // BYTES_AN_ATTEMPT)

    def finish(self, time: int, tuples: Any) -> Iterator[tuple[Table, NDArray[Any]]]:
        """The end of the capture, whose last frame came at ``time``: yields the rows of what is still remembered."""
        self.counters[s.NOW] = max(int(self.counters[s.NOW]), time)
        if self.counters[s.FIRST_ACK] >= 0:
            self.counters[s.FIRST_ACK] = min(int(self.counters[s.FIRST_ACK]), int(self.counters[s.NOW]) - 1)
        done = 0
        while done < self.counters[s.CONNS_USED]:
            self._reserve(1, tuples.size)
            done = self._finish(self._state(tuples), done)
            yield from self.drain()

    def close(self) -> None:
        """Let go of the memory; the figures stay."""
        self.pools.clear()
        self._kept.clear()
        self._buffers.clear()
        self._out.clear()
        self.newest = full(0, -1, np.int32)

    @property
    def connections(self) -> int:
        """Incarnations that were opened so far."""
        return int(self.counters[s.NEXT_CONNECTION]) - 1

    def waiting(self, tuples: Any) -> int:
        """Endpoints that are in TIME-WAIT at the time of the last segment; not while segments arrive."""
        return int(self._count_waiting(self._state(tuples)))

    @property
    def forgotten(self) -> int:
        """Incarnations that were forgotten early, for want of memory."""
        return int(self.counters[s.FORGOTTEN_ATTEMPTS] + self.counters[s.FORGOTTEN_CONNECTIONS])

    def figures(self) -> dict[str, int]:
        """What the kernels have counted about the capture itself: columns of the ``capture`` table."""
        counters = self.counters
        steps = {
            "forward_ns": (s.FORWARD_STEP, s.FORWARD_FRAME),
            "swap_lag_ns": (s.SWAP_LAG, s.SWAP_FRAME),
        }
        return {
            "plain_connections": int(counters[s.PLAIN_CONNECTIONS]),
            "vain_connections": int(counters[s.VAIN_CONNECTIONS]),
            "long_connections": int(counters[s.LONG_CONNECTIONS]),
            "one_way_connections": int(counters[s.ONE_WAY_CONNECTIONS]),
            "duplicates": int(counters[s.DUPLICATES]),
            "duplicate_frame": int(counters[s.DUPLICATE_FRAME]),
            "swaps": int(counters[s.SWAPS]),
            "merged": int(counters[s.MERGED]),
            "merged_frame": int(counters[s.MERGED_FRAME]),
            "unseen_bytes": int(counters[s.UNSEEN_BYTES]),
            "unseen_frame": int(counters[s.UNSEEN_FRAME]),
            "steps_passed": int(counters[s.STEPS_PASSED]),
            "forgotten_attempts": int(counters[s.FORGOTTEN_ATTEMPTS]),
            "forgotten_connections": int(counters[s.FORGOTTEN_CONNECTIONS]),
            **{name: int(counters[value]) if counters[frame] >= 0 else -1 for name, (value, frame) in steps.items()},
            **{f"{name.split('_')[0]}_frame": int(counters[frame]) for name, (_, frame) in steps.items()},
        }

    def take_released(self) -> NDArray[np.int32]:
        """The slots that nothing lives in any more, since they were asked for last; the array is the caller's."""
        released = self.pools["released"].records.view(np.ndarray)
        count = self._settle(released, int(self.counters[s.RELEASED]), self.newest)
        self.counters[s.RELEASED] = 0
        return released[:count].copy()

    def _is_half_full(self) -> bool:
        """Whether rows should leave: to take up a chunk costs about a millisecond, however few rows it has."""
        return any(2 * self.counters[register] >= room for (_, register), room in zip(_OUT, s.OUT_ROOM, strict=True))

    def drain(self) -> Iterator[tuple[Table, NDArray[Any]]]:
        """Finished rows: many of them are handed over with their room, few are copied out of it."""
        for n, (table, register) in enumerate(_OUT):
            rows, count = self._out[n], int(self.counters[register])
            if not count:
                continue
            if not self._lends_rows:
                if LENDING * count >= rows.size:
                    self._replace(n)
                else:
                    rows = rows[:count].copy()
            self.counters[register] = 0
            yield table, rows[:count]
            del rows

    def _replace(self, n: int) -> None:
        name, room = access.OUT[n], self._buffers[n].take()
        self._out[n] = self._kept[name] = room
        self._fixed[name] = address_of(room)

    def _reserve(self, segments: int, slots: int) -> None:
        """Make room for ``segments`` ordinary segments, and for the worst that one can cause (see ``reservations``).

        The kernel stops where the room is not enough for one more of the worst kind.
        """
        counters = self.counters
        for name, used, room, most in RESERVATIONS:
            if name in self.pools:
                pool = self.pools[name]
                pool.reserve(int(counters[used]) + max(most, EACH * segments))
                counters[room] = pool.capacity
        conns = self.pools["conns"].capacity
        self.pools["tcbs"].reserve(2 * conns)
        if self._wants_transitions:
            self.pools["causes"].reserve(2 * conns)
        archive, used = self.pools["archive"], int(counters[s.ARCHIVE_USED])
        wanted, most = used + UNITS_EACH * segments + 4 * BLOCK, self._most_units(slots)
        archive.reserve(max(used, min(wanted, most)))
        counters[s.ARCHIVE_ROOM] = max(used, min(archive.capacity, most))
        if self.newest.size < slots:
            newest = full(slots, -1, np.int32)
            newest[: self.newest.size] = self.newest
            self.set_newest(newest)

    def _most_units(self, slots: int) -> int:
        """How many units the archive may have: what the bound leaves of memory beside the records of the living."""
        if self._most_bytes is None:
            return MOST_UNITS_EVER
        pools = sum(int(self.counters[each.used]) * _SIZES.get(each.array, 0) for each in RESERVATIONS)
        others = pools + slots * BYTES_A_SLOT + 5 * int(self.counters[s.PLACES])
        return min(max(0, self._most_bytes - others) // 2 // BLOCK * BLOCK, MOST_UNITS_EVER)

    def _keep_within(self, segments: int, tuples: Any) -> Iterator[tuple[Table, NDArray[Any]]]:
        """Forget what is least useful where memory has reached its bound; yields the rows of that."""
        if self._most_bytes is None:
            return
        counters = self.counters
        needed = min(UNITS_EACH * segments, self._most_bytes // 8) // BLOCK + 2
        blocks = needed - int(counters[s.ARCHIVE_ROOM] - counters[s.ARCHIVE_USED]) // BLOCK
        live = self._most_bytes // 4 // BYTES_A_LIVING
        if int(counters[s.BLOCKS_FREE]) >= blocks and int(counters[s.CONNS_LIVE]) <= live:
            return
        while self._forget_early(self._state(tuples), blocks, live):
            yield from self.drain()

    def _make_places(self, segments: int, tuples: Any) -> None:
        """Build the index of attempts again, with more places, where it may become too full for ``segments`` more."""
        taken, places_now = int(self.counters[s.PLACES_TAKEN]), int(self.counters[s.PLACES])
        if 8 * (taken + EACH * segments) <= FULL_EIGHTHS * places_now:
            return
        size = LEAST_PLACES
        while FULL_EIGHTHS * size < 9 * (int(self.counters[s.ATTEMPTS]) + EACH * segments):
            size *= 2
        self.set_places(zeros(size, np.int32), zeros(size, np.uint8))
        self.counters[s.PLACES] = size
        self.counters[s.PLACES_TAKEN] = 0
        if self.counters[s.ATTEMPTS]:
            self._index_attempts(self._state(tuples))

    def set_newest(self, newest: NDArray[np.int32]) -> None:
        """Use this array for the newest incarnation of each slot."""
        self.newest, self._newest_at = newest, address_of(newest)

    def places(self) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """The index of attempts: the word and the mark of each place."""
        return self._kept["place_words"], self._kept["place_marks"]

    def set_places(self, words: NDArray[np.int32], marks: NDArray[np.uint8]) -> None:
        """Use these arrays for the index of attempts."""
        self._kept.update(place_words=words, place_marks=marks)
        self._fixed.update(place_words=address_of(words), place_marks=address_of(marks))

    def _state(self, tuples: Any) -> Any:
        """What the kernels take: the bundle of arrays, or the record with their addresses."""
        if self._compiled:
            own = {**self._fixed, **{name: pool.address for name, pool in self.pools.items()}}
            own["newest"] = self._newest_at
            own["tuples"] = address_of(tuples)
            self._addresses[:] = [own[name] for name in access.ADDRESSES]
            if IS_CHECKED:
                access.note_rooms(self._kernel_state[0], self._arrays(tuples))
            return self._kernel_state[0]
        kernel_state = self._kernel_state[0]
        small = {
            name: kernel_state[name] for name in ("counters", "params", "shards", "next_state", "syn_table", "seed")
        }
        arrays: dict[str, Any] = {
            name: array if array.dtype.fields is None else Records(array)
            for name, array in self._arrays(tuples).items()
        }
        return State(**arrays, **small)

    def _arrays(self, tuples: Any) -> dict[str, Any]:
        pools = {name: pool.records for name, pool in self.pools.items()}
        return {"newest": self.newest, "tuples": tuples, **self._kept, **pools}


def _fill_tables(kernel_state: Any, profile: Profile, seed: Seed) -> None:
    kernel_state["next_state"][:] = next_state_table()
    kernel_state["syn_table"][:] = syn_acceptance_table(profile)
    kernel_state["seed"][:] = seed
    kernel_state["shards"].reshape(-1, s.SHARD_WORDS)[:, s.SEEN_MASK] = s.LEAST_SEEN_MASK


def _parameters(profile: Profile, keep_duplicates: bool) -> NDArray[np.int64]:
    params = np.zeros(s.PARAMETERS, np.int64)
    params[s.TWO_MSL] = profile.two_msl_ns
    params[s.REMEMBER] = max(REMEMBER_NS, 2 * profile.two_msl_ns)
    params[s.REMEMBER_AT_LEAST] = max(REMEMBER_AT_LEAST_NS, 2 * profile.two_msl_ns)
    params[s.PASSES_FIN_WAIT_2] = profile.passes_fin_wait_2
    params[s.RST_FATAL] = profile.is_rst_fatal
    params[s.PAWS_IN_TIME_WAIT] = profile.is_paws_in_time_wait
    params[s.PAWS_TOLERANCE] = profile.paws_tolerance
    params[s.PAWS_IDLE_S] = profile.paws_idle_ns // _NS
    params[s.RESTART_FIN : s.RESTART_STALE_SYN + 1] = profile.restart
    params[s.KEEP_DUPLICATES] = keep_duplicates
    params[s.KEEPS_TS_RECENT] = profile.keeps_ts_recent
    return params
