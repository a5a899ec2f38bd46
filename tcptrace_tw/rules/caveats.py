"""Properties of the capture that lower the confidence of findings (docs/semantics.md: the capture itself).

The table, in this order; a finding is capped by every row that holds for its family, and names them:

==================  ==========================  ============  =====================
caveat              holds when                  families      at most
==================  ==========================  ============  =====================
one direction only  9.3                         RU, PA, LA    predicted
duplicates kept     9.1, --keep-duplicates      all but CP    likely
tap reordering      9.4, three swaps and more   all but CP    likely
clock step          9.9                         all but CP    likely
joined captures     9.9                         all but CP    likely
control only        9.2                         all but CP    confirmed: only named
==================  ==========================  ============  =====================

The caveats are those of the whole capture: findings wait for its end (see ``deferred``).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.words import CONFIRMED, LIKELY, PREDICTED

CERTAIN = ("CP", "PE")
"""Families about the capture or about many connections: no single segment decides them."""


class Caveats(NamedTuple):
    """Known properties of the capture."""

    is_control_only: bool = False
    is_one_way: bool = False
    is_unclean: bool = False
    is_reordered: bool = False
    is_clock_unsure: bool = False
    is_joined: bool = False


NO_CAVEATS = Caveats()


CONTROL_ONLY_CONNECTIONS = 20
"""With this many connections without a pure ACK or payload, the capture was certainly filtered (docs/semantics.md: missing packets)."""

SWAPS = 3
"""Data appears after its own ACK this often: the tap reorders frames, it is not chance."""


def is_control_only(connections: Any, plain_connections: Any, vain_connections: Any) -> Any:
    """9.2: a filter on SYN, FIN and RST; what was refused or probed has nothing else."""
    return (connections - vain_connections >= CONTROL_ONLY_CONNECTIONS) & (plain_connections == 0)


def is_one_way(long_connections: Any, one_way_connections: Any) -> Any:
    """9.3: more than four fifths of the longer connections show one direction only."""
    return (one_way_connections > 0) & (one_way_connections * 5 > long_connections * 4)


def is_clock_set(steps_back: Any, steps_passed: Any, forward_ns: Any) -> Any:
    """9.9: connections go on while the time is behind, or an hour passes in which their clocks stand still."""
    return ((steps_back > 0) & (steps_passed > 0)) | (forward_ns >= 0)


def are_files_joined(steps_back: Any, steps_passed: Any) -> Any:
    """The time goes back and stays behind, and no connection goes on there: captures that were joined."""
    return (steps_back > 0) & (steps_passed == 0)


def caveats(figures: Mapping[str, int], *, keeps_duplicates: bool) -> Caveats:
    """The caveats that hold for what has been counted so far."""
    return Caveats(
        is_control_only=bool(is_control_only(*(figures[f"{kind}connections"] for kind in ("", "plain_", "vain_")))),
        is_one_way=bool(is_one_way(figures["long_connections"], figures["one_way_connections"])),
        is_unclean=keeps_duplicates,
        is_reordered=figures["swaps"] >= SWAPS,
        is_clock_unsure=bool(is_clock_set(*(figures[name] for name in ("steps_back", "steps_passed", "forward_ns")))),
        is_joined=bool(are_files_joined(figures["steps_back"], figures["steps_passed"])),
    )


def capped(findings: RuleHits, caveats: Caveats) -> RuleHits:
    """The findings with the confidence that the capture allows, and the reasons."""
    if caveats == NO_CAVEATS:
        return findings
    family = findings.rule.id[:2]
    limits = []
    if caveats.is_one_way and family in ("RU", "PA", "LA") and not findings.rule.is_shown_by_one_side:
        limits.append((PREDICTED, "the capture shows one direction only"))
    if family not in CERTAIN:
        if caveats.is_unclean:
            limits.append((LIKELY, "frames that were captured twice were kept"))
        if caveats.is_reordered:
            limits.append((LIKELY, "the tap reorders frames"))
        if caveats.is_clock_unsure:
            limits.append((LIKELY, "the clock of the capturing host was set"))
        if caveats.is_joined:
            limits.append((LIKELY, "the time of the capture goes back: captures were joined"))
        if caveats.is_control_only:
            limits.append((CONFIRMED, "only SYN, FIN and RST were captured"))
    if not limits:
        return findings
    most = min(limit for limit, _ in limits)
    confidence = np.minimum(findings.confidence, np.uint8(most))
    return findings._replace(confidence=confidence, caveats=(*findings.caveats, *(why for _, why in limits)))
