"""The tcp room from outside: batches in, rows out, nothing kept of what is over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.jit import load
from tcptrace_tw.memory import Buffers, Pool, address_of
from tcptrace_tw.spec.columns import (
    CONNECTIONS,
    ODDITIES,
    RESETS,
    REUSES,
    STALE_SEGMENTS,
    TIME_WAIT,
    TRANSITIONS,
    Table,
)
from tcptrace_tw.spec.profiles import Profile, syn_acceptance_table
from tcptrace_tw.spec.segments import Segments
from tcptrace_tw.spec.states import next_state_table
from tcptrace_tw.tcp import places
from tcptrace_tw.tcp import state as s
from tcptrace_tw.tcp.ending import finish
from tcptrace_tw.tcp.retirement import settle_released
from tcptrace_tw.tcp.segment_arrives import segments_arrive
from tcptrace_tw.tcp.tombstone import BLOCK

_OUT = (
    (CONNECTIONS, s.OUT_CONNECTIONS),
    (TRANSITIONS, s.OUT_TRANSITIONS),
    (TIME_WAIT, s.OUT_TIME_WAIT),
    (REUSES, s.OUT_REUSES),
    (STALE_SEGMENTS, s.OUT_STALE),
    (RESETS, s.OUT_RESETS),
    (ODDITIES, s.OUT_ODDITIES),
)

_NS = 1_000_000_000

BURY_FROM = 4096
"""So many living incarnations lie in the cache as they are; from there on those that are over or asleep are buried."""

COOLS_NS = 100_000_000
"""So long after its last segment an incarnation that is over stays at hand: an answer to a repeat may follow."""

UNITS_EACH = 256
"""Room for tombstones that a segment brings about; where it is not enough, burial waits for the next batch."""

SLEEPS_NS = 1_000_000_000
"""Who has been silent for so long sleeps: it is buried like one that is over, and dug out when it speaks."""


class Tracker:
    """Rebuilds the state history of every endpoint. ``transitions``: whether anybody wants that table."""

    def __init__(
        self,
        profile: Profile,
        *,
        compiled: bool,
        transitions: bool,
        keep_duplicates: bool = False,
    ) -> None:
        self._arrive = load(segments_arrive, compiled=compiled)
        self._finish = load(finish, compiled=compiled)
        self._settle = load(settle_released, compiled=compiled)
        self._wants_transitions = transitions
        self._pools = {
            "conns": Pool(s.CONNECTION, 1 << 12),
            "tcbs": Pool(s.TCB, 1 << 13),
            "causes": Pool(s.PENDING_CAUSE, 1 << 13 if transitions else 1),
            "spans": Pool(s.SPAN, 1 << 12),
            "reuses": Pool(s.REUSE, 1 << 12),
            "stales": Pool(s.STALE, 1 << 10),
            "resets": Pool(s.RESET, 1 << 10),
            "oddities": Pool(s.ODDITY, 1 << 10),
            "graves": Pool(np.dtype(np.uint16), 2 * BLOCK),
        }
        self.heads: NDArray[np.int32] = np.full(1 << 12, -1, np.int32)
        self.released: NDArray[np.int32] = np.zeros(1 << 12, np.int32)
        self._compiled = compiled
        next_state, syn_table = next_state_table(), syn_acceptance_table(profile)
        self._desk = np.zeros(1, places.desk_dtype(next_state.shape, syn_table.shape)).view(np.recarray)
        desk = self._desk[0]
        self.regs: NDArray[np.int64] = desk["regs"]
        self.regs[:] = _registers(transitions)
        self._params: NDArray[np.int64] = desk["params"]
        self._params[:] = _parameters(profile, keep_duplicates)
        self._params[[s.BURY_FROM, s.COOLS, s.SLEEPS]] = BURY_FROM, COOLS_NS, SLEEPS_NS
        desk["next_state"][:] = next_state
        desk["syn_table"][:] = syn_table
        self._seen = np.zeros(s.SEEN_PLACES, s.SEEN).view(np.recarray)
        self._seen.time = -_NS
        self._buffers = [Buffers(table.dtype, size) for (table, _), size in zip(_OUT, s.OUT_ROOM, strict=True)]
        self._out = [buffers.take() for buffers in self._buffers]
        self._kept = {"seen": self._seen, **dict(zip(places.OUT, self._out, strict=True))}
        self._fixed = {name: address_of(array) for name, array in self._kept.items()}
        self._addresses = np.frombuffer(self._desk, np.int64, len(places.ADDRESSES))
        self._heads_at, self._released_at = address_of(self.heads), address_of(self.released)

    @property
    def live(self) -> int:
        """Incarnations that are remembered now."""
        return int(self.regs[s.CONNS_LIVE] + self.regs[s.BURIED])

    def arrive(
        self, batch: Segments, tuples: Any, *, wants_states: bool = False
    ) -> Iterator[tuple[Table, NDArray[Any]]]:
        """Move every endpoint by one batch whose slots are known; yields finished rows.

        ``wants_states``: whether to fill in what the segments belong to and which states they have led to.
        """
        size = batch.size
        self._reserve(size, tuples.size)
        done = 0
        while done < size:
            state = self._state(tuples)
            done = self._arrive(batch, done, size, state, wants_states)
            del state
            if done < size:
                yield from self._drain()
        if self._is_half_full():
            yield from self._drain()

    def finish(self, time: int, tuples: Any) -> Iterator[tuple[Table, NDArray[Any]]]:
        """The end of the capture, whose last frame came at ``time``: yields the rows of what is still remembered."""
        self.regs[s.NOW] = max(int(self.regs[s.NOW]), time)
        done = 0
        while done < self.regs[s.CONNS_USED]:
            done = self._finish(self._state(tuples), done)
            yield from self._drain()

    def figures(self) -> dict[str, int]:
        """What the kernels have counted about the capture itself: columns of the ``capture`` table."""
        regs = self.regs
        steps = {
            "backward_ns": (s.MAX_BACKWARD, s.BACKWARD_FRAME),
            "forward_ns": (s.FORWARD_STEP, s.FORWARD_FRAME),
            "swap_lag_ns": (s.SWAP_LAG, s.SWAP_FRAME),
        }
        return {
            "plain_connections": int(regs[s.PLAIN_CONNECTIONS]),
            "vain_connections": int(regs[s.VAIN_CONNECTIONS]),
            "long_connections": int(regs[s.LONG_CONNECTIONS]),
            "one_way_connections": int(regs[s.ONE_WAY_CONNECTIONS]),
            "duplicates": int(regs[s.DUPLICATES]),
            "duplicate_frame": int(regs[s.DUPLICATE_FRAME]),
            "swaps": int(regs[s.SWAPS]),
            "merged": int(regs[s.MERGED]),
            "merged_frame": int(regs[s.MERGED_FRAME]),
            "unseen_bytes": int(regs[s.UNSEEN_BYTES]),
            "unseen_frame": int(regs[s.UNSEEN_FRAME]),
            **{name: int(regs[value]) if regs[frame] >= 0 else -1 for name, (value, frame) in steps.items()},
            **{f"{name.split('_')[0]}_frame": int(regs[frame]) for name, (_, frame) in steps.items()},
        }

    def take_released(self) -> NDArray[np.int32]:
        """The slots that nothing lives in any more, since they were asked for last; the array is the caller's."""
        count = self._settle(self.released, int(self.regs[s.RELEASED]), self.heads)
        self.regs[s.RELEASED] = 0
        return self.released[:count].copy()

    def _is_half_full(self) -> bool:
        """Whether rows should leave: to take up a chunk costs about a millisecond, however few rows it has."""
        return any(2 * self.regs[register] >= room for (_, register), room in zip(_OUT, s.OUT_ROOM, strict=True))

    def _drain(self) -> Iterator[tuple[Table, NDArray[Any]]]:
        """Finished rows: many of them are handed over with their room, few are copied out of it."""
        for n, (table, register) in enumerate(_OUT):
            rows, count = self._out[n], int(self.regs[register])
            if not count:
                continue
            if 2 * count >= rows.size:
                self._replace(n)
            else:
                rows = rows[:count].copy()
            self.regs[register] = 0
            yield table, rows[:count]
            del rows

    def _replace(self, n: int) -> None:
        name, room = places.OUT[n], self._buffers[n].take()
        self._out[n] = self._kept[name] = room
        self._fixed[name] = address_of(room)

    def _reserve(self, new: int, slots: int) -> None:
        """Room for what a batch can bring at the most: one incarnation, two spans, one of each fact a segment."""
        pools = self._pools
        used = int(self.regs[s.CONNS_USED]) + 2 * new
        pools["conns"].reserve(used)
        pools["tcbs"].reserve(2 * used)
        if self._wants_transitions:
            pools["causes"].reserve(2 * used)
        for name, register, each in (
            ("spans", s.SPANS_USED, 2),
            ("reuses", s.REUSES_USED, 1),
            ("stales", s.STALES_USED, 1),
            ("resets", s.RESETS_USED, 1),
            ("oddities", s.ODDITIES_USED, 4),
        ):
            pools[name].reserve(int(self.regs[register]) + each * new)
        pools["graves"].reserve(int(self.regs[s.GRAVES_USED]) + UNITS_EACH * new + 4 * BLOCK)
        self.regs[s.GRAVES_ROOM] = pools["graves"].capacity
        if self.heads.size < slots:
            heads = np.full(slots, -1, np.int32)
            heads[: self.heads.size] = self.heads
            self.heads = heads
            self._heads_at = address_of(heads)
        wanted = int(self.regs[s.RELEASED]) + 4 * new
        if self.released.size < wanted:
            released = np.zeros(wanted, np.int32)
            released[: self.released.size] = self.released
            self.released = released
            self._released_at = address_of(released)

    def _state(self, tuples: Any) -> Any:
        """What the kernels take: the bundle of arrays, or the record with their addresses."""
        if self._compiled:
            own = {**self._fixed, **{name: pool.address for name, pool in self._pools.items()}}
            own["heads"], own["released"] = self._heads_at, self._released_at
            own["tuples"] = address_of(tuples)
            self._addresses[:] = [own[name] for name in places.ADDRESSES]
            if places.IS_CHECKED:
                places.note_rooms(self._desk[0], self._arrays(tuples))
            return self._desk[0]
        desk = self._desk[0]
        small = {name: desk[name] for name in ("regs", "params", "next_state", "syn_table")}
        return s.State(**self._arrays(tuples), **small)

    def _arrays(self, tuples: Any) -> dict[str, Any]:
        pools = {name: pool.records for name, pool in self._pools.items()}
        return {"heads": self.heads, "released": self.released, "tuples": tuples, **self._kept, **pools}


def _registers(transitions: bool) -> NDArray[np.int64]:
    regs = np.zeros(s.REGISTERS, np.int64)
    for register in (s.START, s.CONNS_FREE, s.SPANS_FREE, s.REUSES_FREE, s.STALES_FREE, s.RESETS_FREE, s.QUEUE_HEAD,
                     s.QUEUE_TAIL, s.COOLING_HEAD, s.COOLING_TAIL, s.GRAVES_FREE, s.GRAVES_OLDEST, s.GRAVES_NEXT,
                     s.ODDITIES_FREE, s.BACKWARD_FRAME, s.FORWARD_FRAME, s.MERGED_FRAME, s.SWAP_FRAME,
                     s.UNSEEN_FRAME, s.DUPLICATE_FRAME):  # fmt: skip
        regs[register] = -1
    regs[s.NEXT_DUE] = s.NEVER
    for register in (s.NEXT_CONNECTION, s.NEXT_TUPLE, s.NEXT_TRANSITION):
        regs[register] = 1
    regs[s.WANT_TRANSITIONS] = transitions
    return regs


def _parameters(p: Profile, keep_duplicates: bool) -> NDArray[np.int64]:
    params = np.zeros(s.PARAMETERS, np.int64)
    params[s.TWO_MSL] = p.two_msl_ns
    params[s.REMEMBER] = 2 * p.two_msl_ns
    params[s.PASSES_FIN_WAIT_2] = p.passes_fin_wait_2
    params[s.RST_FATAL] = p.is_rst_fatal
    params[s.PAWS_IN_TIME_WAIT] = p.is_paws_in_time_wait
    params[s.PAWS_TOLERANCE] = p.paws_tolerance
    params[s.PAWS_IDLE_S] = p.paws_idle_ns // _NS
    params[s.RESTART_FIN : s.RESTART_STALE_SYN + 1] = p.restart
    params[s.KEEP_DUPLICATES] = keep_duplicates
    params[s.KEEPS_TS_RECENT] = p.keeps_ts_recent
    return params
