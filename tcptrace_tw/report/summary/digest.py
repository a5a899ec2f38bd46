"""What a report says, as data: the object that ``--json`` prints, the manifest keeps and the terminal draws.

Schema version 1: these classes field by field. Times are ISO 8601 in UTC, spans are ns where the name says so,
counts by word leave out the words that did not occur.
"""

from dataclasses import dataclass, field
from typing import Any

from tcptrace_tw.report.summary.occupancy import Curve, Pool
from tcptrace_tw.report.summary.port_usage import PortUse
from tcptrace_tw.report.words.codec import Time, from_json, to_json
from tcptrace_tw.report.words.findings import Finding
from tcptrace_tw.schema.columns import SCHEMA_VERSION

Counts = dict[str, int]


@dataclass
class FileDigest:
    """One file of the capture; the fields are those of ``capture.facts.FileFacts``."""

    name: str
    format: str = ""
    compression: str = ""
    links: tuple[str, ...] = ()
    snaplen: int = 0
    size: int | None = None
    frames: int = 0
    captured_bytes: int = 0
    wire_bytes: int = 0
    tcp_segments: int = 0
    first_time: Time | None = None
    last_time: Time | None = None
    backward_steps: int = 0
    truncated_options: int = 0
    lost_frames: int = 0
    skipped: Counts = field(default_factory=dict)
    damage: str | None = None


@dataclass
class CaptureDigest:
    """All files together."""

    frames: int = 0
    tcp_segments: int = 0
    first_time: Time | None = None
    last_time: Time | None = None
    skipped: Counts = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    files: tuple[FileDigest, ...] = ()

    @property
    def duration_ns(self) -> int:
        """From the first frame to the last."""
        return 0 if self.first_time is None or self.last_time is None else self.last_time - self.first_time


@dataclass
class ConnectionsDigest:
    """The number of connections, and how they began and ended."""

    total: int = 0
    opened: Counts = field(default_factory=dict)
    close: Counts = field(default_factory=dict)
    active_closer: Counts = field(default_factory=dict)
    segments: int = 0
    payload_bytes: int = 0
    retransmits: int = 0


@dataclass
class TimeWaitDigest:
    """The number of TIME-WAIT periods, how they ended, and the peaks per address."""

    spans: int = 0
    restarts: int = 0
    end_reason: Counts = field(default_factory=dict)
    curve: Curve = field(default_factory=Curve)
    outlived: Counts = field(default_factory=dict)
    """By address, where the packets show a longer TIME-WAIT than the profile's 2MSL: at least so many ns."""
    pool_count: int = 0
    pools: tuple[Pool, ...] = ()
    ports: tuple[PortUse, ...] = ()


@dataclass
class RuleDigest:
    """All findings of one rule; ``severity`` and ``confidence`` are the worst and, within it, the surest."""

    rule: str
    name: str
    summary: str
    remedy: str
    severity: str
    confidence: str
    count: int
    severities: Counts
    confidences: Counts
    first_time: Time | None
    last_time: Time | None
    examples: tuple[Finding, ...]
    delay_ns: int | None = None
    """The delay of all of them in total; null if none is known."""
    worst_delay_ns: int | None = None
    """The worst delay of one of them."""
    delays_known: int = 0
    """The number of them whose delay is known."""


@dataclass
class IncidentRule:
    """How often a rule was found in an incident, and how severe it was at worst."""

    rule: str
    name: str
    severity: str
    count: int


@dataclass
class IncidentDigest:
    """Findings that tell one story; ``rule``, ``severity`` and ``confidence`` are those of its cause."""

    incident_id: int
    """1 is the worst."""
    rule: str
    name: str
    mechanism: str
    title: str
    """The mechanism and the parties."""
    severity: str
    confidence: str
    sentence: str
    """What happened, to whom, how often, and what it cost."""
    count: int
    """How often the cause was found."""
    client: str
    service: str
    first_time: Time | None
    last_time: Time | None
    delay_ns: int | None
    worst_delay_ns: int | None
    delays_known: int
    connections: int
    """The number of connections that it concerns: those of the rule that found the most."""
    findings: int
    """The number of findings that belong to it, those of the cause and the others."""
    rules: tuple[IncidentRule, ...]
    remedy: str
    examples: tuple[Finding, ...]
    """The worst findings of the cause."""


@dataclass
class PolicyDigest:
    """What a policy file did to the findings of notice and worse."""

    file: str
    suppressed: int = 0
    """The number of findings that its ignore_for left out."""
    changed: int = 0
    """The number of findings to which it gave another severity."""
    sets: tuple[str, ...] = ()
    """The settings of the analysis that come from it."""


@dataclass(repr=False)
class Digest:
    """A whole report."""

    tool: str = "tcptrace-tw"
    tool_version: str = ""
    schema_version: int = SCHEMA_VERSION
    settings: dict[str, Any] = field(default_factory=dict)
    engine: str = ""
    capture: CaptureDigest = field(default_factory=CaptureDigest)
    connections: ConnectionsDigest = field(default_factory=ConnectionsDigest)
    time_wait: TimeWaitDigest = field(default_factory=TimeWaitDigest)
    incidents: tuple[IncidentDigest, ...] = ()
    findings: tuple[RuleDigest, ...] = ()
    caveats: tuple[str, ...] = ()
    policy: PolicyDigest | None = None

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        data: dict[str, Any] = to_json(self)
        return data

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Digest":
        """The digest that such an object was made of."""
        return from_json(Digest, data)

    def __repr__(self) -> str:
        from tcptrace_tw.report.summary.headline import headline  # it reads digests

        return f"<Digest: {headline(self)}>"

    @property
    def several_files(self) -> bool:
        """Whether a frame number needs the name of its file."""
        return len(self.capture.files) > 1
