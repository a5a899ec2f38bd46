"""JUnit XML: one test case a rule; it fails if a finding of the rule reaches the threshold; others are its output."""

import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as Xml

from tcptrace_tw.report.checks.checked import Checked, Entry
from tcptrace_tw.report.checks.formats.text import line, look
from tcptrace_tw.report.words.phrases import counted
from tcptrace_tw.rules import RULES, Rule

MOST = 100
"""The most findings of a rule that are written one by one."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not have; a file may be called by them."""


def write(checked: Checked) -> Iterator[str]:
    """One suite with a case for each rule that was looked for, in the order of the catalogue."""
    entries: dict[str, list[Entry]] = {}
    for entry in checked.entries:
        entries.setdefault(entry.batch.rule, []).append(entry)
    rules = [rule for rule in RULES if rule.id in checked.rules]
    cases = [_case(rule, entries.get(rule.id, ()), checked) for rule in rules]
    counts = {"tests": len(cases), "failures": sum(case.find("failure") is not None for case in cases), "errors": 0}
    texts = {name: str(count) for name, count in counts.items()}
    suites = Xml.Element("testsuites", {"name": "tcptrace-tw", **texts})
    suite = Xml.SubElement(suites, "testsuite", {"name": _clean(" ".join(checked.captures)), **texts, "skipped": "0"})
    suite.extend(cases)
    Xml.indent(suites, " ")
    # ASCII, and no encoding is named: it is XML whatever stdout makes of it
    yield '<?xml version="1.0"?>\n' + Xml.tostring(suites, encoding="us-ascii").decode("ascii") + "\n"


def _case(rule: Rule, entries: Sequence[Entry], checked: Checked) -> Xml.Element:
    case = Xml.Element("testcase", {"classname": f"tcptrace-tw.{rule.id[:2]}", "name": f"{rule.id} {rule.name}"})
    case.set("time", "0")
    failing = [entry for entry in entries if entry.fails]
    if failing:
        worst = max(failing, key=lambda entry: entry.rank)
        message = f"{counted(len(failing), 'finding')} at or above {checked.fail_on}: {worst.message}"
        failure = Xml.SubElement(case, "failure", {"type": worst.severity, "message": _clean(message)})
        failure.text = _clean(f"{_listed(failing)}\n\n{rule.summary} {rule.remedy}\nlook: {look(checked, worst)}")
    others = [entry for entry in entries if not entry.fails]
    if others:
        Xml.SubElement(case, "system-out").text = _clean(_listed(others))
    return case


def _listed(entries: Sequence[Entry]) -> str:
    lines = [line(entry) for entry in entries[:MOST]]
    left_out = len(entries) - len(lines)
    return "\n".join([*lines, f"and {left_out:,} more"] if left_out else lines)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
