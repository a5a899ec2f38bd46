"""What the map leaves of a file, from the notes on its pieces; and the proof that these are the file.

The first piece begins with the first record. If the records of each piece end where the next one begins, the pieces
have exactly the records of one pass. Frames of a piece are numbered from 1 until those before it are counted.

The clock of a piece begins as if all frames before it were older. If they are, and no segment in it is late by more
than what a clock takes no notice of, it comes to what the clock of the whole file would have come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture import damage, skip_reasons
from tcptrace_tw.capture.clock import BACK_NS, BACKWARD_FRAME, MAX_BACKWARD
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.icmp import Quote
from tcptrace_tw.capture.reader import with_kept
from tcptrace_tw.cluster.plan import Plan
from tcptrace_tw.cluster.spool import read_note, write_note
from tcptrace_tw.cluster.tasks import MAPPED, REDUCED

Note = dict[str, Any]

SUMS = (
    "frames", "captured_bytes", "wire_bytes", "tcp_segments", "backward_steps", "truncated_options", "unfit_times",
    "damaged_segments",
)  # fmt: skip
"""Facts of a file that are the sums of those of its pieces."""


@dataclass
class Mapped:
    """One file, when all of it is mapped."""

    facts: FileFacts
    numbers: list[int]
    """The tasks that have mapped it."""
    notes: list[Note]
    frames_before: list[int]
    """How many frames the pieces before have, by piece."""

    @property
    def error(self) -> str | None:
        """Why nothing of it can be read."""
        error: str | None = self.notes[0]["error"]
        return error

    @property
    def begin(self) -> int | None:
        """Time of its first frame; None where it has none, or cannot be read."""
        begin: int | None = self.notes[0].get("begin")
        return begin

    @property
    def first(self) -> int:
        """The clock at its first segment; -1 where there is none."""
        return next((note["first"] for note in self.notes if note.get("first", -1) >= 0), -1)

    @property
    def first_acks(self) -> list[int]:
        """The clock at the first ACK that carries nothing else, of each piece that has one."""
        return [note["first_ack"] for note in self.notes if note.get("first_ack", -1) >= 0]

    @property
    def clocks(self) -> list[NDArray[np.int64]]:
        """The words of the clock of each piece."""
        clocks = [(np.array(note["clock"]), before) for note, before in self._read]
        for words, before in clocks:
            words[BACKWARD_FRAME] += before if words[BACKWARD_FRAME] >= 0 else 0
        return [words for words, _ in clocks]

    @property
    def damage(self) -> list[list[int]]:
        """The tally of damaged segments of each piece."""
        tallies = [(list(note["damage"]), before) for note, before in self._read]
        for tally, before in tallies:
            tally[damage.FRAME] += before
        return [tally for tally, _ in tallies]

    @property
    def quotes(self) -> list[Quote]:
        """The ICMP errors that were read."""
        quotes = [(_quote(words), before) for note, before in self._read for words in note["quotes"]]
        return [quote._replace(frame=quote.frame + before) for quote, before in quotes]

    def blocks(self) -> dict[int, list[list[Any]]]:
        """By part, its segments: by piece the file in the spool, frames before it, and where in it they are."""
        found: dict[int, list[list[Any]]] = {}
        for number, (note, before) in zip(self.numbers, self._read, strict=False):
            places: dict[int, list[list[int]]] = {}
            for part, *block in note["blocks"]:
                places.setdefault(part, []).append(block)
            for part, blocks in places.items():
                found.setdefault(part, []).append([f"{number:06d}.segments", before, blocks])
        return found

    @property
    def _read(self) -> list[tuple[Note, int]]:
        return [] if self.error else list(zip(self.notes, self.frames_before, strict=True))


def _quote(words: Sequence[Any]) -> Quote:
    values: list[Any] = [tuple(word) if isinstance(word, list) else word for word in words]
    return Quote(*values)


def joined(plan: Plan, numbers: Sequence[int]) -> Mapped | None:
    """A file from the notes of these tasks; None where they are not proven to be the file."""
    notes = [read_note(plan.path(MAPPED, f"{number:06d}.json")) for number in numbers]
    facts = [FileFacts(**{**note["facts"], "links": tuple(note["facts"]["links"])}) for note in notes]
    if len(notes) == 1:
        return Mapped(facts[0], list(numbers), notes, [0])
    if not _is_whole([plan.piece(number).end for number in numbers], notes, facts):
        return None
    before = np.cumsum([0, *(each.frames for each in facts)]).tolist()
    return Mapped(_together(facts, notes), list(numbers), notes, before[:-1])


def _is_whole(ends: Sequence[int | None], notes: Sequence[Note], facts: Sequence[FileFacts]) -> bool:
    """Whether pieces follow each other in the file, and each one in time what was before it."""
    if any(note["error"] for note in notes) or any(
        note["end"] != end or note["stopped"] for note, end in zip(notes[:-1], ends[:-1], strict=True)
    ):
        return False
    latest = facts[0].last_time
    for own, note in zip(facts[1:], notes[1:], strict=True):
        if latest is None or own.first_time is None or own.last_time is None or own.first_time <= latest:
            return False
        if note["clock"][MAX_BACKWARD] >= BACK_NS:
            return False
        latest = own.last_time
    return True


def _together(facts: Sequence[FileFacts], notes: Sequence[Note]) -> FileFacts:
    """The facts of a file from those of its pieces, which follow each other in time."""
    skipped, last = np.zeros(skip_reasons.CODES, np.int64), notes[-1]
    for note in notes:
        for code, count in note["skipped"]:
            skipped[code] += count
    sums = {name: sum(getattr(own, name) for own in facts) for name in SUMS}
    return replace(
        facts[0],
        **sums,
        last_time=facts[-1].last_time,
        skipped=skip_reasons.count_by_name(skipped, last["unknown_links"]),
        damage=last["stopped"] and with_kept(last["stopped"], sums["frames"]),
    )


def write_tasks(plan: Plan, files: Sequence[Mapped]) -> list[int]:
    """Put down for each part where its segments lie, and what it must know of the others; returns their numbers."""
    start = min((file.first for file in files if file.first >= 0), default=-1)
    ends = [file.facts.last_time for file in files if file.facts.last_time is not None]
    acks = [ack for file in files for ack in file.first_acks]
    sources: list[list[list[Any]]] = [[] for _ in range(plan.parts)]
    for first_time, file in zip(plan.first_times, files, strict=True):
        for part, pieces in file.blocks().items():
            sources[part].append([first_time, pieces])
    for part, own in enumerate(sources):
        task = {"sources": own, "start": start, "end": max(ends, default=0), "first_ack": min(acks, default=-1)}
        write_note(plan.path(REDUCED, f"{part:03d}.task.json"), task)
    return [sum(rows for _, pieces in own for _, _, blocks in pieces for _, _, rows in blocks) for own in sources]
