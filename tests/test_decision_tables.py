"""Each row of each decision table has a fixture in which it decides, and one in which it nearly does."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from tcptrace_tw.rules import DERIVED, RULES
from tcptrace_tw.rules.decisions import connect_suspects, reset_causes, stale_segments, syn_answers
from tcptrace_tw.rules.rule import Case
from tests.scenario import Result, parse, play_frames
from tests.test_fixtures import FIXTURES, expectation

TABLES: dict[str, tuple[Case, ...]] = {
    "resets.verdict": reset_causes.RESET,
    "stale_segments.verdict": stale_segments.STALE_SEGMENT,
    "reuses.verdict": syn_answers.SYN_ANSWER,
    "reuses.outcome": syn_answers.OUTCOME,
    "connects.suspect": connect_suspects.SUSPECT,
}
CASES = [(table, number) for table, cases in TABLES.items() for number in range(len(cases))]


@cache
def played(name: str, profile: str = "") -> Result:
    settings = dict(expectation(name).get("settings", {}))
    if profile:
        settings["profile"] = profile
    return play_frames(parse((FIXTURES / name / "scenario.pkt").read_text()).frames, **settings)


def deciders(name: str, table: str) -> set[int]:
    """The numbers of the cases that decide about the rows of a fixture."""
    rows = played(name).records(table.split(".")[0])
    first = np.full(rows.size, -1)
    for number, case in reversed(list(enumerate(TABLES[table]))):
        first[case.when(rows)] = number
    return set(first.tolist())


@pytest.mark.parametrize(("table", "number"), CASES)
def test_a_row_of_a_table_decides_in_its_example_and_not_in_its_near_miss(table: str, number: int) -> None:
    case = TABLES[table][number]

    assert number in deciders(case.example, table)
    assert deciders(case.nearly, table)
    assert number not in deciders(case.nearly, table)


def test_every_table_that_fills_a_column_is_held_to_it() -> None:
    assert {f"{derived.table}.{derived.column}" for derived in DERIVED} == set(TABLES)


class Syn(NamedTuple):
    """A row of the table for a SYN into TIME-WAIT, as RFC 6191 section 2, Linux and FreeBSD have it."""

    old_ts: bool
    new_ts: bool
    tsval: int
    is_above: bool
    rfc: str
    linux: str
    freebsd: str
    example: str


SYNS = (
    Syn(True, True, +1, True, "accept", "accept", "accept", "tw-syn-accepted"),
    Syn(True, True, +1, False, "accept", "accept", "drop", "isn-not-above-last"),
    Syn(True, True, 0, True, "accept", "accept", "accept", "tw-syn-equal-timestamp-higher-isn"),
    Syn(True, True, 0, False, "drop", "challenge", "drop", "tw-syn-equal-timestamp-lower-isn"),
    Syn(True, True, 0, False, "drop", "challenge", "drop", "tw-syn-equal-timestamp-isn-at-rcv-nxt"),
    Syn(True, True, -1, True, "drop", "paws-reject", "accept", "tw-syn-stale-timestamp-higher-isn"),
    Syn(True, False, 0, True, "accept", "accept", "accept", "tw-syn-without-timestamp-higher-isn"),
    Syn(True, False, 0, False, "drop", "challenge", "drop", "tw-syn-without-timestamp-lower-isn"),
    Syn(False, True, 0, True, "accept", "accept", "accept", "tw-syn-new-timestamp-higher-isn"),
    Syn(False, True, 0, False, "accept", "challenge", "drop", "tw-syn-new-timestamp-lower-isn"),
    Syn(False, False, 0, True, "accept", "accept", "accept", "tw-syn-accepted-by-isn"),
    Syn(False, False, 0, False, "drop", "challenge", "drop", "tw-syn-challenged"),
)
"""Every row has its neighbour as near miss: the same SYN on the other side of the border."""


@pytest.mark.parametrize("profile", ["rfc", "linux", "freebsd"])
@pytest.mark.parametrize("syn", SYNS, ids=lambda syn: syn.example)
def test_a_syn_into_time_wait_meets_what_the_stack_does(syn: Syn, profile: str) -> None:
    """The fixture holds the SYN that the row is about, and the profile gives the row's verdict."""
    rows = [row for row in played(syn.example, profile).reuses if row.receiver_state == "TIME-WAIT"]
    fitting = [
        row
        for row in rows
        if (row.previous_ts_ok, row.has_ts) == (syn.old_ts, syn.new_ts)
        and (np.sign(row.tsval_delta) if syn.old_ts and syn.new_ts else 0) == syn.tsval
        and (row.isn_delta > 0) == syn.is_above
    ]

    assert fitting
    assert {row.acceptance for row in fitting} == {getattr(syn, profile)}


RESTARTS = (
    ("linux", "tw-restarted", 1),
    ("linux", "tw-restarted-by-stray-ack", 1),
    ("linux", "tw-restarted-by-old-data", 1),
    ("linux", "tw-restarted-by-stale-ack", 1),
    ("linux", "tw-restarted-by-syn-ack", 1),
    ("linux", "tw-extended-by-stale-syn", 4),
    ("linux", "tw-syn-equal-timestamp-lower-isn", 0),
    ("freebsd", "tw-restarted-by-stray-ack", 0),
    ("freebsd", "tw-restarted-by-old-data", 0),
    ("freebsd", "tw-restarted-by-syn-ack", 0),
    ("rfc", "tw-restarted-by-stray-ack", 0),
    ("rfc", "tw-restarted-by-old-data", 1),
    ("rfc", "tw-extended-by-stale-syn", 0),
)
"""What makes 2MSL begin anew, by stack: the same segments, and how often."""


@pytest.mark.parametrize(("profile", "name", "restarts"), RESTARTS)
def test_what_restarts_time_wait_differs_by_stack(profile: str, name: str, restarts: int) -> None:
    assert played(name, profile).time_wait[0].restarts == restarts


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.table in ("reuses", "resets")], ids=lambda r: r.id)
def test_the_near_miss_of_a_rule_has_rows_of_its_table(rule: Any) -> None:
    """It is the predicate that says no, not the lack of anything to look at."""
    near = [path.parent.name for path in FIXTURES.glob("*/scenario.pkt")]
    near = [name for name in near if expectation(name).get("near_miss_of") == rule.id]

    assert any(played(name).tables[rule.table] for name in near)
