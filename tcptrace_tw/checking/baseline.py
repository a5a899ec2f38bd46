"""Findings that are known: a file in which each group of findings stands with how many there were of each grade.

A known finding does not fail a check. There may be as many of a group as the file says, and none worse.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tcptrace_tw.atomic import AtomicFile
from tcptrace_tw.errors import UsageError, printable
from tcptrace_tw.report.checks.checked import Entry, Group
from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY

VERSION = 1


@dataclass(frozen=True)
class Known:
    """One group that is known; ``findings`` counts by grade, as in ``{"warning:confirmed": 3}``."""

    rule: str
    name: str
    subject: str
    fingerprint: str
    findings: dict[str, int] = field(default_factory=dict)

    @property
    def ranks(self) -> list[int]:
        """The rank of each finding, the worst first."""
        found = [rank for grade, count in self.findings.items() for rank in [_rank(grade)] * count]
        return sorted(found, reverse=True)

    def check(self) -> None:
        """``ValueError`` where a grade or a count is none."""
        if any(_rank(grade) < 0 or int(count) < 1 for grade, count in self.findings.items()):
            raise ValueError("a count is not above 0")

    @property
    def text(self) -> str:
        """``LA001 192.0.2.1 > 198.51.100.7:80``."""
        return printable(f"{self.rule} {self.subject}".rstrip())


def read(path: Path) -> dict[str, Known]:
    """The known groups by fingerprint; ``UsageError`` where the file is missing or is no baseline."""
    if path.is_char_device() or path.is_block_device():
        raise UsageError(f"{path}: is a device, not a baseline; name a file")
    try:
        data = json.loads(path.read_text())
        if data["baseline_version"] != VERSION:
            raise ValueError("another version wrote it")
        found = [Known(**entry) for entry in data["known"]]
        for known in found:
            known.check()
        return {known.fingerprint: known for known in found}
    except FileNotFoundError as error:
        raise UsageError(f"{path}: does not exist; --update-baseline creates it") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; name another baseline") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path}: is not a baseline; name another file, or move this one and run --update-baseline"
        ) from error


def mark(groups: Iterable[Group], known: dict[str, Known], rules: Iterable[str], least: int) -> tuple[str, ...]:
    """Mark what is known, and tell what is known and did not come again, of the rules that were looked for."""
    left = dict(known)
    stale = []
    for group in groups:
        entry = left.pop(group.fingerprint, None)
        if entry is not None:
            unmet = _match(group.entries, entry.ranks, least)
            if unmet:
                stale.append(f"{entry.text} ({unmet} fewer)")
    looked_for = set(rules)
    for entry in left.values():
        if entry.rule in looked_for and any(rank >= _rank_of(least, 0) for rank in entry.ranks):
            stale.append(entry.text)
    return tuple(sorted(stale))


def write(file: AtomicFile, groups: Iterable[Group]) -> None:
    """Write all findings of these groups as known: sorted, one group a line, nothing in it that changes by itself."""
    known = sorted((_known(group) for group in groups), key=lambda entry: (entry.rule, entry.subject))
    lines = ",\n".join(f"  {json.dumps(vars(entry))}" for entry in known)
    text = f'{{\n "tool": "tcptrace-tw",\n "baseline_version": {VERSION},\n "known": [\n{lines}\n ]\n}}\n'
    file.write(text)
    file.commit()


def _match(entries: list[Entry], ranks: list[int], least: int) -> int:
    """The worst finding takes the worst known one that is as bad; returns how many known ones were not taken."""
    free = list(ranks)
    for entry in sorted(entries, key=lambda entry: -entry.rank):
        if free and free[0] >= entry.rank:
            free.pop(0)
            entry.is_known = True
    return sum(rank >= _rank_of(least, 0) for rank in free)


def _known(group: Group) -> Known:
    counts: dict[str, int] = {}
    for entry in sorted(group.entries, key=lambda entry: -entry.rank):
        grade = f"{entry.severity}:{entry.confidence}"
        counts[grade] = counts.get(grade, 0) + 1
    return Known(group.rule, group.name, group.subject, group.fingerprint, counts)


def _rank(grade: str) -> int:
    severity, _, confidence = grade.partition(":")
    return _rank_of(SEVERITY.code(severity), CONFIDENCE.code(confidence))


def _rank_of(severity: int, confidence: int) -> int:
    return severity * len(CONFIDENCE.words) + confidence
