"""A shorter 2MSL hides nothing that does not rest on TIME-WAIT: who waits for a peer is remembered by a floor."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenario import parse, play_pcap, render
from tests.test_fixtures import FIXTURES, NAMES, expectation

OF_TIME_WAIT = ("TW", "PE", "CP", "RU", "PA004", "PA008", "RS005", "RS003", "HS004")
"""They say something about TIME-WAIT, or about what a host does that has left it."""

KEPT = ("RU008", "RU009", "RU011", "RU013")
"""Of the family RU, those that do not."""

SHORT_S = 0.2
"""A fifth of a second, as tcp_tw_recycle had it."""

BEGINNINGS = (
    "last-ack", "rst-on-last-ack", "syn-", "kernel-syn-into", "kernel-last-ack", "kernel-lost-last-ack", "old-",
    "paws-", "wandering-", "same-isn-newer", "close-wait", "half-close", "fin-wait-2", "port-closed", "refused",
)  # fmt: skip


def findings(name: str, **settings: Any) -> set[tuple[str, tuple[int, ...]]]:
    folder = FIXTURES / name
    if (folder / "capture.pcap").exists():
        result = play_pcap(folder / "capture.pcap", **settings)
    else:
        scenario = parse((folder / "scenario.pkt").read_text())
        result = play_pcap(render(scenario.frames, scenario.link), **settings)
    return {
        (found.rule, tuple(found.frames))
        for found in result.findings
        if found.rule.startswith(KEPT) or not found.rule.startswith(OF_TIME_WAIT)
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(BEGINNINGS)][::2])
def test_a_shorter_2msl_hides_nothing_that_does_not_rest_on_time_wait(name: str) -> None:
    settings = {key: value for key, value in expectation(name).get("settings", {}).items() if key != "two_msl_s"}

    usual = findings(name, **settings)
    short = findings(name, **{**settings, "two_msl_s": SHORT_S})

    rules = {rule for rule, _ in usual}
    assert rules <= {rule for rule, _ in short}, rules - {rule for rule, _ in short}
