"""SARIF 2.1.0: one result a group, with the frames of its worst findings as locations.

GitHub takes 25,000 results of a run and shows 5,000, takes 1,000 locations of a result and shows 100, and shows ten
tags of a rule; what is written stays below. A capture has no lines: ``startLine`` is the number of the frame.
"""

import json
from collections.abc import Iterator
from typing import Any

from tcptrace_tw.report.checks.checked import Checked, Entry
from tcptrace_tw.report.checks.formats.folding import Item, folded
from tcptrace_tw.report.checks.formats.paths import uri
from tcptrace_tw.report.checks.formats.text import look
from tcptrace_tw.report.words.codec import to_json
from tcptrace_tw.report.words.phrases import counted
from tcptrace_tw.rules import RULES, Rule
from tcptrace_tw.schema.words import SEVERITY
from tcptrace_tw.version import __version__

LEVELS = {"info": "none", "notice": "note", "warning": "warning", "error": "error"}
"""What is ordinary (info) is a result of the kind ``informational``, which has no level (SARIF 3.27.10)."""

MOST_RESULTS, MOST_LOCATIONS = 5000, 10
FINGERPRINT = "tcptraceTw/v1"

Json = dict[str, Any]


def write(checked: Checked) -> Iterator[str]:
    """A log of one run."""
    items = folded(checked.groups, MOST_RESULTS)
    met = {item.rule for item in items}
    rules = [rule for rule in RULES if rule.id in met]
    index = {rule.id: number for number, rule in enumerate(rules)}
    run = {
        "tool": {"driver": _driver(rules)},
        "invocations": [_invocation(checked, items)],
        "artifacts": [{"location": {"uri": uri(path)}} for path in checked.files],
        "results": [_result(item, index, checked) for item in items],
        "columnKind": "utf16CodeUnits",
        "properties": {
            "captures": checked.captures,
            "settings": checked.settings,
            "failOn": checked.fail_on,
            "incidents": [to_json(each) for each in checked.incidents],
        },
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    yield json.dumps(log, indent=1) + "\n"


def _driver(rules: list[Rule]) -> Json:
    return {"name": "tcptrace-tw", "version": __version__, "rules": [_descriptor(rule) for rule in rules]}


def _descriptor(rule: Rule) -> Json:
    severity = SEVERITY.words[rule.severity]
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": f"{rule.summary} {rule.remedy}"},
        "help": {"text": _help(rule, "{}", "  - {}"), "markdown": _help(rule, "**{}**", "- {}")},
        "defaultConfiguration": {"level": LEVELS[severity]},
        "properties": {"tags": ["network", "tcp", rule.id[:2]], "problem.severity": _PROBLEMS[severity]},
    }


_PROBLEMS = {"info": "recommendation", "notice": "recommendation", "warning": "warning", "error": "error"}


def _help(rule: Rule, heading: str, bullet: str) -> str:
    """Meaning, conditions and remedy, as ``tcptrace-tw rules`` tells them."""
    parts = [
        (f"{rule.id} {rule.name}", [rule.summary]),
        ("Reported if", list(rule.set_when)),
        ("Not reported if", list(rule.not_set_when)),
        ("Could also be", [rule.rival] if rule.rival else []),
        ("Remedy", [rule.remedy]),
        ("Confirm with", [f"nstat counter {rule.counter}"] if rule.counter else []),
        ("Read", list(rule.rfc)),
    ]
    blocks = []
    for head, texts in parts:
        lines = texts if len(texts) < 2 else [bullet.format(text) for text in texts]
        blocks += ["\n".join([heading.format(head), "", *lines])] if texts else []
    return "\n\n".join(blocks)


def _invocation(checked: Checked, items: list[Item]) -> Json:
    """SARIF 3.20: how it ended; what could not be shown one by one is a notification."""
    notes = [f"known in the baseline, but not found this time: {text}" for text in checked.stale]
    left_out = sum(item.groups for item in items if item.groups > 1)
    if left_out:
        notes.append(f"{counted(left_out, 'group')} of hosts are combined into one result per rule")
    found: Json = {"executionSuccessful": True, "exitCode": int(bool(checked.failing))}
    if notes:
        found["toolExecutionNotifications"] = [{"level": "note", "message": {"text": note}} for note in notes]
    return found


def _result(item: Item, index: dict[str, int], checked: Checked) -> Json:
    is_ordinary = item.worst.severity == "info"
    entries = sorted(item.entries, key=lambda entry: (entry.is_known, -entry.rank))[:MOST_LOCATIONS]
    found: Json = {
        "ruleId": item.rule,
        "ruleIndex": index.get(item.rule, -1),
        "kind": "informational" if is_ordinary else "fail",
        "level": LEVELS[item.worst.severity],
        "message": {"text": item.text},
        "locations": [_location(entry, checked) for entry in entries],
        "occurrenceCount": len(item.entries),
        "partialFingerprints": {FINGERPRINT: item.fingerprint},
        "properties": {
            "name": item.name,
            "subject": item.subject,
            "confidence": item.worst.confidence,
            "fails": any(entry.fails for entry in item.entries),
            "incidents": sorted({entry.incident_id for entry in item.entries} - {None}),
        },
    }
    if checked.baseline is not None:
        is_known = all(entry.is_known for entry in item.entries)
        found["baselineState"] = "unchanged" if is_known else "new"
        if is_known:
            found["suppressions"] = [{"kind": "external", "justification": f"known: {checked.baseline}"}]
    return found


def _location(entry: Entry, checked: Checked) -> Json:
    finding = entry.finding
    names = [f"frame {entry.frame}"] if entry.frame else []
    if finding.connection_id is not None:
        names.append(f"connection {finding.connection_id}")
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": uri(entry.path)},
            "region": {"startLine": max(1, entry.frame)},
        },
        "logicalLocations": [{"name": name, "kind": name.split()[0]} for name in names or ["capture"]],
        "message": {"text": finding.message},
        "properties": {
            "frames": list(finding.frames),
            "endpoints": finding.endpoints,
            "incident": finding.incident_id,
            "delayNs": finding.delay_ns,
            "silenceNs": finding.silence_ns,
            "count": finding.count,
            "values": finding.values,
            "caveats": list(finding.caveats),
            "displayFilter": finding.display_filter,
            "look": look(checked, entry),
        },
    }
