"""The comments of a capture by frame: a sink takes state changes and findings, and gives them back frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.comments.spill import PAGE_BITS, Spill, Texts
from tcptrace_tw.report.words.findings import connection_ids, finding_ids, frame_lists, kept, main_frames
from tcptrace_tw.report.words.messages import message
from tcptrace_tw.report.words.text import FRAME_MASK
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.columns import FRAME_BITS
from tcptrace_tw.schema.words import BASIS, ORIG, SEVERITY, STATE

CHANGE = np.dtype(
    [("frame", "i8"), ("connection_id", "i8"), ("transition_id", "i8"), ("endpoint", "u1"), ("from_state", "u1"),
     ("to_state", "u1"), ("basis", "u1")]
)  # fmt: skip
REMARK = np.dtype([("frame", "i8"), ("place", "i8"), ("length", "i4")])

SHOWN_BASES = ("assumed", "inferred", "midstream")
"""What is not seen, but concluded, is said to be so."""

MOST_EACH = 100
"""The most comments of one kind on a packet."""


class PacketNotes:
    """A sink; when the pass is over, ``of`` gives the comments of one frame after the other."""

    def __init__(self, *, states: bool, least: int | None, several_files: bool = False) -> None:
        """``states``: whether state changes are wanted; ``least``: the least severity of findings, None for none."""
        self.tables: frozenset[str] = frozenset({"transitions"} if states else ())
        self.changes = 0
        self.remarks = 0
        """Findings that are told at their frames."""
        self._least = least
        self._several_files = several_files
        self._changes, self._remarks, self._texts = Spill(CHANGE), Spill(REMARK), Texts()
        self._retracted: list[NDArray[np.int64]] = []
        self._gone: set[tuple[int, int]] | None = None
        self._page = -1
        self._of_page: dict[int, list[bytes]] = {}

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Take rows of ``transitions``; what a timer brings about has no frame."""
        back = rows[rows["retracts"] >= 0]
        if back.size:
            self._retracted.append(np.stack([back["connection_id"], back["retracts"]], axis=1))
        rows = rows[(rows["frame"] >= 0) & (rows["retracts"] < 0)]
        own = np.empty(rows.size, CHANGE)
        for name in CHANGE.names or ():
            own[name] = rows[name]
        self._changes.add(own)
        self.changes += rows.size

    def findings(self, findings: RuleHits) -> None:
        """Take what one rule says; a finding that is about no frame is left out."""
        if self._least is None:
            return
        findings = kept(findings, (findings.severity >= self._least) & (main_frames(findings) >= 0))
        if not findings.rows.size:
            return
        frames, offsets = frame_lists(findings)
        rows = np.zeros(frames.size, REMARK)
        rows["frame"] = frames
        main = main_frames(findings)
        for number in range(findings.rows.size):
            begin, end = int(offsets[number]), int(offsets[number + 1])
            sentence, evidence = self._told(findings, number, int(main[number]))
            is_main = frames[begin:end] == main[number]
            for name, here, elsewhere in zip(("place", "length"), sentence, evidence, strict=True):
                rows[name][begin:end] = np.where(is_main, here, elsewhere)
        self._remarks.add(rows)
        self.remarks += findings.rows.size

    def of(self, file: int, number: int) -> Sequence[bytes]:
        """The comments of one frame; frames are asked for in rising order."""
        frame = (file << FRAME_BITS) + number
        if frame >> PAGE_BITS != self._page:
            self._page = frame >> PAGE_BITS
            self._of_page = self._read(self._page)
        return self._of_page.get(frame, ())

    def close(self) -> None:
        """Let the temporary files go."""
        for each in (self._changes, self._remarks, self._texts):
            each.close()

    def _told(self, findings: RuleHits, number: int, main: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where the sentence lies, and where the words for the other frames of the evidence do."""
        severity = SEVERITY.words[findings.severity[number]]
        connection = int(connection_ids(findings)[number])
        whose = f" (connection {connection})" if connection > 0 else ""
        begin = f"{findings.rule.id} {severity}: "
        sentence = f"{begin}{message(findings, number, self._several_files)}{whose}"
        finding = int(finding_ids(findings)[number])
        where = f"frame {main & FRAME_MASK}" + (f" of file {main >> FRAME_BITS}" if self._several_files else "")
        evidence = f"{begin}evidence of finding {finding}, see {where}{whose}"
        return self._texts.put(sentence.encode(errors="replace")), self._texts.put(evidence.encode())

    def _read(self, page: int) -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = {}
        gone = self._all_retracted()
        columns = [self._changes.page(page)[name] for name in CHANGE.names or ()]
        for frame, connection, transition, endpoint, before, after, basis in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            if gone and (connection, transition) in gone:
                continue
            texts = found.setdefault(frame, [])
            if len(texts) < MOST_EACH:
                change = change_text(endpoint, before, after, basis)
                texts.append(b"%s (connection %d)" % (change, connection))
        for frame, place, length in self._remarks.page(page).tolist():
            texts = found.setdefault(frame, [])
            if len(texts) < 2 * MOST_EACH:
                texts.append(self._texts.get(place, length))
        return found

    def _all_retracted(self) -> set[tuple[int, int]]:
        """The transitions that a later row took back, by connection and number."""
        if self._gone is None:
            self._gone = {(pair[0], pair[1]) for each in self._retracted for pair in each.tolist()}
            self._retracted = []
        return self._gone


@cache
def change_text(endpoint: int, before: int, after: int, basis: int) -> bytes:
    """A state change as it is said.

    >>> change_text(0, 4, 5, 0)
    b'client: ESTABLISHED -> FIN-WAIT-1'
    """
    who = "client" if endpoint == ORIG else "server"
    states = " -> ".join(STATE.words[state] for state in (before, after) if state < len(STATE.words))
    word = BASIS.words[basis] if basis < len(BASIS.words) else ""
    return f"{who}: {states}{f', {word}' if word in SHOWN_BASES else ''}".encode()
