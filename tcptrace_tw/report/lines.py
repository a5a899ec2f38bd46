"""Findings like a linter's: one line each, sorted by file and frame, and whether one of them reaches the bar."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.findings import finding_ids, kept, main_frames
from tcptrace_tw.report.messages import message
from tcptrace_tw.report.text import FRAME_MASK
from tcptrace_tw.rules.rule import Findings
from tcptrace_tw.spec import words as w
from tcptrace_tw.spec.columns import FRAME_BITS


class Bar(NamedTuple):
    """``--fail-on``: the least severity and confidence that fail a check."""

    severity: int
    confidence: int

    @staticmethod
    def parse(text: str) -> "Bar | None":
        """``error``, ``warning:confirmed``; ``never`` is no bar."""
        if text == "never":
            return None
        severity, _, confidence = text.partition(":")
        if severity not in w.SEVERITY.words or (confidence or "likely") not in w.CONFIDENCE.words:
            raise UsageError(
                f"--fail-on {text}: write SEVERITY[:CONFIDENCE] with one of {', '.join(w.SEVERITY.words)}"
                f" and one of {', '.join(w.CONFIDENCE.words)}, or never"
            )
        return Bar(w.SEVERITY.code(severity), w.CONFIDENCE.code(confidence or "likely"))


class Line(NamedTuple):
    """One finding, as ``check`` prints it; ``frame`` is 0 where there is none."""

    file: int
    frame: int
    rule: str
    name: str
    severity: str
    confidence: str
    message: str

    def text(self, files: list[str]) -> str:
        """``lab.pcap:94: RU002 warning: ... (reuse-inside-2msl, likely)``."""
        where = f"{files[self.file]}:{self.frame}" if self.frame else files[self.file]
        return f"{where}: {self.rule} {self.severity}: {self.message} ({self.name}, {self.confidence})"


class Tally:
    """How many findings there were of each severity, and how many at or above the bar."""

    def __init__(self, bar: Bar | None) -> None:
        self.bar = bar
        self.severities = np.zeros(len(w.SEVERITY.words), np.int64)
        self.failing = 0

    def add(self, severity: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Count findings by their codes."""
        self.severities += np.bincount(severity, minlength=self.severities.size)
        if self.bar is not None:
            self.failing += int(((severity >= self.bar.severity) & (confidence >= self.bar.confidence)).sum())

    @property
    def shown(self) -> dict[str, int]:
        """Counts by word, the worst first."""
        pairs = zip(reversed(w.SEVERITY.words), self.severities[::-1].tolist(), strict=True)
        return {word: count for word, count in pairs if count}


class LineSink:
    """Keeps the findings that ``check`` is to show: those of ``least`` severity or worse."""

    tables: frozenset[str] = frozenset()

    def __init__(self, tally: Tally, least: int, several_files: bool = False) -> None:
        self.tally = tally
        self.least = least
        self.several_files = several_files
        self._chunks: list[Findings] = []

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Rows are not wanted."""

    def findings(self, findings: Findings) -> None:
        """Take what one rule says."""
        self.tally.add(findings.severity, findings.confidence)
        keep = findings.severity >= self.least
        if keep.any():
            self._chunks.append(kept(findings, keep))

    def lines(self) -> Iterator[Line]:
        """One by one, by file, frame and number."""
        if not self._chunks:
            return
        frames = np.concatenate([main_frames(chunk) for chunk in self._chunks])
        numbers = np.concatenate([finding_ids(chunk) for chunk in self._chunks])
        chunk = np.repeat(np.arange(len(self._chunks)), [c.rows.size for c in self._chunks])
        index = np.concatenate([np.arange(c.rows.size) for c in self._chunks])
        for i in np.lexsort((numbers, frames)).tolist():
            yield self._line(self._chunks[chunk[i]], int(index[i]), int(frames[i]))

    def _line(self, findings: Findings, index: int, frame: int) -> Line:
        return Line(
            max(frame, 0) >> FRAME_BITS,
            max(frame, 0) & FRAME_MASK,
            findings.rule.id,
            findings.rule.name,
            w.SEVERITY.words[findings.severity[index]],
            w.CONFIDENCE.words[findings.confidence[index]],
            message(findings, index, self.several_files),
        )
