"""The tool against the kernel's counters: every one that moved is explained by rows and findings of the right rule.

``tests/lab/explain.py`` says which rows stand for which counter, and which reasons may leave an increment open.
"""

from __future__ import annotations

from collections import Counter as Tally
from functools import cache
from pathlib import Path

import pytest

from tcptrace_tw.rules import RULES, Rule
from tests.lab.explain import COUNTED, REASONS, Explained, Recording, explain
from tests.scenario import play_pcap

FIXTURES = Path(__file__).parent.parent / "fixtures"
NAMES = sorted(path.parent.name for path in FIXTURES.glob("kernel-*/truth.json"))


@cache
def explained(name: str) -> list[Explained]:
    """Every counter that moved in a recording."""
    return explain(Recording(FIXTURES / name, play_pcap(FIXTURES / name / "capture.pcap")))


@pytest.mark.parametrize("name", NAMES)
def test_every_counter_that_moved_is_explained(name: str) -> None:
    """As many rows with a finding of the right rule as the kernel counted; the rest has reasons, event by event."""
    unequal = [each for each in explained(name) if not each.is_equal]

    assert not unequal, "\n".join(["", *map(_words, unequal)])


def _words(each: Explained) -> str:
    said = dict(each.stated + each.reasons)
    return f"{each.side} {' + '.join(each.line.counters)}: kernel {each.kernel}, explained by {said}; {each.silent}"


def test_the_table_of_the_counters(capsys: pytest.CaptureFixture[str]) -> None:
    """All counters in one table, for the eye; what differs fails above."""
    rows = [each for name in NAMES for each in explained(name)]
    with capsys.disabled():
        print(f"\n{'counter':<34} {'kernel':>6} {'stated':>6} {'open':>5}  by")
        for line in COUNTED:
            mine = [each for each in rows if each.line is line]
            stated = sum((each.stated for each in mine), Tally[str]())
            reasons = sum((each.reasons for each in mine), Tally[str]())
            by = ", ".join(f"{name} {count}" for name, count in (*sorted(stated.items()), *sorted(reasons.items())))
            kernel = sum(each.kernel for each in mine)
            print(f"{'+'.join(line.counters):<34} {kernel:>6} {stated.total():>6} {reasons.total():>5}  {by}")

    assert sum(each.stated.total() for each in rows) > 3000


def test_no_reason_is_idle() -> None:
    """Each reason that may leave an increment open is needed by a recording; else it only hides what will go wrong."""
    used = {reason for name in NAMES for each in explained(name) for reason in each.reasons}

    assert used == set(REASONS)


OF_MANY = {"TW002": "TW001", "TW010": "TW001", "PE004": "RU001"}
"""Rules about many connections at once, and the rule that states each of them."""


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.counter], ids=lambda rule: rule.id)
def test_the_counter_that_a_rule_names_can_be_explained_by_it(rule: Rule) -> None:
    """The counter that confirms a rule is one that its rows stand for."""
    name = rule.counter.removeprefix("TcpExt").removeprefix("Tcp")
    parts = [part for line in COUNTED if name in line.counters for part in line.parts]
    if not parts:
        pytest.skip(f"{name} did not move in any recording, or is not compared")

    assert any(OF_MANY.get(rule.id, rule.id) in part.rules or not part.rules for part in parts)
