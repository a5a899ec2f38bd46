"""Properties of the capture that lower a grade instead of making a finding (semantics: 9).

The table, in this order; a finding is capped by every row that holds for its family, and names them:

==================  ==========================  ============  =====================
caveat              holds when                  families      at most
==================  ==========================  ============  =====================
one direction only  9.3                         RU, PA, LA    predicted
duplicates kept     9.1, --keep-duplicates      all but CP    likely
tap reordering      9.4, three swaps and more   all but CP    likely
clock step          9.9                         all but CP    likely
==================  ==========================  ============  =====================

A grade states what is known when its rows leave: a caveat that shows later does not change it.
"""

from typing import NamedTuple

import numpy as np

from tcptrace_tw.rules.rule import Findings
from tcptrace_tw.spec.words import LIKELY, PREDICTED

CERTAIN = ("CP", "PE")
"""Families about the capture or about many connections: no single segment decides them."""


class Caveats(NamedTuple):
    """What is known about the capture."""

    is_control_only: bool = False
    is_one_way: bool = False
    is_unclean: bool = False
    is_reordered: bool = False
    is_clock_unsure: bool = False


NO_CAVEATS = Caveats()


def capped(findings: Findings, caveats: Caveats) -> Findings:
    """The findings with the confidence that the capture allows, and the reasons."""
    if caveats == NO_CAVEATS:
        return findings
    family = findings.rule.id[:2]
    limits = []
    if caveats.is_one_way and family in ("RU", "PA", "LA"):
        limits.append((PREDICTED, "the capture shows one direction only"))
    if family not in CERTAIN:
        if caveats.is_unclean:
            limits.append((LIKELY, "frames that were captured twice have been kept"))
        if caveats.is_reordered:
            limits.append((LIKELY, "the tap swaps frames"))
        if caveats.is_clock_unsure:
            limits.append((LIKELY, "the capturing clock was set"))
    if not limits:
        return findings
    most = min(limit for limit, _ in limits)
    confidence = np.minimum(findings.confidence, np.uint8(most))
    return findings._replace(confidence=confidence, caveats=(*findings.caveats, *(why for _, why in limits)))
