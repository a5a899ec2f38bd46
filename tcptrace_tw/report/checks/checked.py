"""What a check found, as data: entries, the groups they form, and what each of them counts for.

A group is what a person would mend once: one rule between one client and one service. Its fingerprint is made of
exactly that, so it is the same in the next capture of the same traffic, whatever ports the client had.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture.name import Name
from tcptrace_tw.errors import UsageError, hint
from tcptrace_tw.report.summary.digest import IncidentDigest
from tcptrace_tw.report.words.findings import Finding
from tcptrace_tw.report.words.text import FRAME_MASK, endpoint_text, ip_text
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.columns import FRAME_BITS

Ints = NDArray[np.int64]
Codes = NDArray[np.uint8]

NO_PORT = -1


class Threshold(NamedTuple):
    """``--fail-on`` and ``--until-finding``: the lowest severity and the lowest confidence of a finding that counts."""

    severity: int
    confidence: int

    @staticmethod
    def parse(text: str, name: str = "--fail-on") -> "Threshold | None":
        """Read ``error`` or ``warning:confirmed``; None for ``never``. ``UsageError`` for other words."""
        if text == "never":
            return None
        severity, colon, confidence = text.partition(":")
        if severity not in w.SEVERITY.words:
            raise UsageError(f"{name} {text}: {hint(severity, (*w.SEVERITY.words, 'never'))}")
        if colon and confidence not in w.CONFIDENCE.words:
            raise UsageError(f"{name} {text}: {hint(confidence, w.CONFIDENCE.words)}")
        return Threshold(w.SEVERITY.code(severity), w.CONFIDENCE.code(confidence or "likely"))

    def is_reached_by(self, severity: int, confidence: int) -> bool:
        """Whether a finding of this severity and confidence (codes of ``schema.words``) counts."""
        return severity >= self.severity and confidence >= self.confidence

    @property
    def text(self) -> str:
        """``error:likely``."""
        return f"{w.SEVERITY.words[self.severity]}:{w.CONFIDENCE.words[self.confidence]}"


class Subject(NamedTuple):
    """Whom findings are about, one array for each part: address halves, ports (-1: none), and which side ``ip`` is."""

    ip_hi: Ints
    ip_lo: Ints
    port: Ints
    peer_hi: Ints
    peer_lo: Ints
    peer_port: Ints
    endpoint: Codes

    def kept(self, keep: NDArray[Any]) -> "Subject":
        """Only the rows that ``keep`` selects."""
        return Subject(*(column[keep] for column in self))


@dataclass(frozen=True)
class Batch:
    """Findings of one rule as columns, and how to read one of them in full."""

    rule: str
    name: str
    finding_id: Ints
    frame: Ints
    severity: Codes
    confidence: Codes
    subject: Subject
    addresses: int
    """How many addresses the rule's findings have: 0, 1 or 2."""
    incident_id: Ints
    """The incident of each finding; -1: none. Of a capture they are known at its end, and made of ``mark``."""
    mark: Ints
    connection_id: Ints
    index: Ints
    """Where each finding is in its source."""
    message: Callable[[int], str]
    finding: Callable[[int], Finding]

    def kept(self, keep: NDArray[np.bool_]) -> "Batch":
        """Only the findings that ``keep`` marks."""
        if keep.all():
            return self
        return Batch(
            self.rule, self.name, self.finding_id[keep], self.frame[keep], self.severity[keep], self.confidence[keep],
            self.subject.kept(keep), self.addresses, self.incident_id[keep], self.mark[keep], self.connection_id[keep],
            self.index[keep], self.message, self.finding,
        )  # fmt: skip


@dataclass(eq=False)
class Group:
    """The findings of one rule between one client and one service."""

    rule: str
    name: str
    subject: str
    """``192.0.2.1 > 198.51.100.7:80``: client, server, service; less where the rule knows less."""
    entries: list["Entry"] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits, the same on every machine and in every run."""
        return hashlib.sha256(f"tcptrace-tw/1 {self.rule} {self.subject}".encode()).hexdigest()[:32]

    @property
    def worst(self) -> "Entry":
        """The entry that stands for all: not known before, then worst, surest, first."""
        return min(self.entries, key=lambda entry: (entry.is_known, -entry.rank))

    @property
    def is_known(self) -> bool:
        """Whether the baseline covers all of it."""
        return all(entry.is_known for entry in self.entries)


@dataclass(eq=False)
class Entry:
    """One finding of a check. ``fails``: it reaches the threshold and is not known."""

    batch: Batch
    row: int
    path: Name
    place: str
    """For people: ``lab.pcap:94``; several files where a finding without a frame is about all of them."""
    group: Group
    fails: bool = False
    is_known: bool = False
    captures: Sequence[Name] = ()
    """The capture that it was found in, where a check has several."""
    first_file: int = 0
    """The place of that capture's first file among those of the check."""
    first_incident: int = 0
    """The number of incidents of the captures before."""

    @property
    def frame(self) -> int:
        """The frame to look at first; 0 where there is none."""
        return max(int(self.batch.frame[self.row]), 0) & FRAME_MASK

    @property
    def incident_id(self) -> int | None:
        """The incident that it belongs to."""
        number = int(self.batch.incident_id[self.row])
        return None if number == -1 else self.first_incident + number

    @property
    def severity(self) -> str:
        """How bad."""
        return w.SEVERITY.words[int(self.batch.severity[self.row])]

    @property
    def confidence(self) -> str:
        """How sure."""
        return w.CONFIDENCE.words[int(self.batch.confidence[self.row])]

    @property
    def rank(self) -> int:
        """Severity first, then confidence: the higher the worse."""
        return int(self.batch.severity[self.row]) * len(w.CONFIDENCE.words) + int(self.batch.confidence[self.row])

    def reaches(self, threshold: Threshold) -> bool:
        """Whether it counts for the verdict."""
        return threshold.is_reached_by(int(self.batch.severity[self.row]), int(self.batch.confidence[self.row]))

    @property
    def message(self) -> str:
        """One sentence."""
        return self.batch.message(int(self.batch.index[self.row]))

    @property
    def finding(self) -> Finding:
        """All there is to say."""
        found = self.batch.finding(int(self.batch.index[self.row]))
        return replace(found, file=found.file + self.first_file, incident_id=self.incident_id)


@dataclass
class Checked:
    """A finished check. ``severities`` counts all findings, also those that are not shown."""

    captures: list[Name]
    files: list[Name]
    settings: dict[str, Any]
    fail_on: str
    entries: list[Entry]
    """In the order of files and frames."""
    groups: list[Group]
    """The worst first."""
    severities: dict[str, int]
    rules: tuple[str, ...]
    """The ids that were looked for."""
    ignored: int = 0
    """How many findings the policy left out for their hosts or ports."""
    policy: str | None = None
    baseline: str | None = None
    incidents: list["CheckedIncident"] = field(default_factory=list)
    """Those that findings which are shown belong to, the worst first."""
    stale: tuple[str, ...] = ()
    """What the baseline knows and did not come again."""

    @property
    def failing(self) -> int:
        """How many findings fail the check."""
        return sum(entry.fails for entry in self.entries)

    @property
    def known(self) -> int:
        """How many findings the baseline covers."""
        return sum(entry.is_known for entry in self.entries)


@dataclass(frozen=True)
class CheckedIncident:
    """Findings that have one cause."""

    incident_id: int = field(metadata={"doc": "Of one capture, 1 is the worst; the next capture's numbers follow."})
    rule: str = field(metadata={"doc": "Id of the rule that found the cause."})
    title: str = field(metadata={"doc": "The mechanism and the parties."})
    severity: str = field(metadata={"doc": "How serious it is."})
    confidence: str = field(metadata={"doc": "How certain it is."})
    sentence: str = field(metadata={"doc": "What happened, to whom, and how often."})
    connections: int = field(metadata={"doc": "Connections that it concerns."})
    findings: int = field(metadata={"doc": "Findings that belong to it."})
    remedy: str = field(metadata={"doc": "What to do about it."})

    @staticmethod
    def of(told: IncidentDigest) -> "CheckedIncident":
        """What a report tells of it."""
        return CheckedIncident(**{each.name: getattr(told, each.name) for each in fields(CheckedIncident)})


def arranged(batches: list[Batch], files: list[Name]) -> tuple[list[Entry], list[Group]]:
    """Entries by file, frame and number, and their groups, the worst first."""
    if not batches:
        return [], []
    which = np.repeat(np.arange(len(batches)), [batch.frame.size for batch in batches])
    row = np.concatenate([np.arange(batch.frame.size) for batch in batches])
    frames = np.concatenate([batch.frame for batch in batches])
    numbers = np.concatenate([batch.finding_id for batch in batches])
    subjects = [subject_texts(batch) for batch in batches]
    groups: dict[tuple[str, str], Group] = {}
    whole = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    entries = []
    for i in np.lexsort((numbers, frames)).tolist():
        batch, at = batches[which[i]], int(row[i])
        subject = subjects[which[i]][at]
        group = groups.setdefault((batch.rule, subject), Group(batch.rule, batch.name, subject))
        path = files[max(int(frames[i]), 0) >> FRAME_BITS]
        place = f"{path}:{int(frames[i]) & FRAME_MASK}" if frames[i] >= 0 else whole
        entry = Entry(batch, at, path, place, group)
        group.entries.append(entry)
        entries.append(entry)
    return entries, list(groups.values())


def worst_first(group: Group) -> tuple[int, int, str, str]:
    """A sort key: severity and confidence, then how many, then the name."""
    return (-group.worst.rank, -len(group.entries), group.rule, group.subject)


def subject_texts(batch: Batch) -> list[str]:
    """``client > server:port`` of each finding; the client's own port is not part of it."""
    s = batch.subject
    if batch.addresses == 0:
        return [""] * batch.frame.size
    from tcptrace_tw.report.summary.grouping import group

    is_server = s.endpoint == w.RESP
    service = np.where(is_server, s.port, np.where(s.endpoint == w.ORIG, s.peer_port, NO_PORT))
    parts = [s.ip_hi, s.ip_lo, s.peer_hi, s.peer_lo, service, is_server.astype(np.int64)]
    numbers, leaders = group([np.ascontiguousarray(part) for part in parts])
    texts = [_subject(batch.addresses, *(int(part[leader]) for part in parts)) for leader in leaders.tolist()]
    return [texts[number] for number in numbers.tolist()]


def _subject(addresses: int, hi: int, lo: int, peer_hi: int, peer_lo: int, port: int, is_server: int) -> str:
    ip = ip_text(hi, lo)
    if addresses == 1:
        return endpoint_text(ip, port) if port != NO_PORT else ip
    peer = ip_text(peer_hi, peer_lo)
    client, server = (peer, ip) if is_server else (ip, peer)
    return f"{client} > {endpoint_text(server, port) if port != NO_PORT else server}"
