"""A check as one JSON object: what was asked, the counts, and every finding that is shown."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tcptrace_tw.report.checks.checked import Checked, CheckedIncident, Entry
from tcptrace_tw.report.summary.digest import Counts
from tcptrace_tw.report.words.codec import to_json
from tcptrace_tw.report.words.findings import Finding
from tcptrace_tw.version import __version__

CHECK_SCHEMA_VERSION = 2


@dataclass(frozen=True)
class CheckedFinding(Finding):
    """One finding of a check."""

    path: str = field(metadata={"doc": "The capture file that `frame` is in."})
    subject: str = field(metadata={"doc": "Client, server and service, without the client's port."})
    fingerprint: str = field(metadata={"doc": "Of rule and subject: the same on every machine and in every run."})
    fails: bool = field(metadata={"doc": "Whether it reaches the threshold and is not known."})
    is_known: bool = field(metadata={"doc": "Whether the baseline covers it."})


@dataclass(frozen=True)
class CheckDigest:
    """A whole check."""

    tool: Literal["tcptrace-tw"]
    tool_version: str
    check_schema_version: int
    captures: tuple[str, ...] = field(metadata={"doc": "As they were given."})
    files: tuple[str, ...] = field(metadata={"doc": "The files that were read; `file` of a finding counts them."})
    settings: dict[str, Any] = field(metadata={"doc": "The settings of the analysis."})
    policy: str | None = field(metadata={"doc": "The policy file."})
    baseline: str | None = field(metadata={"doc": "The baseline file."})
    fail_on: str = field(metadata={"doc": "The threshold, SEVERITY:CONFIDENCE, or never."})
    failed: bool = field(metadata={"doc": "Whether a finding reached the threshold: the exit code is 1 then, else 0."})
    severities: Counts = field(metadata={"doc": "All findings by severity, also those that are not shown."})
    failing: int = field(metadata={"doc": "Number of findings that fail the check."})
    known: int = field(metadata={"doc": "Number of findings that the baseline covers."})
    ignored: int = field(metadata={"doc": "Number of findings that the policy's ignore_for leaves out."})
    stale: tuple[str, ...] = field(metadata={"doc": "Known findings of the baseline that were not found this time."})
    incidents: tuple[CheckedIncident, ...] = field(
        metadata={"doc": "What the findings that are shown come from, the worst first; at most 100."}
    )
    findings: tuple[CheckedFinding, ...] = field(metadata={"doc": "The findings that are shown, by file and frame."})


def write(checked: Checked) -> Iterator[str]:
    """The object, one finding a line."""
    head = json.dumps(to_json(_digest(checked)), indent=1)
    opening, _, closing = head.rpartition("[]")
    yield opening + "["
    comma = ""
    for entry in checked.entries:
        yield f"{comma}\n  {record(entry)}"
        comma = ","
    yield ("\n ]" if comma else "]") + closing + "\n"


def record(entry: Entry) -> str:
    """One finding as JSON on one line."""
    return json.dumps(to_json(_finding(entry)))


def _digest(checked: Checked) -> CheckDigest:
    return CheckDigest(
        "tcptrace-tw", __version__, CHECK_SCHEMA_VERSION, tuple(checked.captures), tuple(checked.files),
        checked.settings, checked.policy, checked.baseline, checked.fail_on, bool(checked.failing),
        checked.severities, checked.failing, checked.known, checked.ignored, checked.stale,
        tuple(checked.incidents), (),
    )  # fmt: skip


def _finding(entry: Entry) -> CheckedFinding:
    group, said = entry.group, vars(entry.finding) | {"severity": entry.severity}
    return CheckedFinding(
        **said, path=entry.path, subject=group.subject, fingerprint=group.fingerprint,
        fails=entry.fails, is_known=entry.is_known,
    )  # fmt: skip
