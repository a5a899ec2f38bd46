"""Findings of one cause are one incident, whatever chunks they come in; nothing is counted twice or lost."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcptrace_tw import pipeline
from tcptrace_tw.report.summary import strands
from tcptrace_tw.report.summary.digest import Digest, IncidentDigest
from tcptrace_tw.report.summary.incidents import FEW_CLIENTS, Incidents
from tcptrace_tw.report.summary.sink import SummarySink
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.mechanisms import BESIDE, CONSEQUENCES, MECHANISMS, PROOFS, REASONS, SEVERAL, SEVERAL_IF, About
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.columns import ANOMALIES
from tests.report_rows import blank, findings, put_ip, reuses
from tests.scenario import count_frames, parse, render
from tests.test_fixtures import FIXTURES, expectation

KNOWN = {rule.id for rule in RULES}
MANY_FRAMES = 3000
NAMES = sorted(path.parent.name for path in FIXTURES.glob("*/expect.toml"))[::4]


def digest(name: str, folder: Path) -> Digest:
    """The report of a fixture."""
    path = FIXTURES / name / "capture.pcap"
    if not path.exists():
        text = (FIXTURES / name / "scenario.pkt").read_text()
        if count_frames(text) > MANY_FRAMES:
            pytest.skip("it says the same thousands of times")
        scenario = parse(text)
        path = folder / "capture.pcap"
        path.write_bytes(render(scenario.frames, scenario.link))
    sink = SummarySink()
    settings = pipeline.Settings(**expectation(name).get("settings", {}))
    return sink.digest(pipeline.analyze([str(path)], settings, [sink]))


@pytest.mark.parametrize("name", NAMES)
def test_every_finding_is_in_one_incident(name: str, tmp_path: Path) -> None:
    """As many of each rule as the findings above info; the worst incident comes first, and each says something."""
    found = digest(name, tmp_path)
    counted = Counter[str]()
    for incident in found.incidents:
        counted.update({rule.rule: rule.count for rule in incident.rules if rule.severity != "info"})

    assert counted == {
        rule.rule: rule.count - rule.severities.get("info", 0) for rule in found.findings if rule.severity != "info"
    }
    severities = [w.SEVERITY.code(incident.severity) for incident in found.incidents]
    assert severities == sorted(severities, reverse=True)
    assert [incident.incident_id for incident in found.incidents] == list(range(1, len(severities) + 1))
    for incident in found.incidents:
        assert not re.search(r"[{}]|None|  ", incident.sentence)
        assert incident.examples[0].rule == incident.rule


@pytest.mark.parametrize("name", ["kernel-nat-few-ports", "kernel-close-wait-leak"])
def test_one_cause_is_one_incident(name: str, tmp_path: Path) -> None:
    """A dozen findings, one story."""
    found = digest(name, tmp_path)

    assert sum(rule.count for rule in found.findings if rule.severity != "info") > 10
    assert len(found.incidents) == 1


def test_a_wandering_duplicate_is_told(tmp_path: Path) -> None:
    """It is no fault that the receiver drops it, but what the capture is about."""
    (incident,) = digest("wandering-duplicate-same-isn", tmp_path).incidents

    assert "an old segment of the previous connection" in incident.sentence


def test_the_tables_name_rules_and_parties_that_there_are() -> None:
    """Each rule has one mechanism; a sentence for several names only what an incident knows."""
    named = [rule for mechanism in MECHANISMS for rule in mechanism.rules]

    assert len(named) == len(set(named))
    assert len({mechanism.name for mechanism in MECHANISMS}) == len(MECHANISMS)
    assert {*named, *SEVERAL, *CONSEQUENCES, *(rule for pair in (*REASONS, *PROOFS) for rule in pair)} <= KNOWN
    assert {cause for causes in CONSEQUENCES.values() for cause in causes} <= KNOWN
    for text in SEVERAL.values():
        assert set(re.findall(r"\{(\w+)\}", text)) <= {"count", "client", "service", "actor", "peer"}
        assert "{count}" in text
    conditions = {(rule.id, each.condition) for rule in RULES for each in rule.wordings}
    assert set(SEVERAL_IF) <= conditions
    for text in SEVERAL_IF.values():
        assert set(re.findall(r"\{(\w+)\}", text)) <= {"count", "client", "service", "actor", "peer"}
        assert "{count}" in text
    assert set(BESIDE) <= KNOWN
    for rule, text in SEVERAL.items():
        about = next((m.about for m in MECHANISMS if rule in m.rules), About.SERVICE)
        assert about is not About.CAPTURE, text


def challenged(count: int, first_client: int = 1) -> Any:
    """SYNs from as many clients to one server, each connected late."""
    rows = reuses(count)
    clients = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(first_client, first_client + count)]
    for place, client in enumerate(clients):
        one = rows[place : place + 1].view(np.recarray)
        put_ip(one, "ip", client)
    rows.cost_ns = 1_000_000
    return rows


def told(chunks: list[RuleHits]) -> tuple[IncidentDigest, ...]:
    """The incidents of these findings."""
    made = Incidents()
    for chunk in chunks:
        made.add(chunk)
    return made.told()


def warned(rows: Any, rule: str = "RU004") -> RuleHits:
    """Warnings of a rule about these rows."""
    return findings(rows, id=rule, severity=w.WARNING, values=("cost_ns",))


@pytest.mark.parametrize("size", [1, 3, 7])
def test_chunks_do_not_matter(size: int) -> None:
    """The same incidents, however the findings are cut and in whatever order they come."""
    rows = challenged(12)
    whole = told([warned(rows)])
    chunks = [warned(rows[at : at + size]) for at in range(0, 12, size)]

    assert told(chunks[::-1]) == whole


def test_few_clients_have_incidents_of_their_own_and_many_have_one() -> None:
    few, many = told([warned(challenged(FEW_CLIENTS))]), told([warned(challenged(FEW_CLIENTS + 1))])

    assert [incident.count for incident in few] == [1] * FEW_CLIENTS
    assert [incident.count for incident in many] == [FEW_CLIENTS + 1]
    assert "several clients" in many[0].sentence


def test_another_rule_of_the_mechanism_is_the_same_incident() -> None:
    """Two rules see the same SYNs: one incident, told once, its delay counted once."""
    rows = challenged(1)
    (incident,) = told([warned(rows, "PA004"), warned(rows, "RU004")])

    assert (incident.rule, incident.count, incident.delay_ns) == ("RU004", 1, 1_000_000)
    assert {rule.rule: rule.count for rule in incident.rules} == {"RU004": 1, "PA004": 1}


def test_what_is_explained_on_the_same_connection_goes_to_its_cause() -> None:
    """A slow handshake after a challenge is no incident of its own; on another connection it is."""
    rows, others = challenged(2), blank(ANOMALIES, 2)
    for name in ("ip_hi", "ip_lo", "port", "peer_ip_hi", "peer_ip_lo", "peer_port", "time"):
        others[name] = rows[name]
    rows.connection_id, others.connection_id = [11, 12], [12, 13]
    slow = findings(
        others, id="HS002", table="anomalies", severity=w.WARNING, message="slow", frames=("syn_frame",), values=()
    )
    both = told([warned(rows[:1], "RU011"), slow, warned(rows[1:], "RU011")])

    assert [(incident.rule, incident.count) for incident in both if incident.rule == "HS002"] == [("HS002", 1)]
    assert sum(rule.count for incident in both for rule in incident.rules) == 4


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more parties than are told apart, all findings are still counted."""
    monkeypatch.setattr(strands, "MOST", 512)
    made = Incidents()
    for first in range(0, 2000, 40):
        made.add(warned(challenged(40, first)))

    assert len(made._strands) <= 512
    assert sum(incident.count for incident in made.told()) == 2000


def test_memory_is_bounded_in_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """More new parties at once than there is room for are not told apart; no other rule is given their findings."""
    monkeypatch.setattr(strands, "MOST", 512)
    made = Incidents()
    made.add(warned(challenged(3), "LA001"))
    made.add(warned(challenged(2000)))
    many, *few = made.told()

    assert len(made._strands) == 4
    assert (many.rule, many.count, many.client) == ("RU004", 2000, "several clients")
    assert [incident.rule for incident in few] == ["LA001"] * 3


def test_an_incident_without_delay_has_examples_too() -> None:
    rows = challenged(1)
    rows.cost_ns = -1
    (incident,) = told([warned(rows)])

    assert (len(incident.examples), incident.delay_ns) == (1, None)
