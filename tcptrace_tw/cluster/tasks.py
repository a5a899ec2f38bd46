"""The two tasks: a piece of a file is dealt to parts, a part is tracked. Each depends on the plan and on files only.

A task leaves the same files whoever does it, and however often: so it is done again where a process has died.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture.address import without_password
from tcptrace_tw.capture.clock import START, Clock
from tcptrace_tw.capture.cuts import open_piece
from tcptrace_tw.capture.damage import Damage
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.icmp import Quote
from tcptrace_tw.capture.merge import Source, merge
from tcptrace_tw.capture.pcap import HEADER_LEN
from tcptrace_tw.capture.reader import BATCH_SIZE, Reader
from tcptrace_tw.capture.source import Stream, open_stream
from tcptrace_tw.cluster import dealing
from tcptrace_tw.cluster.plan import Piece, Plan
from tcptrace_tw.cluster.rows import Rows, RowWriter
from tcptrace_tw.cluster.spare import Spare
from tcptrace_tw.cluster.spool import (
    BlockReader,
    BlockSource,
    Hashed,
    appearing,
    append_rows,
    digest_of,
    is_whole,
    read_note,
    write_block,
    write_note,
)
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.flow import FlowTable
from tcptrace_tw.kernels.marks import load
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.memory_limit import for_connections
from tcptrace_tw.one_pass import kept_segments
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.schema.columns import BY_NAME
from tcptrace_tw.schema.segments import MOST, Segments
from tcptrace_tw.storage import Place
from tcptrace_tw.tcp.store import records as s
from tcptrace_tw.tcp.tracker import Tracker

MAPPED, REDUCED = "map", "reduce"

ROOM_ROWS = 1 << 18
"""The most segments that wait until their block is full, over all parts."""

LEAST_ROWS = 1 << 10
"""The fewest segments that a block has room for."""

BIRTHS = "births"
"""When each connection of a part was opened: clock and frame."""

TRACKED = ("connections", "transitions", "time_wait", "reuses", "stale_segments", "resets", "anomalies")


def map_piece(plan: Plan, number: int) -> int:
    """Deal the segments of one piece to parts; returns how many bytes it has."""
    note_path = plan.path(MAPPED, f"{number:06d}.json")
    note = read_note(note_path)
    segments_path = plan.path(MAPPED, f"{number:06d}.segments")
    if note is None or note["error"] or not is_whole(segments_path, note["digest"]):
        note = _map_piece(plan, plan.piece(number), segments_path)
        write_note(note_path, note)
    return size_of_piece(plan.piece(number), note["facts"]["size"] or 0)


def size_of_piece(piece: Piece, file_bytes: int) -> int:
    """Bytes of a piece."""
    return (file_bytes if piece.end is None else piece.end) - piece.begin


def _map_piece(plan: Plan, piece: Piece, path: Place) -> dict[str, Any]:
    name, settings = plan.files[piece.file], plan.checked()
    facts, quotes = FileFacts(without_password(name)), list[Quote]()
    try:
        with _open(plan.place_of(piece.file), piece) as stream, appearing(path, is_checked=plan.is_found_again) as file:
            reader = Reader(
                stream, compiled=plan.compiled, file_index=piece.file, quotes=quotes,
                left_out=piece.begin and piece.begin - HEADER_LEN,
            )  # fmt: skip
            reader.facts.name = without_password(name)
            facts, mapper = reader.facts, _Mapper(plan, piece, reader.facts)
            for batch in reader.batches():
                wanted = kept_segments(batch, settings.read_segments(), is_vlan_ignored=settings.ignore_vlan)
                if wanted is not None:
                    mapper.take(wanted, file)
            mapper.finish(file)
            digest = file.digest
    except CaptureError as error:
        words = str(error).replace(plan.place_of(piece.file), name, 1)
        facts.damage = words.removeprefix(f"{facts.name}: ")
        return {"facts": asdict(facts), "error": words, "digest": ""}
    return {
        "facts": asdict(facts), "error": None, "digest": digest, "quotes": quotes, "begin": reader.begin,
        "end": reader.end, "stopped": reader.stopped, "skipped": list(reader.skipped.items()),
        "unknown_links": reader.unknown_links,
        **mapper.note(),
    }  # fmt: skip


def _open(name: str, piece: Piece) -> Stream:
    return open_piece(name, piece.begin, piece.end) if piece.begin else open_stream(name)


class _Mapper:
    """Takes the batches of one piece."""

    def __init__(self, plan: Plan, piece: Piece, facts: FileFacts) -> None:
        self._plan, self._facts = plan, facts
        self._clock, self._damage = Clock(compiled=plan.compiled), Damage(compiled=plan.compiled)
        if piece.begin > HEADER_LEN:
            self._clock.words[START] = 0  # all that came before is older, which is proven later (see ``mapped``)
        self._words = np.full(dealing.DEALT + 1, -1, np.int64)
        first = plan.first_times[piece.file] if plan.several_files else None
        self._words[[dealing.LATEST, dealing.DEALT]] = first or 0, 0
        self._deal = load(dealing.deal, compiled=plan.compiled)
        self._dealt = _empty_room(plan.parts)
        self._blocks: list[list[int]] = []
        self._steps = 0
        """How often the time of a frame has gone back so far."""

    def take(self, batch: Segments, file: Hashed) -> None:
        """Deal one batch."""
        self._clock.see(batch, is_in_order=self._facts.backward_steps == self._steps)
        self._steps = self._facts.backward_steps
        if self._facts.damaged_segments:
            self._damage.see(batch)
        self._words[dealing.NEXT] = 0
        while True:
            self._deal(batch, batch.size, self._words, self._dealt)
            part = int(self._words[dealing.FULL])
            if part == dealing.NOTHING:
                break
            self._flush(part, file)

    def finish(self, file: Hashed) -> None:
        """Write what is left."""
        for part in np.flatnonzero(self._dealt.fill).tolist():
            self._flush(part, file)
        _SPARE_ROOMS.give_back(self._plan.parts, self._dealt)

    def _flush(self, part: int, file: Hashed) -> None:
        begin = file.size
        write_block(file, self._dealt, part, self._plan.codec)
        self._blocks.append([part, begin, file.size - begin, int(self._dealt.fill[part])])
        self._dealt.fill[part] = 0

    def note(self) -> dict[str, Any]:
        """What is known of the piece beside its segments."""
        words = self._words.tolist()
        return {
            "blocks": self._blocks, "first": words[dealing.FIRST_TIME], "first_ack": words[dealing.FIRST_ACK],
            "clock": self._clock.words.tolist(), "damage": self._damage.tally, "segments": words[dealing.DEALT],
        }  # fmt: skip


def _room_for(parts: int) -> dealing.Dealt:
    return dealing.room_for(parts, min(MOST, max(LEAST_ROWS, ROOM_ROWS // parts)))


_SPARE_ROOMS = Spare(_room_for)
"""By the number of parts: room for the blocks of a piece."""


def _empty_room(parts: int) -> dealing.Dealt:
    room = _SPARE_ROOMS.take(parts)
    room.fill[:] = room.is_wide[:] = 0
    return room


def reduce_part(plan: Plan, part: int) -> int:
    """Track the 4-tuples of one part; returns how many segments they have."""
    note_path = plan.path(REDUCED, f"{part:03d}.json")
    note, task = read_note(note_path), read_note(plan.path(REDUCED, f"{part:03d}.task.json"))
    if note is None or not _is_reduced(plan, note, task):
        _SPARE_ROOMS.clear()
        note = (_Reducer(plan, part, task).run if task["sources"] else partial(_nothing, plan, part))()
        write_note(note_path, {**note, "task": digest_of(task)})
    return int(note["segments"])


def _is_reduced(plan: Plan, note: dict[str, Any], task: dict[str, Any]) -> bool:
    """Whether a part is tracked: this task, and in as much memory as now, if that was not enough for all."""
    is_same = note.get("task") == digest_of(task)
    if not is_same or (note["has_forgotten"] and note["most_bytes"] != _most_bytes(plan)):
        return False
    return all(is_whole(plan.path(REDUCED, name), digest) for name, digest in note["digests"].items())


def _most_bytes(plan: Plan) -> int | None:
    """How much one part may remember."""
    most = for_connections(plan.checked().max_memory)  # type: ignore[arg-type] # Settings makes it a number
    return None if most is None else most // plan.workers


def _nothing(plan: Plan, part: int) -> dict[str, Any]:
    """A part without segments; a tracker would take more memory than its plan."""
    digests = {}
    for name in [*TRACKED, BIRTHS]:
        with appearing(plan.path(REDUCED, f"{part:03d}.{name}"), is_checked=plan.is_found_again) as file:
            digests[f"{part:03d}.{name}"] = file.digest
    return {
        "digests": digests, "figures": None, "rows": dict.fromkeys(TRACKED, 0), "segments": 0, "has_forgotten": False,
    }  # fmt: skip


class _Reducer:
    """Tracks one part."""

    def __init__(self, plan: Plan, part: int, task: dict[str, Any]) -> None:
        self._plan, self._part, self._task = plan, part, task
        settings, seed = plan.checked(), new_seed()
        self._flow = FlowTable(compiled=plan.compiled, seed=seed)
        self._tracker = Tracker(
            profile(settings.profile, settings.two_msl_s), compiled=plan.compiled, transitions=plan.transitions,
            seed=seed, keep_duplicates=settings.keep_duplicates,
            most_bytes=_most_bytes(plan), lends_rows=True,
        )  # fmt: skip
        self._tracker.counters[[s.START, s.NOW]] = self._task["start"]
        self._tracker.counters[s.FIRST_ACK] = self._task["first_ack"]
        self._births = np.zeros((MOST, 2), np.int64)
        self._note_births = load(dealing.note_births, compiled=plan.compiled)
        self._rows = dict.fromkeys(TRACKED, 0)
        self._segments = self._opened = 0
        self._readers: list[BlockReader] = []
        self._writers: dict[str, RowWriter] = {}

    def run(self) -> dict[str, Any]:
        """Write the rows of every table, and when each connection was opened."""
        names = [table for table in TRACKED if table != "transitions" or self._plan.transitions]
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(appearing(self._path(name), is_checked=self._plan.is_found_again))
                for name in [*names, BIRTHS]
            }
            self._writers = {
                name: RowWriter(files[name], BY_NAME[name].dtype, compiled=self._plan.compiled) for name in names
            }
            for batch in self._batches():
                self._take(batch, files[BIRTHS])
            for table, rows in self._tracker.finish(self._task["end"], self._flow.tuples):
                self._write(table.name, rows)
            for writer in self._writers.values():
                writer.close()
            digests = {self._path(name).name: file.digest for name, file in files.items()}
        figures, has_forgotten = self._tracker.figures(), self._tracker.forgotten > 0
        self._tracker.close()
        return {
            "digests": digests, "figures": figures, "rows": self._rows, "segments": self._segments,
            "has_forgotten": has_forgotten, "most_bytes": _most_bytes(self._plan),
        }  # fmt: skip

    def _path(self, name: str) -> Place:
        return self._plan.path(REDUCED, f"{self._part:03d}.{name}")

    def _take(self, batch: Segments, births: Hashed) -> None:
        self._segments += batch.size
        number = self._flow.assign(batch)
        for table, rows in self._tracker.arrive(batch, self._flow.tuples, wants_states=True):
            self._write(table.name, rows)
        free = self._tracker.take_released()
        if free.size:
            self._flow.give_back(free, number)
        before = self._opened
        self._opened = int(self._note_births(batch, batch.size, before, self._births))
        append_rows(births, self._births[: self._opened - before])

    def _write(self, table: str, rows: NDArray[Any]) -> None:
        self._rows[table] += rows.size
        self._writers[table].add(rows)

    def _batches(self) -> Iterator[Segments]:
        """The segments of the part in the order of the clock, then of the files: as in one pass."""
        sources = [Source(first_time, partial(self._read, pieces)) for first_time, pieces in self._task["sources"]]
        if len(sources) == 1:
            yield from sources[0].open()
        else:
            yield from merge(sources, BATCH_SIZE, compiled=self._plan.compiled)

    def _read(self, pieces: list[list[Any]]) -> Iterator[Segments]:
        """The segments that one file has of the part; a reader takes up the next file when it is done with one."""
        reader = self._readers.pop() if self._readers else BlockReader(compiled=self._plan.compiled)
        yield from reader.batches(
            BlockSource(self._plan.path(MAPPED, name), frames_before, places) for name, frames_before, places in pieces
        )
        self._readers.append(reader)


def read_rows(plan: Plan, part: int, table: str) -> Rows:
    """The rows of one table that a part has."""
    return Rows(plan.path(REDUCED, f"{part:03d}.{table}"), BY_NAME[table].dtype, compiled=plan.compiled)


def read_births(plan: Plan, part: int) -> NDArray[np.int64]:
    """Clock and frame of the segment that opened each connection of a part."""
    return np.frombuffer(plan.path(REDUCED, f"{part:03d}.{BIRTHS}").read_bytes(), np.int64).reshape(-1, 2)
